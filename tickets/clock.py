"""Time as a parameter.

Nothing that decides reads a clock: it is handed one of these, so that a whole venue can be run under a simulated clock.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where time comes from. Intervals are measured with `monotonic_s` alone; `now_utc` may jump."""

    def now_utc(self) -> datetime:
        """The wall clock, timezone-aware, UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary point; never goes back while the machine runs."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_utc(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()


@dataclass(slots=True)
class FixedClock:
    """A clock that moves only when told to: tests, simulations, `--at`."""

    now: datetime
    elapsed_s: float = 0.0

    def now_utc(self) -> datetime:
        return self.now

    def monotonic_s(self) -> float:
        return self.elapsed_s
