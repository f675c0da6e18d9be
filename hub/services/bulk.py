"""A segment's operations applied together: what they need is read once, decided in memory, and written in few statements.

The one-by-one path (hub.services.effects) is the judge: whatever is not plain goes there, at its place in the order, and
tests/unit/hub/test_bulk.py holds both to the same answers and the same rows. Here only what gates and kiosks send all day is known: sales,
admissions, refusals, releases, and kinds of a later version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from hub.services import feed, ledger, reckoning
from hub.services.attention import note_trouble
from hub.services.devices import KnownDevice
from hub.services.effects import ACCEPTED, KEPT, Outcome, payment_row, sale_rows
from hub.services.ledger import LedgerTicket
from hub.services.rows import insert_rows, select_in
from hub.services.spent import Spent
from hub.tables import (
    operation,
    order,
    order_line,
    order_tax,
    payment,
    refusal,
    release,
    selling_key,
    stamp,
    ticket,
    used,
)
from sync.claim import UNITS_MAX
from sync.conflict import CountedUse, conflicts
from sync.operation import Admission, Mode, Operation, Refusal, Release, Sale, SaleReversed, UnknownKind
from sync.protocol import Answer, Status
from sync.state import Role
from tickets.admission import Reason
from tickets.ids import OpId, TicketId
from tickets.ids import op_id as parse_op_id
from tickets.ids import order_id as parse_order_id
from tickets.ids import ticket_id as parse_ticket_id
from tickets.life_cycle import TicketState

NOT_PLAIN_MAX = 16
"""So many operations of a segment may go the slow way before all that follow do: what is read once is read anew after each of them."""

_SAID = (
    update(used)
    .where(used.c.op == bindparam("b_op"))
    .values(attention=bindparam("b_attention"), mode=bindparam("b_mode"), epoch=bindparam("b_epoch"))
)
_OF_A_SALE = tuple(column.name for column in ticket.c if column.name not in ("ticket", "state", "withdrawn"))
"""What a sale knows of its ticket; its state and what was withdrawn of it are others' to say."""
_COMPLETED = (
    update(ticket)
    .where(ticket.c.ticket == bindparam("b_ticket"))
    .values({name: bindparam(f"b_{name}") for name in _OF_A_SALE})
)
_RELEASED = update(used).where(used.c.op == bindparam("b_op")).values(released=1)


@dataclass(frozen=True, slots=True)
class Item:
    """One new operation of a segment: its number, its text and hash, and what it says, None where that cannot be read."""

    number: int
    body: str
    digest: bytes
    what: Operation | UnknownKind | None
    op: OpId


@dataclass(slots=True)
class _Use:
    op: OpId
    window: str
    units: int
    confirmed: bool
    released: bool
    device: bytes
    arrival: int
    row: dict[str, Any] | None = None
    """The row that is still to be inserted; None for a use that the database has."""


@dataclass(slots=True)
class _Pending:
    """What is decided and not written yet, by table."""

    operations: list[dict[str, Any]] = field(default_factory=list)
    orders: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    taxes: list[dict[str, Any]] = field(default_factory=list)
    payments: list[dict[str, Any]] = field(default_factory=list)
    tickets: list[dict[str, Any]] = field(default_factory=list)
    completed: list[dict[str, Any]] = field(default_factory=list)
    """What a sale says of tickets whose rows were made from their codes."""
    used: list[dict[str, Any]] = field(default_factory=list)
    releases: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[dict[str, Any]] = field(default_factory=list)
    said: list[dict[str, Any]] = field(default_factory=list)
    troubles: list[tuple[str, str]] = field(default_factory=list)
    """(kind, detail)"""
    given_back: list[dict[str, Any]] = field(default_factory=list)
    touched_tickets: list[bytes] = field(default_factory=list)
    touched_used: list[bytes] = field(default_factory=list)


def take(
    connection: Connection,
    items: Sequence[Item],
    *,
    incarnation: int,
    sender: KnownDevice,
    now: datetime,
    one: Callable[[Item], Answer],
    spent: Spent,
) -> list[Answer]:
    """Keep and apply `items`, in order. `one` takes a single operation the slow way. What sales took is added to `spent`, for the caller
    to reckon. Database errors are the caller's to answer: then nothing of this may stay.
    """
    _lock_slots(connection, items)
    answers: list[Answer] = []
    slow, start = 0, 0
    while start < len(items):
        if slow >= NOT_PLAIN_MAX:
            answers.extend(one(item) for item in items[start:])
            break
        plan = _Plan(connection, items[start:], spent, incarnation=incarnation, sender=sender, now=now)
        for item in items[start:]:
            outcome = plan.decide(item)
            if outcome is None:
                break
            answers.append(Answer(item.op, *outcome))
        plan.write()
        start = len(answers)
        if start < len(items):
            answers.append(one(items[start]))
            start, slow = start + 1, slow + 1
    return answers


def _lock_slots(connection: Connection, items: Sequence[Item]) -> None:
    """All slots that the segment's sales and reversals are of, before any ticket: whatever is sold of them comes in their order."""
    slots: set[str] = set()
    turned: set[bytes] = set()
    for item in items:
        match item.what:
            case Sale(lines=lines):
                slots.update(line.slot for line in lines if line.slot is not None)
            case SaleReversed(order=text) if (order_id := _id_or_none(parse_order_id, text)) is not None:
                turned.add(order_id)
            case _:
                pass
    rows = select_in(connection, [order_line.c.slot], order_line.c.order, turned)
    reckoning.lock_all(connection, [*slots, *(row.slot for row in rows)])


class _Plan:
    """What the database knows of the operations at hand, and what they make of it."""

    def __init__(
        self,
        connection: Connection,
        items: Sequence[Item],
        spent: Spent,
        *,
        incarnation: int,
        sender: KnownDevice,
        now: datetime,
    ) -> None:
        self._connection, self._incarnation, self._sender = connection, incarnation, sender
        self._spent = spent
        self._now, self._received = now, stamp(now)
        self._pending = _Pending()
        self._caps: dict[tuple[int, int, str], int] = {}
        self._kids: frozenset[bytes] | None = None
        self._read(items)

    def _read(self, items: Sequence[Item]) -> None:
        ops = [item.op for item in items]
        admitted: set[bytes] = set()
        sold: set[bytes] = set()
        orders: set[bytes] = set()
        given: set[bytes] = set()
        entered: list[bytes] = []
        for item in items:
            match item.what:
                case Admission(ticket=text):
                    if (ticket_id := _id_or_none(parse_ticket_id, text)) is not None:
                        admitted.add(ticket_id)
                    entered.append(item.op)
                case Sale() as sale:
                    orders.add(_id_or_none(parse_order_id, sale.order))
                    sold.update(_id_or_none(parse_ticket_id, one.ticket) for one in sale.tickets)
                case Release(of=text):
                    given.add(_id_or_none(parse_op_id, text))
                case _:
                    pass
        for found in (sold, orders, given):
            found.discard(None)
        connection = self._connection
        self._known = {row.op for row in select_in(connection, [operation.c.op], operation.c.op, ops)}
        columns = [ticket.c[name] for name in ("ticket", "variant", "uses", "state", "withdrawn", "order")]
        found_tickets = select_in(connection, columns, ticket.c.ticket, admitted | sold, lock=True)
        self._tickets = {
            row.ticket: LedgerTicket(TicketId(row.ticket), row.variant, row.uses, TicketState(row.state), row.withdrawn)
            for row in found_tickets
        }
        self._owned = {row.ticket for row in found_tickets if row.order is not None}
        # Under the tickets' locks: what others do to their uses is done, or comes after this.
        self._orders = {row.order for row in select_in(connection, [order.c.order], order.c.order, orders)}
        self._released = {row.of for row in select_in(connection, [release.c.of], release.c.of, [*entered, *given])}
        columns = [
            used.c[name] for name in ["op", "ticket", "window", "units", "mode", "released", "device", "arrival"]
        ]
        self._uses: dict[bytes, list[_Use]] = {}
        self._by_op: dict[bytes, _Use] = {}
        for row in (
            *select_in(connection, columns, used.c.ticket, admitted),
            *select_in(connection, columns, used.c.op, [*entered, *given]),
        ):
            if row.op not in self._by_op:
                use = _Use(
                    OpId(row.op),
                    row.window,
                    row.units,
                    row.mode == Mode.CONFIRMED,
                    bool(row.released),
                    row.device,
                    row.arrival,
                )
                self._by_op[row.op] = use
                self._uses.setdefault(row.ticket, []).append(use)

    def decide(self, item: Item) -> Outcome | None:
        """What an operation is answered, its rows noted; None for one that is not plain, and then nothing is noted."""
        what = item.what
        if what is None or item.op in self._known:
            return None
        match what:
            case Admission():
                outcome = self._admission(item.op, what)
            case Refusal():
                outcome = self._refusal(item.op, what)
            case Release():
                outcome = self._release(item.op, what)
            case Sale():
                outcome = self._sale(what)
            case UnknownKind():
                outcome = Status.ACCEPTED, KEPT
            case _:
                return None
        if outcome is None:
            return None
        self._known.add(item.op)
        status, reason = outcome
        self._pending.operations.append(
            {
                "device": self._sender.device,
                "incarnation": self._incarnation,
                "seq": item.number,
                "op": item.op,
                "kind": what.kind if isinstance(what, UnknownKind) else what.KIND,
                "body": item.body,
                "hash": item.digest,
                "received_at": self._received,
                "status": status.value,
                "reason": reason,
            }
        )
        return outcome

    def _admission(self, op: OpId, what: Admission) -> Outcome | None:
        ticket_id = _id_or_none(parse_ticket_id, what.ticket)
        if ticket_id is None or not 0 <= what.units <= UNITS_MAX:
            return None
        at = stamp(
            datetime.fromisoformat(what.at)
        )  # a time that cannot be is the judge's to refuse, whoever's use it is
        found, wrong = self._tickets.get(ticket_id), None
        if found is None and what.code is not None:
            wrong = ledger.insert_from_code(
                self._connection, ticket_id, what.code, device=self._sender.device, now=self._now
            )
            found = ledger.lock_ticket(self._connection, ticket_id)
            if found is not None:
                self._tickets[ticket_id] = found
        looked_at = None if what.attention is None else what.attention.value
        use, uses = self._by_op.get(op), self._uses.setdefault(ticket_id, [])
        if use is not None:
            said = {"b_op": op, "b_attention": looked_at, "b_mode": what.mode.value, "b_epoch": what.epoch}
            self._pending.said.append(said)  # on whose word the guest went in is the gate's to say: see ledger.admit
            use.confirmed = what.mode is Mode.CONFIRMED
        else:
            use = self._new_use(op, what, uses, ticket_id=ticket_id, at=at, looked_at=looked_at)
        self._pending.touched_used.append(op)
        if what.interrupted:
            self._pending.troubles.append(("interrupted", ledger.interrupted(what)))
        if wrong is not None:
            return Status.CONFLICT, wrong.value
        if found is None:
            return ACCEPTED
        cap = self._cap(found, what.window)
        if len(uses) == 1 and found.withdrawn == 0 and what.units <= cap:
            return ACCEPTED  # a ticket's first use, as nearly all are
        mine = [each for each in uses if each.window == what.window and not each.released]
        withdrawn = found.withdrawn_in(what.window)
        if cap == 0 or withdrawn + sum(each.units for each in mine) <= cap:
            return ACCEPTED
        counted = (CountedUse(each.op, ticket_id, each.window, each.units, each.confirmed) for each in mine)
        if any(beyond.op == op for beyond in conflicts(counted, cap=cap, withdrawn=withdrawn)):
            return Status.CONFLICT, Reason.ALREADY_USED.value
        return ACCEPTED

    def _new_use(
        self, op: OpId, what: Admission, uses: list[_Use], *, ticket_id: TicketId, at: str, looked_at: str | None
    ) -> _Use:
        arrival = max((use.arrival for use in uses), default=0) + 1
        row: dict[str, Any] = {
            "op": op,
            "ticket": ticket_id,
            "passage": what.passage.value,
            "units": what.units,
            "window": what.window,
            "at": at,
            "gate": what.gate,
            "mode": what.mode.value,
            "epoch": what.epoch,
            "released": int(op in self._released),
            "device": self._sender.device,
            "attention": looked_at,
            "arrival": arrival,
        }
        use = _Use(
            op,
            what.window,
            what.units,
            what.mode is Mode.CONFIRMED,
            op in self._released,
            self._sender.device,
            arrival,
            row,
        )
        self._pending.used.append(row)
        self._by_op[op] = use
        uses.append(use)
        return use

    def _cap(self, found: LedgerTicket, window: str) -> int:
        """The ledger's own answer, asked once for each kind of ticket."""
        key = (found.variant, found.uses, window)
        if key not in self._caps:
            self._caps[key] = ledger.cap_of(self._connection, found, window)
        return self._caps[key]

    def _refusal(self, op: OpId, what: Refusal) -> Outcome | None:
        ticket_id = _id_or_none(parse_ticket_id, what.ticket) if what.ticket else None
        if what.ticket and ticket_id is None:
            return None
        self._pending.refusals.append(
            {
                "op": op,
                "ticket": ticket_id,
                "reason": what.reason.value,
                "gate": what.gate,
                "number": what.number,
                "at": stamp(datetime.fromisoformat(what.at)),
                "device": self._sender.device,
            }
        )
        return ACCEPTED

    def _release(self, op: OpId, what: Release) -> Outcome | None:
        of = _id_or_none(parse_op_id, what.of)
        if of is None:
            return None
        use = self._by_op.get(of)
        if use is not None and use.device != self._sender.device:
            return None
        if of not in self._released:
            self._released.add(of)
            self._pending.releases.append(
                {
                    "of": of,
                    "op": op,
                    "reason": what.reason.value,
                    "gate": what.gate,
                    "at": stamp(datetime.fromisoformat(what.at)),
                    "device": self._sender.device,
                }
            )
        if use is not None and not use.released:
            use.released = True
            if use.row is None:
                self._pending.given_back.append({"b_op": of})
            else:
                use.row["released"] = 1
            self._pending.touched_used.append(of)
        return ACCEPTED

    def _sale(self, what: Sale) -> Outcome | None:
        """A sale with nothing against it; the judge says what is wrong with any other."""
        try:
            order_id = parse_order_id(what.order)
            ids = [parse_ticket_id(sold.ticket) for sold in what.tickets]
            kids = {bytes.fromhex(sold.kid) for sold in what.tickets}
        except ValueError:
            return None
        if self._kids is None:
            mine = select(selling_key.c.kid).where(selling_key.c.device == self._sender.device)
            self._kids = frozenset(self._connection.scalars(mine))
        plain = (
            self._sender.role is Role.KIOSK
            and sum(line.count * line.unit_minor for line in what.lines) == what.total_minor
            and kids <= self._kids
            and order_id not in self._orders
            and len({tax.tax_bp for tax in what.tax}) == len(what.tax)
            and len(set(ids)) == len(ids)
            and self._owned.isdisjoint(ids)
        )
        if not plain:
            return None
        rows = sale_rows(what, order_id, ids, device=self._sender.device)
        self._orders.add(order_id)
        self._owned.update(ids)
        pending = self._pending
        for row, ticket_id in zip(rows.tickets, ids, strict=True):
            told = self._tickets.get(
                ticket_id
            )  # by a gate, from its code: then the row is there, and keeps what happened to it since
            if told is None:
                pending.tickets.append(row)
                told = LedgerTicket(ticket_id, row["variant"], row["uses"], TicketState.VALID)
            else:
                pending.completed.append({f"b_{name}": row[name] for name in ("ticket", *_OF_A_SALE)})
            self._tickets[ticket_id] = replace(told, variant=row["variant"], uses=row["uses"])
        pending.orders.append(rows.order)
        pending.lines.extend(rows.lines)
        pending.taxes.extend(rows.taxes)
        pending.payments.append(
            payment_row(what.op, order_id, "charge", rows.order["at"], what.paid, what.total_minor, what.currency)
        )
        pending.touched_tickets.extend(ids)
        self._spent.note(what)
        return ACCEPTED

    def write(self) -> None:
        connection, pending = self._connection, self._pending
        for table, rows in (
            (operation, pending.operations),
            (order, pending.orders),
            (order_line, pending.lines),
            (order_tax, pending.taxes),
            (payment, pending.payments),
            (ticket, pending.tickets),
            (used, pending.used),
            (release, pending.releases),
            (refusal, pending.refusals),
        ):
            insert_rows(connection, table, rows)
        for statement, changes in (
            (_COMPLETED, pending.completed),
            (_SAID, pending.said),
            (_RELEASED, pending.given_back),
        ):
            if changes:
                connection.execute(statement, changes)
        for name, keys in (("ticket", pending.touched_tickets), ("used", pending.touched_used)):
            if keys:
                feed.touch(connection, name, keys)
        for kind, detail in pending.troubles:
            note_trouble(connection, device=self._sender.device, kind=kind, detail=detail, now=self._now)
        self._pending = _Pending()


def _id_or_none(parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except ValueError:
        return None
