"""What each uploaded operation does to the hub's tables. Each comes once (uploads sees to that) and inside a savepoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never

from sqlalchemy import Connection, insert, select, update

from hub.services import feed, ledger, reckoning
from hub.services.devices import KnownDevice
from hub.services.spent import Spent
from hub.tables import (
    chain,
    doubt,
    order,
    order_line,
    order_tax,
    owed,
    payment,
    refusal,
    selling_key,
    stamp,
    ticket,
    trouble,
)
from sync.operation import (
    Admission,
    Incarnation,
    Operation,
    Owed,
    Paid,
    PaymentDoubt,
    Refusal,
    Release,
    Sale,
    SaleReversed,
    UnknownKind,
)
from sync.protocol import ReleaseMessage, Status
from sync.state import Role
from tickets.ids import DeviceId, OrderId, TicketId
from tickets.ids import kid as parse_kid
from tickets.ids import op_id as parse_op_id
from tickets.ids import order_id as parse_order_id
from tickets.ids import ticket_id as parse_ticket_id
from tickets.life_cycle import TicketState

Outcome = tuple[Status, str]
ACCEPTED: Outcome = (Status.ACCEPTED, "")
KEPT = "kept: this hub does not know its kind"
ALREADY_REVERSED = "already_reversed"


def apply(
    connection: Connection,
    what: Operation | UnknownKind,
    *,
    sender: KnownDevice,
    now: datetime,
    spent: Spent | None = None,
) -> Outcome:
    """Apply one operation. Raises ValueError or a database error for one that cannot be; the caller rolls back and keeps it. With `spent`
    the caller reckons what sales took, later; else it is done here.
    """
    match what:
        case Incarnation():
            return _incarnation(connection, what, sender, now)
        case Sale():
            return _sale(connection, what, sender, now, spent)
        case SaleReversed():
            return _reversed(connection, what, sender, now)
        case Owed():
            return _owed(connection, what, sender)
        case PaymentDoubt():
            return _doubt(connection, what, sender)
        case Admission():
            wrong = ledger.admit(connection, what, device=sender.device, now=now)
            return ACCEPTED if wrong is None else (Status.CONFLICT, wrong.value)
        case Refusal():
            return _refusal(connection, what, sender)
        case Release():
            message = ReleaseMessage(
                parse_op_id(what.op), parse_op_id(what.of), what.reason, what.gate, datetime.fromisoformat(what.at)
            )
            ledger.give_back(connection, message, device=sender.device)
            return ACCEPTED
        case UnknownKind():
            return Status.ACCEPTED, KEPT
        case _ as never:
            assert_never(never)


def _incarnation(connection: Connection, what: Incarnation, sender: KnownDevice, now: datetime) -> Outcome:
    """A new journal is news for people; one that began after operations that never came is a loss to look for."""
    previous = what.previous
    if previous is None:
        return ACCEPTED
    number, last = previous.incarnation, previous.seq
    held = connection.scalar(select(chain.c.seq).where(chain.c.device == sender.device, chain.c.incarnation == number))
    missing = None if last is None else max(0, last - (held or 0))
    detail = f"journal {number} ended ({what.reason}); " + (
        "how far it went is not known" if missing is None else f"{missing} of its operations have not come"
    )
    connection.execute(
        insert(trouble), {"at": stamp(now), "device": sender.device, "kind": "incarnation", "detail": detail}
    )
    return ACCEPTED


def _sale(connection: Connection, what: Sale, sender: KnownDevice, now: datetime, spent: Spent | None) -> Outcome:
    if sender.role is not Role.KIOSK:
        return Status.REJECTED, "not_a_kiosk"
    if sum(line.count * line.unit_minor for line in what.lines) != what.total_minor:
        return Status.REJECTED, "total_is_not_the_sum_of_its_lines"
    mine = set(connection.scalars(select(selling_key.c.kid).where(selling_key.c.device == sender.device)))
    if any(parse_kid(sold.kid) not in mine for sold in what.tickets):
        return Status.REJECTED, "signed_with_a_key_that_is_not_this_kiosks"
    reckoning.lock_all(connection, (line.slot for line in what.lines))
    order_id = parse_order_id(what.order)
    ids = [parse_ticket_id(sold.ticket) for sold in what.tickets]
    rows = sale_rows(what, order_id, ids, device=sender.device)
    connection.execute(insert(order), rows.order)
    if rows.lines:
        connection.execute(insert(order_line), rows.lines)
    if rows.taxes:
        connection.execute(insert(order_tax), rows.taxes)
    paid = payment_row(what.op, order_id, "charge", rows.order["at"], what.paid, what.total_minor, what.currency)
    connection.execute(insert(payment), paid)
    _tickets(connection, ids, rows.tickets)
    taken = Spent() if spent is None else spent
    taken.note(what)
    if spent is None:
        taken.reckon(connection, now=now)
    return ACCEPTED


@dataclass(frozen=True, slots=True)
class SaleRows:
    """A sale as the hub's tables hold it, but for its payment."""

    order: dict[str, Any]
    lines: list[dict[str, Any]]
    taxes: list[dict[str, Any]]
    tickets: list[dict[str, Any]]


def sale_rows(what: Sale, order_id: OrderId, ids: Sequence[TicketId], *, device: DeviceId) -> SaleRows:
    """The rows of a sale; `ids` are its tickets', in their order. Raises ValueError for ids that are none."""
    return SaleRows(
        order={
            "order": order_id,
            "device": device,
            "number": what.number,
            "at": stamp(datetime.fromisoformat(what.at)),
            "language": what.language,
            "currency": what.currency,
            "total_minor": what.total_minor,
            "state": "paid",
        },
        lines=[
            {
                "order": order_id,
                "line": number,
                "variant": line.variant,
                "count": line.count,
                "unit_minor": line.unit_minor,
                "tax_bp": line.tax_bp,
                "slot": line.slot,
            }
            for number, line in enumerate(what.lines)
        ],
        taxes=[
            {"order": order_id, "tax_bp": tax.tax_bp, "gross_minor": tax.gross_minor, "tax_minor": tax.tax_minor}
            for tax in what.tax
        ],
        tickets=[
            {
                "ticket": ticket_id,
                "state": TicketState.VALID.value,
                "order": order_id,
                "line": sold.line,
                "kid": parse_kid(sold.kid),
                "variant": sold.variant,
                "uses": sold.uses,
                "not_before": sold.not_before,
                "expires": sold.expires,
                "language": sold.language,
                "short_id": sold.short_id,
                "slot": sold.slot,
                "book": sold.book,
                "part": sold.part,
                "parts": sold.parts,
            }
            for ticket_id, sold in zip(ids, what.tickets, strict=True)
        ],
    )


def payment_row(
    op: str, order_id: bytes, kind: str, at: str, paid: Paid, amount_minor: int, currency: str
) -> dict[str, Any]:
    return {
        "op": parse_op_id(op),
        "order": order_id,
        "kind": kind,
        "at": at,
        "tender": paid.tender,
        "amount_minor": amount_minor,
        "currency": currency,
        "attempt": paid.attempt,
        "terminal": paid.terminal,
        "receipt": paid.receipt,
        "trace": paid.trace,
        "brand": paid.brand,
        "masked": paid.masked,
    }


def _tickets(connection: Connection, ids: Sequence[TicketId], rows: Sequence[dict[str, Any]]) -> None:
    """The tickets of a sale. A gate may have told of one first; then its row is completed and keeps its state."""
    there = {
        row.ticket: row.order
        for row in connection.execute(select(ticket.c.ticket, ticket.c.order).where(ticket.c.ticket.in_(ids)))
    }
    if any(owner is not None for owner in there.values()):
        raise ValueError("a ticket id that another sale has")
    fresh = []
    for row in rows:
        if row["ticket"] in there:
            kept = {name: value for name, value in row.items() if name not in ("ticket", "state")}
            connection.execute(update(ticket).where(ticket.c.ticket == row["ticket"]).values(kept))
        else:
            fresh.append(row)
    if fresh:
        connection.execute(insert(ticket), fresh)
    feed.touch(connection, "ticket", ids)


def _reversed(connection: Connection, what: SaleReversed, sender: KnownDevice, now: datetime) -> Outcome:
    order_id = parse_order_id(what.order)
    found = connection.execute(select(order).where(order.c.order == order_id, order.c.device == sender.device)).first()
    if found is None:
        return Status.REJECTED, "no_such_sale"
    slots = connection.scalars(select(order_line.c.slot).where(order_line.c.order == order_id)).all()
    reckoning.lock_all(connection, slots)
    # Read again under the order's own lock: another journal of the device may be taking the same sale back at this moment.
    state = connection.scalar(select(order.c.state).where(order.c.order == order_id).with_for_update())
    if state == "reversed":
        return (
            Status.CONFLICT,
            ALREADY_REVERSED,
        )  # the money of a sale goes back once; whatever this one tells of is for a person
    connection.execute(update(order).where(order.c.order == order_id).values(state="reversed"))
    at = stamp(datetime.fromisoformat(what.at))
    back = payment_row(what.op, order_id, "reversal", at, what.proof, -found.total_minor, found.currency)
    connection.execute(insert(payment), back)
    taken = connection.scalars(
        select(ticket.c.ticket).where(ticket.c.order == order_id, ticket.c.state == TicketState.VALID)
    ).all()
    connection.execute(update(ticket).where(ticket.c.ticket.in_(taken)).values(state=TicketState.CANCELLED))
    feed.touch(connection, "ticket", taken)
    reckoning.after_sales(connection, slots, now=now)
    return ACCEPTED


def _owed(connection: Connection, what: Owed, sender: KnownDevice) -> Outcome:
    row = {
        "op": parse_op_id(what.op),
        "device": sender.device,
        "at": stamp(datetime.fromisoformat(what.at)),
        "order": parse_order_id(what.order),
        "claim": what.claim,
        "tickets": len(what.tickets),
    }
    connection.execute(insert(owed), row)
    return ACCEPTED


def _doubt(connection: Connection, what: PaymentDoubt, sender: KnownDevice) -> Outcome:
    row = {
        "op": parse_op_id(what.op),
        "device": sender.device,
        "at": stamp(datetime.fromisoformat(what.at)),
        "attempt": what.attempt,
        "order": what.order,
        "amount_minor": what.amount_minor,
        "currency": what.currency,
        "tender": what.tender,
        "state": what.state,
        "claim": what.claim,
    }
    connection.execute(insert(doubt), row)
    return ACCEPTED


def _refusal(connection: Connection, what: Refusal, sender: KnownDevice) -> Outcome:
    row = {
        "op": parse_op_id(what.op),
        "ticket": parse_ticket_id(what.ticket) if what.ticket else None,
        "reason": what.reason,
        "gate": what.gate,
        "number": what.number,
        "at": stamp(datetime.fromisoformat(what.at)),
        "device": sender.device,
    }
    connection.execute(insert(refusal), row)
    return ACCEPTED
