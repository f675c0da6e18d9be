"""What is on the screen now. Pure: views, seconds and presses in, a picture's content out.

The one promise: a green light never outlives its time, whatever happens to the gate process.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from scanner.view import GateView, Key, KeyPress, ViewKind
from tickets.admission import VerdictKind


@dataclass(frozen=True, slots=True)
class Showing:
    """`verdict` is shown while it is there; else `ready`; else that the gate is being prepared.

    Seconds are monotonic. `until_s` None: the verdict stays until the gate sends the next view.
    """

    ready: GateView | None = None
    ready_since_s: float = 0.0
    verdict: GateView | None = None
    verdict_since_s: float = 0.0
    until_s: float | None = None
    chosen: int = 0
    connected: bool = False

    @property
    def view(self) -> GateView | None:
        """What to draw; None: the gate is being prepared."""
        return self.verdict or self.ready

    @property
    def view_since_s(self) -> float:
        return self.verdict_since_s if self.verdict is not None else self.ready_since_s

    def received(self, view: GateView, *, now_s: float) -> Showing:
        """The next verdict replaces at once; a ready view waits until a timed verdict has run down."""
        if view.kind is ViewKind.READY:
            kept = self.verdict if self.until_s is not None else None
            return replace(
                self,
                ready=view,
                ready_since_s=now_s,
                verdict=kept,
                until_s=self.until_s if kept else None,
                connected=True,
            )
        return replace(
            self,
            verdict=view,
            verdict_since_s=now_s,
            until_s=now_s + view.stays_ms / 1000 if view.stays_ms else None,
            chosen=view.choose_preset,
            connected=True,
        )

    def at(self, now_s: float) -> Showing:
        """Time has passed."""
        if self.verdict is not None and self.until_s is not None and now_s >= self.until_s:
            return replace(self, verdict=None, until_s=None)
        return self

    def disconnected(self) -> Showing:
        """The gate is away: nothing is ready, a question has nobody to answer to; a timed verdict runs down."""
        keeps = self.verdict is not None and self.until_s is not None
        return replace(self, ready=None, verdict=self.verdict if keeps else None, connected=False)

    def remaining(self, now_s: float) -> float:
        """1 to 0 while a timed verdict stays; 0 where nothing runs down."""
        if self.verdict is None or self.until_s is None:
            return 0.0
        return min(1.0, max(0.0, (self.until_s - now_s) / (self.verdict.stays_ms / 1000)))

    def pressed(self, key: Key, count: int | None) -> tuple[Showing, KeyPress | None]:
        """A finger. Choosing a number only marks it (`count` given); CHOOSE without a count sends what is marked."""
        view = self.view
        if view is None or key not in view.keys:
            return self, None
        if key is Key.CHOOSE:
            if view.verdict is not VerdictKind.CHOOSE:
                return self, None
            if count is not None:
                return (replace(self, chosen=count) if 1 <= count <= view.choose_max else self), None
            return self, KeyPress(key, view.id, self.chosen) if self.chosen else None
        press = KeyPress(key, view.id)
        if key is Key.DISMISS and self.until_s is not None:
            return replace(self, verdict=None, until_s=None), press
        return self, press
