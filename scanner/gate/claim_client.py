"""Asking the venue's arbiter, with a deadline that holds, over a line that is there before the guest is.

A thread of its own owns the line: it connects at the start, looks every few seconds whether the line still carries, and connects
again in the background when it does not. A time-out of an HTTP library counts per read, so the lane waits for the thread no longer than
the deadline. Whatever is not an answer by then (no line, an error, something unreadable, too late) is silence; the claim may still
arrive, which is why it carries the op id under which the lane goes on.

A line that is known to be down does not cost each guest the whole deadline: it is tried anew at once, and whoever waits for it waits
30 ms at most. While a late call hangs, the next claim is silence at once.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from scanner.gate.errors import LineUnpinned
from sync.backoff import Backoff
from sync.claim import EPOCH_FIRST, ClaimMessage
from sync.errors import HubKeyWrong, HubRefused, SyncError
from sync.protocol import ReleaseMessage
from tickets.admission import Denied, Granted
from tickets.ids import RandomBytes

DOWN_WAIT_S = 0.03
WARM_EVERY_S = 10.0
RECONNECT_S_MAX = 2.0
RELEASES_MAX = 64

_log = structlog.get_logger()


class Line(Protocol):
    """The calls of an arbiter (sync.client.HttpHub). Each raises SyncError for everything that is no answer."""

    def claim(self, claim: ClaimMessage, *, deadline_s: float) -> Granted | Denied: ...

    def release(self, release: ReleaseMessage) -> None: ...

    def reach(self, *, deadline_s: float) -> int:
        """The epoch in which the other end rules, 0 where it does not."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True)
class _Question:
    claim: ClaimMessage
    answered: queue.SimpleQueue[Granted | Denied | None] = field(default_factory=queue.SimpleQueue)
    given_up: bool = False


class ClaimClient:
    """`lines` makes the lines worth trying, best first, on the client's own thread, which then owns the one that answered. `epoch` is the
    reign the gate lives in: a line to somebody who does not rule in it is none.
    """

    def __init__(
        self,
        lines: Callable[[], Iterable[Line]],
        *,
        deadline_ms: int,
        epoch: Callable[[], int] = lambda: EPOCH_FIRST,
        random_bytes: RandomBytes = os.urandom,
        warm_every_s: float = WARM_EVERY_S,
    ) -> None:
        self._lines, self._epoch = lines, epoch
        self._deadline_s = deadline_ms / 1000
        self._warm_every_s = warm_every_s
        self._backoff = Backoff(random_bytes, bound_s_max=RECONNECT_S_MAX)
        self._inbox: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        self._releases: deque[ReleaseMessage] = deque(maxlen=RELEASES_MAX)
        self._asking = threading.Event()
        self._up = threading.Event()
        self._tried = threading.Event()
        self._moved = self._stopping = False
        self._line: Line | None = None
        self._trouble = self._found = ""
        self._thread = threading.Thread(target=self._serve, name="claim", daemon=True)
        self._thread.start()

    @property
    def up(self) -> bool:
        """Whether the line carried when it was last looked at."""
        return self._up.is_set()

    @property
    def trouble(self) -> str:
        """What keeps the line down beside silence, in a word for whoever looks after it: `unpinned`, `wrong_key`; else empty."""
        return "" if self._up.is_set() else self._trouble

    @property
    def state(self) -> str:
        """`up`, `down`, or the trouble."""
        return "up" if self._up.is_set() else self._trouble or "down"

    def ask(self, claim: ClaimMessage) -> Granted | Denied | None:
        """The answer within the deadline, else None. Never raises."""
        if self._asking.is_set():
            return None
        if self._tried.is_set() and not self._up.is_set():
            self._inbox.put(None)  # now, not when the pause between two attempts is over
            if not self._up.wait(min(DOWN_WAIT_S, self._deadline_s)):
                return None
        self._asking.set()
        question = _Question(claim)
        self._inbox.put(question)
        try:
            return question.answered.get(timeout=self._deadline_s)
        except queue.Empty:
            question.given_up = True
            _log.warning("arbiter_silent", op=claim.op)
            return None

    def give_back(self, release: ReleaseMessage) -> None:
        """Tell the arbiter before the next claim, so that the same guest's next attempt does not meet its own abandoned one. Best effort:
        the operation in the journal says the same.
        """
        self._releases.append(release)
        self._inbox.put(None)

    def move(self) -> None:
        """The arbiter is somebody else, or elsewhere: leave the present line."""
        self._moved = True
        self._inbox.put(None)

    def close(self) -> None:
        """Stops after the call that may be under way."""
        self._stopping = True
        self._inbox.put(None)
        self._thread.join(timeout=self._deadline_s * 4)

    def _serve(self) -> None:
        pause_s = 0.0
        while not self._stopping:
            question: _Question | None = None
            if self._line is None or self._moved:
                self._connect()
                pause_s = self._warm_every_s if self._line is not None else self._backoff.failed()
            try:
                question = self._inbox.get(timeout=pause_s)
            except queue.Empty:
                if self._line is not None:
                    self._try(self._look)
                continue
            self._give_back_all()
            if question is not None:
                self._answer(question)
        self._drop()

    def _answer(self, question: _Question) -> None:
        """An unsent question that was given up is not sent: what its gate has settled already needs no answer."""
        answers: list[Granted | Denied] = []

        def call(line: Line) -> None:
            answers.append(line.claim(question.claim, deadline_s=self._deadline_s))

        if not question.given_up:
            if self._line is None:
                self._connect()
            self._try(call)
        if question.given_up and answers:
            _log.warning("arbiter_late", op=question.claim.op)
        self._asking.clear()
        question.answered.put(answers[0] if answers else None)

    def _give_back_all(self) -> None:
        while self._releases and self._line is not None:
            release = self._releases.popleft()
            self._try(lambda line, release=release: line.release(release))  # type: ignore[misc]

    def _connect(self) -> None:
        self._drop()
        self._moved, self._found = False, ""
        try:
            for line in self._lines():
                self._line = line
                if self._try(self._look):
                    self._backoff.succeeded()
                    self._up.set()
                    break
        except LineUnpinned as error:
            _log.error("arbiter_unpinned", why=str(error))
            self._found = self._found or "unpinned"
            self._drop()
        except Exception as error:  # noqa: BLE001  (no line can even be made: silence, said in the log)
            _log.error("arbiter_unreachable", error=type(error).__name__, why=str(error))
            self._drop()
        self._trouble = self._found
        self._tried.set()

    def _look(self, line: Line) -> None:
        rules_in = line.reach(deadline_s=self._deadline_s)
        if rules_in != self._epoch():
            raise _DoesNotRule(f"epoch {rules_in} there, {self._epoch()} here")

    def _try(self, call: Callable[[Line], None]) -> bool:
        """Whether the line carried; dropped where it did not."""
        line = self._line
        if line is None:
            return False
        try:
            call(line)
            return True
        except HubRefused as error:
            _log.warning("arbiter_refused", error=error.error, why=str(error))
            if error.error != "epoch":
                return True
        except SyncError as error:
            _log.warning("arbiter_unreachable", why=str(error))
            if isinstance(error, HubKeyWrong):
                self._found = "wrong_key"
        except Exception as error:  # noqa: BLE001  (top of this thread: silence, said in the log)
            _log.error("arbiter_call_failed", error=type(error).__name__, why=str(error))
        self._drop()
        return False

    def _drop(self) -> None:
        self._up.clear()
        line, self._line = self._line, None
        if line is not None:
            line.close()


class _DoesNotRule(SyncError):
    """Somebody answers there, but not for the reign this gate lives in."""

    code = "sync.does_not_rule"
