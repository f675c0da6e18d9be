"""What takes value from a ticket without anybody passing: cancellation, refund, transfer. A claim like any other, on the same uses.

Under the ticket's lock it takes what is left and no more, so that used + cancelled + refunded + transferred never goes over the cap by
what was asked here; what gates without a line let in besides shows up as conflicts, because withdrawn units rank before all uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, func, insert, select, update

from hub.errors import BadRequest, NotFound
from hub.services import feed, ledger
from hub.services.ledger import LedgerTicket
from hub.tables import stamp, ticket, ticket_change, used, withdrawal
from sync.claim import UNITS_MAX
from tickets.ids import OpId, TicketId
from tickets.life_cycle import TicketState, may_become

REASON_CHARS_MAX = 200
REASON_UNITS = "only {left} of the units asked for are left"


class Kind(StrEnum):
    CANCEL = "cancel"
    REFUND = "refund"
    TRANSFER = "transfer"


ENDS_AS = {
    Kind.CANCEL: TicketState.CANCELLED,
    Kind.REFUND: TicketState.REFUNDED,
    Kind.TRANSFER: TicketState.TRANSFERRED,
}
"""The state of a ticket whose last unit was taken so."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """`units` were taken (0 where nothing was left, or the ticket has no limit); `left` can still be used, None without a limit."""

    units: int
    left: int | None
    state: TicketState


def withdraw(
    connection: Connection,
    op: OpId,
    ticket_id: TicketId,
    kind: Kind,
    *,
    units: int | None = None,
    by: str,
    reason: str,
    epoch: int | None,
    now: datetime,
) -> Withdrawn:
    """Take `units` of a ticket (None: all that is left, and the ticket is over) and say who did it and why. A known op gets the same
    answer. `epoch`: the reign in which the caller rules; None where it does not, and gates may be admitting on another's word.

    Raises NotFound; BadRequest for a ticket that is over already, a part of one without a limit, more than is left, or no reason.
    """
    reason = " ".join(reason.split())
    if not 1 <= len(reason) <= REASON_CHARS_MAX:
        raise BadRequest(f"a reason of 1 to {REASON_CHARS_MAX} characters is expected")
    found = ledger.lock_ticket(connection, ticket_id)
    if found is None:
        raise NotFound("no such ticket")
    known = connection.execute(select(withdrawal).where(withdrawal.c.op == op)).first()
    if known is not None:
        if (known.ticket, known.kind) != (ticket_id, kind):
            raise BadRequest("this operation id is another withdrawal's")
        return Withdrawn(known.units, _left(connection, found), found.state)
    after = ENDS_AS[kind]
    if not may_become(found.state, after):
        raise BadRequest(f"a ticket that is {found.state} cannot be {after}")
    left = _left(connection, found)
    taken = _share(units, left)
    ends = units is None or taken == left
    state = after if ends else found.state
    values = {"withdrawn": found.withdrawn + taken, "state": state}
    connection.execute(update(ticket).where(ticket.c.ticket == ticket_id).values(values))
    row = {
        "op": op,
        "ticket": ticket_id,
        "kind": kind,
        "units": taken,
        "epoch": epoch,
        "by": by,
        "reason": reason,
        "at": stamp(now),
    }
    connection.execute(insert(withdrawal), row)
    if state is not found.state:
        change = {
            "ticket": ticket_id,
            "at": stamp(now),
            "by": by,
            "before": found.state,
            "after": state,
            "reason": reason,
        }
        connection.execute(insert(ticket_change), change)
    feed.touch(connection, "ticket", [ticket_id])
    return Withdrawn(taken, None if left is None else left - taken, state)


def _left(connection: Connection, found: LedgerTicket) -> int | None:
    """What of the ticket's own cap nobody has used or withdrawn; None without one. Call it under the ticket's lock."""
    if found.uses == 0:
        return None
    spent = connection.scalar(
        select(func.coalesce(func.sum(used.c.units), 0)).where(
            used.c.ticket == found.ticket, used.c.window == "", used.c.released == 0
        )
    )
    return max(0, found.uses - found.withdrawn - int(spent or 0))


def _share(units: int | None, left: int | None) -> int:
    if units is None:
        return left or 0
    if left is None:
        raise BadRequest("of a ticket without a limit nothing can be taken but all of it")
    if not 1 <= units <= UNITS_MAX:
        raise BadRequest(f"units go from 1 to {UNITS_MAX}")
    if units > left:
        raise BadRequest(REASON_UNITS.format(left=left))
    return units
