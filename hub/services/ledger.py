"""The ledger of uses. Uses are inserted rows; what is spent is summed under the ticket's lock (hub.services.arbiter answers claims)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from hub.database import is_postgresql, lock_key
from hub.errors import BadRequest
from hub.services import attention, feed, venue
from hub.tables import release, selling_key, stamp, ticket, used
from sync import certificate
from sync.certificate import Certificate
from sync.claim import UNITS_MAX
from sync.conflict import Conflict, CountedUse, conflicts
from sync.operation import Admission, Mode
from sync.protocol import ReleaseMessage
from tickets.admission import Reason
from tickets.code import CodeError, TicketCode, parse, public_key, verify
from tickets.ids import DeviceId, OpId, TicketId
from tickets.ids import op_id as parse_op_id
from tickets.ids import ticket_id as parse_ticket_id
from tickets.language import from_number
from tickets.life_cycle import TicketState


@dataclass(frozen=True, slots=True)
class LedgerTicket:
    ticket: TicketId
    variant: int
    uses: int
    state: TicketState
    withdrawn: int = 0

    def withdrawn_in(self, window: str) -> int:
        """Units that were cancelled, refunded or transferred. Windows begin anew each day, and what limits a day cannot be withdrawn."""
        return 0 if window else self.withdrawn


def lock_ticket(connection: Connection, ticket_id: TicketId) -> LedgerTicket | None:
    """The ticket's row, locked until the transaction ends (SQLite has locked everything with BEGIN IMMEDIATE)."""
    row = connection.execute(
        select(ticket.c.ticket, ticket.c.variant, ticket.c.uses, ticket.c.state, ticket.c.withdrawn)
        .where(ticket.c.ticket == ticket_id)
        .with_for_update()
    ).first()
    if row is None:
        return None
    return LedgerTicket(TicketId(row.ticket), row.variant, row.uses, TicketState(row.state), row.withdrawn)


def lock_words(connection: Connection, device: DeviceId, *, gives_back: bool) -> None:
    """What a device says of its uses, ordered where transactions run side by side: a release shuts out the claims and admissions of its
    device until it is committed, and waits for theirs. Each looks for the other's row and then writes its own, so without this neither
    would see the other, and a use that was given back would count. Call it before any slot or ticket is locked; claims and admissions
    do not wait for each other. Only its own device gives a use back, so one lock a device is enough.
    """
    if is_postgresql(connection):
        name = "pg_advisory_xact_lock" if gives_back else "pg_advisory_xact_lock_shared"
        connection.execute(text(f"SELECT {name}(:key)"), {"key": words_key(device)})


def words_key(device: DeviceId) -> int:
    """The number under which `lock_words` and the arbiter lock."""
    return lock_key(f"uses of {device.hex()}")


def insert_from_code(
    connection: Connection, ticket_id: TicketId, written: str, *, device: DeviceId, now: datetime
) -> Reason | None:
    """Make a row of a ticket that no upload has told of yet, from its own code, if a key known here signed it. Else why not.

    A code that its key's certificate does not allow, or of a key that is revoked, makes a row that is blocked (and the answer is
    BLOCKED): whoever sold it, no gate admits it until the office has looked.
    """
    try:
        code = parse(written)
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
    _insert_once(connection, _row_from_code(code.ticket, state))
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


def _insert_once(connection: Connection, row: dict[str, Any]) -> None:
    """Another worker may be inserting the same ticket from the same code: then that row is as good as this one."""
    upsert = postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
    connection.execute(upsert(ticket).values(row).on_conflict_do_nothing())


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


def _next_arrival(connection: Connection, ticket_id: TicketId) -> int:
    """The number of the next use of a ticket, released ones counted. Call it under the ticket's lock."""
    return int(connection.scalar(select(func.max(used.c.arrival)).where(used.c.ticket == ticket_id)) or 0) + 1


def admit(connection: Connection, what: Admission, *, device: DeviceId, now: datetime) -> Reason | None:
    """Take an uploaded admission into the ledger: whoever was let in was let in. Returns what is wrong with it (it is counted all the
    same), or None. Raises BadRequest for units that no scan can have.
    """
    if not 0 <= what.units <= UNITS_MAX:
        raise BadRequest(f"units go from 0 to {UNITS_MAX}")
    op, ticket_id = parse_op_id(what.op), parse_ticket_id(what.ticket)
    lock_words(connection, device, gives_back=False)
    wrong = None
    found = lock_ticket(connection, ticket_id)
    if found is None and what.code is not None:
        wrong = insert_from_code(connection, ticket_id, what.code, device=device, now=now)
        found = lock_ticket(connection, ticket_id)
    at = stamp(datetime.fromisoformat(what.at))
    looked_at = what.attention.value if what.attention else None
    if connection.scalar(select(used.c.op).where(used.c.op == op)) is not None:
        # Its claim was granted here. The time stays the arbiter's: the gate's clock may be off by any amount. On whose word the guest went
        # in is the gate's to say (the answer may have come too late for it), and everyone who merges it then ranks it alike.
        said = {"attention": looked_at, "mode": what.mode, "epoch": what.epoch}
        connection.execute(update(used).where(used.c.op == op).values(said))
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
    if what.interrupted:
        attention.note_trouble(connection, device=device, kind="interrupted", detail=interrupted(what), now=now)
    if wrong is not None or found is None:
        return wrong
    mine = [row for row in _counted(connection, ticket_id) if row.window == what.window]
    withdrawn = found.withdrawn_in(what.window)
    beyond = conflicts(mine, cap=cap_of(connection, found, what.window), withdrawn=withdrawn)
    return Reason.ALREADY_USED if any(item.op == op for item in beyond) else None


def interrupted(what: Admission) -> str:
    """How a scan that was cut short is told to people."""
    return f"gate {what.gate}, {what.at}, ticket {what.ticket}: it counts, whether the light was on or not"


def give_back(connection: Connection, message: ReleaseMessage, *, device: DeviceId) -> None:
    """Release a use. Before its claim or admission has come it is their tombstone; both orders give the same ledger.

    Raises BadRequest for a use that another device recorded.
    """
    lock_words(connection, device, gives_back=True)
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
        select(used.c.ticket, used.c.window, ticket.c.variant, ticket.c.uses, ticket.c.state, ticket.c.withdrawn)
        .join(ticket, ticket.c.ticket == used.c.ticket)
        .where(used.c.released == 0, used.c.units > 0, or_(ticket.c.uses > 0, used.c.window != ""))
        .group_by(used.c.ticket, used.c.window, ticket.c.variant, ticket.c.uses, ticket.c.state, ticket.c.withdrawn)
        .having(func.sum(used.c.units) + ticket.c.withdrawn > 1)
    ).all()
    found: list[Conflict] = []
    for row in suspects:
        who = LedgerTicket(TicketId(row.ticket), row.variant, row.uses, TicketState(row.state), row.withdrawn)
        cap = cap_of(connection, who, row.window)
        if cap:
            uses = [use for use in _counted(connection, who.ticket) if use.window == row.window]
            found.extend(conflicts(uses, cap=cap, withdrawn=who.withdrawn_in(row.window)))
    return tuple(sorted(found, key=lambda item: (item.ticket, item.window, item.op)))


def _counted(connection: Connection, ticket_id: TicketId) -> Iterable[CountedUse]:
    rows = connection.execute(
        select(used.c.op, used.c.window, used.c.units, used.c.mode).where(
            used.c.ticket == ticket_id, used.c.released == 0
        )
    )
    return [CountedUse(OpId(row.op), ticket_id, row.window, row.units, row.mode == Mode.CONFIRMED) for row in rows]
