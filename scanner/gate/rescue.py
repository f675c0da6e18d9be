"""A journal whose chain does not hold must not close the gate.

It is set aside whole (evidence, never deleted), a new incarnation starts, and what can be trusted is carried over: selling keys whose
certificate the pinned hub key has signed, the catalogue, the cache's number, and the uses this gate knows of, so that a ticket it has
admitted stays used. It is said aloud: in the log, in health, on the screen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import DBAPIError

from scanner.gate import tables
from scanner.gate.ledger import UNREADABLE
from sync import certificate, granted
from sync.errors import JournalBroken, MessageError
from sync.journal import Journal, mending, open_journal, set_aside
from sync.state import Identity, StateDir
from sync.store import open_engine, reading
from tickets.clock import Clock
from tickets.ids import RandomBytes

ROWS_AT_ONCE = 1000

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SetAside:
    """`path` of the journal that was put away, `why`, and how many uses were carried over from it."""

    path: Path
    why: str
    uses: int


def open_or_set_aside(
    state: StateDir, *, clock: Clock, random_bytes: RandomBytes, condemned: str = ""
) -> tuple[Journal, SetAside | None]:
    """The device's journal, with the gate's tables in it. `condemned`: why the present one must go whatever its chain says.

    Raises NotEnrolled; JournalBroken when the journal cannot be reached for a reason that passes (disk full, locked), or when not
    even a fresh one can be made here.
    """
    with mending(state):
        why = condemned
        if not why:
            try:
                return _ready(open_journal(state, clock=clock, random_bytes=random_bytes)), None
            except JournalBroken as error:
                if not _beyond_repair(error):
                    raise
                why = str(error)
        path = set_aside(state)
        journal = _ready(open_journal(state, clock=clock, random_bytes=random_bytes))
        uses = _carry_over(path, journal, state.identity())
        _log.error("journal_set_aside", why=why, file=path.name, incarnation=journal.incarnation, uses_carried=uses)
        return journal, SetAside(path, why, uses)


def _beyond_repair(error: JournalBroken) -> bool:
    """A full or busy disk is no reason to give up a journal; a chain that does not hold or a file that is no database is."""
    cause = error.__cause__
    if isinstance(cause, DBAPIError):
        return (getattr(cause.orig, "sqlite_errorcode", 0) & 0xFF) in UNREADABLE
    return True


def _ready(journal: Journal) -> Journal:
    try:
        tables.create(journal.engine)
    except DBAPIError as error:
        raise JournalBroken(f"journal: cannot be written ({error.orig})") from error
    return journal


def _carry_over(path: Path, journal: Journal, identity: Identity) -> int:
    """As far as the old file can still be read, table by table. Returns how many uses came along."""
    old = open_engine(path, read_only=True)
    try:
        with reading(old) as source, journal.write() as target:
            _copy(source, target, granted.document)
            _copy(source, target, granted.issuer_key, keep=lambda row: _vouched(row, identity.hub_key))
            _copy(source, target, tables.scan_number)
            return _copy(source, target, tables.pending)
    except DBAPIError as error:
        _log.error("journal_unreadable", file=path.name, why=str(error.orig))
        return 0
    finally:
        old.dispose()


def _copy(source: Connection, target: Connection, table: Table, *, keep: Any = None) -> int:
    try:
        rows = [dict(row) for row in source.execute(select(table)).mappings() if keep is None or keep(row)]
    except DBAPIError as error:
        _log.error("table_unreadable", table=table.name, why=str(error.orig))
        return 0
    statement = upsert(table).on_conflict_do_nothing()
    for first in range(0, len(rows), ROWS_AT_ONCE):
        target.execute(statement, rows[first : first + ROWS_AT_ONCE])
    return len(rows)


def _vouched(row: Any, hub_key: bytes) -> bool:
    """Whether the hub signed this very key: a damaged journal is no place to learn keys from."""
    try:
        found = certificate.check(row.certificate, row.signature, hub_key)
    except MessageError:
        return False
    return bool(found.kid == row.kid and found.public == row.public)
