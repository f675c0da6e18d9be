"""A stuck payment, ruled on by a named person: the one way out where terminal and rules cannot tell (処理未了).

The kiosk keeps its card reader closed until then. What was found out, by whom and why goes into the payment's own rows and, as the
end of the doubt, to the hub; nothing is deleted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum

from kiosk.payment.attempt import Row, State
from kiosk.payment.contract import AttemptId, Evidence, Outcome
from kiosk.sale import recovery
from kiosk.sale.errors import SaleError
from kiosk.sale.ledger import Ledger, paid_by
from sync.journal import open_journal
from sync.operation import Sale
from sync.state import StateDir
from tickets.clock import SystemClock

NAME_CHARS_MAX, WHY_CHARS_MAX = 60, 200


class Finding(StrEnum):
    """not_charged: the terminal's records show no charge. refunded: the money was given back by hand. kept: the charge stands and its
    sale is on record; what is not on paper is owed.
    """

    NOT_CHARGED = "not_charged"
    REFUNDED = "refunded"
    KEPT = "kept"


class RulingRefused(SaleError):
    """A ruling that does not fit. One line: what, what is allowed."""

    code = "sale.ruling_refused"


@dataclass(frozen=True, slots=True)
class OpenPayment:
    attempt: str
    order: str
    state: str
    amount_minor: int
    currency: str
    since: str


def ledger_of(state: StateDir) -> Ledger:
    """The kiosk's ledger, for a command beside the running kiosk. Raises JournalBroken or NotEnrolled."""
    identity = state.identity()
    journal = open_journal(state, clock=SystemClock(), random_bytes=os.urandom)
    boot = f"by-hand-{os.urandom(4).hex()}"
    return Ledger(journal, label=identity.label, boot=boot, clock=SystemClock(), random_bytes=os.urandom)


def open_payments(ledger: Ledger) -> tuple[OpenPayment, ...]:
    """Attempts whose end is not proven. Only stuck ones may be ruled on: the others the kiosk still settles by itself."""
    found = []
    for row in ledger.unsettled():
        record = ledger.record(row.order_ref)
        if record is not None:
            amount = record.amount
            found.append(
                OpenPayment(row.attempt_id, record.number, row.state, amount.minor, amount.currency, row.at.isoformat())
            )
    return tuple(found)


def rule(ledger: Ledger, attempt: str, finding: Finding, *, by: str, why: str) -> None:
    """Settle a stuck attempt. Raises RulingRefused for an attempt that is not stuck, a finding that does not fit, or no name."""
    if not 0 < len(by.strip()) <= NAME_CHARS_MAX or not 0 < len(why.strip()) <= WHY_CHARS_MAX:
        raise RulingRefused(f"--by takes a name of 1 to {NAME_CHARS_MAX} characters, --why 1 to {WHY_CHARS_MAX}")
    row = _stuck(ledger, attempt)
    record = ledger.record(row.order_ref)
    assert record is not None, "an order is written down before its attempt"
    is_sold = recovery.has_said(ledger, record, Sale.KIND)
    outcome = Outcome.APPROVED_FINAL if finding is Finding.KEPT else Outcome.NOT_CHARGED
    proof = Evidence(
        outcome=outcome, code=f"ruled_{finding}", attempt_id=row.attempt_id, text=f"{by.strip()}: {why.strip()}"
    )
    if finding is Finding.KEPT:
        if not is_sold:
            raise RulingRefused(f"attempt {attempt}: no sale was made of it; allowed: not_charged, refunded")
        ledger.keep(record, recovery.job_of(record), row.attempt_id, proof, recovery.ticket_ids(ledger, record))
    elif is_sold:
        paid = paid_by("card", row.attempt_id, proof)
        ledger.reversed(record, recovery.job_of(record), attempt=row.attempt_id, proof=proof, paid=paid)
    else:
        ledger.step(row.attempt_id, State.REVERSED if finding is Finding.REFUNDED else State.NOT_CHARGED, proof)
    ledger.doubt(record, row.attempt_id, tender="card", state="paid" if finding is Finding.KEPT else "not_paid")


def _stuck(ledger: Ledger, attempt: str) -> Row:
    rows = ledger.rows(AttemptId(attempt))
    if not rows:
        known = ", ".join(row.attempt_id for row in ledger.unsettled()) or "none is open"
        raise RulingRefused(f"attempt {attempt} is not known here; open: {known}")
    if rows[-1].state is not State.STUCK:
        raise RulingRefused(f"attempt {attempt} is {rows[-1].state}; only a stuck one is ruled on by hand")
    return rows[-1]
