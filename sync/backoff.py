"""Full-jitter backoff: after a failure wait a random time below a bound that doubles, so that a venue's devices do not come back in step."""

from __future__ import annotations

from tickets.ids import RandomBytes

FIRST_S, LAST_S = 0.5, 30.0


class Backoff:
    """`bound_s_max` is the longest bound; a success starts again at FIRST_S."""

    def __init__(self, random_bytes: RandomBytes, *, bound_s_max: float = LAST_S) -> None:
        self._random_bytes = random_bytes
        self._most_s = bound_s_max
        self._bound_s = FIRST_S

    def succeeded(self) -> None:
        self._bound_s = FIRST_S

    def failed(self, error: BaseException | None = None) -> float:
        """How many seconds to wait now. What the hub asked for (`retry_after_s` of a HubUnreachable) is waited in full, and up to as
        much again, so that those who were sent away together do not come back together.
        """
        share = int.from_bytes(self._random_bytes(4), "big") / 2**32
        asked_s = getattr(error, "retry_after_s", None) or 0.0
        wait_s = asked_s + max(self._bound_s, asked_s) * share
        self._bound_s = min(self._bound_s * 2, self._most_s)
        return wait_s
