"""What happened, step by step, told as it goes and written down at the end."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path


def say(text: str) -> None:
    """A line to whoever started the demo. To the standard error it was given: Kivy puts its own log in that one's place."""
    out = sys.__stderr__
    if out is not None:
        out.write(f"demo: {text}\n")
        out.flush()


@dataclass(frozen=True, slots=True)
class Step:
    """`ms` is how long it took; `happened` what was seen, in words that can be held against `expected`."""

    step: str
    expected: str
    happened: str
    ok: bool
    ms: int


class Report:
    """Runs steps. A step that raises is a step that failed, and the story goes on, so that one fault does not hide the next; only
    where nothing can follow (the venue did not open) are the others told as not tried.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._over = False

    def step(self, name: str, expected: str, do: Callable[[], str], *, vital: bool = False) -> bool:
        """`do` returns what happened; it is right when that is `expected`, to the letter."""
        started = time.monotonic()
        try:
            happened = "not tried" if self._over else do()
        except Exception as error:  # noqa: BLE001 whatever it is, it is what happened
            happened = f"{type(error).__name__}: {error}"
        ms = round((time.monotonic() - started) * 1000)
        step = Step(name, expected, happened, happened == expected, ms)
        self.steps.append(step)
        self._over = self._over or (vital and not step.ok)
        mark = "ok  " if step.ok else "FAIL"
        sys.stderr.write(f"{mark} {len(self.steps):2} {name}: {happened} ({ms} ms)\n")
        if not step.ok:
            sys.stderr.write(f"        expected: {expected}\n")
        sys.stderr.flush()
        return step.ok

    @property
    def ok(self) -> bool:
        return all(step.ok for step in self.steps)

    def write(self, path: Path) -> None:
        document = {"steps": [asdict(step) for step in self.steps]}
        path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
