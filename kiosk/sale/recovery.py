"""What an earlier run left open, settled before the kiosk says it is ready (research, payments 7; design, "A sale").

A charge whose sale was never completed is given back: nobody got anything for it. A completed sale of which no byte was printed
is reversed, as the guest has gone; of which something was, the rest is owed. The spool prints nothing of it by itself.
"""

from __future__ import annotations

import structlog
from sqlalchemy import select

from kiosk.payment.attempt import Row, State, charge_evidence, state_after
from kiosk.payment.contract import Outcome, Terminal
from kiosk.payment.recovery import resolve
from kiosk.sale import stock
from kiosk.sale.ledger import Ledger, SaleRecord, paid_by
from printer import spool
from sync.journal import operation
from sync.operation import Sale, from_body
from tickets.clock import Clock

log = structlog.get_logger()

TICKETS_SUFFIX = "-tickets"


def clear_up(ledger: Ledger, terminal: Terminal, *, clock: Clock) -> tuple[Row, ...]:
    """Settle attempts, then papers, then holds. Returns the attempts that are still open: the terminal is away, or a person must
    decide. Safe to call again at any time at which no guest is being served.
    """
    for row in ledger.unsettled():
        _settle(ledger, terminal, row, clock=clock)
    still_open = ledger.unsettled()
    blocked = {row.order_ref for row in still_open}
    for job_id in _waiting(ledger):
        if not job_id.endswith(TICKETS_SUFFIX):
            ledger.drop_job(job_id)  # a receipt or a slip of a guest who has gone
        elif job_id.removesuffix(TICKETS_SUFFIX) not in blocked:
            _rule(ledger, terminal, job_id)
    with ledger.journal.write() as connection:
        for order in stock.left_behind(connection, boot=ledger.boot):
            if order not in blocked:
                stock.release(connection, order, now=clock.now_utc())
    return still_open


def _settle(ledger: Ledger, terminal: Terminal, row: Row, *, clock: Clock) -> None:
    record = ledger.record(row.order_ref)
    # A reversal of a completed sale that was cut short belongs to its papers and is finished with them, in one transaction.
    ended = resolve(
        ledger.journal.engine, terminal, attempt_id=row.attempt_id, clock=clock, boot=ledger.boot, nothing_issued=True
    )
    if record is None:
        return
    if ended.state is State.STUCK and row.state is not State.STUCK:
        ledger.doubt(record, row.attempt_id, tender="card", state="stuck")
    elif ended.state in (State.NOT_CHARGED, State.VOIDED, State.REVERSED, State.DECLINED, State.CANCELLED):
        if _was_told(ledger, record):
            ledger.doubt(record, row.attempt_id, tender="card", state="not_paid")
        log.info("attempt_settled", attempt=row.attempt_id, order=record.number, state=ended.state)


def _rule(ledger: Ledger, terminal: Terminal, job_id: str) -> None:
    """An unfinished job of a completed sale: reversed if nothing of it was touched and the money can go back, else owed."""
    progress = ledger.progress(job_id)
    record = ledger.record(job_id.removesuffix(TICKETS_SUFFIX))
    assert progress is not None, "a waiting job has rows"
    assert record is not None, "a job of tickets has its order"
    rows = ledger.rows_of_order(record.ref)
    if not progress.untouched or (rows and not _give_back(ledger, terminal, rows, record, job_id)):
        claim, owed = ledger.owe(record, job_id, _ticket_ids(ledger, record))
        log.warning("tickets_owed", order=record.number, owed=owed, claim=claim)
    elif not rows:
        ledger.reversed(record, job_id, attempt=None, proof=None, paid=paid_by("none", None, None))


def _give_back(ledger: Ledger, terminal: Terminal, rows: tuple[Row, ...], record: SaleRecord, job_id: str) -> bool:
    """Reverse the charge of a sale of which nothing was printed. False when it stands, or nobody can say."""
    charge = charge_evidence(rows)
    attempt = rows[-1].attempt_id
    if charge is None or not terminal.caps.voids_after_confirm:
        return False
    if rows[-1].state is State.REVERSED:  # proven before the crash, its sale not yet taken back
        ledger.reversed(record, job_id, attempt=None, proof=None, paid=paid_by("card", attempt, rows[-1].evidence))
        return True
    if rows[-1].state is not State.CONFIRMED:
        return False
    ledger.step(attempt, State.REVERSAL_SENT, charge)
    answer = terminal.reverse(charge, key=f"{attempt}/{len(rows)}")
    if answer.outcome is Outcome.NOT_CHARGED:
        ledger.reversed(record, job_id, attempt=attempt, proof=answer, paid=paid_by("card", attempt, answer))
        log.info("sale_reversed", order=record.number)
        return True
    ledger.step(attempt, state_after(ledger.rows(attempt), answer), answer)
    return False


def _waiting(ledger: Ledger) -> tuple[str, ...]:
    with ledger.journal.read() as connection:
        return spool.waiting(connection, boot=ledger.boot)


def _was_told(ledger: Ledger, record: SaleRecord) -> bool:
    """Whether the hub has heard of a doubt about this order."""
    with ledger.journal.read() as connection:
        bodies = connection.scalars(select(operation.c.body).where(operation.c.kind == "payment_doubt"))
        return any(f'"order":"{record.ref}"' in body for body in bodies)


def _ticket_ids(ledger: Ledger, record: SaleRecord) -> list[str]:
    """The tickets of a sale, in printing order, from its own operation."""
    with ledger.journal.read() as connection:
        for body in connection.scalars(select(operation.c.body).where(operation.c.kind == Sale.KIND)):
            sale = from_body(body)
            if isinstance(sale, Sale) and sale.order == record.ref:
                return [ticket.ticket for ticket in sale.tickets]
    return []
