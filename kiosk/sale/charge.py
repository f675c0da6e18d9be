"""One payment attempt, step by step: each row durable before the outside action it names.

    INTENT -> SENT -> authorise -> HELD -> (printer still ready?) CONFIRM_SENT -> confirm -> proof -> the sale's transaction

A doubt is an outcome of its own: nothing is issued on it and nothing is charged again before it is resolved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from kiosk.payment.attempt import State, charge_evidence, state_after
from kiosk.payment.contract import AttemptId, Evidence, Method, Outcome, PayRequest, Terminal, Watcher
from kiosk.payment.errors import PaymentError
from kiosk.sale.errors import NotReady
from kiosk.sale.ledger import Ledger, Prepared, paid_by

log = structlog.get_logger()

DEADLINE_S = 90
"""How long a guest may take at the terminal. Its own time-outs are shorter; this one only ends what hangs."""


@dataclass(frozen=True, slots=True)
class Charged:
    """Money proven, the sale's transaction committed."""


@dataclass(frozen=True, slots=True)
class NotCharged:
    """Proven not charged. `code` is the evidence's."""

    code: str
    by_guest: bool


@dataclass(frozen=True, slots=True)
class InDoubt:
    attempt: AttemptId


Result = Charged | NotCharged | InDoubt


class Charge:
    """Takes the money for prepared sales at one terminal."""

    def __init__(
        self,
        ledger: Ledger,
        terminal: Terminal,
        *,
        new_id: Callable[[], str],
        on_begun: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._terminal = terminal
        self._new_id = new_id
        self._on_begun = on_begun

    def take(
        self,
        sale: Prepared,
        method: Method,
        *,
        watch: Watcher,
        may_begin: Callable[[], bool],
        may_issue: Callable[[], bool],
    ) -> Result:
        """Charge `sale` and complete it. `may_begin` is asked last before the terminal is: a guest who has cancelled meanwhile was
        never charged. `may_issue` is asked while the terminal holds the charge: a printer that has left
        meanwhile ends the hold, and nobody paid. Raises NotReady before anything was sent.
        """
        request = self._begin(sale, method)
        attempt = request.attempt_id
        if not may_begin():
            never = Evidence(outcome=Outcome.NOT_CHARGED, code="cancelled_before_sending", attempt_id=attempt)
            self._ledger.end(attempt, State.NOT_CHARGED, never)
            return NotCharged(code=never.code, by_guest=True)
        self._ledger.step(attempt, State.SENT)
        evidence = self._terminal.authorise(request, watch)
        if evidence.outcome is Outcome.APPROVED_HELD:
            self._ledger.step(attempt, State.HELD, evidence)
            if not may_issue():
                return self._refuse_hold(attempt, evidence)
            self._ledger.step(attempt, State.CONFIRM_SENT, evidence)
            evidence = self._terminal.confirm(evidence)
        return self._after(sale, attempt, method, evidence)

    def _begin(self, sale: Prepared, method: Method) -> PayRequest:
        """The INTENT, with what the terminal knew before. A terminal that cannot say that is not asked for money."""
        try:
            request = PayRequest(
                attempt_id=AttemptId(self._new_id()),
                order_ref=sale.ref,
                amount=sale.order.total,
                method=method,
                deadline_s=DEADLINE_S,
                baseline=self._terminal.baseline(),
            )
            self._ledger.intend(request)
            self._on_begun()
        except PaymentError as error:
            log.warning("terminal_not_asked", code=error.code, why=str(error))
            raise NotReady("terminal") from error
        return request

    def finish(self, sale: Prepared, attempt: AttemptId, method: Method, proof: Evidence) -> Charged:
        """Complete a sale whose charge a query has proven while the guest still stands here."""
        rows = self._ledger.rows(attempt)
        named = charge_evidence(rows) or proof
        self._ledger.complete(sale, paid_by(method, attempt, named), attempt=attempt, proof=proof)
        return Charged()

    def _after(self, sale: Prepared, attempt: AttemptId, method: Method, evidence: Evidence) -> Result:
        state = state_after(self._ledger.rows(attempt), evidence)
        match state:
            case State.CONFIRMED:
                self._ledger.complete(sale, paid_by(method, attempt, evidence), attempt=attempt, proof=evidence)
                return Charged()
            case State.DECLINED | State.CANCELLED | State.NOT_CHARGED:
                self._ledger.end(attempt, state, evidence)
                return NotCharged(code=evidence.code, by_guest=state is State.CANCELLED)
            case _:
                self._ledger.step(attempt, State.UNKNOWN, evidence)
                log.warning("payment_in_doubt", attempt=attempt, order=sale.number, evidence=evidence.code)
                return InDoubt(attempt)

    def _refuse_hold(self, attempt: AttemptId, held: Evidence) -> Result:
        self._ledger.step(attempt, State.VOID_SENT, held)
        answer = self._terminal.void(held)
        state = state_after(self._ledger.rows(attempt), answer)
        if state is State.VOIDED:
            self._ledger.end(attempt, state, answer)
            return NotCharged(code="printer_left", by_guest=False)
        self._ledger.step(attempt, state, answer)
        return InDoubt(attempt)
