"""The ZVT terminal behind the payment contract: which commands, in which order, and what their answers prove.

Never repeats a financial command, never raises for money doubt, never answers a 04 0F that is not this attempt's. A lost line
closes the connection: what the terminal made of it is found out by `query`, on a new one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
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
from kiosk.payment.zvt import bcd, codes, commands, messages
from kiosk.payment.zvt.apdu import Apdu
from kiosk.payment.zvt.dialogue import Dialogue
from kiosk.payment.zvt.errors import AttemptOpenError
from kiosk.payment.zvt.hold import Hold
from kiosk.payment.zvt.judge import Snapshot, is_seen, judge, same_transaction
from kiosk.payment.zvt.link import Link
from kiosk.payment.zvt.messages import Intermediate, StatusInfo
from kiosk.payment.zvt.options import Options
from kiosk.payment.zvt.session import Session, Spoken, refusal
from tickets.money import Money

log = structlog.get_logger()

T = TypeVar("T")


class ZvtTerminal:
    """A `kiosk.payment.contract.Terminal`. All calls but `cancel` come from one thread."""

    def __init__(self, link: Link, options: Options) -> None:
        self._session = Session(link, options)
        self._options = options
        self._timers = options.timers
        self._hold: Hold | None = None
        self._stop = threading.Event()
        self._is_authorising = False
        self._in_doubt: AttemptId | None = None
        self._last_receipt_no: int | None = None

    @property
    def caps(self) -> Caps:
        return Caps(
            holds=self._session.holds,
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
            self._session.ensure()
        except TerminalLinkError as error:
            log.warning("terminal_not_open", code=error.code, reason=str(error))
            return self._absent()
        return self.health()

    def close(self) -> None:
        if self._hold is not None:
            self.void(self._hold.held)
        self._session.wire.close()

    def health(self) -> Health:
        if self._hold is not None:
            return Health.BUSY
        try:
            self._session.ensure()
            return self._session.health()
        except TerminalLinkError as error:
            log.warning("terminal_health", code=error.code, reason=str(error))
            self._session.wire.close()
            return self._absent()

    def baseline(self) -> Baseline:
        return self._asking(self._session.snapshot).to_mapping()

    def totals(self) -> Totals:
        return self._asking(lambda: self._session.sums(commands.turnover_totals(password=self._options.password)))

    def end_of_day(self) -> Totals:
        if self._in_doubt is not None or self._hold is not None:
            raise AttemptOpenError(
                f"attempt {self._in_doubt} is not settled: after an end of day nothing of it can be reversed"
            )
        totals = self._asking(lambda: self._session.sums(commands.end_of_day(password=self._options.password)))
        if self._session.is_resting:
            self._session.wire.close()
        return totals

    def cancel(self) -> None:
        if self._is_authorising:
            self._stop.set()

    def query(self, request: PayRequest, *, seen: Evidence | None) -> Evidence:
        return self._noted(self._query(request, seen))

    def _query(self, request: PayRequest, seen: Evidence | None) -> Evidence:
        if self._hold is not None:
            return _plain(Outcome.IN_PROGRESS, "in_progress", request.attempt_id)
        try:
            self._session.ensure()
            if self._session.health() is Health.BUSY:
                # A payment that nobody waits for any more must not take the next guest's card.
                self._session.wire.send(commands.abort())
                self._session.wire.close()
                return _plain(Outcome.IN_PROGRESS, "in_progress", request.attempt_id)
            now = self._session.snapshot()
        except TerminalLinkError as error:
            return self._lost(error, _plain(Outcome.UNKNOWN, error.code, request.attempt_id))
        before = Snapshot.from_mapping(request.baseline)
        outcome, code = judge(amount_minor=request.amount.minor, before=before, now=now, seen=seen)
        log.info("payment_queried", attempt_id=request.attempt_id, outcome=outcome, code=code)
        if outcome is Outcome.APPROVED_FINAL and now.last is None and seen is not None:
            return _after(replace(seen, attempt_id=request.attempt_id), outcome, code, raw=self._trace())
        if outcome is not Outcome.APPROVED_FINAL or now.last is None:
            # What the terminal named may be another's payment: only a proven charge carries its numbers.
            return replace(_plain(outcome, code, request.attempt_id), raw=self._trace())
        return self._evidence(outcome, code, request, now.last)

    # -- money --------------------------------------------------------------------------------------------------------

    def authorise(self, request: PayRequest, watch: Watcher) -> Evidence:
        return self._noted(self._pay(request, watch))

    def _pay(self, request: PayRequest, watch: Watcher) -> Evidence:
        nothing = _plain(Outcome.NOT_CHARGED, "terminal_busy", request.attempt_id)
        if self._hold is not None:
            return nothing
        if request.amount.currency != self._options.currency or request.method is not Method.CARD:
            return replace(nothing, code="not_supported")
        self._stop.clear()
        self._is_authorising = True
        try:
            watch(Progress(Stage.CONNECTING))
            try:
                self._session.ensure()
            except TerminalLinkError as error:  # nothing financial has been sent
                return self._lost(error, replace(nothing, code=error.code))
            if self._stop.is_set():
                return replace(nothing, outcome=Outcome.CANCELLED, code="cancelled_before_sending")
            self._in_doubt = request.attempt_id
            self._session.wire.trace.clear()
            dialogue = self._session.dialogue(_Screen(watch), stop=self._stop, deadline_s=request.deadline_s)
            try:
                return self._authorise(request, dialogue)
            except TerminalLinkError as error:
                return self._lost(error, replace(nothing, outcome=Outcome.UNKNOWN, code=error.code))
        except BaseException:  # the watcher's own: what was half said is not to be taken up by the next command
            self._session.wire.close()
            raise
        finally:
            self._is_authorising = False

    def confirm(self, held: Evidence) -> Evidence:
        return self._noted(self._confirm(held))

    def _confirm(self, held: Evidence) -> Evidence:
        hold = self._take(held)
        if hold is None:
            return _after(held, Outcome.UNKNOWN, "no_hold")
        expired = hold.ending is not None
        if not expired and hold.failure is None:
            hold.confirm()
        if hold.failure is not None or hold.ending is None:
            return self._lost_hold(hold)
        receipts = hold.dialogue.receipts
        told = replace(held, customer_receipt=receipts.customer, merchant_receipt=receipts.merchant, raw=self._trace())
        if hold.ending.is_completion and not expired and hold.ending.failed is None:
            return _after(told, Outcome.APPROVED_FINAL, "approved")
        return _uncharged(told, hold, code="hold_expired" if expired else "reversed_by_terminal")

    def void(self, held: Evidence) -> Evidence:
        return self._noted(self._void(held))

    def _void(self, held: Evidence) -> Evidence:
        hold = self._take(held)
        if hold is None:
            return _after(held, Outcome.UNKNOWN, "no_hold")
        if hold.ending is None and hold.failure is None:
            hold.refuse()
        if hold.failure is not None or hold.ending is None:
            return self._lost_hold(hold)
        return _uncharged(_after(held, held.outcome, held.code, raw=self._trace()), hold, code="voided")

    def reverse(self, charged: Evidence, *, key: str) -> Evidence:
        return self._noted(self._reverse(charged, key))

    def _reverse(self, charged: Evidence, key: str) -> Evidence:
        still = Outcome.APPROVED_FINAL
        if self._hold is not None:
            return _after(charged, still, "terminal_busy")
        if charged.receipt_no is None or charged.amount is None:
            return _after(charged, still, "no_receipt_no")
        try:
            self._session.ensure()
            told = self._not_last(charged) if self._options.reverses_only_last else None
        except TerminalLinkError as error:  # no reversal has been sent
            return self._lost(error, _after(charged, still, error.code))
        if told is not None:
            return told
        self._session.wire.trace.clear()
        log.info("payment_reversal", key=key, receipt_no=charged.receipt_no)
        command = commands.reversal(
            password=self._options.password,
            receipt_no=charged.receipt_no,
            amount_minor=charged.amount.minor,
            currency=self._session.currency,
        )
        try:
            spoken = self._session.speak(command)
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
                currency=self._session.currency,
                answer_timeout_s=self._timers.hold_answer_s if self._session.holds else None,
                status_infos_max=self._timers.hold_extends_max if self._session.holds else None,
                mirrored=_mirrored(request.baseline) if self._options.mirrors_receipt else None,
                order=str(request.order_ref) if self._options.compares_orders else None,
            )
        )
        if not answer.is_consent:
            return self._evidence(Outcome.NOT_CHARGED, refusal(answer), request, None)
        failed: StatusInfo | None = None
        approved: StatusInfo | None = None
        while (unit := dialogue.next()).control == messages.STATUS_INFO:
            status = messages.status_info(unit, charset=self._options.charset)
            if status.is_success:
                if not self._is_ours(request, status):
                    return self._foreign(request)
                if self._session.holds:
                    return self._begin_hold(request, dialogue, status)
                approved, failed = status, None
            elif status.result is None:  # neither yes nor no: to answer it could be to consent
                return self._foreign(request)
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
        if approved is not None or unit.control == messages.COMPLETION:
            return self._evidence(Outcome.UNKNOWN, "contradicts", request, approved)
        result = _result(unit, failed)
        if result == codes.ALREADY_REVERSED and self._options.compares_orders:
            # The terminal has charged this order before, and by our books nothing of it is: only a query may settle that.
            return self._evidence(Outcome.UNKNOWN, "order_charged_before", request, None)
        return self._evidence(_failure(result), codes.result_code(result), request, failed)

    def _take(self, held: Evidence) -> Hold | None:
        """The hold of this attempt, no longer kept alive; None if there is none."""
        hold = self._hold
        if hold is None or hold.held.attempt_id != held.attempt_id:
            return None
        self._hold = None
        hold.take()
        return hold

    def _lost_hold(self, hold: Hold) -> Evidence:
        error = hold.failure or TerminalLinkError("the hold has no end")
        return self._lost(error, _after(hold.held, Outcome.UNKNOWN, error.code))

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
            and status.currency in (None, self._session.currency)
            and (status.terminal_id is None or before.terminal_id in (None, status.terminal_id))
            and (before.last is None or not same_transaction(status, before.last))
        )

    def _foreign(self, request: PayRequest) -> Evidence:
        # Unanswered: confirming it could charge somebody, refusing it could reverse somebody.
        self._session.wire.close()
        return self._evidence(Outcome.UNKNOWN, "foreign_status", request, None)

    def _judge_reversal(self, charged: Evidence, spoken: Spoken) -> tuple[Outcome, str]:
        if spoken.end is None:
            return Outcome.APPROVED_FINAL, refusal(spoken.answer)
        told = [messages.status_info(unit, charset=self._options.charset) for unit in spoken.statuses]
        status = told[-1] if told else None
        if not spoken.is_complete:
            if status is not None and status.is_success:
                return Outcome.UNKNOWN, "contradicts"
            return _reversal_refused(_result(spoken.end, status))
        if status is None or not status.is_success:
            return Outcome.UNKNOWN, "reversal_unproven"
        assert charged.amount is not None
        # Some terminals reverse their last payment, whatever the receipt number says. A reversal may have a number of its own:
        # then the trace it names is the proof.
        wrong_amount = status.amount_minor not in (None, charged.amount.minor)
        names_trace = charged.trace is not None and status.original_trace is not None
        if wrong_amount or (names_trace and status.original_trace != charged.trace):
            return Outcome.UNKNOWN, "other_reversed"
        if not names_trace and status.receipt_no != charged.receipt_no:
            return Outcome.UNKNOWN, "other_reversed" if status.receipt_no is not None else "reversal_unproven"
        return Outcome.NOT_CHARGED, "reversed"

    def _not_last(self, charged: Evidence) -> Evidence | None:
        """Why no reversal of this charge is to be sent: it is not the terminal's last transaction. None: it is.

        Raises TerminalLinkError.
        """
        last = self._session.last_transaction()
        if last is None or not any(last.identity):
            mine = self._last_receipt_no is not None and self._last_receipt_no == charged.receipt_no
            return None if mine else _after(charged, Outcome.APPROVED_FINAL, "last_unknown")
        if last.original_trace is not None and last.original_trace == charged.trace and last.is_success:
            return _after(charged, Outcome.NOT_CHARGED, "already_reversed")
        if not is_seen(last, charged) or (last.amount_minor, charged.amount) == (None, None):
            return _after(charged, Outcome.APPROVED_FINAL, "not_last")
        # It is this one. Reversed by the terminal meanwhile, it has failed: a query says so, with the sums for a witness.
        return None if last.is_success else _after(charged, Outcome.UNKNOWN, "last_failed")

    def _absent(self) -> Health:
        return Health.BUSY if self._session.is_resting else Health.OFFLINE

    def _noted(self, evidence: Evidence) -> Evidence:
        """Remember whether an attempt is open, and which charge was the last: an end of day and a reversal hang on it."""
        if evidence.attempt_id is None or evidence.code == "no_hold":
            return evidence
        if evidence.outcome in {Outcome.UNKNOWN, Outcome.IN_PROGRESS, Outcome.APPROVED_HELD}:
            self._in_doubt = evidence.attempt_id
        elif self._in_doubt == evidence.attempt_id:
            self._in_doubt = None
        if evidence.outcome is Outcome.APPROVED_FINAL and evidence.code in {"approved", "last_is_ours", "totals_moved"}:
            self._last_receipt_no = evidence.receipt_no
        return evidence

    def _asking(self, ask: Callable[[], T]) -> T:
        """Run a question that moves no money, and close the line if it fails. Raises TerminalLinkError."""
        if self._hold is not None:
            raise TerminalLinkError("a payment is held: the terminal's turn is not ours")
        try:
            self._session.ensure()
            return ask()
        except TerminalLinkError:
            self._session.wire.close()
            raise

    def _lost(self, error: TerminalLinkError, evidence: Evidence) -> Evidence:
        """The line is not to be trusted any more: close it, and put on record what was said last."""
        log.warning("terminal_lost", code=error.code, reason=str(error), outcome=evidence.outcome)
        self._session.wire.close()
        return replace(evidence, raw=self._trace())

    def _trace(self) -> tuple[str, ...]:
        return tuple(self._session.wire.trace)

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
            terminal_id=status.terminal_id or self._session.terminal_id,
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


def _mirrored(baseline: Baseline) -> bytes:
    """What 1F1F carries: the identifier of the terminal's last transaction as it told it, else its receipt number, else nothing.

    It comes from the baseline that is in the journal, so the terminal takes back nothing that the journal does not know of.
    """
    last = Snapshot.from_mapping(baseline).last
    if last is None:
        return b""
    if last.unique_id:
        return bytes.fromhex(last.unique_id)
    return bcd.encode(last.receipt_no, size=2) if last.receipt_no else b""


def _plain(outcome: Outcome, code: str, attempt_id: AttemptId) -> Evidence:
    return Evidence(outcome=outcome, code=code, attempt_id=attempt_id)


def _after(evidence: Evidence, outcome: Outcome, code: str, *, raw: tuple[str, ...] | None = None) -> Evidence:
    """The same payment's evidence with a new standing: its numbers stay the charge's."""
    return replace(evidence, outcome=outcome, code=code, raw=evidence.raw if raw is None else raw)


def _uncharged(evidence: Evidence, hold: Hold, *, code: str) -> Evidence:
    """How a hold ended that did not become a charge. Proven only by 06 1E after our refusal, or after a told failure."""
    ending = hold.ending
    assert ending is not None
    if ending.is_completion:  # it took a refusal for consent, or completed what it called failed: only a query can tell
        return _after(evidence, Outcome.UNKNOWN, "contradicts")
    if hold.is_refused or ending.failed is not None:
        return _after(evidence, Outcome.NOT_CHARGED, code)
    return _after(evidence, Outcome.UNKNOWN, "aborted_while_held")


def _result(end: Apdu, status: StatusInfo | None) -> int | None:
    """The result code of a command that 06 1E ended: the failure's own, else the abort's."""
    return messages.aborted(end).result if status is None or status.result is None else status.result


def _reversal_refused(result: int | None) -> tuple[Outcome, str]:
    if result == codes.ALREADY_REVERSED:
        return Outcome.NOT_CHARGED, "already_reversed"
    if result in codes.NO_HOST:
        return Outcome.APPROVED_FINAL, "terminal_no_host"
    return Outcome.APPROVED_FINAL, codes.result_code(result)


def _failure(result: int | None) -> Outcome:
    """An orderly end without a charge, by result code (PA00P015, chapter 10): 01 to 63 are the host's, 6C a key or time-out."""
    if result == codes.CANCELLED:
        return Outcome.CANCELLED
    if result in codes.BY_CARD_OR_HOST:
        return Outcome.DECLINED
    return Outcome.NOT_CHARGED
