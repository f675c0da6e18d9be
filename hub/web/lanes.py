"""Who goes first at the database: claims before uploads, uploads before the rest, and no more waiting than can be served soon.

SQLite has one writer, so one thread writes, fed by a queue; its callers never wait for each other inside of SQLite, where waiting
is polling. On PostgreSQL several do. Reading has threads of its own, and so has the look at who calls, which a claim needs before
anything else: pages never stand before it. Whoever would wait too long is told to come again.
"""

from __future__ import annotations

import asyncio
import heapq
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from enum import IntEnum
from typing import Any, TypeVar

from hub.errors import Busy

T = TypeVar("T")


class Rank(IntEnum):
    CLAIM = 0
    UPLOAD = 1
    REST = 2


WAITING_MAX = {Rank.CLAIM: 512, Rank.UPLOAD: 64, Rank.REST: 128}
"""At 1 ms a claim and 50 ms a segment: half a second, and three seconds. Whoever waits longer has given up meanwhile."""
OTHERS_EVERY = 32
"""After so many in a row of the first rank somebody else has a turn, so that a rush at the gates does not stop uploads for good."""
READERS = 4
READING_MAX = {Rank.CLAIM: 512, Rank.UPLOAD: 128, Rank.REST: 1024}
"""Pages wait here, and a page that many wait for is one (hub.web.pages)."""
LOOKERS = 2
LOOKING_MAX = {Rank.CLAIM: 512, Rank.UPLOAD: 512, Rank.REST: 2048}
"""One row by its key each: below a millisecond, and every device may come at once after an outage."""
RETRY_AFTER_S_MAX = 30

_Job = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class Lanes:
    """`writers` threads at most for `run`, READERS for `read`, LOOKERS for `look`; each starts when it is needed. Called on the event loop."""

    def __init__(self, *, writers: int) -> None:
        self._writing = _Line("write", writers, WAITING_MAX)
        self._reading = _Line("read", READERS, READING_MAX)
        self._looking = _Line("look", LOOKERS, LOOKING_MAX)
        self._apart = dict.fromkeys(Rank, 0)

    async def read(self, call: Callable[[], T], *, rank: Rank = Rank.REST) -> T:
        """On a reader's thread. Raises Busy, and what `call` raises."""
        return await self._reading.run(rank, call)

    async def look(self, rank: Rank, call: Callable[[], T]) -> T:
        """A short look at a row or two that somebody's call begins with. Raises Busy, and what `call` raises."""
        return await self._looking.run(rank, call)

    async def run(self, rank: Rank, call: Callable[[], T]) -> T:
        """`call` on a writer's thread, by rank and then by arrival. Raises Busy when too many of its rank wait, and what `call` raises."""
        return await self._writing.run(rank, call)

    async def apart(self, rank: Rank, begin: Callable[[], Future[T]]) -> T:
        """What threads of somebody else's do (hub.claim_desk), within the bound of its rank here. Raises Busy, and what the future does."""
        if self._apart[rank] >= WAITING_MAX[rank] or self._writing.stopping:
            raise Busy(retry_after_s=self._writing.retry_after_s(rank, more=sum(self._apart.values())))
        self._apart[rank] += 1
        try:
            return await asyncio.wrap_future(begin())
        finally:
            self._apart[rank] -= 1

    def stop(self) -> None:
        """What was taken on is still done; then the threads end."""
        for line in (self._writing, self._reading, self._looking):
            line.stop()


class _Line:
    """Threads that serve one queue, by rank and then by arrival."""

    def __init__(self, name: str, threads: int, waiting_max: Mapping[Rank, int]) -> None:
        self._name, self._most, self._waiting_max = name, threads, waiting_max
        self._queues: dict[Rank, list[tuple[int, _Job]]] = {rank: [] for rank in Rank}
        self._number = 0
        self._row = 0
        self._mean_s = 0.005
        self.stopping = False
        self._some = threading.Condition()
        self._threads: list[threading.Thread] = []

    async def run(self, rank: Rank, call: Callable[[], T]) -> T:
        """Raises Busy, and what `call` raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._some:
            if len(self._queues[rank]) >= self._waiting_max[rank] or self.stopping:
                raise Busy(retry_after_s=self.retry_after_s(rank))
            self._number += 1
            heapq.heappush(self._queues[rank], (self._number, (call, future, loop)))
            if len(self._threads) < self._most:
                self._start()
            self._some.notify()
        return await future

    def stop(self) -> None:
        with self._some:
            self.stopping = True
            self._some.notify_all()
        for thread in self._threads:
            thread.join(timeout=5)

    def retry_after_s(self, rank: Rank, *, more: int = 0) -> int:
        """When it may be worth to come again, with so many `more` ahead that wait elsewhere."""
        ahead = more + sum(len(self._queues[other]) for other in Rank if other <= rank)
        return max(1, min(round(ahead * self._mean_s / self._most), RETRY_AFTER_S_MAX))

    def _start(self) -> None:
        thread = threading.Thread(target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _next(self) -> _Job | None:
        with self._some:
            while True:
                waiting = [rank for rank in Rank if self._queues[rank]]
                if waiting:
                    break
                if self.stopping:
                    return None
                self._some.wait()
            rank = waiting[0]
            self._row = self._row + 1 if rank is Rank.CLAIM else 0
            if self._row > OTHERS_EVERY and len(waiting) > 1:
                rank, self._row = waiting[1], 0
            return heapq.heappop(self._queues[rank])[1]

    def _serve(self) -> None:
        while (job := self._next()) is not None:
            call, future, loop = job
            began_s = time.monotonic()
            result: Any = None
            raised: BaseException | None = None
            try:
                result = call()
            except Exception as error:  # noqa: BLE001  it belongs to the caller, who gets it
                raised = error
            self._mean_s += 0.05 * (time.monotonic() - began_s - self._mean_s)
            try:
                loop.call_soon_threadsafe(_settle, future, result, raised)
            except RuntimeError:
                return  # the loop has closed: nobody waits any more


def _settle(future: asyncio.Future[Any], result: Any, raised: BaseException | None) -> None:
    if future.cancelled():
        return
    if raised is None:
        future.set_result(result)
    else:
        future.set_exception(raised)
