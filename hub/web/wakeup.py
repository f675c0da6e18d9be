"""Wakes long polls when something was committed. A lost wake-up costs a second at most, because waiters also look by themselves:
another process (a command, another worker) may have written.
"""

from __future__ import annotations

import asyncio
import contextlib

LOOK_AGAIN_S = 0.5


class Wakeup:
    """Owned by the server's event loop; `ring` may be called from any thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()
        self.stopping = False

    def attach(self) -> None:
        self._loop = asyncio.get_running_loop()

    def ring(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just closed
                self._loop.call_soon_threadsafe(self._all)

    def stop(self) -> None:
        """Send everyone home: the server is going down."""
        self.stopping = True
        self.ring()

    async def wait(self, *, timeout_s: float) -> None:
        event = self._event
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), min(timeout_s, LOOK_AGAIN_S))

    def _all(self) -> None:
        self._event.set()
        self._event = asyncio.Event()
