"""The ledger of uses and the arbiter over it. Uses are inserted rows; what is spent is summed under the ticket's lock."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select, update

from hub.errors import BadRequest, EpochPassed
from hub.services import attention, feed, venue
from hub.tables import claim_answer, release, selling_key, stamp, ticket, used
from sync import certificate
from sync.certificate import Certificate
from sync.claim import UNITS_MAX, ClaimMessage, answer_from_row, answer_to_row
from sync.conflict import Conflict, CountedUse, conflicts
from sync.operation import Admission, Mode
from sync.protocol import ReleaseMessage
from tickets.admission import Denied, Granted, Passage, Reason, Use
from tickets.code import CodeError, TicketCode, parse, public_key, verify
from tickets.ids import DeviceId, OpId, TicketId
from tickets.ids import op_id as parse_op_id
from tickets.ids import ticket_id as parse_ticket_id
from tickets.language import from_number
from tickets.life_cycle import TicketState

EPOCH = 1
"""The reign of this arbiter. Handing it over comes with a signed number of its own."""


@dataclass(frozen=True, slots=True)
class LedgerTicket:
    ticket: TicketId
    variant: int
    uses: int
    state: TicketState


def lock_ticket(connection: Connection, ticket_id: TicketId) -> LedgerTicket | None:
    """The ticket's row, locked until the transaction ends (SQLite has locked everything with BEGIN IMMEDIATE)."""
    row = connection.execute(
        select(ticket.c.ticket, ticket.c.variant, ticket.c.uses, ticket.c.state)
        .where(ticket.c.ticket == ticket_id)
        .with_for_update()
    ).first()
    return None if row is None else LedgerTicket(TicketId(row.ticket), row.variant, row.uses, TicketState(row.state))


def insert_from_code(
    connection: Connection, ticket_id: TicketId, text: str, *, device: DeviceId, now: datetime
) -> Reason | None:
    """Make a row of a ticket that no upload has told of yet, from its own code, if a key known here signed it. Else why not.

    A code that its key's certificate does not allow, or of a key that is revoked, makes a row that is blocked (and the answer is
    BLOCKED): whoever sold it, no gate admits it until the office has looked.
    """
    try:
        code = parse(text)
    except CodeError:
        return Reason.UNKNOWN
    if code.ticket.ticket_id != ticket_id:
        return Reason.UNKNOWN
    key = connection.execute(select(selling_key).where(selling_key.c.kid == code.ticket.kid)).first()
    if key is None:
        return Reason.ISSUER_UNKNOWN
    if not verify(code, public_key(key.public)):
        return Reason.FORGED
    outside = _outside(connection, code.ticket, certificate.read(key.certificate), revoked=key.revoked_at is not None)
    state = TicketState.VALID if outside is None else TicketState.BLOCKED
    connection.execute(insert(ticket), _row_from_code(code.ticket, state))
    feed.touch(connection, "ticket", [ticket_id])
    if outside is None:
        return None
    detail = f"{ticket_id.hex()}: {outside}"
    attention.note_trouble(connection, device=device, kind="certificate", detail=detail, now=now)
    return Reason.BLOCKED


def _outside(connection: Connection, code: TicketCode, held: Certificate, *, revoked: bool) -> str | None:
    """Why a ticket is none that its key may sign, as far as this hub knows; None where it may. Nothing proves when a code was signed,
    so a revoked key vouches for no ticket that was not known before.
    """
    if revoked:
        return f"signed with key {held.kid.hex()}, which is revoked"
    catalogue = venue.find_catalogue(connection)
    found = catalogue.product_of(code.variant) if catalogue else None
    product = None if found is None else found.product
    if certificate.covers(held, not_before=code.not_before, expires=code.expires, product=product):
        return None
    return f"not covered by the certificate of key {held.kid.hex()}"


def _row_from_code(code: TicketCode, state: TicketState) -> dict[str, Any]:
    return {
        "ticket": code.ticket_id,
        "kid": code.kid,
        "variant": code.variant,
        "uses": code.uses,
        "state": state,
        "not_before": code.not_before,
        "expires": code.expires,
        "language": from_number(code.language),
        "short_id": "",
        "part": 1,
        "parts": 1,
    }


def cap_of(connection: Connection, found: LedgerTicket, window: str) -> int:
    """The cap within one window: the product's uses a day, else the ticket's own. 0: no limit."""
    if window:
        catalogue = venue.find_catalogue(connection)
        product = catalogue.product_of(found.variant) if catalogue else None
        if product is not None and product.uses_a_day:
            return product.uses_a_day
    return found.uses


def uses_of(connection: Connection, ticket_id: TicketId) -> tuple[Use, ...]:
    """Every unreleased use in the order in which they reached this arbiter. Their times are of many clocks and order nothing."""
    rows = connection.execute(
        select(used).where(used.c.ticket == ticket_id, used.c.released == 0).order_by(used.c.arrival, used.c.op)
    )
    return tuple(
        Use(
            op=OpId(row.op),
            passage=Passage(row.passage),
            units=row.units,
            window=row.window,
            at=datetime.fromisoformat(row.at),
            gate=row.gate,
        )
        for row in rows
    )


def _next_arrival(connection: Connection, ticket_id: TicketId) -> int:
    """The number of the next use of a ticket, released ones counted. Call it under the ticket's lock."""
    return int(connection.scalar(select(func.max(used.c.arrival)).where(used.c.ticket == ticket_id)) or 0) + 1


def claim(connection: Connection, message: ClaimMessage, *, device: DeviceId, now: datetime) -> Granted | Denied:
    """The arbiter's answer. A known op gets the same answer again. Raises EpochPassed where a newer arbiter reigns."""
    op = parse_op_id(message.op)
    known = connection.execute(select(claim_answer).where(claim_answer.c.op == op)).first()
    if known is not None:
        if known.device != device:
            raise BadRequest("this operation id is another device's")
        return _stored(known.answer)
    if message.epoch > EPOCH:
        raise EpochPassed(f"this arbiter's epoch is {EPOCH}, the gate has seen {message.epoch}")
    answer = _decide(connection, message, op, device=device, now=now)
    connection.execute(
        insert(claim_answer),
        {
            "op": op,
            "device": device,
            "at": stamp(now),
            "answer": json.dumps(_storable(message.op, answer), separators=(",", ":")),
        },
    )
    return answer


def _decide(
    connection: Connection, message: ClaimMessage, op: OpId, *, device: DeviceId, now: datetime
) -> Granted | Denied:
    if connection.scalar(select(release.c.of).where(release.c.of == op)) is not None:
        return Denied(Reason.NO_ANSWER)  # given up by its gate before it arrived
    ticket_id = parse_ticket_id(message.ticket)
    found = lock_ticket(connection, ticket_id)
    if found is None:
        why = Reason.UNKNOWN
        if message.code is not None:
            why = insert_from_code(connection, ticket_id, message.code, device=device, now=now) or why
            found = lock_ticket(connection, ticket_id)
        if found is None:
            return Denied(why)
    all_uses = uses_of(connection, ticket_id)
    uses = tuple(use for use in all_uses if use.window == message.window)
    cap, spent = cap_of(connection, found, message.window), sum(use.units for use in uses)
    if any(use.op == op for use in all_uses):  # its admission was uploaded before its claim came
        return Granted(EPOCH, None if cap == 0 else max(0, cap - spent))
    if found.state is not TicketState.VALID:
        return Denied(Reason(found.state.value))
    refused = _against(message, all_uses, uses, cap=cap, spent=spent)
    if refused is not None:
        return refused
    units = message.units if message.kind is Passage.ENTRY else 0
    connection.execute(
        insert(used),
        {
            "op": op,
            "ticket": ticket_id,
            "passage": message.kind,
            "units": units,
            "window": message.window,
            "at": stamp(now),
            "gate": message.gate,
            "mode": Mode.CONFIRMED,
            "epoch": EPOCH,
            "released": 0,
            "device": device,
            "arrival": _next_arrival(connection, ticket_id),
        },
    )
    feed.touch(connection, "used", [op])
    return Granted(EPOCH, None if cap == 0 else max(0, cap - spent - units))


def _against(
    message: ClaimMessage, all_uses: tuple[Use, ...], uses: tuple[Use, ...], *, cap: int, spent: int
) -> Denied | None:
    """What stands in a claim's way: direction for re-entry and exit, the cap for entry.

    The direction is the last that arrived here. Each exit is good for one re-entry, counted, within its own window: gates upload
    late, and then the last to arrive is not the last that happened.
    """
    match message.kind:
        case Passage.EXIT:
            inside = bool(all_uses) and all_uses[-1].passage is not Passage.EXIT
            return None if inside else Denied(Reason.NOT_INSIDE)
        case Passage.REENTRY:
            exits = sum(use.passage is Passage.EXIT for use in uses)
            returned = sum(use.passage is Passage.REENTRY for use in uses)
            outside = bool(uses) and uses[-1].passage is Passage.EXIT and exits > returned
            return None if outside else Denied(Reason.ALREADY_USED, all_uses[-1] if all_uses else None)
        case Passage.ENTRY:
            if message.units < 1:
                raise BadRequest("an entry takes at least one unit")
            if cap and spent + message.units > cap:
                first = next((use for use in uses if use.units), None)
                return Denied(Reason.ALREADY_USED if cap == 1 else Reason.EXHAUSTED, first)
            return None


def admit(connection: Connection, what: Admission, *, device: DeviceId, now: datetime) -> Reason | None:
    """Take an uploaded admission into the ledger: whoever was let in was let in. Returns what is wrong with it (it is counted all the
    same), or None. Raises BadRequest for units that no scan can have.
    """
    if not 0 <= what.units <= UNITS_MAX:
        raise BadRequest(f"units go from 0 to {UNITS_MAX}")
    op, ticket_id = parse_op_id(what.op), parse_ticket_id(what.ticket)
    wrong = None
    found = lock_ticket(connection, ticket_id)
    if found is None and what.code is not None:
        wrong = insert_from_code(connection, ticket_id, what.code, device=device, now=now)
        found = lock_ticket(connection, ticket_id)
    at = stamp(datetime.fromisoformat(what.at))
    looked_at = what.attention.value if what.attention else None
    if connection.scalar(select(used.c.op).where(used.c.op == op)) is not None:
        # Its claim was granted here. The time stays the arbiter's: the gate's clock may be off by any amount.
        connection.execute(update(used).where(used.c.op == op).values(attention=looked_at))
    else:
        released = connection.scalar(select(release.c.of).where(release.c.of == op)) is not None
        connection.execute(
            insert(used),
            {
                "op": op,
                "ticket": ticket_id,
                "passage": what.passage,
                "units": what.units,
                "window": what.window,
                "at": at,
                "gate": what.gate,
                "mode": what.mode,
                "epoch": what.epoch,
                "released": int(released),
                "device": device,
                "attention": looked_at,
                "arrival": _next_arrival(connection, ticket_id),
            },
        )
    feed.touch(connection, "used", [op])
    if wrong is not None or found is None:
        return wrong
    mine = [row for row in _counted(connection, ticket_id) if row.window == what.window]
    beyond = conflicts(mine, cap=cap_of(connection, found, what.window))
    return Reason.ALREADY_USED if any(item.op == op for item in beyond) else None


def give_back(connection: Connection, message: ReleaseMessage, *, device: DeviceId) -> None:
    """Release a use. Before its claim or admission has come it is their tombstone; both orders give the same ledger.

    Raises BadRequest for a use that another device recorded.
    """
    row = connection.execute(select(used.c.device, used.c.released).where(used.c.op == message.of)).first()
    if row is not None and row.device != device:
        raise BadRequest("only the device that recorded a use gives it back")
    if connection.scalar(select(release.c.of).where(release.c.of == message.of)) is None:
        connection.execute(
            insert(release),
            {
                "of": message.of,
                "op": message.op,
                "reason": message.reason,
                "gate": message.gate,
                "at": stamp(message.at),
                "device": device,
            },
        )
    if row is not None and not row.released:
        connection.execute(update(used).where(used.c.op == message.of).values(released=1))
        feed.touch(connection, "used", [message.of])


def all_conflicts(connection: Connection) -> tuple[Conflict, ...]:
    """Every use beyond a cap, over the whole ledger. Only tickets with more than one use, or a use of several units, are looked at.
    The cap is the window's: a pass without a limit of its own may have one a day.
    """
    suspects = connection.execute(
        select(used.c.ticket, used.c.window, ticket.c.variant, ticket.c.uses, ticket.c.state)
        .join(ticket, ticket.c.ticket == used.c.ticket)
        .where(used.c.released == 0, used.c.units > 0, or_(ticket.c.uses > 0, used.c.window != ""))
        .group_by(used.c.ticket, used.c.window, ticket.c.variant, ticket.c.uses, ticket.c.state)
        .having(func.sum(used.c.units) > 1)
    ).all()
    found: list[Conflict] = []
    for row in suspects:
        who = LedgerTicket(TicketId(row.ticket), row.variant, row.uses, TicketState(row.state))
        cap = cap_of(connection, who, row.window)
        if cap:
            uses = [use for use in _counted(connection, who.ticket) if use.window == row.window]
            found.extend(conflicts(uses, cap=cap))
    return tuple(sorted(found, key=lambda item: (item.ticket, item.window, item.op)))


def _counted(connection: Connection, ticket_id: TicketId) -> Iterable[CountedUse]:
    rows = connection.execute(
        select(used.c.op, used.c.window, used.c.units, used.c.mode).where(
            used.c.ticket == ticket_id, used.c.released == 0
        )
    )
    return [CountedUse(OpId(row.op), ticket_id, row.window, row.units, row.mode == Mode.CONFIRMED) for row in rows]


def _storable(op: str, answer: Granted | Denied) -> dict[str, Any]:
    return answer_to_row(op, answer, epoch=EPOCH)


def _stored(text: str) -> Granted | Denied:
    row = json.loads(text)
    return answer_from_row(row, op=row["op"])
