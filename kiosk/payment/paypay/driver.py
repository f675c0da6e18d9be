"""PayPay's dynamic QR code behind the payment contract.

A code is made once, under the attempt's id, and shown by the kiosk. It is final when it is paid: there is no hold. When the guest
leaves, the code is deleted, and only when the service has said so, or has said that it was paid first, is the outcome known. A
code whose content never reached the screen cannot be paid.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from kiosk.payment.contract import (
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
from kiosk.payment.errors import TerminalAbsentError, TerminalLinkError
from kiosk.payment.https import text_at
from kiosk.payment.paypay.api import Details, PayPayApi, Refused, word
from kiosk.payment.paypay.options import Options
from tickets.money import Money

log = structlog.get_logger()

ID_MAX_CHARS = 64
NO_TOTALS = "PayPay has no sum to ask for: its file of transactions comes the day after"


class PayPayTerminal:
    """A `kiosk.payment.contract.Terminal`. All calls but `cancel` come from one thread."""

    def __init__(self, api: PayPayApi, options: Options, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._options = options
        self._monotonic_s = monotonic_s
        self._code: tuple[str, str] = ("", "")
        """(attempt id, code id) of the last code made by this process: what can still be deleted."""
        self._stop = threading.Event()
        self._is_authorising = False

    @property
    def caps(self) -> Caps:
        return Caps(
            holds=False,
            voids_after_confirm=True,
            refunds_partly=True,  # once a payment
            queries_by_attempt=True,
            ends_day=False,
            tells_balance=False,
            methods=frozenset({Method.QR}),
            currencies=frozenset({"JPY"}),
        )

    # -- without money ------------------------------------------------------------------------------------------------

    def open(self) -> Health:
        return self.health()

    def close(self) -> None:
        self._api.line.close()

    def health(self) -> Health:
        if self._is_authorising:
            return Health.BUSY
        try:
            self._api.probe()
        except Refused as error:
            log.warning("terminal_health", code=error.code, reason=str(error))
            if error.status == 429:
                return Health.BUSY
            return Health.OUT_OF_ORDER if 400 <= error.status < 500 else Health.OFFLINE
        except TerminalLinkError as error:
            log.warning("terminal_health", code=error.code, reason=str(error))
            return Health.OFFLINE
        return Health.READY

    def baseline(self) -> Baseline:
        """When the attempt began by the service's clock."""
        return {"service_at": self._api.probe().isoformat()}

    def totals(self) -> Totals:
        raise TerminalLinkError(NO_TOTALS)

    def end_of_day(self) -> Totals:
        raise TerminalLinkError(NO_TOTALS)

    def cancel(self) -> None:
        if self._is_authorising:
            self._stop.set()

    # -- money --------------------------------------------------------------------------------------------------------

    def authorise(self, request: PayRequest, watch: Watcher) -> Evidence:
        if (
            request.amount.currency != "JPY"
            or request.method is not Method.QR
            or not 1 <= len(request.attempt_id) <= ID_MAX_CHARS
        ):
            return _plain(Outcome.NOT_CHARGED, "not_supported", request)
        self._stop.clear()
        self._is_authorising = True
        self._api.line.trace.clear()
        try:
            watch(Progress(Stage.CONNECTING))
            made = self._make(request)
            if isinstance(made, Evidence):
                return self._told(made)
            code_id, url = made
            self._code = (request.attempt_id, code_id)
            watch(Progress(Stage.FOLLOW_TERMINAL, may_cancel=True, qr=url))
            evidence = self._wait(request)
            if evidence is None:
                watch(Progress(Stage.PROCESSING))
                evidence = self._end(request, code_id, "cancelled_by_guest" if self._stop.is_set() else "timed_out")
        finally:
            self._is_authorising = False
        log.info("payment_ended", attempt_id=request.attempt_id, outcome=evidence.outcome, code=evidence.code)
        return self._told(evidence)

    def confirm(self, held: Evidence) -> Evidence:
        return replace(held, outcome=Outcome.UNKNOWN, code="no_hold")

    def void(self, held: Evidence) -> Evidence:
        return replace(held, outcome=Outcome.UNKNOWN, code="no_hold")

    def reverse(self, charged: Evidence, *, key: str) -> Evidence:
        if charged.amount is None or charged.attempt_id is None:
            return replace(charged, outcome=Outcome.APPROVED_FINAL, code="no_payment_id")
        self._api.line.trace.clear()
        try:
            details, _ = self._api.details(charged.attempt_id)
        except TerminalLinkError as error:  # nothing has been asked for
            return self._told(replace(charged, outcome=Outcome.APPROVED_FINAL, code=error.code))
        if details.status in {"FAILED", "CANCELED"} or (details.given or 0) >= charged.amount.minor:
            return self._told(replace(charged, outcome=Outcome.NOT_CHARGED, code="already_reversed"))
        if (details.given or 0) + details.waiting >= charged.amount.minor:
            return self._told(replace(charged, outcome=Outcome.UNKNOWN, code="in_progress"))
        if charged.provider_id is None:
            return self._told(self._cancelled(charged, charged.attempt_id))
        return self._told(self._refund(charged, charged.amount, key, done="reversed"))

    def refund(self, charged: Evidence, *, amount: Money, key: str) -> Evidence:
        """NOT_CHARGED `refunded` (with `amount`, what was given back): proven. UNKNOWN `in_progress`: PayPay works on it.

        Called again with the same key it answers with that refund's present state and gives nothing back a second time. PayPay
        takes one refund a payment.
        """
        if charged.provider_id is None:
            return replace(charged, outcome=Outcome.APPROVED_FINAL, code="no_payment_id")
        self._api.line.trace.clear()
        return self._told(self._refund(replace(charged, amount=amount), amount, key, done="refunded"))

    def query(self, request: PayRequest, *, seen: Evidence | None) -> Evidence:  # noqa: ARG002  asked by its own id
        self._api.line.trace.clear()
        try:
            evidence = self._find_out(request)
        except TerminalLinkError as error:
            evidence = _plain(Outcome.UNKNOWN, error.code, request)
        if evidence.outcome in {Outcome.DECLINED, Outcome.CANCELLED}:
            evidence = replace(evidence, outcome=Outcome.NOT_CHARGED)
        log.info("payment_queried", attempt_id=request.attempt_id, outcome=evidence.outcome, code=evidence.code)
        return self._told(evidence)

    # -- taking a payment -----------------------------------------------------------------------------------------------

    def _make(self, request: PayRequest) -> tuple[str, str] | Evidence:
        """A new code's id and content, or why there is none."""
        try:
            answer = self._api.create_code(payment_id=request.attempt_id, amount=request.amount)
        except TerminalAbsentError as error:  # no byte of it has left this machine
            return _plain(Outcome.NOT_CHARGED, error.code, request)
        except TerminalLinkError:
            return self._never_shown(request)
        if answer.is_refused:
            code = "terminal_busy" if answer.status == 429 else f"paypay_{word(answer)}".lower()
            return _plain(Outcome.NOT_CHARGED, code, request)
        data = answer.body.get("data")
        found = data if isinstance(data, dict) else {}
        code_id, url = text_at(found, "codeId"), text_at(found, "url")
        ours = text_at(found, "merchantPaymentId") in ("", request.attempt_id)
        if not answer.is_good or not ours or not code_id or not url or "/" in code_id:
            return self._never_shown(request)
        return code_id, url

    def _never_shown(self, request: PayRequest) -> Evidence:
        """A code may stand at the service, but nobody has seen its content: it cannot be paid. It is called off all the same."""
        with contextlib.suppress(TerminalLinkError):  # it ends by itself
            self._api.cancel(request.attempt_id)
        return _plain(Outcome.NOT_CHARGED, "code_not_shown", request)

    def _wait(self, request: PayRequest) -> Evidence | None:
        """Ask how the payment stands until it has ended; None when the guest has left or the time is up."""
        ends = self._monotonic_s() + min(request.deadline_s, self._options.code_life_s)
        while True:
            left_s = ends - self._monotonic_s()
            if left_s <= 0 or self._stop.wait(min(self._options.poll_s, left_s)):
                return None
            try:
                evidence = _judged(request, self._api.details(request.attempt_id)[0])
            except Refused as error:
                if error.retry_after_s:
                    self._stop.wait(min(error.retry_after_s, max(0.0, ends - self._monotonic_s())))
                continue
            except TerminalLinkError:
                continue
            if evidence is not None and evidence.outcome is Outcome.DECLINED:
                return None  # the code itself may still stand: it is deleted first
            if evidence is not None:
                return evidence

    def _end(self, request: PayRequest, code_id: str, why: str) -> Evidence:
        """Delete the code and find out whether it was paid before. CANCELLED, DECLINED, APPROVED_FINAL or UNKNOWN."""
        ends = self._monotonic_s() + self._options.cancel_s
        gone = paid = False
        while True:
            try:
                if not gone and not paid:
                    answer = self._api.delete_code(code_id)
                    paid = word(answer) == "DYNAMIC_QR_ALREADY_PAID"
                    gone = answer.is_good or word(answer) == "DYNAMIC_QR_NOT_FOUND"
                if gone or paid:
                    evidence = _judged(request, self._api.details(request.attempt_id)[0])
                    if evidence is not None:
                        return evidence
                    if gone:
                        return _plain(Outcome.CANCELLED, why, request)
            except TerminalLinkError:
                pass  # deleting it again does no harm, asking neither
            pause_s = min(self._options.poll_s, 1.0)
            if self._monotonic_s() + pause_s >= ends:
                return _plain(Outcome.UNKNOWN, "paid_unproven" if paid else "terminal_silent", request)
            time.sleep(pause_s)

    # -- finding out ------------------------------------------------------------------------------------------------------

    def _find_out(self, request: PayRequest) -> Evidence:
        # The time is asked for first: what is unpaid after the code's end was unpaid at its end.
        now = self._api.probe()
        began = _began(request)
        details, _ = self._api.details(request.attempt_id)
        evidence = _judged(request, details)
        if evidence is not None:
            return evidence
        attempt, code_id = self._code
        if attempt == request.attempt_id:
            answer = self._api.delete_code(code_id)
            if answer.is_good or word(answer) == "DYNAMIC_QR_NOT_FOUND":
                again = _judged(request, self._api.details(request.attempt_id)[0])
                return again or _plain(Outcome.NOT_CHARGED, "deleted", request)
            return _plain(Outcome.IN_PROGRESS, "in_progress", request)
        if began is None:
            return _plain(Outcome.UNKNOWN, "no_baseline", request)
        life_s = self._options.answer_s + self._options.code_life_s + self._options.grace_s
        if now >= began + timedelta(seconds=life_s):
            return _plain(Outcome.NOT_CHARGED, "expired", request)
        return _plain(Outcome.IN_PROGRESS, "in_progress", request)

    # -- giving back ------------------------------------------------------------------------------------------------------

    def _refund(self, charged: Evidence, amount: Money, key: str, *, done: str) -> Evidence:
        refund_id = key.replace("/", ".")
        if not 1 <= len(refund_id) <= ID_MAX_CHARS or charged.provider_id is None:
            return replace(charged, outcome=Outcome.APPROVED_FINAL, code="key_too_long")
        try:
            known = self._api.refund_status(refund_id)
        except TerminalLinkError as error:  # nothing has been asked for now; but an earlier call may have
            return replace(charged, outcome=Outcome.UNKNOWN, code=error.code)
        if known is None:
            log.info("payment_refund", key=key, amount_minor=amount.minor)
            try:
                answer = self._api.refund(refund_id=refund_id, payment_id=charged.provider_id, amount=amount)
            except TerminalAbsentError as error:
                return replace(charged, outcome=Outcome.APPROVED_FINAL, code=error.code)
            except TerminalLinkError as error:
                return replace(charged, outcome=Outcome.UNKNOWN, code=error.code)
            if answer.is_refused:
                code = "terminal_busy" if answer.status == 429 else f"paypay_{word(answer)}".lower()
                return replace(charged, outcome=Outcome.APPROVED_FINAL, code=code)
            if not answer.is_good:
                return replace(charged, outcome=Outcome.UNKNOWN, code="terminal_silent")
        return self._followed(charged, amount, refund_id, done)

    def _followed(self, charged: Evidence, amount: Money, refund_id: str, done: str) -> Evidence:
        ends = self._monotonic_s() + self._options.confirm_s
        while True:
            try:
                known = self._api.refund_status(refund_id)
            except TerminalLinkError:
                known = None
            match known:
                case ("REFUNDED", given):
                    if given == amount:
                        return replace(charged, outcome=Outcome.NOT_CHARGED, code=done)
                    return replace(charged, outcome=Outcome.UNKNOWN, code="amount_mismatch")
                case ("FAILED", _):
                    return replace(charged, outcome=Outcome.APPROVED_FINAL, code="refund_failed")
            pause_s = min(self._options.poll_s, 1.0)
            if self._monotonic_s() + pause_s >= ends:
                return replace(charged, outcome=Outcome.UNKNOWN, code="in_progress")
            time.sleep(pause_s)

    def _cancelled(self, charged: Evidence, attempt_id: str) -> Evidence:
        """Give back a payment whose id at PayPay is not known: cancel it by ours (until 00:14:59 of the next day)."""
        try:
            answer = self._api.cancel(attempt_id)
        except TerminalAbsentError as error:
            return replace(charged, outcome=Outcome.APPROVED_FINAL, code=error.code)
        except TerminalLinkError as error:
            return replace(charged, outcome=Outcome.UNKNOWN, code=error.code)
        if answer.is_refused:
            return replace(charged, outcome=Outcome.APPROVED_FINAL, code=f"paypay_{word(answer)}".lower())
        ends = self._monotonic_s() + self._options.confirm_s
        while True:
            try:
                if self._api.details(attempt_id)[0].status in {"FAILED", "CANCELED"}:
                    return replace(charged, outcome=Outcome.NOT_CHARGED, code="reversed")
            except TerminalLinkError:
                pass
            pause_s = min(self._options.poll_s, 1.0)
            if self._monotonic_s() + pause_s >= ends:
                return replace(charged, outcome=Outcome.UNKNOWN, code="in_progress")
            time.sleep(pause_s)

    def _told(self, evidence: Evidence) -> Evidence:
        terminal = (self._options.terminal_id or None) if evidence.provider_id else None
        return replace(evidence, terminal_id=terminal, raw=tuple(self._api.line.trace))


def _judged(request: PayRequest, details: Details) -> Evidence | None:
    """What the service's words prove; None while the code is unpaid."""
    named = replace(
        _plain(Outcome.UNKNOWN, "contradicts", request),
        amount=details.amount,
        brand="PAYPAY",
        provider_id=details.payment_id or None,
        at=details.accepted_at,
    )
    given = details.given or 0
    match details.status:
        case "CREATED":
            return None
        case "COMPLETED" | "REFUNDED" if details.amount != request.amount or not details.payment_id:
            return replace(named, code="amount_mismatch")
        case "REFUNDED" if details.given is None:
            return replace(named, code="refund_unclear")
        case "COMPLETED" | "REFUNDED" if given >= request.amount.minor:
            return replace(named, outcome=Outcome.NOT_CHARGED, code="reversed")
        case "COMPLETED" | "REFUNDED" if given + details.waiting >= request.amount.minor:
            return replace(named, outcome=Outcome.IN_PROGRESS, code="in_progress")
        case "COMPLETED" | "REFUNDED":
            return replace(named, outcome=Outcome.APPROVED_FINAL, code="approved")
        case "FAILED":
            return _plain(Outcome.DECLINED, "paypay_failed", request)
        case "CANCELED" | "EXPIRED":
            return _plain(Outcome.CANCELLED, f"paypay_{details.status}".lower(), request)
        case _:
            return named


def _began(request: PayRequest) -> datetime | None:
    text = request.baseline.get("service_at")
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None


def _plain(outcome: Outcome, code: str, request: PayRequest) -> Evidence:
    return Evidence(outcome=outcome, code=code, attempt_id=request.attempt_id)
