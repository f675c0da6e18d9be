"""Wakes long polls when something was committed: at once by this process's own commits, and by one look at the feed for all of them
together when another process (a command, another worker) has written. A lost wake-up costs two seconds at most.

Whoever is woken is answered and comes again at once, so each wake-up costs as much as all who wait: commits that follow each other
closely are told together, and the more wait, the more are (`_apart_s`). The first after a quiet while is told at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Iterator

LOOK_S = 0.25
"""How often the feed is looked at while anybody waits."""
LOOK_AGAIN_S = 2.0
"""After so long a waiter looks by itself: a transaction may become visible later than its number."""


APART_S = 0.075
"""Between two wake-ups."""
EACH_S = 0.004
"""So much more for each who waits: twice what it takes to answer one and to hear it again, so that half of the time is the gates'."""


class Wakeup:
    """Owned by the server's event loop; `ring` may be called from any thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()
        self._waiting = 0
        self._last_s = -math.inf
        self._due: asyncio.TimerHandle | None = None
        self.stopping = False

    def attach(self) -> None:
        self._loop = asyncio.get_running_loop()

    def ring(self) -> None:
        if self._loop is not None and self._waiting:
            with contextlib.suppress(RuntimeError):  # the loop has just closed
                self._loop.call_soon_threadsafe(self._soon)

    def stop(self) -> None:
        """Send everyone home: the server is going down."""
        self.stopping = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._all)

    @contextlib.contextmanager
    def listening(self) -> Iterator[Listener]:
        """Begin before the first look at the feed: what is committed after that look is not missed."""
        self._waiting += 1
        try:
            yield Listener(self)
        finally:
            self._waiting -= 1

    @property
    def event(self) -> asyncio.Event:
        """Set at the next ring, and never used again."""
        return self._event

    async def watch(self, look: Callable[[], Awaitable[int | None]]) -> None:
        """Until cancelled: ring when the feed's newest number has changed, and once more a moment later. `look` gives None when it could
        not be read.
        """
        before: int | None = None
        again = False
        while True:
            await asyncio.sleep(LOOK_S)
            if not self._waiting:
                continue
            now = await look()
            if now is None:
                continue
            changed = now != before
            if (changed and before is not None) or again:
                self._soon()
            again, before = changed, now

    def _soon(self) -> None:
        """Wake everyone, now or with whoever else is to be told until the next wake-up is due."""
        if self._due is not None:
            return
        assert self._loop is not None
        left_s = self._last_s + self._apart_s() - self._loop.time()
        if left_s <= 0:
            self._all()
        else:
            self._due = self._loop.call_later(left_s, self._all)

    def _apart_s(self) -> float:
        return min(APART_S + EACH_S * self._waiting, LOOK_AGAIN_S)

    def _all(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self._last_s = asyncio.get_running_loop().time()
        self._event.set()
        self._event = asyncio.Event()


class Listener:
    """One long poll."""

    def __init__(self, wakeup: Wakeup) -> None:
        self._wakeup = wakeup
        self._event = wakeup.event

    def looking(self) -> None:
        """To be called before each look at the feed."""
        self._event = self._wakeup.event

    async def wait(self, *, timeout_s: float) -> None:
        """Until something was committed since `looking`, or it is time to look anyway."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(timeout_s, LOOK_AGAIN_S)):
                await self._event.wait()
