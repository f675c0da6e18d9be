"""Handing segments on: stored as they came, sent to the hub in each device's order, and the hub's word on them kept for the device.

Nothing is dropped. A chain that the hub will not take stands still, is told, and holds up no other; a gap at the hub (it was restored)
is filled from what is stored here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from hub.services.devices import KnownDevice
from hub.services.uploads import REASON_CHARS_MAX, Read
from hub.tables import chain, operation, stamp
from hub.venue.tables import relay_answer, relay_segment
from sync.chain import Segment
from sync.operation import UnknownKind
from sync.protocol import Acknowledged, Answer, Head, Status
from tickets.ids import DeviceId, OpId

ANSWERS_MAX = 500
_PLACE = (relay_segment.c.device, relay_segment.c.incarnation, relay_segment.c.first, relay_segment.c.received_at)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The oldest segment of a chain that the hub has not answered, or another one of it. `load` gives it whole: with its operations it is up
    to half a megabyte, and a venue has hundreds of chains.
    """

    device: DeviceId
    incarnation: int
    first: int
    received_at: datetime


def keep(connection: Connection, segment: Segment, *, position: int, now: datetime) -> None:
    """Store a segment for the hub, in the transaction that applied it. One that is here already stays as it is."""
    here = (
        relay_segment.c.device == segment.device,
        relay_segment.c.incarnation == segment.incarnation,
        relay_segment.c.first == segment.first,
    )
    if connection.scalar(select(relay_segment.c.last).where(*here)) is not None:
        return
    connection.execute(
        insert(relay_segment),
        {
            "device": segment.device,
            "incarnation": segment.incarnation,
            "first": segment.first,
            "last": segment.last,
            "before": segment.before,
            "head": segment.head,
            "signature": segment.signature,
            "received_at": stamp(now),
            "position": position,
        },
    )


def waiting(connection: Connection) -> list[Waiting]:
    """For each chain the first segment that the hub has not answered, longest waiting first. A later incarnation waits for the one
    before it.
    """
    heads = (
        select(relay_segment.c.device, func.min(relay_segment.c.incarnation).label("incarnation"))
        .where(relay_segment.c.relayed_at.is_(None))
        .group_by(relay_segment.c.device)
        .subquery()
    )
    firsts = (
        select(relay_segment.c.device, relay_segment.c.incarnation, func.min(relay_segment.c.first).label("first"))
        .join(
            heads,
            (heads.c.device == relay_segment.c.device) & (heads.c.incarnation == relay_segment.c.incarnation),
        )
        .where(relay_segment.c.relayed_at.is_(None))
        .group_by(relay_segment.c.device, relay_segment.c.incarnation)
        .subquery()
    )
    rows = connection.execute(
        select(*_PLACE)
        .join(
            firsts,
            (firsts.c.device == relay_segment.c.device)
            & (firsts.c.incarnation == relay_segment.c.incarnation)
            & (firsts.c.first == relay_segment.c.first),
        )
        .order_by(relay_segment.c.received_at)
    ).all()
    return [_waiting(row) for row in rows]


def first_waiting(connection: Connection, device: DeviceId, incarnation: int) -> Waiting | None:
    """The first segment of this very chain that the hub has not answered."""
    mine = (relay_segment.c.device == device, relay_segment.c.incarnation == incarnation)
    query = select(*_PLACE).where(*mine, relay_segment.c.relayed_at.is_(None)).order_by(relay_segment.c.first)
    row = connection.execute(query.limit(1)).first()
    return None if row is None else _waiting(row)


def load(connection: Connection, place: Waiting) -> Segment:
    """The segment that waits there, to the letter."""
    row = connection.execute(
        select(relay_segment).where(
            relay_segment.c.device == place.device,
            relay_segment.c.incarnation == place.incarnation,
            relay_segment.c.first == place.first,
        )
    ).one()
    return _segment(connection, row)


def _waiting(row: Any) -> Waiting:
    return Waiting(DeviceId(row.device), row.incarnation, row.first, datetime.fromisoformat(row.received_at))


def count_waiting(connection: Connection) -> int:
    """How many operations the hub has not answered."""
    span = relay_segment.c.last - relay_segment.c.first + 1
    return int(
        connection.scalar(select(func.coalesce(func.sum(span), 0)).where(relay_segment.c.relayed_at.is_(None))) or 0
    )


def _segment(connection: Connection, row: Any) -> Segment:
    bodies = connection.scalars(
        select(operation.c.body)
        .where(
            operation.c.device == row.device,
            operation.c.incarnation == row.incarnation,
            operation.c.seq.between(row.first, row.last),
        )
        .order_by(operation.c.seq)
    )
    return Segment(
        device=DeviceId(row.device),
        incarnation=row.incarnation,
        first=row.first,
        last=row.last,
        before=row.before,
        head=row.head,
        signature=row.signature,
        bodies=tuple(bodies),
    )


def answered(connection: Connection, segment: Segment, answers: tuple[Answer, ...], *, now: datetime) -> None:
    """The hub has it. What it did not plainly accept is kept for the device to learn."""
    connection.execute(
        update(relay_segment)
        .where(
            relay_segment.c.device == segment.device,
            relay_segment.c.incarnation == segment.incarnation,
            relay_segment.c.first == segment.first,
        )
        .values(relayed_at=stamp(now))
    )
    for seq, item in enumerate(answers, start=segment.first):
        if item.status not in (Status.CONFLICT, Status.REJECTED):
            continue
        here = (
            relay_answer.c.device == segment.device,
            relay_answer.c.incarnation == segment.incarnation,
            relay_answer.c.seq == seq,
        )
        connection.execute(delete(relay_answer).where(*here))
        connection.execute(
            insert(relay_answer),
            {
                "device": segment.device,
                "incarnation": segment.incarnation,
                "seq": seq,
                "op": item.op,
                "status": item.status,
                "reason": item.reason,
            },
        )


def reaches(connection: Connection, device: DeviceId, incarnation: int, *, after: int, until: int) -> bool:
    """Whether segments without a gap are stored here from the operation after `after` to `until` at least."""
    mine = (relay_segment.c.device == device, relay_segment.c.incarnation == incarnation)
    query = select(relay_segment.c.first, relay_segment.c.last).where(*mine, relay_segment.c.last > after)
    for row in connection.execute(query.order_by(relay_segment.c.first)):
        if row.first > after + 1:
            break
        after = max(after, row.last)
    return after >= until


def go_back(connection: Connection, device: DeviceId, incarnation: int, *, known_seq: int) -> bool:
    """The hub has this chain only up to `known_seq`: send again from there. False where no stored segment starts there."""
    mine = (relay_segment.c.device == device, relay_segment.c.incarnation == incarnation)
    start = select(relay_segment.c.first).where(*mine, relay_segment.c.first == known_seq + 1)
    if connection.scalar(start) is None:
        return False
    connection.execute(update(relay_segment).where(*mine, relay_segment.c.first > known_seq).values(relayed_at=None))
    return True


def ask_all_again(connection: Connection) -> None:
    """The hub was restored: show it the end of each chain once more, and it says from where it misses something."""
    ends = connection.execute(
        select(
            relay_segment.c.device, relay_segment.c.incarnation, func.max(relay_segment.c.first).label("first")
        ).group_by(relay_segment.c.device, relay_segment.c.incarnation)
    ).all()
    for row in ends:
        connection.execute(
            update(relay_segment)
            .where(
                relay_segment.c.device == row.device,
                relay_segment.c.incarnation == row.incarnation,
                relay_segment.c.first == row.first,
            )
            .values(relayed_at=None)
        )


def acknowledged(
    connection: Connection, device: DeviceId, known: Acknowledged
) -> tuple[Acknowledged | None, tuple[Answer, ...]]:
    """How far the hub has this device's chain, where that is further than `known`, and what it said of operations up to there that it
    did not plainly accept.
    """
    mine = (relay_segment.c.device == device, relay_segment.c.incarnation == known.incarnation)
    open_from = connection.scalar(
        select(func.min(relay_segment.c.first)).where(*mine, relay_segment.c.relayed_at.is_(None))
    )
    last = select(func.max(relay_segment.c.last)).where(*mine, relay_segment.c.relayed_at.is_not(None))
    if open_from is not None:
        last = last.where(relay_segment.c.first < open_from)
    end = connection.scalar(last)
    if end is None or end <= known.seq:
        return None, ()
    rows = connection.execute(
        select(relay_answer)
        .where(
            relay_answer.c.device == device,
            relay_answer.c.incarnation == known.incarnation,
            relay_answer.c.seq > known.seq,
            relay_answer.c.seq <= end,
        )
        .order_by(relay_answer.c.seq)
        .limit(ANSWERS_MAX + 1)
    ).all()
    if len(rows) > ANSWERS_MAX:
        end, rows = rows[ANSWERS_MAX - 1].seq, rows[:ANSWERS_MAX]
    answers = tuple(Answer(OpId(row.op), Status(row.status), row.reason) for row in rows)
    return Acknowledged(known.incarnation, int(end)), answers


def adopt(connection: Connection, device: DeviceId, heads: tuple[Head, ...]) -> bool:
    """Take over from the hub how far it has a device's chains: this node was not there when they grew. True where that helped."""
    moved = False
    for head in heads:
        mine = (chain.c.device == device, chain.c.incarnation == head.incarnation)
        held = connection.scalar(select(chain.c.seq).where(*mine))
        values = {"seq": head.seq, "hash": head.hash}
        if held is None:
            connection.execute(insert(chain), {"device": device, "incarnation": head.incarnation, **values})
        elif held < head.seq:
            connection.execute(update(chain).where(*mine).values(values))
        else:
            continue
        moved = True
    return moved


def fill(connection: Connection, given: Read, *, sender: KnownDevice, now: datetime) -> None:
    """Keep operations of a segment that the chain's head covers but that are not here, because the head was taken over from the hub.
    Their effects are the hub's and come with its feed.
    """
    segment = given.segment
    mine = (operation.c.device == sender.device, operation.c.incarnation == segment.incarnation)
    head = connection.execute(
        select(chain.c.seq, chain.c.hash).where(
            chain.c.device == sender.device, chain.c.incarnation == segment.incarnation
        )
    ).first()
    if head is None or segment.first > head.seq:
        return
    there = set(
        connection.scalars(select(operation.c.seq).where(*mine, operation.c.seq.between(segment.first, head.seq)))
    )
    covered = range(segment.first, min(segment.last, head.seq) + 1)
    missing = [number for number in covered if number not in there]
    if not missing:
        return
    if segment.last >= head.seq and given.items[head.seq - segment.first].digest != head.hash:
        return  # another history than the hub's: left to the ordinary path, which calls it a fork
    rows = []
    for number in missing:
        item = given.items[number - segment.first]
        match item.what:
            case None:
                kind = "unreadable"
            case UnknownKind():
                kind = item.what.kind
            case _:
                kind = item.what.KIND
        rows.append(
            {
                "device": sender.device,
                "incarnation": segment.incarnation,
                "seq": number,
                "op": item.op,
                "kind": kind,
                "body": item.body,
                "hash": item.digest,
                "received_at": stamp(now),
                "status": Status.ACCEPTED,
                "reason": "the hub had it first"[:REASON_CHARS_MAX],
            }
        )
    connection.execute(insert(operation), rows)
