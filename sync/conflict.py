"""Conflicts: uses of a ticket beyond its cap, computed alike at both ends and never stored.

Rank a ticket's unreleased uses of one window, confirmed ones first, then by operation id; each one that goes beyond the cap is a
conflict. What was withdrawn (cancelled, refunded, transferred) was taken by the arbiter under the ticket's lock, so it ranks before all
of them. Order of arrival plays no part, so hub, venue node and gate name the same ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tickets.ids import OpId, TicketId


@dataclass(frozen=True, slots=True)
class CountedUse:
    """An unreleased use as far as ranking goes."""

    op: OpId
    ticket: TicketId
    window: str
    units: int
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Conflict:
    """`beyond` is by how many units the use goes over the cap."""

    ticket: TicketId
    window: str
    op: OpId
    beyond: int


def conflicts(uses: Iterable[CountedUse], *, cap: int, withdrawn: int = 0) -> tuple[Conflict, ...]:
    """Those of one ticket's uses in one window that go beyond `cap` (0: no limit), `withdrawn` units of which are gone, in rank order."""
    if cap == 0:
        return ()
    result, spent = [], withdrawn
    for use in sorted(uses, key=lambda use: (not use.confirmed, use.op)):
        spent += use.units
        if use.units and spent > cap:
            result.append(Conflict(use.ticket, use.window, use.op, min(use.units, spent - cap)))
    return tuple(result)
