"""Clearing up: each order that was left open is taken as far as terminal and paper allow now (kiosk.sale.ruling decides how).

Runs before the kiosk says it is ready, and again while something is open and no guest is served. The spool prints nothing of an
order that is not ruled on. Whatever stays open is told to the hub and keeps the card reader closed.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from sqlalchemy import select

from kiosk.payment.attempt import ASK_AGAIN, CLOSED, Row, State, charge_evidence, request_of, state_after
from kiosk.payment.contract import Evidence, Health, Outcome, Terminal
from kiosk.payment.recovery import resolve
from kiosk.sale import stock
from kiosk.sale.ledger import BEGUN, Ledger, SaleRecord, paid_by
from kiosk.sale.ruling import Case, Move, Paper, next_move
from printer import spool
from sync.journal import operation
from sync.operation import PaymentDoubt, Sale, SaleReversed, from_body
from tickets.clock import Clock

log = structlog.get_logger()

TICKETS_SUFFIX = "-tickets"
MOVES_MAX = 6
"""More than any order needs in one pass; what is not ripe waits for the next."""

DONE = frozenset({spool.State.CONFIRMED, spool.State.VOID, spool.State.OWED})


@dataclass(frozen=True, slots=True)
class OwedSince:
    """A guest who was there when the kiosk stopped: paid, and `owed` tickets not on paper."""

    record: SaleRecord
    claim: str
    owed: int


@dataclass(frozen=True, slots=True)
class Cleared:
    """`open_orders`: the terminal is away, or a person must decide. `owed`: what this pass found owed, to be told to whoever waits."""

    open_orders: tuple[str, ...]
    owed: tuple[OwedSince, ...]


def clear_up(ledger: Ledger, terminal: Terminal, *, clock: Clock) -> Cleared:
    """Safe to call at any time at which no guest is being served."""
    owed: list[OwedSince] = []
    waiting = _waiting(ledger)
    for job_id in waiting:
        if not job_id.endswith(TICKETS_SUFFIX):
            ledger.drop_job(job_id)  # a receipt or a slip of a guest who has gone
    refs: list[str] = [row.order_ref for row in ledger.unsettled()]
    refs += [job_id.removesuffix(TICKETS_SUFFIX) for job_id in waiting if job_id.endswith(TICKETS_SUFFIX)]
    still_open = tuple(ref for ref in dict.fromkeys(refs) if not _clear(ledger, terminal, ref, owed, clock=clock))
    with ledger.journal.write() as connection:
        for ref in stock.left_behind(connection, boot=ledger.boot):
            if ref not in still_open:
                stock.release(connection, ref, now=clock.now_utc())
    return Cleared(open_orders=still_open, owed=tuple(owed))


def _clear(ledger: Ledger, terminal: Terminal, ref: str, owed_now: list[OwedSince], *, clock: Clock) -> bool:
    """Move one order until nothing follows. False when it stays open; then the hub has been told of the doubt."""
    record = ledger.record(ref)
    assert record is not None, "an order is written down before its attempt and its paper"
    for _ in range(MOVES_MAX):
        rows = ledger.rows_of_order(record.ref)
        move = next_move(_case(ledger, record, rows))
        log.info("order_cleared_up", order=record.number, move=move, attempt=rows[-1].state if rows else None)
        match move:
            case Move.NOTHING:
                _tell_settled(ledger, record, rows)
                return True
            case Move.SETTLE:
                went_on = _settle(ledger, terminal, rows[-1], clock=clock)
            case Move.GIVE_BACK:
                went_on = _give_back(ledger, terminal, rows, record)
            case Move.FINISH_GIVING_BACK:
                went_on = _finish_giving_back(ledger, terminal, rows, record)
            case Move.RECORD_GIVEN_BACK:
                paid = paid_by("card", rows[-1].attempt_id, rows[-1].evidence)
                ledger.reversed(record, job_of(record), attempt=None, proof=None, paid=paid)
                went_on = True
            case Move.OWE:
                claim, owed = ledger.owe(record, job_of(record), ticket_ids(ledger, record))
                log.warning("tickets_owed", order=record.number, owed=owed, claim=claim)
                owed_now.append(OwedSince(record, claim, owed))
                went_on = True
            case Move.PERSON:
                went_on = False
        if not went_on:
            break
    _tell_open(ledger, record)
    return False


def _case(ledger: Ledger, record: SaleRecord, rows: tuple[Row, ...]) -> Case:
    kinds = _kinds(ledger, record)
    return Case(
        attempt=rows[-1].state if rows else None,
        sold=Sale.KIND in kinds,
        given_back=SaleReversed.KIND in kinds,
        paper=_paper(ledger.progress(job_of(record))),
    )


def _paper(progress: spool.Progress | None) -> Paper:
    if progress is None or all(part.state in DONE for part in progress.parts):
        return Paper.DONE
    return Paper.UNTOUCHED if progress.untouched else Paper.BEGUN


def _settle(ledger: Ledger, terminal: Terminal, row: Row, *, clock: Clock) -> bool:
    """An attempt without a sale: proven not charged, or given back. True when it is."""
    ended = resolve(
        ledger.journal.engine, terminal, attempt_id=row.attempt_id, clock=clock, boot=ledger.boot, nothing_issued=True
    )
    return ended.state not in (State.UNKNOWN, State.STUCK)


def _give_back(ledger: Ledger, terminal: Terminal, rows: tuple[Row, ...], record: SaleRecord) -> bool:
    """Begin to reverse a sale of which nothing was printed. A terminal that is away is not asked, and nothing is written: the
    order waits as it is. What cannot be reversed at all is owed.
    """
    if not rows:  # an order of 0
        ledger.reversed(record, job_of(record), attempt=None, proof=None, paid=paid_by("none", None, None))
        return True
    charge = charge_evidence(rows)
    if charge is None or not terminal.caps.voids_after_confirm:
        ledger.owe(record, job_of(record), ticket_ids(ledger, record))
        return True
    if terminal.open() is not Health.READY:
        return False
    return _reverse(ledger, terminal, rows, record, charge)


def _reverse(ledger: Ledger, terminal: Terminal, rows: tuple[Row, ...], record: SaleRecord, charge: Evidence) -> bool:
    attempt = rows[-1].attempt_id
    ledger.step(attempt, State.REVERSAL_SENT, charge)
    answer = terminal.reverse(charge, key=f"{attempt}/{len(rows)}")
    return _after_asking(ledger, record, ledger.rows(attempt), answer)


def _finish_giving_back(ledger: Ledger, terminal: Terminal, rows: tuple[Row, ...], record: SaleRecord) -> bool:
    """The end of a reversal that nobody saw: asked for, never assumed. A charge that stands is reversed once more."""
    attempt = rows[-1].attempt_id
    if rows[-1].state is not State.UNKNOWN:
        gone = Evidence(outcome=Outcome.UNKNOWN, code="restarted", attempt_id=attempt)
        ledger.step(attempt, State.UNKNOWN, gone)
        rows = ledger.rows(attempt)
    charge = charge_evidence(rows)
    found = terminal.query(request_of(rows), seen=charge)
    if found.outcome is Outcome.APPROVED_FINAL and charge is not None and terminal.open() is Health.READY:
        return _reverse(ledger, terminal, rows, record, charge)
    return _after_asking(ledger, record, rows, found)


def _after_asking(ledger: Ledger, record: SaleRecord, rows: tuple[Row, ...], answer: Evidence) -> bool:
    """Write down what the terminal said about a charge that is to go back. True when that settles it."""
    attempt = rows[-1].attempt_id
    if answer.outcome.is_proven_uncharged:
        ledger.reversed(record, job_of(record), attempt=attempt, proof=answer, paid=paid_by("card", attempt, answer))
        log.info("sale_reversed", order=record.number)
        return True
    state = state_after(rows, answer)
    ledger.step(attempt, state, answer)
    if state is State.STUCK and answer.outcome is Outcome.APPROVED_FINAL and answer.code not in ASK_AGAIN:
        # The terminal refuses for good, so the charge stands, proven: the guest has paid, the tickets are owed.
        ledger.keep(record, job_of(record), attempt, answer, ticket_ids(ledger, record))
        return True
    return False


def job_of(record: SaleRecord) -> str:
    """The print job that holds an order's tickets."""
    return f"{record.ref}{TICKETS_SUFFIX}"


def _waiting(ledger: Ledger) -> tuple[str, ...]:
    with ledger.journal.read() as connection:
        return spool.waiting(connection, boot=ledger.boot)


def _tell_open(ledger: Ledger, record: SaleRecord) -> None:
    """Every doubt is on record at the hub as well: once when it begins, once when it is stuck."""
    rows = ledger.rows_of_order(record.ref)
    if not rows or rows[-1].state not in (State.UNKNOWN, State.STUCK):
        return
    state = "stuck" if rows[-1].state is State.STUCK else "unknown"
    if _last_told(ledger, record) != state:
        ledger.doubt(record, rows[-1].attempt_id, tender="card", state=state)


def _tell_settled(ledger: Ledger, record: SaleRecord, rows: tuple[Row, ...]) -> None:
    told = _last_told(ledger, record)
    if rows and told == BEGUN and rows[-1].state in CLOSED and not _kinds(ledger, record):
        ledger.tell_ended(rows[-1].attempt_id)
    elif rows and told in ("unknown", "stuck"):
        state = "paid" if rows[-1].state is State.CONFIRMED else "not_paid"
        ledger.doubt(record, rows[-1].attempt_id, tender="card", state=state)


def _last_told(ledger: Ledger, record: SaleRecord) -> str | None:
    told = [said for said in _said(ledger, record, PaymentDoubt.KIND) if isinstance(said, PaymentDoubt)]
    return told[-1].state if told else None


def _kinds(ledger: Ledger, record: SaleRecord) -> set[str]:
    return {kind for kind in (Sale.KIND, SaleReversed.KIND) if has_said(ledger, record, kind)}


def has_said(ledger: Ledger, record: SaleRecord, kind: str) -> bool:
    """Whether the journal holds an operation of this kind about the order."""
    return bool(_said(ledger, record, kind))


def ticket_ids(ledger: Ledger, record: SaleRecord) -> list[str]:
    """The tickets of a sale, in printing order, from its own operation."""
    for sale in _said(ledger, record, Sale.KIND):
        if isinstance(sale, Sale):
            return [ticket.ticket for ticket in sale.tickets]
    return []


def _said(ledger: Ledger, record: SaleRecord, kind: str) -> list[object]:
    """This order's operations of a kind, oldest first."""
    query = (
        select(operation.c.body)
        .where(operation.c.kind == kind, operation.c.body.contains(f'"order":"{record.ref}"', autoescape=True))
        .order_by(operation.c.incarnation, operation.c.seq)
    )
    with ledger.journal.read() as connection:
        return [from_body(body) for body in connection.scalars(query)]
