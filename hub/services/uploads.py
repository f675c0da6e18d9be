"""Uploads: segments in device order, checked against the chain, kept as they came, their effects applied when answered.

Nothing is dropped: an operation that cannot be read or applied is kept with its reason and answered `rejected`, and the next one
is not held up by it. A segment is applied in bulk (hub.services.bulk); what is not plain in it goes one by one, each operation in a
savepoint of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from hub.errors import ChainFork, ChainGap, HubError, SegmentRefused
from hub.services import bulk, ledger
from hub.services.attention import note_trouble
from hub.services.bulk import Item
from hub.services.devices import KnownDevice
from hub.services.effects import apply
from hub.services.rows import look_up_by_index
from hub.services.spent import Spent
from hub.tables import chain, operation, stamp
from sync.chain import ZERO_HASH, Segment, verify
from sync.errors import MessageError, SegmentError, SyncError
from sync.operation import Admission, Operation, Release, SaleReversed, UnknownKind, from_body, op_of
from sync.protocol import Answer, Status
from tickets.ids import OpId

REASON_CHARS_MAX = 200
REVOKED = "revoked"
"""The reason under which an operation of a device that is shut out is kept: nothing proves when it was made, so a person decides."""
_REFUSALS = (HubError, SyncError, ValueError, LookupError, TypeError, OverflowError, IntegrityError, DataError)
"""What makes one operation inapplicable, for good. A database that is full, locked or gone is not among them: then nothing of the
segment is taken, and the device sends it again.
"""


@dataclass(frozen=True, slots=True)
class Read:
    """A segment whose chain and signature hold, and what its operations say."""

    segment: Segment
    items: tuple[Item, ...]


Said = tuple[Operation | UnknownKind | None, OpId | None]
"""What one body says, and its operation's id; None where it cannot be read."""


def understand(segment: Segment) -> tuple[Said, ...]:
    """What the bodies say, before it is known whether they are their device's: for whoever reads the next segment while one is written."""
    return tuple([_said_in(body) for body in segment.bodies])


def read(segment: Segment, *, sender: KnownDevice, said: tuple[Said, ...] | None = None) -> Read:
    """All that needs no database, so that nobody waits for it inside a transaction; `said` is what `understand` made of it, if somebody
    has done that already. Raises SegmentRefused (not signed by its device).
    """
    try:
        hashes = verify(segment, Ed25519PublicKey.from_public_bytes(sender.identity))
    except SegmentError as error:
        raise SegmentRefused(str(error)) from error
    rows = enumerate(zip(segment.bodies, hashes, said or understand(segment), strict=True), segment.first)
    # An id that cannot be read is answered by what everyone can compute: the start of the operation's hash.
    items = [Item(number, body, digest, what, op or OpId(digest[:16])) for number, (body, digest, (what, op)) in rows]
    return Read(segment, tuple(items))


def receive(connection: Connection, given: Read, *, sender: KnownDevice, now: datetime) -> tuple[Answer, ...]:
    """An answer for each operation of a segment, in order.

    Raises ChainGap (operations are missing before it) and ChainFork (it contradicts what this device said before); then nothing of it
    is taken.
    """
    segment = given.segment
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
    answers, fresh = [], []
    for item in given.items:
        if item.number > seq:
            fresh.append(item)
            continue
        row = known.get(item.number)
        if row is None or row.hash != item.digest:
            raise ChainFork(f"operation {segment.incarnation}.{item.number} is not the one that was sent before")
        status = Status(row.status)
        again = status if status in (Status.REJECTED, Status.CONFLICT) else Status.DUPLICATE
        answers.append(Answer(OpId(row.op), again, row.reason))
    if fresh:
        answers.extend(_take_all(connection, fresh, incarnation=segment.incarnation, sender=sender, now=now))
        _move_head(connection, segment, exists=head is not None)
    return tuple(answers)


def _said_in(body: str) -> Said:
    try:
        what = from_body(body)
        return what, op_of(what)
    except MessageError:
        return None, None


def _take_all(
    connection: Connection, items: Sequence[Item], *, incarnation: int, sender: KnownDevice, now: datetime
) -> list[Answer]:
    """Together; or, where the database or one of them objects, one by one, so that it alone is refused."""

    def one_of(spent: Spent | None) -> Callable[[Item], Answer]:
        def one(item: Item) -> Answer:
            if spent is not None and isinstance(item.what, SaleReversed):
                spent.reckon(connection, now=now)  # what was sold too much is told, though some of it comes back now
            return take_one(connection, item, incarnation=incarnation, sender=sender, now=now, spent=spent)

        return one

    def together(spent: Spent) -> list[Answer]:
        return bulk.take(
            connection, items, incarnation=incarnation, sender=sender, now=now, one=one_of(spent), spent=spent
        )

    def each_alone(spent: Spent) -> list[Answer]:
        return [one_of(spent)(item) for item in items]

    if sender.revoked:
        return [one_of(None)(item) for item in items]  # nothing of it is applied, and each is told
    look_up_by_index(connection)
    kinds = {type(item.what) for item in items}
    if kinds & {Admission, Release}:
        ledger.lock_words(connection, sender.device, gives_back=Release in kinds)
    # Twice: another worker may have been quicker to insert the same ticket from its code, and the second look sees that row.
    for way in (together, together, each_alone):
        try:
            with connection.begin_nested():
                spent = Spent()
                answers = way(spent)
                spent.reckon(connection, now=now)
                return answers
        except _REFUSALS:
            continue
    # The sum of them is what cannot be: it is refused at the one that makes it so.
    return [one_of(None)(item) for item in items]


def take_one(
    connection: Connection,
    item: Item,
    *,
    incarnation: int,
    sender: KnownDevice,
    now: datetime,
    spent: Spent | None = None,
) -> Answer:
    """Keep one new operation and apply it. Its effects are all there or not at all, whatever happens in them; but what a sale took is
    noted in `spent`, where one is given, for the caller to reckon.
    """
    kind, op = "unreadable", item.op
    if item.what is None:
        status, reason = Status.REJECTED, _why_unreadable(item.body)
    else:
        kind = item.what.kind if isinstance(item.what, UnknownKind) else item.what.KIND
        earlier = connection.execute(select(operation.c.device, operation.c.body).where(operation.c.op == op)).first()
        if earlier is not None:
            same = earlier.device == sender.device and earlier.body == item.body
            status, reason = (Status.DUPLICATE, "") if same else (Status.CONFLICT, "op_id_taken")
        elif sender.revoked:
            status, reason = Status.REJECTED, REVOKED
        else:
            status, reason = apply_or_refuse(connection, item.what, sender=sender, now=now, spent=spent)
    connection.execute(
        insert(operation),
        {
            "device": sender.device,
            "incarnation": incarnation,
            "seq": item.number,
            "op": op,
            "kind": kind,
            "body": item.body,
            "hash": item.digest,
            "received_at": stamp(now),
            "status": status,
            "reason": reason,
        },
    )
    if status is Status.REJECTED:
        detail = rejection(incarnation, item.number, kind, reason)
        note_trouble(connection, device=sender.device, kind="rejected", detail=detail, now=now)
    return Answer(op, status, reason)


def rejection(incarnation: int, number: int, kind: str, reason: str) -> str:
    """How a rejected operation is told to people."""
    return f"{incarnation}.{number} {kind}: {reason}"


def apply_or_refuse(
    connection: Connection,
    what: Operation | UnknownKind,
    *,
    sender: KnownDevice,
    now: datetime,
    spent: Spent | None = None,
) -> tuple[Status, str]:
    """The answer to one operation; where it cannot be applied, nothing of it is. A row that another transaction was quicker to insert is
    no fault of the operation: it is tried once more, with that row in sight.
    """
    for last in (False, True):
        try:
            with connection.begin_nested():
                status, reason = apply(connection, what, sender=sender, now=now, spent=spent)
                if status is not Status.REJECTED:
                    return status, reason
                raise _Refused(reason)
        except _Refused as error:
            return Status.REJECTED, str(error)
        except _REFUSALS as error:
            if isinstance(error, IntegrityError) and not last:
                continue
            cause = error.orig if isinstance(error, DBAPIError) else error
            return Status.REJECTED, f"cannot be applied: {_said(cause)}"[:REASON_CHARS_MAX]
    raise AssertionError("the second try has an answer")


class _Refused(Exception):
    """Takes back what was done before the refusal."""


def _why_unreadable(body: str) -> str:
    try:
        from_body(body)
    except MessageError as error:
        return _said(error)
    raise AssertionError("an operation that was unreadable is readable")


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
