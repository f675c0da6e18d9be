"""The second half of an operation's life: what was rejected or contradicts something stays listed until a named person has settled it,
or it was tried again with success.

An operation is never changed and never thrown away. Trying again applies the kept text under the same op id, as the device it came from;
the new answer reaches that device with the feed (table `answer`). A conflict is not tried again: it was applied, it happened.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from hub.errors import BadRequest, NotFound
from hub.services import devices, feed, uploads
from hub.tables import device, operation, revised_answer, stamp, trouble
from sync.errors import MessageError
from sync.operation import UnknownKind, from_body
from sync.protocol import Answer, Status
from tickets.ids import DeviceId, OpId

LISTED_MAX = 200
NAME_CHARS_MAX, BECAUSE_CHARS_MAX = 64, 200
_SECRET = ("code", "token", "signature", "secret", "password", "pin")
"""Keys whose values are shown to nobody, whoever wrote them: a ticket code opens a gate."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An operation that somebody should look at, or did (`settled_by`). `shown` is its body without secrets, a line a key; empty where it
    cannot be read.
    """

    op: OpId
    device: str
    number: str
    kind: str
    received_at: datetime
    status: Status
    reason: str
    shown: tuple[tuple[str, str], ...]
    settled_at: datetime | None
    settled_by: str | None
    settled_because: str | None


_OPEN = operation.c.status.in_([Status.REJECTED.value, Status.CONFLICT.value]) & operation.c.settled_at.is_(None)


def open_count(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(operation).where(_OPEN)).scalar_one())


def unsettled(connection: Connection, *, rejected_only: bool = False) -> tuple[Listed, ...]:
    """What is open, oldest first; at most LISTED_MAX."""
    which = _OPEN & (operation.c.status == Status.REJECTED.value) if rejected_only else _OPEN
    return _listed(connection, select(operation).where(which).order_by(operation.c.received_at, operation.c.seq))


def settled(connection: Connection) -> tuple[Listed, ...]:
    """What people have ruled on, newest first."""
    done = operation.c.settled_at.is_not(None)
    return _listed(connection, select(operation).where(done).order_by(operation.c.settled_at.desc()))


def settle(connection: Connection, op: OpId, *, by: str, because: str, now: datetime) -> None:
    """Put on record that a person has dealt with it otherwise. Raises NotFound, BadRequest for a ruling without name or reason."""
    by, because = _said(by, "a name", NAME_CHARS_MAX), _said(because, "a reason", BECAUSE_CHARS_MAX)
    rows = connection.execute(select(operation).where(operation.c.op == op, _OPEN).with_for_update()).all()
    if not rows:
        raise NotFound(f"no open operation {op.hex()}")
    for row in rows:
        _rule(connection, row, settled_at=stamp(now), settled_by=by, settled_because=because)
        _forget_trouble(connection, row)


def retry(connection: Connection, op: OpId, *, by: str, now: datetime) -> Answer:
    """Apply a rejected operation now, under its own op id, and give its answer. A second success is no second effect: it is not open
    any more. Raises NotFound, BadRequest.
    """
    by = _said(by, "a name", NAME_CHARS_MAX)
    rejected = (operation.c.op == op, operation.c.status == Status.REJECTED.value)
    row = connection.execute(select(operation).where(*rejected).with_for_update()).first()
    if row is None:
        raise NotFound(f"no rejected operation {op.hex()}")
    sender = devices.find(connection, DeviceId(row.device))
    if sender is None:
        raise NotFound("its device is not known any more")
    try:
        what = from_body(row.body)
    except MessageError as error:
        raise BadRequest(f"still no operation that this version can read: {error}") from error
    status, reason = uploads.apply_or_refuse(connection, what, sender=sender, now=now)
    _forget_trouble(connection, row)
    kind = what.kind if isinstance(what, UnknownKind) else what.KIND
    if status is Status.REJECTED:
        _rule(connection, row, status=status.value, reason=reason, kind=kind)
        return Answer(op, status, reason)
    because = f"tried again: {status.value}"
    values = {"settled_at": stamp(now), "settled_by": by, "settled_because": because}
    _rule(
        connection, row, status=status.value, reason=reason, kind=kind, **(values if status is Status.ACCEPTED else {})
    )
    connection.execute(delete(revised_answer).where(revised_answer.c.op == op))
    revised = {"op": op, "status": status.value, "reason": reason, "at": stamp(now)}
    connection.execute(insert(revised_answer), revised)
    feed.touch(connection, "answer", [op])
    return Answer(op, status, reason)


def _said(text: str, what: str, chars_max: int) -> str:
    line = " ".join(text.split())
    if not 1 <= len(line) <= chars_max or not line.isprintable():
        raise BadRequest(f"{what} of 1 to {chars_max} characters is expected")
    return line


def _rule(connection: Connection, row: Row[Any], **values: Any) -> None:
    key = (
        operation.c.device == row.device,
        operation.c.incarnation == row.incarnation,
        operation.c.seq == row.seq,
    )
    connection.execute(update(operation).where(*key).values(values))


def _forget_trouble(connection: Connection, row: Row[Any]) -> None:
    """The line on the office's first page goes with what it told of."""
    detail = uploads.rejection(row.incarnation, row.seq, row.kind, row.reason)
    said = (trouble.c.device == row.device, trouble.c.kind == "rejected", trouble.c.detail == detail)
    connection.execute(delete(trouble).where(*said))


def _listed(connection: Connection, query: Any) -> tuple[Listed, ...]:
    labels = {row.device: row.label for row in connection.execute(select(device.c.device, device.c.label))}
    return tuple(
        Listed(
            op=OpId(row.op),
            device=labels.get(row.device, row.device.hex()[:8]),
            number=f"{row.incarnation}.{row.seq}",
            kind=row.kind,
            received_at=datetime.fromisoformat(row.received_at),
            status=Status(row.status),
            reason=row.reason,
            shown=shown(row.body),
            settled_at=None if row.settled_at is None else datetime.fromisoformat(row.settled_at),
            settled_by=row.settled_by,
            settled_because=row.settled_because,
        )
        for row in connection.execute(query.limit(LISTED_MAX))
    )


def shown(body: str) -> tuple[tuple[str, str], ...]:
    """A body for people: its keys and values, secrets withheld. A text that is no object is not shown at all: nobody knows what it holds."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(value, dict):
        return ()
    return tuple((key, _plain(_withheld(key, item))) for key, item in value.items())


def _withheld(key: str, value: Any) -> Any:
    if value is not None and any(word in key.lower() for word in _SECRET):
        return "…"
    match value:
        case dict():
            return {inner: _withheld(inner, item) for inner, item in value.items()}
        case list():
            return [_withheld("", item) for item in value]
        case str() if "T1:" in value:
            return "…"
        case _:
            return value


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
