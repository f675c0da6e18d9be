"""An approval that waits for our word: 04 0F unanswered, or answered with 84 9C so that the terminal asks again.

The sale engine has rows to sync before it may confirm, and a terminal waits only so long. While nobody has decided, a thread of
its own says "not yet" in time; at the limit it refuses, because a hold that nobody decides must not become a charge.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import structlog

from kiosk.payment.contract import Evidence
from kiosk.payment.errors import TerminalLinkError
from kiosk.payment.zvt import commands, messages
from kiosk.payment.zvt.apdu import Apdu
from kiosk.payment.zvt.dialogue import Dialogue
from kiosk.payment.zvt.messages import StatusInfo
from kiosk.payment.zvt.timers import Timers

log = structlog.get_logger()

_REPEAT_EARLIEST_S = 1.0
"""A terminal asks again 2 s after 84 9C; the same 04 0F sooner than this was sent twice."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a conversation ended: the control field of its last unit, its result code, and the last failure told before."""

    control: int
    result: int | None
    failed: StatusInfo | None = None

    @property
    def is_completion(self) -> bool:
        return self.control == messages.COMPLETION


class Hold:
    """Keeps one hold alive from `start` until `take`. After `take` the dialogue belongs to the caller again."""

    def __init__(self, dialogue: Dialogue, held: Evidence, status: StatusInfo, timers: Timers, *, charset: str) -> None:
        self.dialogue, self.held, self.status = dialogue, held, status
        self.ending: Ending | None = None
        """The hold ended by itself: refused at our limit, or by the terminal."""
        self.is_refused = False
        """It was our refusal that ended it."""
        self.failure: TerminalLinkError | None = None
        """The line was lost while holding."""
        self._timers, self._charset = timers, charset
        self._wanted = threading.Condition()
        self._is_wanted = False
        self._thread = threading.Thread(target=self._keep, name="zvt-hold", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def take(self) -> None:
        """Stop extending. On return either `ending` or `failure` is set, or a 04 0F waits for the caller's answer.

        Takes up to 2 s if the terminal has just been told to ask again.
        """
        with self._wanted:
            self._is_wanted = True
            self._wanted.notify()
        self._thread.join()

    def confirm(self) -> None:
        """After `take`: the goods are issued. Sets `ending` or `failure`."""
        self._decide(commands.OK)

    def refuse(self) -> None:
        """After `take`: no goods, reverse. Sets `ending` or `failure`."""
        self.is_refused = True
        self._decide(commands.REFUSE_GOODS)

    def _decide(self, word: Apdu) -> None:
        try:
            self.dialogue.answer(word)
            self.ending = finish(self.dialogue, word, charset=self._charset, within_s=self._timers.after_confirm_s)
        except TerminalLinkError as error:
            self.failure = error

    def _keep(self) -> None:
        try:
            for _ in range(self._timers.hold_extends_max):
                if self._decided():
                    return
                self.dialogue.answer(commands.WAIT)
                if not self._asked_again():
                    return
            if not self._decided():
                log.warning("zvt_hold_expired", attempt_id=self.held.attempt_id)
                self.refuse()
        except TerminalLinkError as error:
            self.failure = error

    def _decided(self) -> bool:
        with self._wanted:
            return self._wanted.wait_for(lambda: self._is_wanted, timeout=self._timers.hold_extend_after_s)

    def _asked_again(self) -> bool:
        """Wait for the 04 0F that follows 84 9C. False when the terminal ended the payment instead."""
        said_at_s = time.monotonic()
        while True:
            unit = self.dialogue.next(within_s=self._timers.hold_repeat_s)
            if unit.control != messages.STATUS_INFO:
                self.ending = ending_of(unit, None)
                return False
            status = messages.status_info(unit, charset=self._charset)
            if not status.is_success:
                self.dialogue.answer(commands.OK)
                self.ending = finish(self.dialogue, commands.OK, failed=status, charset=self._charset)
                return False
            if time.monotonic() - said_at_s >= _REPEAT_EARLIEST_S:
                return True


def finish(
    dialogue: Dialogue,
    answer: Apdu,
    *,
    charset: str,
    failed: StatusInfo | None = None,
    within_s: float | None = None,
) -> Ending:
    """Listen until the terminal hands the turn back. A success told again gets `answer` again; a failure is acknowledged.

    Raises TerminalLinkError, also after T4 or `within_s` of silence.
    """
    while (unit := dialogue.next(within_s=within_s)).control == messages.STATUS_INFO:
        status = messages.status_info(unit, charset=charset)
        if status.is_success:
            dialogue.answer(answer)
        else:
            failed = status
            dialogue.answer(commands.OK)
    return ending_of(unit, failed)


def ending_of(unit: Apdu, failed: StatusInfo | None) -> Ending:
    result = messages.completion(unit).result if unit.control == messages.COMPLETION else messages.aborted(unit).result
    return Ending(unit.control, result, failed)
