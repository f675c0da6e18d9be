"""A real pointer: XTEST events by xdotool, at the places where the kiosk says its keys are."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from script.story.processes import StoryError

WAIT_S = 30.0


class Pointer:
    """Touches the kiosk whose window stands at (`left`, `top`) of `display` and which tells its targets in `targets`."""

    def __init__(self, display: str, targets: Path, *, left: int, top: int) -> None:
        self._display = display
        self._targets = targets
        self._left = left
        self._top = top

    def shown(self) -> dict[str, Any]:
        """The present screen: {"screen": name, "targets": {name: [x, y]}, "enabled": {name: bool}}; empty before the first."""
        try:
            value: dict[str, Any] = json.loads(self._targets.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {"screen": "", "targets": {}, "enabled": {}}
        return value

    def wait_screen(self, *names: str, timeout_s: float = WAIT_S) -> str:
        """Until one of these screens is shown. Raises StoryError."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            screen = str(self.shown()["screen"])
            if screen in names:
                return screen
            time.sleep(0.02)
        raise StoryError(
            f"the kiosk shows '{self.shown()['screen']}', not {' or '.join(names)}, after {timeout_s:.0f} s"
        )

    def touch(self, target: str, *, timeout_s: float = WAIT_S) -> None:
        """Press and release in the middle of a key, once it is there and enabled. Raises StoryError."""
        self.wait_target(target, timeout_s=timeout_s)
        self._click(*self.shown()["targets"][target])

    def wait_target(self, target: str, *, timeout_s: float = WAIT_S) -> None:
        """Until a key is there and enabled. Raises StoryError."""
        deadline = time.monotonic() + timeout_s
        while not self.shown()["enabled"].get(target):
            if time.monotonic() > deadline:
                shown = self.shown()
                raise StoryError(
                    f"no key '{target}' to touch on screen '{shown['screen']}'; there are: {', '.join(shown['targets'])}"
                )
            time.sleep(0.02)

    def _click(self, x: float, y: float) -> None:
        at = (str(round(self._left + x)), str(round(self._top + y)))
        # Without --sync, which waits fifteen seconds for a pointer that is there already; the X server keeps the order anyway.
        command = ["xdotool", "mousemove", *at, "mousedown", "1", "sleep", "0.06", "mouseup", "1"]
        subprocess.run(command, check=True, env={"DISPLAY": self._display, "PATH": "/usr/bin:/bin"}, timeout=20)
