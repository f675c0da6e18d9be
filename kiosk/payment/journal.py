"""Reading and appending payment rows. The rules of `attempt` are checked inside the writing transaction.

Two processes can therefore not begin two attempts on one order, and no row can stand where it makes no sense.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, literal_column, select

from kiosk.payment.attempt import CLOSED, SETTLED, Row, State, may_begin, may_follow
from kiosk.payment.contract import AttemptId, Evidence, OrderRef, PayRequest
from kiosk.payment.errors import StepRefusedError
from kiosk.payment.tables import PAYMENT_EVENT as T

_INSERT = insert(T)
_OF_ATTEMPT = select(T).where(T.c.attempt_id == bindparam("attempt")).order_by(T.c.n)
_NEWEST = select(T.c.attempt_id, func.max(T.c.n).label("n")).group_by(T.c.attempt_id).subquery()
_LAST = select(T).join(_NEWEST, (T.c.attempt_id == _NEWEST.c.attempt_id) & (T.c.n == _NEWEST.c.n))
# By the order of writing, not by the clock: it may have been set back between two attempts.
_LAST_OF_ORDER = _LAST.where(T.c.order_ref == bindparam("order")).order_by(literal_column("payment_event.rowid"))
_UNSETTLED = _LAST.where(T.c.state.not_in([*SETTLED])).order_by(literal_column("payment_event.rowid"))


def begin(connection: Connection, *, request: PayRequest, at: datetime, boot: str) -> Row:
    """Append the INTENT of a new attempt. Raises StepRefusedError while an earlier attempt on this order may be charged, or
    while any attempt at all is unsettled: a terminal can only be asked about its last payment.
    """
    earlier = last_of_order(connection, request.order_ref)
    if not may_begin(row.state for row in earlier):
        worst = next(row for row in earlier if row.state not in CLOSED)
        raise StepRefusedError(f"order {request.order_ref} has attempt {worst.attempt_id} in state {worst.state}")
    open_rows = unsettled(connection)
    if open_rows:
        raise StepRefusedError(f"attempt {open_rows[0].attempt_id} is {open_rows[0].state}: the terminal is not free")
    return _append(
        connection, (), request.attempt_id, request.order_ref, State.INTENT, at=at, boot=boot, request=request
    )


def append(
    connection: Connection,
    *,
    attempt_id: AttemptId,
    state: State,
    at: datetime,
    boot: str,
    evidence: Evidence | None = None,
) -> Row:
    """Append a row to an attempt that has begun, inside the caller's transaction. Commit before you act on it.

    Raises StepRefusedError where `may_follow` says no, and for a final approval without evidence of it.
    """
    before = rows(connection, attempt_id)
    if not before:
        raise StepRefusedError(f"attempt {attempt_id} has no INTENT")
    if evidence is not None and evidence.attempt_id not in (None, attempt_id):
        raise StepRefusedError(f"evidence of attempt {evidence.attempt_id} is no evidence of {attempt_id}")
    if state is State.CONFIRMED and evidence is None:
        raise StepRefusedError(f"attempt {attempt_id} cannot be confirmed without proof")
    return _append(connection, before, attempt_id, before[0].order_ref, state, at=at, boot=boot, evidence=evidence)


def rows(connection: Connection, attempt_id: AttemptId) -> tuple[Row, ...]:
    """All rows of an attempt, oldest first; empty if it never began."""
    return tuple(_row(raw) for raw in connection.execute(_OF_ATTEMPT, {"attempt": attempt_id}))


def last_of_order(connection: Connection, order_ref: OrderRef) -> tuple[Row, ...]:
    """The newest row of each attempt on an order, oldest attempt first."""
    return tuple(_row(raw) for raw in connection.execute(_LAST_OF_ORDER, {"order": order_ref}))


def unsettled(connection: Connection) -> tuple[Row, ...]:
    """The newest row of each attempt that still waits for the terminal, a query or a person."""
    return tuple(_row(raw) for raw in connection.execute(_UNSETTLED))


def _append(
    connection: Connection,
    before: Sequence[Row],
    attempt_id: AttemptId,
    order_ref: OrderRef,
    state: State,
    *,
    at: datetime,
    boot: str,
    evidence: Evidence | None = None,
    request: PayRequest | None = None,
) -> Row:
    last = before[-1].state if before else None
    if not may_follow(last, state):
        raise StepRefusedError(f"attempt {attempt_id}: {state} cannot follow {last}")
    assert at.tzinfo is not None, "a payment row's time has a zone"
    row = Row(
        attempt_id=attempt_id,
        n=len(before) + 1,
        order_ref=order_ref,
        state=state,
        at=at.astimezone(UTC),
        boot=boot,
        evidence=evidence,
        request=request,
    )
    value = request or evidence
    connection.execute(
        _INSERT,
        {
            "attempt_id": row.attempt_id,
            "n": row.n,
            "order_ref": row.order_ref,
            "state": str(row.state),
            "at": row.at.isoformat(timespec="microseconds"),
            "evidence": None if value is None else value.to_json(),
            "boot": row.boot,
        },
    )
    return row


def _row(raw: Any) -> Row:
    state = State(raw.state)
    first = state is State.INTENT
    text: str | None = raw.evidence
    return Row(
        attempt_id=AttemptId(raw.attempt_id),
        n=raw.n,
        order_ref=OrderRef(raw.order_ref),
        state=state,
        at=datetime.fromisoformat(raw.at),
        boot=raw.boot,
        evidence=Evidence.from_json(text) if text is not None and not first else None,
        request=PayRequest.from_json(text) if text is not None and first else None,
    )
