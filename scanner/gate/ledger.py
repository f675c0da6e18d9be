"""The gate's writing in the journal: PENDING rows, numbers, and the one chained operation that each scan leaves.

Everything here happens inside a transaction of the caller, so that a row, its number and its operation are there together or not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, event, exists, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import DBAPIError

from scanner.gate.answer import Taken, taken_of_row
from scanner.gate.errors import JournalDamaged, NotDurable
from scanner.gate.tables import pending, scan_number
from sync.journal import Journal, anchor, operation
from sync.operation import Admission, Mode, Refusal, Release, ReleaseReason
from sync.pruning import covered_seq
from tickets.admission import Reason, Verdict, VerdictKind
from tickets.ids import OpId

_INSERT = insert(pending)
_SETTLE = (
    update(pending)
    .where(pending.c.op == bindparam("key"), pending.c.chained == 0)
    .values(
        verdict=bindparam("verdict"),
        reason=bindparam("reason"),
        mode=bindparam("mode"),
        epoch=bindparam("epoch"),
        settled_at=bindparam("settled_at"),
        number=bindparam("number"),
        released=bindparam("released"),
        interrupted=bindparam("interrupted"),
        chained=1,
    )
)
_RELEASE = update(pending).where(pending.c.op == bindparam("key"), pending.c.released == 0).values(released=1)
_NUMBER = (
    upsert(scan_number)
    .values(day=bindparam("day"), last=1)
    .on_conflict_do_update(index_elements=["day"], set_={"last": scan_number.c.last + 1})
    .returning(scan_number.c.last)
)
_SETTLED_LONG_AGO = (
    select(pending.c.op, pending.c.ticket, pending.c.verdict, pending.c.released)
    .where(
        pending.c.chained == 1,
        pending.c.at < bindparam("before"),
        ~exists().where(
            operation.c.op == pending.c.op,
            operation.c.seq
            > select(func.coalesce(func.max(anchor.c.seq), 0))
            .where(anchor.c.incarnation == operation.c.incarnation)
            .scalar_subquery(),
        ),
    )
    .order_by(pending.c.at)
    .limit(bindparam("most"))
)
_DROP = delete(pending).where(pending.c.op == bindparam("key"))
_OPEN = select(pending).where(pending.c.chained == 0).order_by(pending.c.at, pending.c.op)
_INTERRUPTED = select(func.count()).select_from(pending).where(pending.c.interrupted == 1)
_ENTERED = select(func.coalesce(func.sum(pending.c.units), 0)).where(
    pending.c.at >= bindparam("since"), pending.c.verdict != VerdictKind.REFUSE, pending.c.released == 0
)

UNREADABLE = frozenset({11, 26})
"""SQLITE_CORRUPT and SQLITE_NOTADB (sqlite.org/rescode.html): the file itself is damaged, trying again will not help."""


@contextmanager
def durable(journal: Journal) -> Iterator[Connection]:
    """One synced transaction. Raises JournalDamaged when the file itself is unreadable, NotDurable for every other failure."""
    try:
        with journal.write() as connection:
            yield connection
    except DBAPIError as error:
        primary = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        if primary in UNREADABLE:
            raise JournalDamaged(f"journal: {error.orig}") from error
        raise NotDurable(f"journal: {error.orig}") from error


def checkpoint_by_hand(journal: Journal) -> None:
    """From here on no commit of this process moves the log into the database: one scan in a hundred would wait for that and its syncs.
    `checkpoint` does it, after a light.
    """

    def no_automatic(raw: Any, _record: Any) -> None:
        raw.execute("PRAGMA wal_autocheckpoint=0")

    event.listen(journal.engine, "connect", no_automatic)
    journal.engine.dispose()  # connections made so far know nothing of it


def checkpoint(journal: Journal) -> None:
    """Move what can be moved without waiting for anybody. Fails quietly: the next one moves more."""
    with suppress(DBAPIError, sqlite3.Error), journal.engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection  # outside of any transaction, where a checkpoint has to be
        raw.execute("PRAGMA wal_checkpoint(PASSIVE)")


def take(connection: Connection, taken: Taken) -> None:
    """The PENDING row."""
    claim = taken.claim
    connection.execute(
        _INSERT,
        {
            "op": taken.op,
            "ticket": claim.ticket,
            "passage": claim.passage,
            "units": claim.units,
            "window": claim.window,
            "code": taken.code,
            "row_known": int(taken.row_known),
            "gate": taken.gate,
            "at": taken.at.isoformat(),
            "policy": taken.policy,
            "attention": claim.attention,
        },
    )


def settle(
    connection: Connection,
    journal: Journal,
    taken: Taken,
    verdict: Verdict,
    *,
    at: datetime,
    number: str | None,
    abandon: OpId | None = None,
    interrupted: bool = False,
) -> bool:
    """Record what became of a taken claim and chain its one operation. False when somebody else has done so already.

    `abandon` is the op id of the release that goes with a claim nobody answered: it may still arrive, and must then take nothing.
    """
    refused = verdict.kind is VerdictKind.REFUSE
    mode = Mode.POLICY if verdict.epoch is None else Mode.CONFIRMED
    changed = connection.execute(
        _SETTLE,
        {
            "key": taken.op,
            "verdict": verdict.kind,
            "reason": verdict.reason,
            "mode": None if refused else mode,
            "epoch": verdict.epoch,
            "settled_at": at.isoformat(),
            "number": number,
            "released": int(abandon is not None),
            "interrupted": int(interrupted),
        },
    )
    if changed.rowcount != 1:
        return False
    claim = taken.claim
    if refused:
        assert verdict.reason is not None
        refuse(
            connection,
            journal,
            taken.op,
            at=taken.at,
            ticket=claim.ticket.hex(),
            reason=verdict.reason,
            gate=taken.gate,
            number=number or "",
        )
    else:
        journal.append(
            connection,
            Admission(
                op=taken.op.hex(),
                at=taken.at.isoformat(),
                ticket=claim.ticket.hex(),
                code=None if taken.row_known else taken.code,
                passage=claim.passage,
                units=claim.units,
                window=claim.window,
                gate=taken.gate,
                mode=mode,
                epoch=verdict.epoch,
                attention=verdict.reason,
                interrupted=interrupted,
            ),
        )
    if abandon is not None:
        _append_release(
            connection, journal, abandon, of=taken.op, reason=ReleaseReason.ABANDONED, at=at, gate=taken.gate
        )
    return True


def refuse(
    connection: Connection,
    journal: Journal,
    op: OpId,
    *,
    at: datetime,
    ticket: str | None,
    reason: Reason,
    gate: str,
    number: str,
) -> None:
    """Chain a refused scan: evidence for the desk."""
    journal.append(
        connection,
        Refusal(op=op.hex(), at=at.isoformat(), ticket=ticket, reason=reason, gate=gate, number=number),
    )


def release(
    connection: Connection, journal: Journal, op: OpId, *, of: OpId, reason: ReleaseReason, at: datetime, gate: str
) -> bool:
    """Give a use back, once: chained, and no longer counted here. False when it was given back before, or never taken."""
    if connection.execute(_RELEASE, {"key": of}).rowcount != 1:
        return False
    _append_release(connection, journal, op, of=of, reason=reason, at=at, gate=gate)
    return True


def next_number(connection: Connection, *, day: str, label: str) -> str:
    """The short number by which the desk finds a scan ("A 317"): unique within a business day at this gate."""
    last: int = connection.execute(_NUMBER, {"day": day}).scalar_one()
    return spoken_number(label, last)


def spoken_number(label: str, count: int) -> str:
    return f"{label} {count:03d}"


def open_scans(connection: Connection) -> list[Taken]:
    """What was taken and left no operation yet, oldest first."""
    return [taken_of_row({**row}) for row in connection.execute(_OPEN).mappings()]


def settled_long_ago(connection: Connection, *, before: datetime, most: int) -> list[Any]:
    """Rows (op, ticket, verdict, released) of scans before an instant whose operation the hub has answered, oldest first."""
    return list(connection.execute(_SETTLED_LONG_AGO, {"before": before.isoformat(), "most": most}))


def covered(connection: Connection, journal: Journal, ops: Iterable[OpId]) -> frozenset[OpId]:
    """Those of these scans that every cache of this device holds, by the rule of `prune`, and holds through a power cut."""
    passed = covered_seq(connection, journal.incarnation)
    if passed < 1:
        return frozenset()
    wanted = set(ops)
    later = (operation.c.incarnation != journal.incarnation) | (operation.c.seq > passed)
    waits = connection.scalars(select(operation.c.op).where(operation.c.op.in_(wanted), later))
    return frozenset(wanted - {OpId(op) for op in waits})


def drop(connection: Connection, ops: Sequence[OpId]) -> None:
    """Forget scans. Only of those that the hub tells back, or that took nothing: a use known to nobody else would be free again."""
    if ops:
        connection.execute(_DROP, [{"key": op} for op in ops])


def interrupted_scans(connection: Connection) -> list[Any]:
    """Scans whose verdict nobody saw recorded, because the gate died in them; newest first."""
    query = select(pending).where(pending.c.interrupted == 1).order_by(pending.c.at.desc()).limit(200)
    return list(connection.execute(query))


def interrupted_count(connection: Connection) -> int:
    return int(connection.scalar(_INTERRUPTED) or 0)


def units_since(connection: Connection, since: datetime) -> int:
    """Units this gate has let in since an instant, given-back ones left out."""
    return int(connection.scalar(_ENTERED, {"since": since.isoformat()}) or 0)


def prune(connection: Connection, journal: Journal, *, before: datetime, rows_max: int = 2000) -> int:
    """Let go of settled scans from before an instant that every cache of this device holds. How many.

    A row is laid over the cache until the *downloaded* cursor has passed what the hub named with its answer (sync.pruning); earlier a
    ticket would flicker back to unused. An operation that is not here any more was deleted by the same rule, or was carried over from
    a journal that was put away: then the first operation of this one, which came after it, must have passed.
    """
    passed = covered_seq(connection, journal.incarnation)
    if passed < 1:
        return 0
    waits = (
        select(operation.c.op)
        .where(operation.c.op == pending.c.op)
        .where((operation.c.incarnation != journal.incarnation) | (operation.c.seq > passed))
    )
    old = (
        select(pending.c.op)
        .where(pending.c.chained == 1, pending.c.interrupted == 0, pending.c.settled_at < before.isoformat())
        .where(~waits.exists())
        .limit(rows_max)
    )
    return int(connection.execute(delete(pending).where(pending.c.op.in_(old))).rowcount)


def _append_release(
    connection: Connection, journal: Journal, op: OpId, *, of: OpId, reason: ReleaseReason, at: datetime, gate: str
) -> None:
    journal.append(connection, Release(op=op.hex(), at=at.isoformat(), of=of.hex(), reason=reason, gate=gate))
