"""Claims that wait at the same time are answered together: one thread takes all there are, the node answers them in one durable
transaction, and only then does anybody hear. It decides nothing itself, and never answers what was not committed.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeAlias

from hub.errors import Busy, HubError
from hub.services.arbiter import GROUP_MAX, Asked, Result
from tickets.admission import Denied, Granted

WAITING_MAX = 1024
"""A claim behind so many others would be answered after its gate had stopped waiting."""

Answer: TypeAlias = Future[Granted | Denied]


class ClaimDesk:
    """`answer` gets a group and returns a result for each, in order, once they are durable; what it raises goes to all of them."""

    def __init__(self, answer: Callable[[Sequence[Asked]], Sequence[Result]]) -> None:
        self._answer = answer
        self._waiting: queue.Queue[tuple[Asked, Answer] | None] = queue.Queue(WAITING_MAX)
        self._thread = threading.Thread(target=self._serve, name="claims", daemon=True)
        self._thread.start()

    def ask(self, asked: Asked) -> Answer:
        """From any thread. Raises Busy when too many wait."""
        promised: Answer = Future()
        try:
            self._waiting.put_nowait((asked, promised))
        except queue.Full as error:
            raise Busy("too many claims are waiting") from error
        return promised

    def close(self) -> None:
        """Answers what waits, then ends."""
        self._waiting.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (first := self._waiting.get()) is not None:
            group, last = [first], False
            while len(group) < GROUP_MAX:
                try:
                    item = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if item is None:
                    last = True
                    break
                group.append(item)
            self._answer_all(group)
            if last:
                return

    def _answer_all(self, group: list[tuple[Asked, Answer]]) -> None:
        live = [(asked, promised) for asked, promised in group if promised.set_running_or_notify_cancel()]
        if not live:
            return
        try:
            results = self._answer([asked for asked, _ in live])
        except Exception as error:  # noqa: BLE001  (handed on to whoever asked; this thread serves the others)
            for _, promised in live:
                promised.set_exception(error)
            return
        for (_, promised), result in zip(live, results, strict=True):
            if isinstance(result, HubError):
                promised.set_exception(result)
            else:
                promised.set_result(result)
