"""What the office does to a ticket: look at it, and cancel it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from hub.errors import NotFound
from hub.services import withdrawals
from hub.tables import order, refusal, ticket, ticket_change, used, withdrawal
from tickets.ids import OpId, TicketId


@dataclass(frozen=True, slots=True)
class TicketStory:
    """A ticket with all that happened to it, newest first."""

    ticket: Any
    order: Any | None
    uses: tuple[Any, ...]
    refusals: tuple[Any, ...]
    withdrawals: tuple[Any, ...]
    changes: tuple[Any, ...]


def cancel_ticket(
    connection: Connection, op: OpId, ticket_id: TicketId, *, by: str, reason: str, epoch: int | None, now: datetime
) -> None:
    """Cancel what is left of one ticket; the feed carries it to every gate. Raises NotFound, and BadRequest where it cannot be or says no
    reason. `epoch` as in `withdrawals.withdraw`.
    """
    withdrawals.withdraw(connection, op, ticket_id, withdrawals.Kind.CANCEL, by=by, reason=reason, epoch=epoch, now=now)


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
        withdrawals=of(withdrawal, withdrawal.c.at),
        changes=of(ticket_change, ticket_change.c.number),
    )


def by_short_id(connection: Connection, digits: str) -> tuple[TicketId, ...]:
    """Tickets with these digits, newest first: they are unique on one day, not for ever."""
    rows = connection.scalars(
        select(ticket.c.ticket).where(ticket.c.short_id == digits).order_by(ticket.c.expires.desc()).limit(20)
    )
    return tuple(TicketId(row) for row in rows)
