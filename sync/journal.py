"""The journal: what this device did, and what it was granted. Precious; nothing in it is ever overwritten.

`append()` takes sequence number and previous hash inside the caller's own transaction, so that whatever an operation stands
for (a payment step, a print job, a gate's row) commits with it or not at all. Packages register tables of their own in the
same file; only `operation` is chained and leaves the device.
"""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    select,
)
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import DBAPIError

from sync import granted, room
from sync.chain import SEGMENT_BYTES_MAX, SEGMENT_OPERATIONS_MAX, ZERO_HASH, Segment, cut, operation_hash
from sync.errors import JournalBroken, NewerFile
from sync.operation import Incarnation, Operation, Previous, op_of, to_body
from sync.room import Level, Limits
from sync.schema import Owned, bring_up, run_sql
from sync.state import StateDir, sync_directory
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

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("incarnation", Integer, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("cursor", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""Where the feed stood when the hub had applied everything up to `seq`: only a cache that has come so far can stand for those rows."""
covered = Table(
    "covered",
    metadata,
    Column("incarnation", Integer, primary_key=True),
    Column("seq", Integer, nullable=False),
)
"""Up to which number every cache file of this device has come; rows up to here need no longer be laid over it."""

SCHEMA = 1
OWNED = Owned(
    "sync",
    metadata,
    steps=(
        run_sql(
            "CREATE TABLE checkpoint (incarnation INTEGER NOT NULL, seq INTEGER NOT NULL, cursor TEXT NOT NULL,"
            " PRIMARY KEY (incarnation, seq)) WITHOUT ROWID",
            "CREATE TABLE covered (incarnation INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (incarnation))",
        ),
    ),
)

_HEAD = (
    select(operation.c.seq, operation.c.hash)
    .where(operation.c.incarnation == bindparam("incarnation"))
    .order_by(operation.c.seq.desc())
    .limit(1)
)
_META = select(meta.c.value).where(meta.c.key == bindparam("key"))
HUB_SEQ = "hub_seq"
"""How far the hub itself has this incarnation, where a venue node has acknowledged more than that."""
FORKED = "forked"
"""The key of the mark in `meta`: it goes with its journal when that is set aside."""
HOLE = "hole"
"""Beside that mark: the incarnation and number up to which a restored hub has it, where the next is lost at both ends."""
RENEWED = "renewed"
"""The same, once a new incarnation has begun in the same file and until it holds grants of its own (sync.afresh)."""
_ANCHOR = select(anchor.c.seq, anchor.c.hash).where(anchor.c.incarnation == bindparam("incarnation"))
_APPEND = insert(operation)


@dataclass(frozen=True, slots=True)
class Appended:
    incarnation: int
    seq: int
    hash: bytes


class Journal:
    """An open journal, its chain verified. One object a process; every process of the device may hold one."""

    def __init__(self, engine: Engine, device: DeviceId, incarnation: int, folder: Path) -> None:
        self.engine = engine
        self.device = device
        self.incarnation = incarnation
        self.folder = folder
        self.limits = Limits()

    def room(self) -> Level:
        """How much may still be written where this journal stands: asked before money moves."""
        return room.level(self.folder, self.limits)

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
        return self.append_body(connection, op_of(what), what.KIND, to_body(what))

    def append_body(self, connection: Connection, op: OpId, kind: str, body: str) -> Appended:
        """Chain a text that was an operation of this device before, unchanged: the same op id with the same text is answered
        `duplicate` wherever it is known. What is new goes through `append`.
        """
        # Another process may have begun a new incarnation in this file (sync.afresh): an operation of the old one would never be sent.
        self.incarnation = int(connection.execute(_META, {"key": "incarnation"}).scalar_one())
        row = connection.execute(_HEAD, {"incarnation": self.incarnation}).first()
        seq, previous = (1, ZERO_HASH) if row is None else (row.seq + 1, row.hash)
        digest = operation_hash(self.device, self.incarnation, seq, previous, body)
        connection.execute(
            _APPEND,
            {
                "incarnation": self.incarnation,
                "seq": seq,
                "op": op,
                "kind": kind,
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
        held = connection.execute(_ANCHOR, {"incarnation": incarnation}).first()
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

    def mark_forked(self, why: str) -> bool:
        """Put on record that the hub holds another operation under a number of this journal: the disk was put back to an earlier time,
        or there are two of this device. From here on it cannot be opened; whoever owns it sets it aside or stops. False when the file is
        another incarnation's by now.
        """
        with self.write() as connection:
            if connection.scalar(_META, {"key": "incarnation"}) != str(self.incarnation):
                return False
            connection.execute(upsert(meta).values(key=FORKED, value=why).on_conflict_do_nothing())
            return True

    def mark_hole(self, incarnation: int, known_seq: int) -> None:
        """The hub has an incarnation up to `known_seq` only, and what comes next is not here any more either: nothing can be chained to it.
        Marked like a fork, with the place, so that what is left after the hole goes on in a new incarnation (sync.afresh).
        """
        why = f"the hub lost operations from {incarnation}.{known_seq + 1} on, and they are not here any more"
        with self.write() as connection:
            if connection.scalar(_META, {"key": "incarnation"}) == str(self.incarnation):
                connection.execute(upsert(meta).values(key=FORKED, value=why).on_conflict_do_nothing())
                place = f"{incarnation}.{known_seq}"
                connection.execute(upsert(meta).values(key=HOLE, value=place).on_conflict_do_nothing())

    def forked(self) -> str:
        """Why the hub contradicts this journal, empty while it does not; also when a new incarnation has begun and the hub has lent it nothing
        yet. Looked at by whoever has it open. Raises DBAPIError.
        """
        with self.read() as connection:
            return connection.scalar(_META, {"key": FORKED}) or connection.scalar(_META, {"key": RENEWED}) or ""

    def grants_are_in(self, connection: Connection) -> None:
        """The hub has answered this incarnation's first request for leases: what is here now may be sold."""
        connection.execute(delete(meta).where(meta.c.key == RENEWED))

    def is_in_place(self, state: StateDir) -> bool:
        """Whether what is open here is still the journal of `state`, and not put away by another process since."""
        return state.incarnation() <= self.incarnation

    def unsent(self) -> int:
        """How many operations the hub has not answered: numbers have no gap, so head and anchor say it without counting rows."""
        with self.read() as connection:
            head = connection.execute(_HEAD, {"incarnation": self.incarnation}).first()
            done = connection.execute(_ANCHOR, {"incarnation": self.incarnation}).first()
        return (0 if head is None else head.seq) - (0 if done is None else done.seq)

    def next_segment(self, state: StateDir, *, operations_max: int = SEGMENT_OPERATIONS_MAX) -> Segment | None:
        """The oldest segment that is not acknowledged, cut and stored if need be; None when everything is answered. One that is cut now
        has `operations_max` operations at most; one that was cut before stays as it is.
        """
        if not self.unsent():
            return None  # looked at without the write lock: an idle uploader must not stand in a gate's way
        incarnation = self.incarnation
        with self.write() as connection:
            done = connection.execute(_ANCHOR, {"incarnation": incarnation}).first()
            seq, before = (0, ZERO_HASH) if done is None else (done.seq, done.hash)
            stored = connection.execute(
                select(segment).where(segment.c.incarnation == incarnation, segment.c.first == seq + 1)
            ).first()
            bodies = self._bodies(connection, incarnation, seq + 1, stored.last if stored is not None else None)
            if stored is not None:
                return self._segment(stored, bodies)
            bodies = bodies[:operations_max]
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

    def earlier_incarnations(self) -> tuple[int, ...]:
        """Those before the present one in this file of which the hub has acknowledged something, oldest first."""
        with self.read() as connection:
            older = select(anchor.c.incarnation).where(anchor.c.incarnation < self.incarnation)
            return tuple(connection.scalars(older.order_by(anchor.c.incarnation)))

    def sent_segment(self, first: int, *, incarnation: int | None = None) -> Segment | None:
        """A segment that was acknowledged before, for a hub that has lost it; None where no segment starts at `first`. Of the present
        incarnation unless another is named.
        """
        mine = self.incarnation if incarnation is None else incarnation
        with self.read() as connection:
            stored = connection.execute(
                select(segment).where(segment.c.incarnation == mine, segment.c.first == first)
            ).first()
            if stored is None:
                return None
            bodies = self._bodies(connection, mine, first, stored.last)
            if len(bodies) != stored.last - stored.first + 1:
                return None  # acknowledged long ago, and deleted in part since
            return self._segment(stored, bodies)

    def _segment(self, stored: Row[Any], bodies: tuple[str, ...]) -> Segment:
        return Segment(
            device=self.device,
            incarnation=stored.incarnation,
            first=stored.first,
            last=stored.last,
            before=stored.before,
            head=stored.head,
            signature=stored.signature,
            bodies=bodies,
        )

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

    def hub_seq(self) -> int:
        """The last number that the hub itself is known to have. What comes after it must be kept, whoever else has it."""
        with self.read() as connection:
            return self.hub_seq_in(connection)

    def hub_seq_in(self, connection: Connection) -> int:
        """The same, in the caller's transaction."""
        noted = connection.scalar(_META, {"key": HUB_SEQ})
        if noted is not None:
            return int(noted)
        done = connection.execute(_ANCHOR, {"incarnation": self.incarnation}).first()
        return 0 if done is None else int(done.seq)  # no venue node has ever answered: the anchor is the hub's

    def _note_hub_seq(self, connection: Connection, seq: int) -> None:
        statement = upsert(meta).values(key=HUB_SEQ, value=str(seq))
        connection.execute(
            statement.on_conflict_do_update(index_elements=["key"], set_={"value": statement.excluded.value})
        )

    def settle(self, seq: int, answers: list[tuple[OpId, str, str]], *, at: str) -> None:
        """The hub has everything up to `seq`; `answers` are its words on operations that a venue node had answered otherwise, and count
        from here on.
        """
        with self.write() as connection:
            if seq > self.hub_seq_in(connection):
                self._note_hub_seq(connection, seq)
            for op, status, reason in answers:
                statement = upsert(answer).values(op=op, status=status, reason=reason, at=at)
                changed = {name: statement.excluded[name] for name in ("status", "reason", "at")}
                connection.execute(statement.on_conflict_do_update(index_elements=["op"], set_=changed))

    def acknowledged_seq(self) -> int:
        """The last number that hub or venue node has answered for."""
        with self.read() as connection:
            done = connection.execute(_ANCHOR, {"incarnation": self.incarnation}).first()
        return 0 if done is None else int(done.seq)

    def acknowledge(
        self,
        sent: Segment,
        answers: list[tuple[OpId, str, str]],
        *,
        at: str,
        cursor: str | None = None,
        by_hub: bool = True,
    ) -> None:
        """Record the answer (op, status, reason) for each operation of a segment and move the anchor behind it. `cursor` is where the feed
        of whoever answered stood with the effects in it. `by_hub` False: that was a venue node, so the hub's own answer is still to come.
        """
        with self.write() as connection:
            if cursor is not None:
                connection.execute(
                    upsert(checkpoint).on_conflict_do_nothing(),
                    {"incarnation": sent.incarnation, "seq": sent.last, "cursor": cursor},
                )
            known = self.hub_seq_in(connection)
            if not by_hub:
                self._note_hub_seq(connection, known)
            elif connection.scalar(_META, {"key": HUB_SEQ}) is not None and sent.last > known:
                self._note_hub_seq(connection, sent.last)
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


def open_journal(state: StateDir, *, clock: Clock, random_bytes: RandomBytes) -> Journal:
    """Open the device's journal, making it (incarnation 1, or the next after journals set aside) where there is none.

    Raises JournalBroken when it cannot be read, belongs to another device, its chain does not hold, or the hub contradicts it;
    NotEnrolled before enrolment, NewerFile for one of a newer version. Safe to call from several processes at once.
    """
    device = state.identity().device
    _finish_setting_aside(state)
    try:
        engine = open_engine(state.journal)
        with engine.begin() as connection:
            bring_up(connection, OWNED)
            bring_up(connection, granted.OWNED)
            known = {row.key: row.value for row in connection.execute(select(meta))}
            if not known:
                incarnation = state.incarnation() + 1
                state.save_incarnation(incarnation)
                journal = Journal(engine, device, incarnation, state.path)
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
        if FORKED in known:
            raise JournalBroken(f"{state.journal}: {known[FORKED]}")
        journal = Journal(engine, device, int(known["incarnation"]), state.path)
        if state.incarnation() > journal.incarnation:
            raise JournalBroken(f"{state.journal}: an older copy (incarnation {journal.incarnation}) was put back")
        journal.verify()
    except (DBAPIError, KeyError, ValueError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise JournalBroken(f"{state.journal}: cannot be read ({reason})") from error
    return journal


def open_for_grants(state: StateDir) -> Journal | None:
    """A journal whose chain does not hold, for what is not chained: the daemon goes on keeping catalogue and keys fresh in it until
    somebody rules on it. None when the file cannot be read at all. Never append through it.
    """
    try:
        device = state.identity().device
        engine = open_engine(state.journal)
        with engine.begin() as connection:
            bring_up(connection, granted.OWNED)
            known = {row.key: row.value for row in connection.execute(select(meta))}
        if known.get("device") != device.hex():
            return None
        return Journal(engine, device, int(known["incarnation"]), state.path)
    except (DBAPIError, KeyError, ValueError, NewerFile):
        return None


def is_forked(state: StateDir) -> bool:
    """Whether the sync daemon has marked the journal in `state` (see `Journal.mark_forked`). False where none can be read."""
    try:
        engine = open_engine(state.journal, read_only=True)
        with engine.begin() as connection:
            found = connection.scalar(_META, {"key": FORKED})
        engine.dispose()
    except DBAPIError:
        return False
    return found is not None


def set_aside_file(state: StateDir, number: int) -> Path:
    """Where the journal is, or was, that was put away as the `number`th."""
    return state.path / f"journal.{number:03d}.db"


def set_aside(state: StateDir) -> Path:
    """Move a broken journal out of the way, whole, so that the next `open_journal` starts a new incarnation. Returns its new path.

    A power cut on the way loses nothing: what is left of the move is finished before the next journal is made. Not for two
    processes at once: the second would move the fresh one (see `mending`).
    """
    _finish_setting_aside(state)
    target = set_aside_file(state, last_set_aside(state) + 1)
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            state.journal.with_name(state.journal.name + suffix).rename(target.with_name(target.name + suffix))
    sync_directory(state.path)
    return target


def _finish_setting_aside(state: StateDir) -> None:
    """A log without its database belongs to the journal that was moved last; a new database beside it would read it as its own."""
    logs = [suffix for suffix in ("-wal", "-shm") if state.journal.with_name(state.journal.name + suffix).exists()]
    if not logs or state.journal.exists():  # in this order: whoever makes a journal makes the database before its log
        return
    target = set_aside_file(state, max(1, last_set_aside(state)))
    for suffix in logs:
        with suppress(FileNotFoundError):
            state.journal.with_name(state.journal.name + suffix).rename(target.with_name(target.name + suffix))


def last_set_aside(state: StateDir) -> int:
    """The number of the journal that was put away last; 0 where none was."""
    found = (re.fullmatch(r"journal\.(\d+)\.db", file.name) for file in state.path.iterdir())
    return max((int(match[1]) for match in found if match), default=0)


@contextmanager
def mending(state: StateDir) -> Iterator[None]:
    """Held by whoever opens a journal in order to set a broken one aside: one process of the device at a time."""
    with (state.path / "journal.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _birth(state: StateDir, incarnation: int, *, clock: Clock, random_bytes: RandomBytes) -> Incarnation:
    """The operation that opens an incarnation and names what is known of the one before."""
    previous = None
    if incarnation > 1:
        previous = _last_known(state, incarnation - 1)
    return Incarnation(
        op=random_bytes(16).hex(),
        at=clock.now_utc().isoformat(),
        reason="enrolled" if previous is None else "journal set aside",
        previous=previous,
    )


def _last_known(state: StateDir, incarnation: int) -> Previous:
    """The head of a journal set aside, as far as it can still be read."""
    for file in sorted(state.path.glob("journal.*.db"), reverse=True):
        try:
            with open_engine(file, read_only=True).begin() as connection:
                row = connection.execute(_HEAD, {"incarnation": incarnation}).first()
        except DBAPIError:
            continue
        if row is not None:
            return Previous(incarnation, row.seq, row.hash.hex())
    return Previous(incarnation)
