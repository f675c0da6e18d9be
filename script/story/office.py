"""The hub's office as a person in a browser meets it: sign in, look at today, cancel a ticket."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import requests

from script.story.processes import StoryError

TIMEOUT_S = 10


class Office:
    """A signed-in session. Goes to the hub directly: the office has its own line."""

    def __init__(self, url: str, *, user: str, password: str) -> None:
        self._url = url
        self._session = requests.Session()
        answer = self._session.post(
            f"{url}/sign-in",
            data={"name": user, "password": password},
            headers={"Origin": url},
            timeout=TIMEOUT_S,
        )
        if answer.status_code != 200 or "/sign-in" in answer.url:
            raise StoryError(f"the office could not sign in: {answer.status_code}")

    def today(self) -> str:
        """The page as HTML."""
        return self._get("/today")

    def sale_numbers(self) -> list[str]:
        return re.findall(r">([^<>\s]+-\d{6}-\d{4})<", self.today())

    def admitted(self) -> int:
        """The figure of people let in, as the page says it."""
        found = re.search(r'<h2>(?:入場|入場者|Admitted)[^<]*</h2><p class="big">([\d,]+)', self.today())
        if found is None:
            raise StoryError("the office's page says no figure of admissions")
        return int(found[1].replace(",", ""))

    def heard(self, label: str) -> bool:
        """Whether the page's list of devices has heard of this one."""
        row = re.search(rf"<td><b>{re.escape(label)}</b></td>.*?</tr>", self.today(), re.S)
        return row is not None and "—" not in row[0]

    def cancel(self, ticket: str, *, reason: str) -> None:
        """Cancel a ticket by its page's own form."""
        page = self._get(f"/tickets/{ticket}")
        token = re.search(r'name="csrf" value="([^"]+)"', page)
        if token is None:
            raise StoryError("the ticket's page has no form to cancel it")
        answer = self._session.post(
            f"{self._url}/tickets/{ticket}/cancel",
            data={"csrf": token[1], "reason": reason},
            headers={"Origin": self._url},
            timeout=TIMEOUT_S,
        )
        if answer.status_code != 200:
            raise StoryError(f"the ticket could not be cancelled: {answer.status_code}")

    def open_slot(self, product: str, *, starts: str, minutes: int, capacity: int) -> None:
        """Open a slot today by the form of the stock's page; `starts` such as 14:30, in the venue's time."""
        token = re.search(r'name="csrf" value="([^"]+)"', self._get("/stock"))
        if token is None:
            raise StoryError("the page of stock has no form")
        form = {"product": product, "starts": starts, "minutes": minutes, "capacity": capacity}
        answer = self._session.post(
            f"{self._url}/stock", data={"csrf": token[1], **form}, headers={"Origin": self._url}, timeout=TIMEOUT_S
        )
        if answer.status_code != 200:
            raise StoryError(f"the slot could not be opened: {answer.status_code}")

    def slot(self, name: str) -> tuple[int, int, int]:
        """(stock, sold, oversold) of a slot, as the page says it."""
        found = re.search(
            rf'data-slot="{re.escape(name)}" data-stock="(\d+)" data-sold="(\d+)" data-oversold="(\d+)"',
            self._get("/stock"),
        )
        if found is None:
            raise StoryError(f"the office does not list the slot {name}")
        return int(found[1]), int(found[2]), int(found[3])

    def picture(self, path: Path, *, target: Path, width: int = 1440, height: int = 1000) -> None:
        """Draw the page at `path` by Chromium: fetched with this session, shown from a file, since a picture has none."""
        page = self._get(str(path))
        page = page.replace("<head>", f'<head><base href="{self._url}/">', 1)  # style and marks need no session
        browser = shutil.which("chromium")
        if browser is None:
            return
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "page.html"
            file.write_text(page, encoding="utf-8")
            subprocess.run(
                [
                    browser,
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--hide-scrollbars",
                    "--no-first-run",
                    "--disable-background-networking",
                    "--disable-component-update",
                    "--disable-sync",
                    f"--user-data-dir={directory}/profile",
                    f"--window-size={width},{height}",
                    f"--screenshot={target}",
                    file.as_uri(),
                ],
                check=False,
                capture_output=True,
                timeout=90,
            )

    def _get(self, path: str) -> str:
        answer = self._session.get(f"{self._url}{path}", timeout=TIMEOUT_S)
        if answer.status_code != 200:
            raise StoryError(f"the office's page {path} answered {answer.status_code}")
        return answer.text
