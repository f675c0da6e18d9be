"""The ZVT terminal behind the payment contract: which commands, in which order, and what their answers prove.

Never repeats a financial command, never raises for money doubt, never answers a 04 0F that is not this attempt's. A lost line
closes the connection: what the terminal made of it is found out by `query`, on a new one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar

import structlog

from kiosk.payment.contract import (
    AttemptId,
    Baseline,
    Caps,
    Evidence,
    Health,
    Method,
    Outcome,
    PayRequest,
    Progress,
    Stage,
    Totals,
    Watcher,
)
from kiosk.payment.errors import TerminalLinkError
from kiosk.payment.zvt import codes, commands, messages
from kiosk.payment.zvt.apdu import Apdu
from kiosk.payment.zvt.dialogue import Dialogue, Wire
from kiosk.payment.zvt.hold import Ending, Hold, finish
from kiosk.payment.zvt.judge import Snapshot, judge, same_transaction
from kiosk.payment.zvt.link import Link
from kiosk.payment.zvt.messages import Intermediate, StatusInfo
from kiosk.payment.zvt.timers import Timers
from tickets.money import Money

log = structlog.get_logger()

T = TypeVar("T")

CURRENCY_NUMBER = {"JPY": 392, "KRW": 410, "USD": 840, "EUR": 978}
"""ISO 4217 numbers, as field 49 carries them."""


class HoldMode(StrEnum):
    """Whether an approval waits for our word. AUTO believes the terminal's registration (status bit 10)."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Options:
    """How this terminal is set up. `password` is its six-digit cashier password; `charset` a Python codec name."""

    currency: str = "JPY"
    password: int = 0
    config: int = commands.KIOSK_CONFIG
    hold: HoldMode = HoldMode.AUTO
    charset: str = "cp437"
    text_blocks: bool = True
    compares_totals: bool = True
    timers: Timers = field(default_factory=Timers)


@dataclass(frozen=True, slots=True)
class _Spoken:
    """A finished command: the terminal's answer to it, its 04 0F units, and how it ended (None: refused at once)."""

    answer: Apdu
    statuses: tuple[Apdu, ...]
    ending: Ending | None
    dialogue: Dialogue

    @property
    def is_complete(self) -> bool:
        return self.ending is not None and self.ending.is_completion


class ZvtTerminal:
    """A `kiosk.payment.contract.Terminal`. All calls but `cancel` come from one thread."""

    def __init__(self, link: Link, options: Options) -> None:
        self._wire = Wire(link)
        self._options = options
        self._timers = options.timers
        self._currency = CURRENCY_NUMBER[options.currency]
        self._terminal_id: str | None = None
        self._holds = options.hold is HoldMode.ALWAYS
        self._hold: Hold | None = None
        self._stop = threading.Event()
        self._is_authorising = False

    @property
    def caps(self) -> Caps:
        return Caps(
            holds=self._holds,
            voids_after_confirm=True,
            refunds_partly=False,  # 06 31 needs the card again: nobody stands there to ask
            queries_by_attempt=False,  # only the last transaction can be asked for
            ends_day=True,
            tells_balance=False,
            methods=frozenset({Method.CARD}),
            currencies=frozenset({self._options.currency}),
        )

    # -- without money ------------------------------------------------------------------------------------------------

    def open(self) -> Health:
        try:
            self._ensure()
        except TerminalLinkError as error:
            log.warning("terminal_not_open", code=error.code, reason=str(error))
            return Health.OFFLINE
        return self.health()

    def close(self) -> None:
        if self._hold is not None:
            self.void(self._hold.held)
        self._wire.close()

    def health(self) -> Health:
        if self._hold is not None:
            return Health.BUSY
        try:
            self._ensure()
            return self._health()
        except TerminalLinkError as error:
            log.warning("terminal_health", code=error.code, reason=str(error))
            self._wire.close()
            return Health.OFFLINE

    def baseline(self) -> Baseline:
        return self._asking(self._snapshot).to_mapping()

    def totals(self) -> Totals:
        return self._asking(lambda: self._sums(commands.turnover_totals(password=self._options.password)))

    def end_of_day(self) -> Totals:
        return self._asking(lambda: self._sums(commands.end_of_day(password=self._options.password)))

    def cancel(self) -> None:
        if self._is_authorising:
            self._stop.set()

    def query(self, request: PayRequest, *, seen: Evidence | None) -> Evidence:
        if self._hold is not None:
            return _plain(Outcome.IN_PROGRESS, "in_progress", request.attempt_id)
        try:
            self._ensure()
            if self._health() is Health.BUSY:
                # A payment that nobody waits for any more must not take the next guest's card.
                self._wire.send(commands.abort())
                self._wire.close()
                return _plain(Outcome.IN_PROGRESS, "in_progress", request.attempt_id)
            now = self._snapshot()
        except TerminalLinkError as error:
            return self._lost(error, _plain(Outcome.UNKNOWN, error.code, request.attempt_id))
        before = Snapshot.from_mapping(request.baseline)
        outcome, code = judge(amount_minor=request.amount.minor, before=before, now=now, seen=seen)
        log.info("payment_queried", attempt_id=request.attempt_id, outcome=outcome, code=code)
        if outcome is not Outcome.APPROVED_FINAL or now.last is None:
            # What the terminal named may be another's payment: only a proven charge carries its numbers.
            return replace(_plain(outcome, code, request.attempt_id), raw=self._trace())
        return self._evidence(outcome, code, request, now.last)

    # -- money --------------------------------------------------------------------------------------------------------

    def authorise(self, request: PayRequest, watch: Watcher) -> Evidence:
        nothing = _plain(Outcome.NOT_CHARGED, "terminal_busy", request.attempt_id)
        if self._hold is not None:
            return nothing
        if request.amount.currency != self._options.currency or request.method is not Method.CARD:
            return replace(nothing, code="not_supported")
        watch(Progress(Stage.CONNECTING))
        try:
            self._ensure()
        except TerminalLinkError as error:  # nothing financial has been sent
            return self._lost(error, replace(nothing, code=error.code))
        self._stop.clear()
        self._is_authorising = True
        self._wire.trace.clear()
        dialogue = self._dialogue(_Screen(watch), stop=self._stop, deadline_s=request.deadline_s)
        try:
            return self._authorise(request, dialogue)
        except TerminalLinkError as error:
            return self._lost(error, replace(nothing, outcome=Outcome.UNKNOWN, code=error.code))
        finally:
            self._is_authorising = False

    def confirm(self, held: Evidence) -> Evidence:
        hold, self._hold = self._hold, None
        if hold is None or hold.held.attempt_id != held.attempt_id:
            self._hold = hold
            return _after(held, Outcome.UNKNOWN, "no_hold")
        hold.take()
        try:
            if hold.failure is not None:
                raise hold.failure
            ending, code = hold.ending, "hold_expired"
            if ending is None:
                hold.dialogue.answer(commands.OK)
                ending = finish(
                    hold.dialogue,
                    commands.OK,
                    charset=self._options.charset,
                    within_s=self._timers.after_confirm_s,
                )
                code = "reversed_by_terminal"
        except TerminalLinkError as error:
            return self._lost(error, _after(held, Outcome.UNKNOWN, error.code))
        receipts = hold.dialogue.receipts
        proof = replace(held, customer_receipt=receipts.customer, merchant_receipt=receipts.merchant, raw=self._trace())
        if ending.is_completion:
            is_proof = code != "hold_expired" and ending.failed is None
            return _after(
                proof, *((Outcome.APPROVED_FINAL, "approved") if is_proof else (Outcome.UNKNOWN, "contradicts"))
            )
        if ending.failed is not None or code == "hold_expired":
            return _after(proof, Outcome.NOT_CHARGED, code)
        return _after(proof, Outcome.UNKNOWN, "aborted_after_confirm")

    def void(self, held: Evidence) -> Evidence:
        hold, self._hold = self._hold, None
        if hold is None or hold.held.attempt_id != held.attempt_id:
            self._hold = hold
            return _after(held, Outcome.UNKNOWN, "no_hold")
        hold.take()
        try:
            if hold.failure is not None:
                raise hold.failure
            ending = hold.ending
            if ending is None:
                hold.dialogue.answer(commands.REFUSE_GOODS)
                ending = finish(hold.dialogue, commands.REFUSE_GOODS, charset=self._options.charset)
        except TerminalLinkError as error:
            return self._lost(error, _after(held, Outcome.UNKNOWN, error.code))
        if ending.is_completion:  # it took the refusal for consent, or reversed and says so: only a query can tell
            return _after(held, Outcome.UNKNOWN, "completed_after_void", raw=self._trace())
        return _after(held, Outcome.NOT_CHARGED, "voided", raw=self._trace())

    def reverse(self, charged: Evidence, *, key: str) -> Evidence:
        still = Outcome.APPROVED_FINAL
        if self._hold is not None:
            return _after(charged, still, "terminal_busy")
        if charged.receipt_no is None or charged.amount is None:
            return _after(charged, still, "no_receipt_no")
        try:
            self._ensure()
        except TerminalLinkError as error:  # no reversal has been sent
            return self._lost(error, _after(charged, still, error.code))
        self._wire.trace.clear()
        log.info("payment_reversal", key=key, receipt_no=charged.receipt_no)
        command = commands.reversal(
            password=self._options.password,
            receipt_no=charged.receipt_no,
            amount_minor=charged.amount.minor,
            currency=self._currency,
        )
        try:
            spoken = self._speak(command)
        except TerminalLinkError as error:
            return self._lost(error, _after(charged, Outcome.UNKNOWN, error.code))
        outcome, code = self._judge_reversal(charged, spoken)
        return _after(charged, outcome, code, raw=self._trace())

    def refund(self, charged: Evidence, *, amount: Money, key: str) -> Evidence:
        log.warning("refund_not_supported", key=key, amount_minor=amount.minor)
        return _after(charged, Outcome.APPROVED_FINAL, "not_supported")

    # -- inside -------------------------------------------------------------------------------------------------------

    def _authorise(self, request: PayRequest, dialogue: Dialogue) -> Evidence:
        answer = dialogue.start(
            commands.authorisation(
                amount_minor=request.amount.minor,
                currency=self._currency,
                answer_timeout_s=self._timers.hold_answer_s if self._holds else None,
                status_infos_max=self._timers.hold_extends_max if self._holds else None,
            )
        )
        if not answer.is_consent:
            return self._evidence(Outcome.NOT_CHARGED, _refusal(answer), request, None)
        failed: StatusInfo | None = None
        approved: StatusInfo | None = None
        while (unit := dialogue.next()).control == messages.STATUS_INFO:
            status = messages.status_info(unit, charset=self._options.charset)
            if status.is_success:
                if not self._is_ours(request, status):
                    return self._foreign(request)
                if self._holds:
                    return self._begin_hold(request, dialogue, status)
                approved, failed = status, None
            else:
                failed = status  # a wrong PIN may be asked for again: another 04 0F follows
            dialogue.answer(commands.OK)
        if unit.control == messages.COMPLETION and approved is not None and failed is None:
            receipts = dialogue.receipts
            return replace(
                self._evidence(Outcome.APPROVED_FINAL, "approved", request, approved),
                customer_receipt=receipts.customer,
                merchant_receipt=receipts.merchant,
            )
        if approved is not None or (unit.control == messages.COMPLETION and failed is None):
            return self._evidence(Outcome.UNKNOWN, "contradicts", request, approved)
        result = messages.aborted(unit).result if unit.control == messages.ABORTED else None
        result = result if failed is None or failed.result is None else failed.result
        return self._evidence(_failure(result), codes.result_code(result), request, failed)

    def _begin_hold(self, request: PayRequest, dialogue: Dialogue, status: StatusInfo) -> Evidence:
        dialogue.disarm()
        held = self._evidence(Outcome.APPROVED_HELD, "approved_held", request, status)
        self._hold = Hold(dialogue, held, status, self._timers, charset=self._options.charset)
        self._hold.start()
        return held

    def _is_ours(self, request: PayRequest, status: StatusInfo) -> bool:
        """Whether an approval can be this attempt's: amount, currency, terminal, and not what the baseline already had."""
        before = Snapshot.from_mapping(request.baseline)
        return (
            status.amount_minor in (None, request.amount.minor)
            and status.currency in (None, self._currency)
            and (status.terminal_id is None or before.terminal_id in (None, status.terminal_id))
            and (before.last is None or not same_transaction(status, before.last))
        )

    def _foreign(self, request: PayRequest) -> Evidence:
        # Unanswered: confirming it could charge somebody, refusing it could reverse somebody.
        self._wire.close()
        return self._evidence(Outcome.UNKNOWN, "foreign_status", request, None)

    def _judge_reversal(self, charged: Evidence, spoken: _Spoken) -> tuple[Outcome, str]:
        if spoken.ending is None:
            return Outcome.APPROVED_FINAL, _refusal(spoken.answer)
        told = [messages.status_info(unit, charset=self._options.charset) for unit in spoken.statuses]
        status = told[-1] if told else None
        result = spoken.ending.result if status is None or status.result is None else status.result
        if result == codes.ALREADY_REVERSED or spoken.ending.result == codes.ALREADY_REVERSED:
            return Outcome.NOT_CHARGED, "already_reversed"
        if not spoken.is_complete or (status is not None and not status.is_success):
            return Outcome.APPROVED_FINAL, codes.result_code(result)
        if status is None:
            return Outcome.UNKNOWN, "reversal_unproven"
        assert charged.amount is not None
        wrong_amount = status.amount_minor not in (None, charged.amount.minor)
        wrong_trace = charged.trace is not None and status.original_trace not in (None, charged.trace)
        if wrong_amount or wrong_trace:  # some terminals reverse their last payment, whatever the receipt number says
            return Outcome.UNKNOWN, "other_reversed"
        return Outcome.NOT_CHARGED, "reversed"

    def _ensure(self) -> None:
        """A registered connection on which nobody has spoken out of turn. Raises TerminalLinkError; sends no money command."""
        if self._wire.is_open and self._wire.is_quiet():
            return
        self._wire.close()
        self._wire.open()
        try:
            self._register()
        except TerminalLinkError:
            self._wire.close()
            raise

    def _register(self) -> None:
        options = self._options
        spoken = self._speak(
            commands.registration(
                password=options.password,
                config=options.config,
                currency=self._currency,
                text_blocks=options.text_blocks,
            ),
            keep_unit=True,
        )
        if not spoken.is_complete:
            raise TerminalLinkError(f"registration refused: {_refusal(spoken.answer)}")
        end = messages.completion(spoken.statuses[-1])
        self._terminal_id = end.terminal_id or self._terminal_id
        status = end.status or 0
        match options.hold:
            case HoldMode.AUTO:
                self._holds = bool(status & codes.STATUS_VENDING)
            case HoldMode.ALWAYS | HoldMode.NEVER:
                self._holds = options.hold is HoldMode.ALWAYS
        if status & codes.STATUS_INITIALISE:
            self._speak(commands.initialisation(password=options.password))
        if status & codes.STATUS_DIAGNOSE:
            self._speak(commands.diagnosis())
        log.info("terminal_registered", terminal_id=self._terminal_id, holds=self._holds, status=status)

    def _health(self) -> Health:
        spoken = self._speak(commands.status_enquiry(), keep_unit=True)
        if spoken.ending is None:
            busy = spoken.answer.control == commands.WAIT.control
            return Health.BUSY if busy else Health.OUT_OF_ORDER
        if not spoken.is_complete:
            return Health.OUT_OF_ORDER
        state = messages.terminal_state(spoken.statuses[-1])
        return Health.READY if state.status is None else codes.HEALTH.get(state.status, Health.OUT_OF_ORDER)

    def _snapshot(self) -> Snapshot:
        spoken = self._speak(commands.repeat_receipt(password=self._options.password))
        last: StatusInfo | None = None
        if spoken.is_complete and spoken.statuses:
            last = messages.status_info(spoken.statuses[-1], charset=self._options.charset)
        total: int | None = None
        if self._options.compares_totals:
            sums = self._speak(commands.turnover_totals(password=self._options.password))
            if sums.is_complete and sums.statuses:
                told = messages.totals_info(sums.statuses[-1])
                total = told.total_minor if told.result in (None, codes.OK) else None
        return Snapshot(self._terminal_id, last, total)

    def _sums(self, command: Apdu) -> Totals:
        spoken = self._speak(command)
        if not spoken.is_complete or not spoken.statuses:
            raise TerminalLinkError(f"no totals: {_refusal(spoken.answer)}")
        told = messages.totals_info(spoken.statuses[-1])
        currency = self._options.currency
        return Totals(
            total=Money(told.total_minor or 0, currency),
            by_brand={name: (count, Money(minor, currency)) for name, count, minor in told.by_brand if count},
            receipt_no_first=told.receipt_no_first,
            receipt_no_last=told.receipt_no_last,
        )

    def _asking(self, ask: Callable[[], T]) -> T:
        """Run a question that moves no money, and close the line if it fails. Raises TerminalLinkError."""
        if self._hold is not None:
            raise TerminalLinkError("a payment is held: the terminal's turn is not ours")
        try:
            self._ensure()
            return ask()
        except TerminalLinkError:
            self._wire.close()
            raise

    def _speak(self, command: Apdu, *, keep_unit: bool = False) -> _Spoken:
        """A whole command whose 04 0F need no decision. With `keep_unit` the last unit, 06 0F or 06 1E, is in `statuses`."""
        dialogue = self._dialogue(None)
        answer = dialogue.start(command)
        if not answer.is_consent:
            return _Spoken(answer, (), None, dialogue)
        statuses: list[Apdu] = []
        while (unit := dialogue.next()).control == messages.STATUS_INFO:
            statuses.append(unit)
            dialogue.answer(commands.OK)
        if keep_unit:
            statuses.append(unit)
        result = (
            messages.completion(unit).result if unit.control == messages.COMPLETION else messages.aborted(unit).result
        )
        return _Spoken(answer, tuple(statuses), Ending(unit.control, result), dialogue)

    def _dialogue(
        self,
        watch: Callable[[Intermediate], None] | None,
        *,
        stop: threading.Event | None = None,
        deadline_s: float | None = None,
    ) -> Dialogue:
        return Dialogue(
            self._wire, self._timers, charset=self._options.charset, watch=watch, stop=stop, deadline_s=deadline_s
        )

    def _lost(self, error: TerminalLinkError, evidence: Evidence) -> Evidence:
        """The line is not to be trusted any more: close it, and put on record what was said last."""
        log.warning("terminal_lost", code=error.code, reason=str(error), outcome=evidence.outcome)
        self._wire.close()
        return replace(evidence, raw=self._trace())

    def _trace(self) -> tuple[str, ...]:
        return tuple(self._wire.trace)

    def _evidence(self, outcome: Outcome, code: str, request: PayRequest, status: StatusInfo | None) -> Evidence:
        plain = _plain(outcome, code, request.attempt_id)
        if status is None:
            return replace(plain, raw=self._trace())
        return replace(
            plain,
            amount=request.amount
            if status.amount_minor is None
            else Money(status.amount_minor, request.amount.currency),
            brand=status.brand,
            masked_id=status.masked_id,
            entry=status.entry,
            terminal_id=status.terminal_id or self._terminal_id,
            receipt_no=status.receipt_no,
            trace=status.trace,
            turnover=status.turnover,
            auth_code=status.auth_code,
            at=" ".join(part for part in (status.date, status.time) if part) or None,
            text=status.text,
            raw=self._trace(),
        )


class _Screen:
    """Turns the terminal's intermediate statuses into progress for the guest."""

    def __init__(self, watch: Watcher) -> None:
        self._watch = watch
        self._stage = Stage.CONNECTING
        self._may_cancel = True

    def __call__(self, state: Intermediate) -> None:
        self._stage = codes.stage(state.status) or self._stage
        self._may_cancel = self._may_cancel and state.status not in codes.NO_MORE_CANCEL
        self._watch(Progress(self._stage, state.text, self._may_cancel))


def _plain(outcome: Outcome, code: str, attempt_id: AttemptId) -> Evidence:
    return Evidence(outcome=outcome, code=code, attempt_id=attempt_id)


def _after(evidence: Evidence, outcome: Outcome, code: str, *, raw: tuple[str, ...] | None = None) -> Evidence:
    """The same payment's evidence with a new standing: its numbers stay the charge's."""
    return replace(evidence, outcome=outcome, code=code, raw=evidence.raw if raw is None else raw)


def _refusal(answer: Apdu) -> str:
    if answer.control == commands.WAIT.control:
        return "terminal_busy"
    if answer.control == commands.NOT_SUPPORTED.control:
        return "not_supported"
    return codes.result_code(answer.control & 0xFF)


def _failure(result: int | None) -> Outcome:
    """An orderly end without a charge, by result code (PA00P015, chapter 10): 01 to 63 are the host's, 6C a key or time-out."""
    if result == codes.CANCELLED:
        return Outcome.CANCELLED
    if result in codes.BY_CARD_OR_HOST:
        return Outcome.DECLINED
    return Outcome.NOT_CHARGED
