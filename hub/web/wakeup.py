"""Wakes long polls when something was committed: at once by this process's own commits, and by one look at the feed for all of them
together when another process (a command, another worker) has written. A lost wake-up costs two seconds at most.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

LOOK_S = 0.25
"""How often the feed is looked at while anybody waits."""
LOOK_AGAIN_S = 2.0
"""After so long a waiter looks by itself: a transaction may become visible later than its number."""


class Wakeup:
    """Owned by the server's event loop; `ring` may be called from any thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()
        self._waiting = 0
        self.stopping = False

    def attach(self) -> None:
        self._loop = asyncio.get_running_loop()

    def ring(self) -> None:
        if self._loop is not None and self._waiting:
            with contextlib.suppress(RuntimeError):  # the loop has just closed
                self._loop.call_soon_threadsafe(self._all)

    def stop(self) -> None:
        """Send everyone home: the server is going down."""
        self.stopping = True
        self.ring()

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
                self._all()
            again, before = changed, now

    def _all(self) -> None:
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
