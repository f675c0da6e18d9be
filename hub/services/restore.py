"""After a hub's database was put back from a backup: noticing it, and giving out nothing twice.

What the hub did since the backup is unknown to it, and known to its devices. So the feed begins a new epoch (every device begins a new
cache), each device is asked what it holds and how far its operations were acknowledged (`rejoin`), and until every kiosk has said so no
stock and no short ids are lent anew; a hub that rules confirms nothing until every gate has, and then in an epoch of its own. A restore is noticed by any of four things, whichever was used: the mark that `hub backup` leaves
in a copy; the database's own identity on PostgreSQL (a dump makes new tables, a failover another timeline); the witness file beside
the key, which is ahead of what came back; `kaisatsu hub restored`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, text, update

from hub.database import is_postgresql, take_turns
from hub.errors import NotFound, Unreported
from hub.services import attention, balance, feed, reckoning, reign
from hub.services.blocks import PRINT_DAYS
from hub.tables import chain, device, meta, short_block, stamp, unreported
from sync.protocol import HUB, BlockGrant, Rejoin, SlotWish
from sync.state import Role
from tickets.ids import DeviceId, RandomBytes

COPY, HOME, MARK = "backup_copy", "feed_home", "feed_mark"
_HOME = text(
    "SELECT (SELECT oid FROM pg_database WHERE datname = current_database())::bigint, 'change'::regclass::oid::bigint,"
    " CASE WHEN pg_is_in_recovery() THEN '' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END"
)


@dataclass(frozen=True, slots=True)
class Witness:
    """What the hub last wrote outside of its database: the epoch of the feed, and a number that only grows."""

    epoch: str
    mark: int

    def to_text(self) -> str:
        return json.dumps({"epoch": self.epoch, "mark": self.mark})

    @classmethod
    def from_text(cls, text: str) -> Witness:
        """Raises ValueError."""
        match json.loads(text):
            case {"epoch": str(epoch), "mark": int(mark)}:
                return cls(epoch, mark)
            case _:
                raise ValueError("an object with epoch and mark is expected")


def begin(
    connection: Connection, *, random_bytes: RandomBytes, now: datetime, witness: Witness | None = None
) -> str | None:
    """What each start of a hub does first: give a new database its epoch, and a restored one another. Why, if it was restored."""
    take_turns(connection, "restore")
    feed.begin_epoch(connection, random_bytes)
    why = _restored(connection, witness)
    if why is not None:
        begin_again(connection, why, random_bytes=random_bytes, now=now)
    home = _home(connection)
    if _meta(connection, HOME) != home:
        feed.put(connection, HOME, home)
    return why


def begin_again(connection: Connection, why: str, *, random_bytes: RandomBytes, now: datetime) -> None:
    """Another epoch of the feed, and every device has to report. A hub that rules confirms nothing meanwhile."""
    feed.begin_again(connection, random_bytes)
    reign.suspend(connection)
    balance.forget(connection)
    connection.execute(delete(meta).where(meta.c.key == COPY))
    connection.execute(delete(unreported))
    known = select(device.c.device).where(device.c.revoked_at.is_(None))
    connection.execute(insert(unreported).from_select([unreported.c.device], known))
    detail = f"{why}; since {stamp(now)} every device is asked what it holds"
    attention.note_trouble(connection, device=None, kind="restored", detail=detail, now=now)


def move_mark(connection: Connection) -> Witness:
    """Count on, so that a copy from before is known as such."""
    take_turns(connection, "mark")
    mark = int(_meta(connection, MARK) or 0) + 1
    feed.put(connection, MARK, str(mark))
    return Witness(feed.epoch(connection), mark)


def must_have_reported(connection: Connection, who: DeviceId) -> None:
    """Raises Unreported for a device that has to say first what it holds."""
    if connection.execute(select(unreported.c.device).where(unreported.c.device == who)).first() is not None:
        raise Unreported("this hub was restored: say first what you hold")


def awaited(connection: Connection) -> tuple[str, ...]:
    """Labels of kiosks and venue nodes that have not said yet what they hold. Revoked ones are not waited for."""
    query = (
        select(device.c.label)
        .join(unreported, unreported.c.device == device.c.device)
        .where(device.c.role.in_((Role.KIOSK, Role.VENUE)), device.c.revoked_at.is_(None))
        .order_by(device.c.label)
    )
    return tuple(connection.scalars(query))


def give_up_on(connection: Connection, label: str, *, by: str, now: datetime) -> None:
    """A person says that a device will never report: what it held is at risk. Raises NotFound."""
    rows = connection.scalars(
        select(unreported.c.device).join(device, device.c.device == unreported.c.device).where(device.c.label == label)
    ).all()
    if not rows:
        raise NotFound(f"no device '{label}' has still to report")
    connection.execute(delete(unreported).where(unreported.c.device.in_(rows)))
    for who in rows:
        detail = f"{by} no longer waits for it: what it was lent, or let in, since the backup may be sold or used twice"
        attention.note_trouble(connection, device=who, kind="restored", detail=detail, now=now)


def rejoin(connection: Connection, message: Rejoin, *, who: DeviceId, now: datetime, lender: str = HUB) -> int:
    """Take over what a device holds; the last of its operations that is here. Harmless at any time, and as often as it comes. It has
    reported once all that it had acknowledged is here again.
    """
    for said in sorted(message.slots, key=lambda said: said.slot):
        _take_slot(connection, said, who=who, incarnation=message.incarnation, lender=lender, now=now)
    take_turns(connection, "short blocks")
    for block in message.blocks:
        _take_block(connection, block, who=who, incarnation=message.incarnation, now=now)
    mine = (chain.c.device == who, chain.c.incarnation == message.incarnation)
    known = int(connection.scalar(select(chain.c.seq).where(*mine)) or 0)
    if message.whole and known >= message.acknowledged:
        connection.execute(delete(unreported).where(unreported.c.device == who))
    if known < message.acknowledged:
        detail = (
            f"operations {message.incarnation}.{known + 1} to {message.acknowledged} were lost here and are sent again"
        )
        attention.note_trouble(connection, device=who, kind="restored", detail=detail, now=now)
    return known


def _take_slot(
    connection: Connection, said: SlotWish, *, who: DeviceId, incarnation: int, lender: str, now: datetime
) -> None:
    row = reckoning.locked(connection, said.slot)
    if row is None:
        if units := said.lent.get(lender, 0) - said.returned.get(lender, 0):
            detail = f"holds {units} of slot {said.slot}, which is not known here any more"
            attention.note_trouble(connection, device=who, kind="restored", detail=detail, now=now)
        return
    reckoning.take_totals(connection, row, said, device=who, incarnation=incarnation, lender=lender)
    stand = reckoning.settle(connection, row, now=now)
    if stand.beyond:
        detail = f"slot {said.slot}: {stand.leased + stand.sold} are lent or sold of {stand.stock}"
        attention.note_trouble(connection, device=who, kind=reckoning.OVERSOLD, detail=detail, now=now)


def _take_block(connection: Connection, block: BlockGrant, *, who: DeviceId, incarnation: int, now: datetime) -> None:
    """The block as the device has it: counted from its own end, so that the answer to its next request gives it no later one."""
    at = now if block.until is None else block.until - timedelta(days=PRINT_DAYS)
    here = (short_block.c.length == block.length, short_block.c.first == block.first)
    known = connection.execute(select(short_block).where(*here)).first()
    values = {"device": who, "incarnation": incarnation, "at": stamp(at)}
    if known is None:
        connection.execute(
            insert(short_block), {"length": block.length, "first": block.first, "last": block.last, **values}
        )
    elif known.device != who and (block.until is None or known.at < stamp(at)):
        connection.execute(update(short_block).where(*here).values(values))


def _restored(connection: Connection, witness: Witness | None) -> str | None:
    copied = _meta(connection, COPY)
    if copied is not None:
        return f"this database is the backup of {copied}"
    home = _meta(connection, HOME)
    if home is not None and home != _home(connection):
        return "this database came from another place"
    if witness is None:
        return None
    if witness.epoch != feed.epoch(connection):
        return "this database is not the one that this hub served last"
    if witness.mark > int(_meta(connection, MARK) or 0):
        return "this database is older than what this hub served last"
    return None


def _home(connection: Connection) -> str:
    if not is_postgresql(connection):
        return ""
    return ":".join(str(part) for part in connection.execute(_HOME).one())


def _meta(connection: Connection, key: str) -> str | None:
    return connection.scalar(select(meta.c.value).where(meta.c.key == key))
