"""Square Terminal behind the payment contract.

A checkout is posted once, under the attempt's id; whatever happens to the answer, it is looked for and never posted again. A charge
is proven by a payment with status COMPLETED and by nothing else. The kiosk's clock decides nothing: the search window, the patience
with a checkout that was never seen, and the business day go by the service's own clock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

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
from kiosk.payment.errors import TerminalAbsentError, TerminalLinkError
from kiosk.payment.https import Answer, text_at
from kiosk.payment.square.api import Busy, NotFound, Refused, SquareApi, error_code
from kiosk.payment.square.judge import OPEN, Checkout, Finding, Payment, judge, payment_of
from kiosk.payment.square.options import Options
from kiosk.payment.square.totals import day_totals
from tickets.money import Money

log = structlog.get_logger()

REFERENCE_MAX_CHARS = 40
KEY_MAX_CHARS = 45
SKEW_S = 120
"""How far before the baseline a checkout is searched: the service's own machines need not agree to the second."""
NEVER_ARRIVED = (Outcome.NOT_CHARGED, "never_arrived", None)
IN_PROGRESS = (Outcome.IN_PROGRESS, "in_progress", None)


class SquareTerminal:
    """A `kiosk.payment.contract.Terminal`. All calls but `cancel` come from one thread."""

    def __init__(self, api: SquareApi, options: Options, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._options = options
        self._monotonic_s = monotonic_s
        self._held: Evidence | None = None
        self._stop = threading.Event()
        self._is_authorising = False

    @property
    def caps(self) -> Caps:
        return Caps(
            holds=self._options.holds_cards,
            voids_after_confirm=True,
            refunds_partly=True,
            queries_by_attempt=True,
            ends_day=False,
            tells_balance=False,
            methods=frozenset(Method),
            currencies=frozenset({self._options.currency}),
        )

    # -- without money ------------------------------------------------------------------------------------------------

    def open(self) -> Health:
        return self.health()

    def close(self) -> None:
        if self._held is not None:
            self.void(self._held)
        self._api.line.close()

    def health(self) -> Health:
        if self._held is not None or self._is_authorising:
            return Health.BUSY
        try:
            category, _ = self._api.device()
        except Busy:
            return Health.BUSY
        except (Refused, NotFound) as error:  # the token, the device's id: nothing that heals itself
            log.warning("terminal_health", code=error.code, reason=str(error))
            return Health.OUT_OF_ORDER
        except TerminalLinkError as error:
            log.warning("terminal_health", code=error.code, reason=str(error))
            return Health.OFFLINE
        return {"AVAILABLE": Health.READY, "OFFLINE": Health.OFFLINE}.get(category, Health.NEEDS_SERVICE)

    def baseline(self) -> Baseline:
        """When the attempt began by the service's clock; raises where the device is offline: its checkout would wait unseen."""
        category, at = self._api.device()
        if category == "OFFLINE":
            raise TerminalAbsentError("the service says that the device is offline")
        if at is None:
            raise TerminalLinkError("the service does not tell its time")
        return {"service_at": at.isoformat()}

    def totals(self) -> Totals:
        return day_totals(self._api, self._options)

    def end_of_day(self) -> Totals:
        return self.totals()

    def cancel(self) -> None:
        if self._is_authorising:
            self._stop.set()

    # -- money --------------------------------------------------------------------------------------------------------

    def authorise(self, request: PayRequest, watch: Watcher) -> Evidence:
        if self._held is not None:
            return _plain(Outcome.NOT_CHARGED, "terminal_busy", request)
        if request.amount.currency != self._options.currency or len(request.attempt_id) > REFERENCE_MAX_CHARS:
            return _plain(Outcome.NOT_CHARGED, "not_supported", request)
        self._stop.clear()
        self._is_authorising = True
        self._api.line.trace.clear()
        try:
            watch(Progress(Stage.CONNECTING))
            checkout_id = ""
            try:
                answer = self._api.create_checkout(key=request.attempt_id, checkout=self._checkout(request))
            except TerminalAbsentError as error:  # no byte of it has left this machine
                return self._told(_plain(Outcome.NOT_CHARGED, error.code, request))
            except TerminalLinkError:
                pass  # it may stand: it is looked for, not posted again
            else:
                if answer.is_refused:
                    code = "terminal_busy" if answer.status == 429 else f"square_{error_code(answer)}".lower()
                    return self._told(_plain(Outcome.NOT_CHARGED, code, request))
                checkout_id = text_at(answer.body.get("checkout") or {}, "id") if answer.is_good else ""
            evidence = self._wait(request, checkout_id, watch)
        finally:
            self._is_authorising = False
        if evidence.outcome is Outcome.APPROVED_HELD:
            self._held = evidence
        return evidence

    def confirm(self, held: Evidence) -> Evidence:
        payment_id = self._take(held)
        if payment_id is None:
            return replace(held, outcome=Outcome.UNKNOWN, code="no_hold")
        return self._settle(held, payment_id, self._api.complete, wanted="COMPLETED")

    def void(self, held: Evidence) -> Evidence:
        payment_id = self._take(held)
        if payment_id is None:
            return replace(held, outcome=Outcome.UNKNOWN, code="no_hold")
        return self._settle(held, payment_id, self._api.cancel_payment, wanted="CANCELED")

    def reverse(self, charged: Evidence, *, key: str) -> Evidence:
        if charged.amount is None:
            return replace(charged, code="no_amount", outcome=Outcome.APPROVED_FINAL)
        if charged.provider_id is None:
            return replace(charged, code="no_payment_id", outcome=Outcome.APPROVED_FINAL)
        try:
            given, waiting = self._given_back(self._api.payment(charged.provider_id))
        except TerminalLinkError as error:  # no refund has been sent
            return self._told(replace(charged, outcome=Outcome.APPROVED_FINAL, code=error.code))
        if given >= charged.amount.minor:
            return self._told(replace(charged, outcome=Outcome.NOT_CHARGED, code="already_reversed"))
        if given + waiting >= charged.amount.minor:
            return self._told(replace(charged, outcome=Outcome.UNKNOWN, code="in_progress"))
        return self._refund(charged, charged.amount, key, done="reversed")

    def refund(self, charged: Evidence, *, amount: Money, key: str) -> Evidence:
        """NOT_CHARGED `refunded` (with `amount`, what was given back): proven. UNKNOWN `in_progress`: Square works on it.

        Called again with the same key it answers with that refund's present state and gives nothing back a second time.
        """
        if charged.provider_id is None:
            return replace(charged, code="no_payment_id", outcome=Outcome.APPROVED_FINAL)
        return self._refund(replace(charged, amount=amount), amount, key, done="refunded")

    def query(self, request: PayRequest, *, seen: Evidence | None) -> Evidence:
        if self._held is not None and self._held.attempt_id == request.attempt_id:
            return _plain(Outcome.IN_PROGRESS, "in_progress", request)
        self._api.line.trace.clear()
        try:
            outcome, code, payment = self._find_out(request, seen)
        except TerminalLinkError as error:
            return self._told(_plain(Outcome.UNKNOWN, error.code, request))
        if outcome in {Outcome.DECLINED, Outcome.CANCELLED}:
            outcome = Outcome.NOT_CHARGED
        log.info("payment_queried", attempt_id=request.attempt_id, outcome=outcome, code=code)
        evidence = _plain(outcome, code, request)
        return self._told(_named(evidence, payment) if payment is not None else evidence)

    # -- taking a payment -----------------------------------------------------------------------------------------------

    def _checkout(self, request: PayRequest) -> dict[str, object]:
        card = request.method is Method.CARD
        kinds = {Method.CARD: "CARD_PRESENT", Method.FELICA: self._options.felica, Method.QR: "QR_CODE"}
        checkout: dict[str, object] = {
            "amount_money": {"amount": request.amount.minor, "currency": request.amount.currency},
            "reference_id": request.attempt_id,
            "note": request.order_ref[:500],
            "device_options": {
                "device_id": self._options.device_id,
                "skip_receipt_screen": True,
                "collect_signature": False,
            },
            # Five minutes are the most that the API takes.
            "deadline_duration": f"PT{max(10, min(request.deadline_s, 300))}S",
            "payment_type": kinds[request.method],
        }
        if card and self._options.holds_cards:
            checkout["payment_options"] = {
                "autocomplete": False,
                "delay_duration": f"PT{self._options.hold_minutes}M",
                "delay_action": "CANCEL",
            }
        return checkout

    def _wait(self, request: PayRequest, checkout_id: str, watch: Watcher) -> Evidence:
        """Follow the checkout to its end; at the deadline, or when the guest leaves, ask for its end and go on following."""
        begun = self._monotonic_s()
        ends = begun + request.deadline_s
        gives_up = ends + self._options.cancel_s
        asked_to_end = False
        last: Finding = (Outcome.UNKNOWN, "terminal_silent", None)
        shown: Progress | None = None
        while (now := self._monotonic_s()) < gives_up:
            pause_s = self._options.poll_s
            try:
                if not checkout_id:
                    checkout_id = self._searched(request)
                if checkout_id:
                    checkout, payments = self._looked_up(checkout_id)
                    last = judge(checkout, payments, request.amount)
                    if last[0] is not Outcome.IN_PROGRESS and last[1] != "no_payment":
                        break
                    progress = _progress(checkout, request.method)
                    if progress != shown:
                        watch(progress)
                        shown = progress
                    if checkout.status not in OPEN:  # its payment may appear a moment later
                        gives_up = min(gives_up, now + self._options.search_s)
                    elif (self._stop.is_set() or now >= ends) and not asked_to_end:
                        asked_to_end = True
                        gives_up = min(gives_up, now + self._options.cancel_s)
                        self._api.cancel_checkout(checkout_id)  # what it says does not matter: the checkout's end does
                        continue
                elif now >= begun + self._options.search_s:
                    break
            except Busy as busy:
                pause_s = max(pause_s, busy.retry_after_s)
            except TerminalLinkError:
                pass  # asked again; the deadline ends it
            self._pause(pause_s, asked_to_end)
        outcome, code, payment = last
        if outcome is Outcome.IN_PROGRESS:
            outcome, code = Outcome.UNKNOWN, "cancel_unanswered" if asked_to_end else "terminal_silent"
        log.info("payment_ended", attempt_id=request.attempt_id, outcome=outcome, code=code)
        evidence = _plain(outcome, code, request)
        return self._told(_named(evidence, payment) if payment is not None else evidence)

    def _pause(self, pause_s: float, asked_to_end: bool) -> None:  # noqa: FBT001  one caller
        if asked_to_end or self._stop.is_set():
            time.sleep(pause_s)
        else:
            self._stop.wait(pause_s)

    def _looked_up(self, checkout_id: str) -> tuple[Checkout, list[Payment]]:
        checkout = self._api.checkout(checkout_id)
        return checkout, [self._api.payment(one) for one in checkout.payment_ids]

    def _searched(self, request: PayRequest) -> str:
        """The id of this attempt's checkout, empty if none is found. Raises TerminalLinkError, also if there are several."""
        found = [one for one in self._search(request) if one.reference_id == request.attempt_id]
        if len(found) > 1:
            raise TerminalLinkError("several checkouts carry one attempt's id")
        return found[0].id if found else ""

    def _search(self, request: PayRequest) -> list[Checkout]:
        began = _began(request)
        if began is None:
            raise TerminalLinkError("the attempt has no baseline")
        begin = began - timedelta(seconds=SKEW_S)
        end = began + timedelta(seconds=request.deadline_s + self._options.grace_s + SKEW_S)
        return list(self._api.search(begin=begin, end=end))

    # -- finding out ------------------------------------------------------------------------------------------------------

    def _find_out(self, request: PayRequest, seen: Evidence | None) -> Finding:
        began = _began(request)
        if began is None:
            return Outcome.UNKNOWN, "no_baseline", None
        now = self._api.now()
        checkouts = [one for one in self._search(request) if one.reference_id == request.attempt_id]
        if len(checkouts) > 1:
            return Outcome.UNKNOWN, "two_checkouts", None
        checkout = checkouts[0] if checkouts else None
        if checkout is not None and checkout.status in {"PENDING", "IN_PROGRESS"}:
            # A payment that nobody waits for any more must not take the next guest's card.
            self._api.cancel_checkout(checkout.id)
            checkout = self._api.checkout(checkout.id)
        payments = self._payments(request, checkout, seen, began)
        if checkout is None and not payments:
            patience_s = request.deadline_s + self._options.grace_s
            return NEVER_ARRIVED if now >= began + timedelta(seconds=patience_s) else IN_PROGRESS
        if checkout is None or checkout.status not in OPEN:
            payments = [self._released(payment) for payment in payments]
        finding = judge(checkout, payments, request.amount)
        if finding[0] is Outcome.APPROVED_HELD:  # the release was not taken, and the hold ends by itself
            return Outcome.IN_PROGRESS, "in_progress", finding[2]
        if finding[0] is Outcome.IN_PROGRESS and now >= began + timedelta(seconds=self._options.stuck_s):
            return Outcome.UNKNOWN, "cancel_unanswered", finding[2]
        if finding[0] is Outcome.APPROVED_FINAL and finding[2] is not None:
            given, waiting = self._given_back(finding[2])
            if given >= request.amount.minor:
                return Outcome.NOT_CHARGED, "reversed", finding[2]
            if given + waiting >= request.amount.minor:
                return Outcome.IN_PROGRESS, "in_progress", finding[2]
        return finding

    def _payments(
        self, request: PayRequest, checkout: Checkout | None, seen: Evidence | None, began: datetime
    ) -> list[Payment]:
        """Every payment that can be this attempt's: the checkout's, the one seen before, and those that carry its id."""
        ids = list(checkout.payment_ids) if checkout is not None else []
        if seen is not None and seen.provider_id:
            ids.append(seen.provider_id)
        if not ids:
            begin = began - timedelta(seconds=SKEW_S)
            end = began + timedelta(seconds=request.deadline_s + self._options.stuck_s)
            listed = self._api.payments(begin=begin, end=end)
            ids = [one.id for one in listed if one.reference_id == request.attempt_id]
        found = []
        for one in dict.fromkeys(ids):
            try:
                found.append(self._api.payment(one))
            except NotFound as error:
                raise TerminalLinkError(f"payment {one} is named and cannot be found") from error
        return found

    def _released(self, payment: Payment) -> Payment:
        """A hold that nobody will confirm, let go of (nothing was taken, so no money moves); any other payment as it is."""
        if payment.status != "APPROVED":
            return payment
        self._api.cancel_payment(payment.id)
        return self._api.payment(payment.id)

    def _given_back(self, payment: Payment) -> tuple[int, int]:
        """Minor units refunded, and still being refunded."""
        given = waiting = 0
        for one in payment.refund_ids:
            status, amount = self._api.refunded(one)
            if amount is None:
                raise TerminalLinkError(f"refund {one} names no amount")
            given += amount.minor if status in {"COMPLETED", "APPROVED"} else 0
            waiting += amount.minor if status == "PENDING" else 0
        return given, waiting

    # -- ending a hold, giving back -----------------------------------------------------------------------------------------

    def _take(self, held: Evidence) -> str | None:
        if self._held is not None and self._held.attempt_id == held.attempt_id:
            self._held = None
        return held.provider_id

    def _settle(self, held: Evidence, payment_id: str, ask: Callable[[str], Answer], *, wanted: str) -> Evidence:
        """Ask once for the hold's end (again only after a 429, which did nothing), then believe the payment alone."""
        self._api.line.trace.clear()
        ends = self._monotonic_s() + self._options.confirm_s
        code = "terminal_silent"
        try:
            answer = ask(payment_id)
            while answer.status == 429 and self._monotonic_s() + answer.retry_after_s < ends:
                time.sleep(max(answer.retry_after_s, self._options.poll_s))
                answer = ask(payment_id)
            raw = answer.body.get("payment")
            if answer.is_good and isinstance(raw, dict):
                return self._ended(held, payment_of(raw), wanted)
            code = "terminal_busy" if answer.status == 429 else f"square_{error_code(answer)}".lower()
        except TerminalAbsentError as error:
            code = error.code
        except TerminalLinkError as error:
            code = error.code
        while True:
            try:
                evidence = self._ended(held, self._api.payment(payment_id), wanted)
                if evidence.outcome is Outcome.UNKNOWN:
                    evidence = replace(evidence, code=code)
                return evidence
            except TerminalLinkError:
                if self._monotonic_s() + self._options.poll_s >= ends:
                    return self._told(replace(held, outcome=Outcome.UNKNOWN, code=code))
                time.sleep(self._options.poll_s)

    def _ended(self, held: Evidence, payment: Payment, wanted: str) -> Evidence:
        same = payment.id == held.provider_id and all(amount == held.amount for amount in payment.amounts)
        match payment.status:
            case "COMPLETED" if same and wanted == "COMPLETED":
                outcome, code = Outcome.APPROVED_FINAL, "approved"
            case "COMPLETED":
                outcome, code = Outcome.UNKNOWN, "contradicts"
            case "CANCELED" | "FAILED" if payment.id == held.provider_id:
                outcome, code = Outcome.NOT_CHARGED, "voided" if wanted == "CANCELED" else "hold_expired"
            case _:
                outcome, code = Outcome.UNKNOWN, "hold_stands"
        return self._told(replace(held, outcome=outcome, code=code))

    def _refund(self, charged: Evidence, amount: Money, key: str, *, done: str) -> Evidence:
        assert charged.provider_id is not None
        if len(key) > KEY_MAX_CHARS:
            return replace(charged, outcome=Outcome.APPROVED_FINAL, code="key_too_long")
        self._api.line.trace.clear()
        log.info("payment_refund", key=key, amount_minor=amount.minor)
        try:
            answer = self._api.refund(key=key, payment_id=charged.provider_id, amount=amount)
        except TerminalAbsentError as error:  # nothing was sent
            return self._told(replace(charged, outcome=Outcome.APPROVED_FINAL, code=error.code))
        except TerminalLinkError as error:
            return self._told(replace(charged, outcome=Outcome.UNKNOWN, code=error.code))
        if answer.is_refused:
            code = "terminal_busy" if answer.status == 429 else f"square_{error_code(answer)}".lower()
            return self._told(replace(charged, outcome=Outcome.APPROVED_FINAL, code=code))
        if not answer.is_good:
            return self._told(replace(charged, outcome=Outcome.UNKNOWN, code="terminal_silent"))
        return self._followed(charged, amount, answer, done)

    def _followed(self, charged: Evidence, amount: Money, answer: Answer, done: str) -> Evidence:
        """A refund that was taken, to its end or until patience ends: then Square still works on it."""
        refund_id = text_at(answer.body.get("refund") or {}, "id")
        ends = self._monotonic_s() + self._options.confirm_s
        outcome, code = Outcome.UNKNOWN, "in_progress"
        while refund_id:
            try:
                status, given = self._api.refunded(refund_id)
            except TerminalLinkError:
                status, given = "PENDING", amount
            if status in {"COMPLETED", "APPROVED"}:
                outcome, code = (Outcome.NOT_CHARGED, done) if given == amount else (Outcome.UNKNOWN, "amount_mismatch")
                break
            if status in {"REJECTED", "FAILED"}:
                outcome, code = Outcome.APPROVED_FINAL, f"refund_{status}".lower()
                break
            if self._monotonic_s() + self._options.poll_s >= ends:
                break
            time.sleep(self._options.poll_s)
        return self._told(replace(charged, outcome=outcome, code=code))

    def _told(self, evidence: Evidence) -> Evidence:
        terminal = evidence.terminal_id or (self._options.device_id if evidence.provider_id else None)
        return replace(evidence, terminal_id=terminal, raw=tuple(self._api.line.trace))


def _progress(checkout: Checkout, method: Method) -> Progress:
    match checkout.status:
        case "PENDING":
            return Progress(Stage.CONNECTING, may_cancel=True)
        case "IN_PROGRESS":
            # While e-money is touched the API ends nothing: the guest's own key at the terminal does.
            return Progress(Stage.FOLLOW_TERMINAL, may_cancel=method is not Method.FELICA)
        case _:
            return Progress(Stage.PROCESSING)


def _began(request: PayRequest) -> datetime | None:
    text = request.baseline.get("service_at")
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None


def _plain(outcome: Outcome, code: str, request: PayRequest) -> Evidence:
    return Evidence(outcome=outcome, code=code, attempt_id=AttemptId(request.attempt_id))


def _named(evidence: Evidence, payment: Payment) -> Evidence:
    return replace(
        evidence, amount=payment.amounts[0], brand=payment.brand, masked_id=payment.masked_id, entry=payment.entry,
        terminal_id=payment.terminal_id, auth_code=payment.auth_code, provider_id=payment.id, at=payment.at,
    )  # fmt: skip
