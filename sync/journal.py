"""The journal: what this device did, and what it was granted. Precious; nothing in it is ever overwritten.

`append()` takes sequence number and previous hash inside the caller's own transaction, so that whatever an operation stands
for (a payment step, a print job, a gate's row) commits with it or not at all. Packages register tables of their own in the
same file; only `operation` is chained and leaves the device.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    func,
    insert,
    select,
)
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import DBAPIError

from sync import granted
from sync.chain import SEGMENT_BYTES_MAX, SEGMENT_OPERATIONS_MAX, ZERO_HASH, Segment, cut, operation_hash
from sync.errors import JournalBroken
from sync.operation import Incarnation, Operation, op_of, to_body
from sync.state import StateDir
from sync.store import open_engine, reading
from tickets.clock import Clock
from tickets.ids import DeviceId, OpId, RandomBytes

metadata = MetaData()

meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))
operation = Table(
    "operation",
    metadata,
    Column("incarnation", Integer, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("op", LargeBinary, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
segment = Table(
    "segment",
    metadata,
    Column("incarnation", Integer, primary_key=True),
    Column("first", Integer, primary_key=True),
    Column("last", Integer, nullable=False),
    Column("before", LargeBinary, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
answer = Table(
    "answer",
    metadata,
    Column("op", LargeBinary, primary_key=True),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Text, nullable=False),
    sqlite_with_rowid=False,
)
anchor = Table(
    "anchor",
    metadata,
    Column("incarnation", Integer, primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

SCHEMA = 1

_HEAD = (
    select(operation.c.seq, operation.c.hash)
    .where(operation.c.incarnation == bindparam("incarnation"))
    .order_by(operation.c.seq.desc())
    .limit(1)
)
_APPEND = insert(operation)


@dataclass(frozen=True, slots=True)
class Appended:
    incarnation: int
    seq: int
    hash: bytes


class Journal:
    """An open journal, its chain verified. One object a process; every process of the device may hold one."""

    def __init__(self, engine: Engine, device: DeviceId, incarnation: int) -> None:
        self.engine = engine
        self.device = device
        self.incarnation = incarnation

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One durable transaction: committed and synced when the block ends, rolled back when it raises."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with reading(self.engine) as connection:
            yield connection

    def append(self, connection: Connection, what: Operation) -> Appended:
        """Chain one operation inside the caller's write transaction. Raises IntegrityError for an op id that is there already."""
        body = to_body(what)
        row = connection.execute(_HEAD, {"incarnation": self.incarnation}).first()
        seq, previous = (1, ZERO_HASH) if row is None else (row.seq + 1, row.hash)
        digest = operation_hash(self.device, self.incarnation, seq, previous, body)
        connection.execute(
            _APPEND,
            {
                "incarnation": self.incarnation,
                "seq": seq,
                "op": op_of(what),
                "kind": what.KIND,
                "body": body,
                "hash": digest,
            },
        )
        return Appended(self.incarnation, seq, digest)

    def verify(self) -> None:
        """Recompute every chain from its last acknowledged anchor. Raises JournalBroken, naming the first number that fails."""
        with self.read() as connection:
            for incarnation in connection.scalars(select(operation.c.incarnation).distinct()).all():
                self._verify_incarnation(connection, incarnation)

    def _verify_incarnation(self, connection: Connection, incarnation: int) -> None:
        held = connection.execute(
            select(anchor.c.seq, anchor.c.hash).where(anchor.c.incarnation == incarnation)
        ).first()
        seq, previous = (0, ZERO_HASH) if held is None else (held.seq, held.hash)
        if held is not None:
            kept = connection.scalar(
                select(operation.c.hash).where(operation.c.incarnation == incarnation, operation.c.seq == held.seq)
            )
            if kept is not None and kept != held.hash:
                raise JournalBroken(f"journal: operation {incarnation}.{held.seq} is not the one that was acknowledged")
        rows = connection.execute(
            select(operation.c.seq, operation.c.body, operation.c.hash)
            .where(operation.c.incarnation == incarnation, operation.c.seq > seq)
            .order_by(operation.c.seq)
        )
        for row in rows:
            previous = operation_hash(self.device, incarnation, seq + 1, previous, row.body)
            if row.seq != seq + 1 or row.hash != previous:
                raise JournalBroken(f"journal: the chain does not hold at operation {incarnation}.{seq + 1}")
            seq = row.seq

    def unsent(self) -> int:
        """How many operations the hub has not answered."""
        with self.read() as connection:
            return int(connection.scalar(_UNSENT) or 0)

    def next_segment(self, state: StateDir) -> Segment | None:
        """The oldest segment that is not acknowledged, cut and stored if need be; None when everything is answered."""
        with self.write() as connection:
            incarnation = connection.scalar(_OLDEST_OPEN)
            if incarnation is None:
                return None
            done = connection.execute(
                select(anchor.c.seq, anchor.c.hash).where(anchor.c.incarnation == incarnation)
            ).first()
            seq, before = (0, ZERO_HASH) if done is None else (done.seq, done.hash)
            stored = connection.execute(
                select(segment).where(segment.c.incarnation == incarnation, segment.c.first == seq + 1)
            ).first()
            bodies = self._bodies(connection, incarnation, seq + 1, stored.last if stored is not None else None)
            if stored is not None:
                return Segment(
                    self.device,
                    incarnation,
                    stored.first,
                    stored.last,
                    stored.before,
                    stored.head,
                    stored.signature,
                    bodies,
                )
            fresh = cut(
                device=self.device,
                incarnation=incarnation,
                first=seq + 1,
                before=before,
                bodies=bodies,
                key=state.identity_key(),
            )
            connection.execute(
                insert(segment),
                {
                    "incarnation": incarnation,
                    "first": fresh.first,
                    "last": fresh.last,
                    "before": before,
                    "head": fresh.head,
                    "signature": fresh.signature,
                },
            )
            return fresh

    def _bodies(self, connection: Connection, incarnation: int, first: int, last: int | None) -> tuple[str, ...]:
        query = (
            select(operation.c.body)
            .where(operation.c.incarnation == incarnation, operation.c.seq >= first)
            .order_by(operation.c.seq)
            .limit(SEGMENT_OPERATIONS_MAX)
        )
        if last is not None:
            return tuple(connection.scalars(query.where(operation.c.seq <= last)))
        bodies: list[str] = []
        size = 0
        for body in connection.scalars(query):
            size += len(body.encode())
            if bodies and size > SEGMENT_BYTES_MAX:
                break
            bodies.append(body)
        return tuple(bodies)

    def acknowledge(self, sent: Segment, answers: list[tuple[OpId, str, str]], *, at: str) -> None:
        """Record the hub's answer (op, status, reason) for each operation of a segment and move the anchor behind it."""
        with self.write() as connection:
            if answers:
                connection.execute(
                    upsert(answer).on_conflict_do_nothing(),
                    [{"op": op, "status": status, "reason": reason, "at": at} for op, status, reason in answers],
                )
            row = {"incarnation": sent.incarnation, "seq": sent.last, "hash": sent.head}
            statement = upsert(anchor).values(row)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["incarnation"],
                    set_={"seq": statement.excluded.seq, "hash": statement.excluded.hash},
                    where=anchor.c.seq < statement.excluded.seq,
                )
            )


_UNSENT = (
    select(func.count())
    .select_from(operation)
    .outerjoin(anchor, anchor.c.incarnation == operation.c.incarnation)
    .where(operation.c.seq > func.coalesce(anchor.c.seq, 0))
)
_OLDEST_OPEN = (
    select(func.min(operation.c.incarnation))
    .select_from(operation)
    .outerjoin(anchor, anchor.c.incarnation == operation.c.incarnation)
    .where(operation.c.seq > func.coalesce(anchor.c.seq, 0))
)


def open_journal(state: StateDir, *, clock: Clock, random_bytes: RandomBytes) -> Journal:
    """Open the device's journal, making it (incarnation 1, or the next after journals set aside) where there is none.

    Raises JournalBroken when it cannot be read, belongs to another device, or its chain does not hold; NotEnrolled before
    enrolment. Safe to call from several processes at once.
    """
    device = state.identity().device
    try:
        engine = open_engine(state.journal)
        with engine.begin() as connection:
            metadata.create_all(connection)
            granted.metadata.create_all(connection)
            known = dict((row.key, row.value) for row in connection.execute(select(meta.c.key, meta.c.value)))
            if not known:
                incarnation = state.incarnation() + 1
                state.save_incarnation(incarnation)
                journal = Journal(engine, device, incarnation)
                connection.execute(
                    insert(meta),
                    [
                        {"key": "device", "value": device.hex()},
                        {"key": "incarnation", "value": str(incarnation)},
                        {"key": "schema", "value": str(SCHEMA)},
                    ],
                )
                journal.append(connection, _birth(state, incarnation, clock=clock, random_bytes=random_bytes))
                return journal
        if known.get("device") != device.hex():
            raise JournalBroken(f"{state.journal}: belongs to another device")
        if known.get("schema") != str(SCHEMA):
            raise JournalBroken(f"{state.journal}: schema {known.get('schema')}; this version reads {SCHEMA}")
        journal = Journal(engine, device, int(known["incarnation"]))
        if state.incarnation() > journal.incarnation:
            raise JournalBroken(f"{state.journal}: an older copy (incarnation {journal.incarnation}) was put back")
        journal.verify()
    except (DBAPIError, KeyError, ValueError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise JournalBroken(f"{state.journal}: cannot be read ({reason})") from error
    return journal


def set_aside(state: StateDir) -> Path:
    """Move a broken journal out of the way, whole, so that the next `open_journal` starts a new incarnation. Returns its new path."""
    taken = [
        int(found[1]) for file in state.path.iterdir() if (found := re.fullmatch(r"journal\.(\d+)\.db", file.name))
    ]
    number = max([0, *taken]) + 1
    for suffix in ("-wal", "-shm", ""):
        file = state.journal.with_name(state.journal.name + suffix)
        if file.exists():
            file.rename(state.path / f"journal.{number:03d}.db{suffix}")
    return state.path / f"journal.{number:03d}.db"


def _birth(state: StateDir, incarnation: int, *, clock: Clock, random_bytes: RandomBytes) -> Incarnation:
    """The operation that opens an incarnation and names what is known of the one before."""
    previous = None
    if incarnation > 1:
        previous = {"incarnation": incarnation - 1, **_last_known(state, incarnation - 1)}
    return Incarnation(
        op=random_bytes(16).hex(),
        at=clock.now_utc().isoformat(),
        reason="enrolled" if previous is None else "journal set aside",
        previous=previous,
    )


def _last_known(state: StateDir, incarnation: int) -> dict[str, int | str | None]:
    """The head of a journal set aside, as far as it can still be read."""
    for file in sorted(state.path.glob("journal.*.db"), reverse=True):
        try:
            with open_engine(file, read_only=True).begin() as connection:
                row = connection.execute(_HEAD, {"incarnation": incarnation}).first()
        except DBAPIError:
            continue
        if row is not None:
            return {"seq": row.seq, "hash": row.hash.hex()}
    return {"seq": None, "hash": None}
