"""Who goes first at the database: claims before uploads, uploads before the rest, and no more waiting than can be served soon.

SQLite has one writer, so one thread writes, fed by a queue; its callers never wait for each other inside of SQLite, where waiting
is polling. On PostgreSQL several do. Reading has threads of its own. Whoever would wait too long is told to come again.
"""

from __future__ import annotations

import asyncio
import heapq
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
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
RETRY_AFTER_S_MAX = 30

_Job = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class Lanes:
    """`writers` threads at most for `run`, READERS for `read`; both start with the first call. Called on the event loop."""

    def __init__(self, *, writers: int) -> None:
        self._writers = writers
        self._queues: dict[Rank, list[tuple[int, _Job]]] = {rank: [] for rank in Rank}
        self._apart = dict.fromkeys(Rank, 0)
        self._number = 0
        self._row = 0
        self._mean_s = 0.005
        self._stopping = False
        self._some = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="read")

    async def read(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, call)

    async def run(self, rank: Rank, call: Callable[[], T]) -> T:
        """`call` on a writer's thread, by rank and then by arrival. Raises Busy when too many of its rank wait, and what `call` raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._some:
            if len(self._queues[rank]) >= WAITING_MAX[rank] or self._stopping:
                raise Busy(retry_after_s=self._retry_after_s(rank))
            self._number += 1
            heapq.heappush(self._queues[rank], (self._number, (call, future, loop)))
            if len(self._threads) < self._writers:
                self._start()
            self._some.notify()
        return await future

    async def apart(self, rank: Rank, begin: Callable[[], Future[T]]) -> T:
        """What threads of somebody else's do (hub.claim_desk), within the bound of its rank here. Raises Busy, and what the future does."""
        if self._apart[rank] >= WAITING_MAX[rank] or self._stopping:
            raise Busy(retry_after_s=self._retry_after_s(rank))
        self._apart[rank] += 1
        try:
            return await asyncio.wrap_future(begin())
        finally:
            self._apart[rank] -= 1

    def stop(self) -> None:
        """What was taken on is still done; then the threads end."""
        with self._some:
            self._stopping = True
            self._some.notify_all()
        for thread in self._threads:
            thread.join(timeout=5)
        self._readers.shutdown(wait=False, cancel_futures=True)

    def _retry_after_s(self, rank: Rank) -> int:
        ahead = sum(len(self._queues[other]) + self._apart[other] for other in Rank if other <= rank)
        return max(1, min(round(ahead * self._mean_s / self._writers), RETRY_AFTER_S_MAX))

    def _start(self) -> None:
        thread = threading.Thread(target=self._serve, name=f"write-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _next(self) -> _Job | None:
        with self._some:
            while True:
                waiting = [rank for rank in Rank if self._queues[rank]]
                if waiting:
                    break
                if self._stopping:
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
