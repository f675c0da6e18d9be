"""From `kaisatsu hub link` to `kaisatsu enrol` without typing: the link as a text file, as a QR code, as a photograph of it.

Each test runs the real entry, `python -m config`, as a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import segno
from PIL import Image

from script.story.processes import Program
from tests.support.gate_device import ROOT

pytestmark = pytest.mark.flow

SECRET = "s3cr3tt0k3n"
LINK = f"http://127.0.0.1:1/enrol?token={SECRET}&key={'aa' * 32}"


def kaisatsu(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "config", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def photograph(file: Path, to: Path) -> None:
    """The picture as somebody's phone takes it off a screen: turned, from the side, soft, on a grey table, as a JPEG."""
    picture = cv2.imread(str(file))
    high, wide = picture.shape[:2]
    corners = np.array([[0, 0], [wide, 0], [wide, high], [0, high]], np.float32)
    seen = corners * 0.8 + np.array([[90, 30], [140, 90], [80, 130], [40, 80]], np.float32)
    warped = cv2.warpPerspective(
        picture,
        cv2.getPerspectiveTransform(corners, seen),
        (wide + 100, high + 100),
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(96, 104, 110),
    )
    cv2.imwrite(str(to), cv2.GaussianBlur(warped, (5, 5), 1.2), [cv2.IMWRITE_JPEG_QUALITY, 80])


def test_a_device_is_enrolled_by_text_file_by_qr_and_by_a_photograph_of_it(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'hub.db'}"
    program = Program("program", ["config", "hub", "serve", "--database", database, "--listen", "127.0.0.1:0", "--tls"], logs=tmp_path)  # fmt: skip
    try:
        url = program.wait_line("listening")["url"]
        assert kaisatsu("hub", "seed", "--database", database, "--url", url).returncode == 0
        for label in ("K1", "K2", "K3"):
            text, qr = tmp_path / f"{label}.txt", tmp_path / f"{label}.png"
            made = kaisatsu(
                "hub", "link", "--database", database, "--url", url, "--role", "kiosk", "--label", label,
                "--to", str(text), "--qr", str(qr),
            )  # fmt: skip
            said: dict[str, Any] = json.loads(made.stdout)
            assert (said["to"], said["qr"]) == (str(text), str(qr)), made.stderr
            assert said["link"].startswith("https://")
            assert "&tls=" in said["link"]
            photograph(qr, photo := tmp_path / f"{label}.jpg")
            given = {"K1": text, "K2": qr, "K3": photo}[label]
            done = kaisatsu("enrol", str(given), "--state", str(tmp_path / f"state {label}"))
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["label"] == label
        again = kaisatsu("enrol", str(text), "--state", str(tmp_path / "other"))
        assert (again.returncode, again.stderr.count("\n")) == (2, 1), "it is one link, however it came"
        assert "used already" in again.stderr
    finally:
        program.stop()


def test_a_file_without_one_link_is_one_line_that_names_it_and_nothing_is_made(tmp_path: Path) -> None:
    def text(name: str, content: str | bytes) -> Path:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path / name

    def qr(name: str, content: str) -> Path:
        segno.make(content, error="m").save(str(tmp_path / name), scale=5, border=8)
        return tmp_path / name

    one = qr("one.png", LINK)
    with Image.open(one) as left, Image.open(qr("two.png", LINK.replace("aa", "bb"))) as right:
        both = Image.new("RGB", (left.width + right.width, left.height), "white")
        both.paste(left, (0, 0))
        both.paste(right, (left.width, 0))
    both.save(tmp_path / "both.png")
    Image.new("RGB", (320, 240), "white").save(tmp_path / "white.png")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    broken = {
        text("empty.txt", ""): "is empty",
        text("blank.txt", "\n \n"): "is empty",
        text("note.txt", f"the link: {LINK}"): "one enrolment link and nothing else",
        text("lines.txt", f"{LINK}\n{LINK}\n"): "one enrolment link and nothing else",
        text("other.txt", f"https://example.org/?token={SECRET}"): "not an enrolment link",
        text("pinless.txt", LINK.replace("http:", "https:")): "without saying whose key",
        text("long.txt", LINK + "a" * 10_000): "neither text with a link nor a picture",
        text("wide.txt", LINK.encode("utf-16")): "neither text with a link nor a picture",
        text("junk.png", os.urandom(4096)): "neither text with a link nor a picture",
        text("torn.png", one.read_bytes()[:200]): "neither text with a link nor a picture",
        qr("k9.svg", LINK): "an SVG is to be shown or printed",
        qr("ticket.png", "T1:ABCDEF"): "the QR code in it is not an enrolment link",
        tmp_path / "both.png": "2 enrolment links are in this picture",
        tmp_path / "white.png": "no QR code was found",
        tmp_path / "folder": "is no file",
        tmp_path / "pipe": "is no file",
        tmp_path / "none.txt": "neither a link (http(s)://HOST:PORT/enrol?token=...&key=...) nor a file",
        tmp_path / ("n" * 300): "cannot be read",
    }
    failed = {}
    for file, words in broken.items():
        done = kaisatsu("enrol", str(file), "--state", str(tmp_path / "state"))
        one_line = (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        if not one_line or str(file) not in done.stderr or words not in done.stderr or SECRET in done.stderr:
            failed[file.name] = done
    assert failed == {}
    assert not (tmp_path / "state").exists()
    for name, content in (("bom.txt", b"\xef\xbb\xbf" + LINK.encode() + b"\r\n"), ("plain", LINK.encode())):
        done = kaisatsu("enrol", str(text(name, content)), "--state", str(tmp_path / "state"))
        assert "no answer" in done.stderr, "the link in it was understood"
