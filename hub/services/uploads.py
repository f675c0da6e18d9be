"""Uploads: segments in device order, checked against the chain, kept as they came, their effects applied when answered.

Nothing is dropped: an operation that cannot be read or applied is kept with its reason and answered `rejected`, and the next one
is not held up by it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from hub.errors import ChainFork, ChainGap, HubError, SegmentRefused
from hub.services.attention import note_trouble
from hub.services.devices import KnownDevice
from hub.services.effects import apply
from hub.tables import chain, operation, stamp
from sync.chain import ZERO_HASH, Segment, verify
from sync.errors import MessageError, SegmentError, SyncError
from sync.operation import UnknownKind, from_body, op_of
from sync.protocol import Answer, Status
from tickets.ids import OpId

REASON_CHARS_MAX = 200
REVOKED = "revoked"
"""The reason under which an operation of a device that is shut out is kept: nothing proves when it was made, so a person decides."""
_REFUSALS = (HubError, SyncError, ValueError, LookupError, TypeError, OverflowError, IntegrityError, DataError)
"""What makes one operation inapplicable, for good. A database that is full, locked or gone is not among them: then nothing of the
segment is taken, and the device sends it again.
"""


def receive(connection: Connection, segment: Segment, *, sender: KnownDevice, now: datetime) -> tuple[Answer, ...]:
    """An answer for each operation of a segment, in order.

    Raises SegmentRefused (not signed by its device), ChainGap (operations are missing before it) and ChainFork (it contradicts what
    this device said before); then nothing of it is taken.
    """
    try:
        hashes = verify(segment, Ed25519PublicKey.from_public_bytes(sender.identity))
    except SegmentError as error:
        raise SegmentRefused(str(error)) from error
    head = connection.execute(
        select(chain.c.seq, chain.c.hash)
        .where(chain.c.device == sender.device, chain.c.incarnation == segment.incarnation)
        .with_for_update()
    ).first()
    seq, at_head = (0, ZERO_HASH) if head is None else (head.seq, head.hash)
    if segment.first > seq + 1:
        raise ChainGap(f"operations from {seq + 1} on are missing here", known_seq=seq)
    if segment.first == seq + 1 and segment.before != at_head:
        raise ChainFork(f"the chain does not go on from operation {segment.incarnation}.{seq}")
    known = _known(connection, sender, segment) if segment.first <= seq else {}
    answers: list[Answer] = []
    for offset, (body, digest) in enumerate(zip(segment.bodies, hashes, strict=True)):
        number = segment.first + offset
        if number > seq:
            answers.append(_take(connection, segment, number, body, digest, sender=sender, now=now))
            continue
        row = known.get(number)
        if row is None or row.hash != digest:
            raise ChainFork(f"operation {segment.incarnation}.{number} is not the one that was sent before")
        status = Status(row.status)
        again = status if status in (Status.REJECTED, Status.CONFLICT) else Status.DUPLICATE
        answers.append(Answer(OpId(row.op), again, row.reason))
    if segment.last > seq:
        _move_head(connection, segment, exists=head is not None)
    return tuple(answers)


def _take(
    connection: Connection,
    segment: Segment,
    number: int,
    body: str,
    digest: bytes,
    *,
    sender: KnownDevice,
    now: datetime,
) -> Answer:
    """Keep one new operation and apply it. Its effects are all there or not at all, whatever happens in them."""
    kind = "unreadable"
    try:
        what = from_body(body)
        op = op_of(what)
        kind = what.kind if isinstance(what, UnknownKind) else what.KIND
        status, reason = Status.ACCEPTED, ""
        earlier = connection.execute(select(operation.c.device, operation.c.body).where(operation.c.op == op)).first()
        if earlier is not None:
            same = earlier.device == sender.device and earlier.body == body
            status, reason = (Status.DUPLICATE, "") if same else (Status.CONFLICT, "op_id_taken")
        elif sender.revoked:
            status, reason = Status.REJECTED, REVOKED
        else:
            with connection.begin_nested():
                status, reason = apply(connection, what, sender=sender, now=now)
    except MessageError as error:
        # Its id cannot be read either, so it is answered by what everyone can compute: the start of its hash.
        op, status, reason = OpId(digest[:16]), Status.REJECTED, _said(error)
    except _REFUSALS as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        status, reason = Status.REJECTED, f"cannot be applied: {_said(cause)}"[:REASON_CHARS_MAX]
    connection.execute(
        insert(operation),
        {
            "device": sender.device,
            "incarnation": segment.incarnation,
            "seq": number,
            "op": op,
            "kind": kind,
            "body": body,
            "hash": digest,
            "received_at": stamp(now),
            "status": status,
            "reason": reason,
        },
    )
    if status is Status.REJECTED:
        detail = f"{segment.incarnation}.{number} {kind}: {reason}"
        note_trouble(connection, device=sender.device, kind="rejected", detail=detail, now=now)
    return Answer(op, status, reason)


def _said(error: object) -> str:
    """An error in one line that any database keeps."""
    line = " ".join(str(error).split()).replace("\0", " ")
    return line.encode("utf-8", "backslashreplace").decode()[:REASON_CHARS_MAX]


def _known(connection: Connection, sender: KnownDevice, segment: Segment) -> dict[int, Any]:
    rows = connection.execute(
        select(operation.c.seq, operation.c.op, operation.c.hash, operation.c.status, operation.c.reason).where(
            operation.c.device == sender.device,
            operation.c.incarnation == segment.incarnation,
            operation.c.seq.between(segment.first, segment.last),
        )
    )
    return {row.seq: row for row in rows}


def _move_head(connection: Connection, segment: Segment, *, exists: bool) -> None:
    values = {"seq": segment.last, "hash": segment.head}
    if exists:
        mine = (chain.c.device == segment.device, chain.c.incarnation == segment.incarnation)
        connection.execute(update(chain).where(*mine).values(values))
    else:
        row = {"device": segment.device, "incarnation": segment.incarnation, **values}
        connection.execute(insert(chain), row)
