"""Asking the venue's arbiter, with a deadline that holds.

A time-out of the HTTP library counts per read, so the call runs in a thread of its own and the lane waits for it no longer than the
deadline. Whatever is not an answer by then (no line, an error, something unreadable, too late) is silence; the claim may still
arrive, which is why it carries the op id under which the lane goes on. While a late call hangs, the next claim is silence at once.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Protocol

import structlog

from sync.claim import ClaimMessage
from sync.errors import HubKeyWrong, SyncError
from tickets.admission import Denied, Granted

_log = structlog.get_logger()


class Line(Protocol):
    """The call of the hub's code in venue role (sync.client.HttpHub)."""

    def claim(self, claim: ClaimMessage, *, deadline_s: float) -> Granted | Denied: ...


class ClaimClient:
    """`connect` makes the line on the client's own thread, which then owns its kept-alive session."""

    def __init__(self, connect: Callable[[], Line], *, deadline_ms: int) -> None:
        self._connect = connect
        self._deadline_s = deadline_ms / 1000
        self._asked: queue.Queue[tuple[ClaimMessage, queue.Queue[Granted | Denied | None]] | None] = queue.Queue(1)
        self._busy = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="claim", daemon=True)
        self._thread.start()

    def ask(self, claim: ClaimMessage) -> Granted | Denied | None:
        """The answer within the deadline, else None. Never raises."""
        if self._busy.is_set():
            return None
        self._busy.set()
        answered: queue.Queue[Granted | Denied | None] = queue.Queue(1)
        self._asked.put((claim, answered))
        try:
            return answered.get(timeout=self._deadline_s)
        except queue.Empty:
            _log.warning("arbiter_silent", op=claim.op)
            return None

    def close(self) -> None:
        """Stops after the call that may be under way."""
        self._asked.put(None)
        self._thread.join(timeout=self._deadline_s * 4)

    def _serve(self) -> None:
        line: Line | None = None
        while (item := self._asked.get()) is not None:
            claim, answered = item
            answer: Granted | Denied | None = None
            try:
                line = line or self._connect()
                answer = line.claim(claim, deadline_s=self._deadline_s)
            except SyncError as error:
                _log.warning("arbiter_unreachable", why=str(error))
                if isinstance(error, HubKeyWrong):
                    line = None  # the hub may have announced another key since: the next line is made with that
            except Exception as error:  # noqa: BLE001  (top of this thread: silence, said in the log)
                _log.error("arbiter_call_failed", error=type(error).__name__, why=str(error))
                line = None
            self._busy.clear()
            answered.put(answer)
