"""What the office does to a ticket: look at it, and cancel it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from hub.errors import BadRequest, NotFound
from hub.services import feed, ledger
from hub.tables import order, refusal, stamp, ticket, ticket_change, used
from tickets.ids import TicketId
from tickets.life_cycle import TicketState, may_become

REASON_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class TicketStory:
    """A ticket with all that happened to it, newest first."""

    ticket: Any
    order: Any | None
    uses: tuple[Any, ...]
    refusals: tuple[Any, ...]
    changes: tuple[Any, ...]


def cancel_ticket(connection: Connection, ticket_id: TicketId, *, by: str, reason: str, now: datetime) -> None:
    """Cancel one ticket; the feed carries it to every gate. Raises NotFound, and BadRequest where it cannot be or says no reason."""
    reason = " ".join(reason.split())
    if not 1 <= len(reason) <= REASON_CHARS_MAX:
        raise BadRequest(f"a reason of 1 to {REASON_CHARS_MAX} characters is expected")
    found = ledger.lock_ticket(connection, ticket_id)
    if found is None:
        raise NotFound("no such ticket")
    if not may_become(found.state, TicketState.CANCELLED):
        raise BadRequest(f"a ticket that is {found.state} cannot be cancelled")
    connection.execute(update(ticket).where(ticket.c.ticket == ticket_id).values(state=TicketState.CANCELLED))
    connection.execute(
        insert(ticket_change),
        {
            "ticket": ticket_id,
            "at": stamp(now),
            "by": by,
            "before": found.state,
            "after": TicketState.CANCELLED,
            "reason": reason,
        },
    )
    feed.touch(connection, "ticket", [ticket_id])


def story(connection: Connection, ticket_id: TicketId) -> TicketStory:
    row = connection.execute(select(ticket).where(ticket.c.ticket == ticket_id)).first()
    if row is None:
        raise NotFound("no such ticket")
    sold = None if row.order is None else connection.execute(select(order).where(order.c.order == row.order)).first()

    def of(table: Any, when: Any) -> tuple[Any, ...]:
        query = select(table).where(table.c.ticket == ticket_id).order_by(when.desc()).limit(100)
        return tuple(connection.execute(query))

    return TicketStory(
        ticket=row,
        order=sold,
        uses=of(used, used.c.at),
        refusals=of(refusal, refusal.c.at),
        changes=of(ticket_change, ticket_change.c.number),
    )


def by_short_id(connection: Connection, digits: str) -> tuple[TicketId, ...]:
    """Tickets with these digits, newest first: they are unique on one day, not for ever."""
    rows = connection.scalars(
        select(ticket.c.ticket).where(ticket.c.short_id == digits).order_by(ticket.c.expires.desc()).limit(20)
    )
    return tuple(TicketId(row) for row in rows)
