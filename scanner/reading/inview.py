"""The same code still in view is no second read.

Pure. A guest holds a ticket in front of the camera for thirty frames, some of them blurred; that is one reading. It becomes a new
one when the code was out of view for the re-arm time, measured on the frames' own clock.
"""

from __future__ import annotations

from collections.abc import Sequence

CODES_MAX = 64
"""More codes than a camera can see at once; the oldest are forgotten first."""


class InView:
    """Which texts are in view now."""

    def __init__(self, *, rearm_s: float) -> None:
        self._rearm_s = rearm_s
        self._last_seen_s: dict[str, float] = {}

    def fresh(self, texts: Sequence[str], *, seen_s: float) -> list[str]:
        """Those of `texts` that were not in view within the re-arm time before `seen_s`; all of `texts` are in view now."""
        fresh = []
        for text in texts:
            last_s = self._last_seen_s.pop(text, None)
            if last_s is None or seen_s - last_s >= self._rearm_s:
                fresh.append(text)
            self._last_seen_s[text] = seen_s if last_s is None else max(last_s, seen_s)
        while len(self._last_seen_s) > CODES_MAX:
            self._last_seen_s.pop(next(iter(self._last_seen_s)))
        return fresh

    def forget(self, text: str) -> None:
        """Not delivered: if it is still in view in the next frame, it is fresh again."""
        self._last_seen_s.pop(text, None)

    def clear(self) -> None:
        """Whatever comes next is shown anew (a new picture in a folder)."""
        self._last_seen_s.clear()
