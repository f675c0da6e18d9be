"""A registered connection, and the questions that move no money. It knows no payment and decides nothing.

A connection on which somebody has spoken out of turn is given up: the next command goes over a new one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from kiosk.payment.contract import Health, Totals
from kiosk.payment.errors import TerminalLinkError
from kiosk.payment.zvt import codes, commands, messages
from kiosk.payment.zvt.apdu import Apdu
from kiosk.payment.zvt.dialogue import Dialogue, Wire
from kiosk.payment.zvt.judge import Snapshot
from kiosk.payment.zvt.link import Link
from kiosk.payment.zvt.messages import Intermediate, StatusInfo
from kiosk.payment.zvt.options import CURRENCY_NUMBER, HoldMode, Options
from tickets.money import Money

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Spoken:
    """A finished command: the answer to it, its 04 0F units, and the unit that ended it (None: refused at once)."""

    answer: Apdu
    statuses: tuple[Apdu, ...] = ()
    end: Apdu | None = None

    @property
    def is_complete(self) -> bool:
        return self.end is not None and self.end.control == messages.COMPLETION


class Session:
    """One terminal's line. Methods raise TerminalLinkError unless they say otherwise."""

    def __init__(self, link: Link, options: Options) -> None:
        self.wire = Wire(link)
        self.options = options
        self.timers = options.timers
        self.currency = CURRENCY_NUMBER[options.currency]
        self.terminal_id: str | None = None
        self.holds = options.hold is HoldMode.ALWAYS
        self._rests_until_s = 0.0

    @property
    def is_resting(self) -> bool:
        """The terminal said that it goes away for a while, and has not been heard since."""
        return time.monotonic() < self._rests_until_s

    def ensure(self) -> None:
        """A registered connection on which nobody has spoken out of turn. Raises TerminalLinkError; sends no money command."""
        if self.wire.is_open and self.wire.is_quiet():
            return
        self.wire.close()
        self.wire.open()
        try:
            self._register()
        except TerminalLinkError:
            self.wire.close()
            raise

    def _register(self) -> None:
        options = self.options
        spoken = self.speak(
            commands.registration(
                password=options.password,
                config=options.config,
                currency=self.currency,
                text_blocks=options.text_blocks,
                sequence_ids=options.numbers_messages,
            ),
        )
        if spoken.answer.control == commands.WAIT.control:
            # On a serial line a terminal does not notice that the kiosk started anew: it may still wait for the card of a
            # guest who is gone, and must not take the next one's.
            self.wire.send(commands.abort())
        if spoken.end is None or not spoken.is_complete:
            raise TerminalLinkError(f"registration refused: {refusal(spoken.answer)}")
        end = messages.completion(spoken.end)
        self.terminal_id = end.terminal_id or self.terminal_id
        if options.numbers_messages and end.sequence_ids:
            self.wire.number_from_now_on()
        self._rests_until_s = 0.0
        status = end.status or 0
        match options.hold:
            case HoldMode.AUTO:
                self.holds = bool(status & codes.STATUS_VENDING)
            case HoldMode.ALWAYS | HoldMode.NEVER:
                self.holds = options.hold is HoldMode.ALWAYS
        if status & codes.STATUS_INITIALISE:
            self.speak(commands.initialisation(password=options.password))
        if status & codes.STATUS_DIAGNOSE:
            self.speak(commands.diagnosis())
        log.info("terminal_registered", terminal_id=self.terminal_id, holds=self.holds, status=status)

    def health(self) -> Health:
        """05 01, in the contract's words."""
        # A container may follow the password only, not stand in its place.
        password = self.options.password if self.wire.is_numbered else None
        spoken = self.speak(commands.status_enquiry(password=password))
        if spoken.end is None:
            busy = spoken.answer.control == commands.WAIT.control
            return Health.BUSY if busy else Health.OUT_OF_ORDER
        if not spoken.is_complete:
            return Health.OUT_OF_ORDER
        state = messages.terminal_state(spoken.end)
        return Health.READY if state.status is None else codes.HEALTH.get(state.status, Health.OUT_OF_ORDER)

    def last_transaction(self) -> StatusInfo | None:
        """06 20: the terminal's last transaction, or None where it has none or does not tell."""
        spoken = self.speak(commands.repeat_receipt(password=self.options.password))
        if not spoken.is_complete or not spoken.statuses:
            return None
        return messages.status_info(spoken.statuses[-1], charset=self.options.charset)

    def snapshot(self) -> Snapshot:
        """06 20 and 06 10: the last transaction and the sums, where the terminal tells them."""
        last = self.last_transaction()
        total: int | None = None
        receipt_no_last: int | None = None
        if self.options.compares_totals:
            sums = self.speak(commands.turnover_totals(password=self.options.password))
            if sums.is_complete and sums.statuses:
                told = messages.totals_info(sums.statuses[-1])
                total = told.total_minor if told.result in (None, codes.OK) else None
                receipt_no_last = told.receipt_no_last
        return Snapshot(self.terminal_id, last, total, receipt_no_last)

    def sums(self, command: Apdu) -> Totals:
        """The sums that 06 10 or 06 50 brings."""
        spoken = self.speak(command)
        if not spoken.is_complete or not spoken.statuses:
            raise TerminalLinkError(f"no totals: {refusal(spoken.answer)}")
        told = messages.totals_info(spoken.statuses[-1])
        if (
            command.control == commands.END_OF_DAY
            and spoken.end is not None
            and set(spoken.end.data[:1]) & codes.GOES_AWAY
        ):
            self._rests_until_s = time.monotonic() + self.timers.rest_s
            log.info("terminal_rests", rest_s=self.timers.rest_s)
        currency = self.options.currency
        return Totals(
            total=Money(told.total_minor or 0, currency),
            by_brand={name: (count, Money(minor, currency)) for name, count, minor in told.by_brand if count},
            receipt_no_first=told.receipt_no_first,
            receipt_no_last=told.receipt_no_last,
        )

    def speak(self, command: Apdu) -> Spoken:
        """A whole command whose 04 0F need no decision: each is acknowledged."""
        dialogue = self.dialogue(None)
        answer = dialogue.start(command)
        if not answer.is_consent:
            return Spoken(answer)
        statuses: list[Apdu] = []
        while (unit := dialogue.next()).control == messages.STATUS_INFO:
            statuses.append(unit)
            dialogue.answer(commands.OK)
        return Spoken(answer, tuple(statuses), unit)

    def dialogue(
        self,
        watch: Callable[[Intermediate], None] | None,
        *,
        stop: threading.Event | None = None,
        deadline_s: float | None = None,
    ) -> Dialogue:
        return Dialogue(
            self.wire, self.timers, charset=self.options.charset, watch=watch, stop=stop, deadline_s=deadline_s
        )


def refusal(answer: Apdu) -> str:
    """Our stable word for an 84 xx."""
    if answer.control == commands.WAIT.control:
        return "terminal_busy"
    if answer.control == commands.NOT_SUPPORTED.control:
        return "not_supported"
    return codes.result_code(answer.control & 0xFF)
