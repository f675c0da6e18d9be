"""The life cycle of a ticket: the states it can be in, and which of them open a gate."""

from __future__ import annotations

from enum import StrEnum


class TicketState(StrEnum):
    """What cache or journal know of a ticket overrides what its code says."""

    VALID = "valid"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"
    BLOCKED = "blocked"
    TRANSFERRED = "transferred"
    TRANSFER_PENDING = "transfer_pending"
    UNPAID = "unpaid"
    PAYMENT_UNKNOWN = "payment_unknown"


FINAL = frozenset({TicketState.CANCELLED, TicketState.REFUNDED, TicketState.TRANSFERRED})
"""A ticket never leaves these."""


def may_become(now: TicketState, then: TicketState) -> bool:
    """Whether a change at the hub from `now` to `then` makes sense."""
    return now not in FINAL and now is not then
