"""A journal whose chain does not hold, or that the hub contradicts, must not close the gate.

It is set aside whole (evidence, never deleted), a new incarnation starts, and what the old one holds is carried over (scanner.gate.carry).
It is said aloud: in the log, in health, on the screen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy.exc import DBAPIError

from scanner.gate import tables
from scanner.gate.carry import Carried, carry_over
from scanner.gate.ledger import UNREADABLE
from sync import granted_copy
from sync.errors import JournalBroken
from sync.journal import Journal, mending, open_journal, set_aside
from sync.state import StateDir
from tickets.clock import Clock
from tickets.ids import RandomBytes

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SetAside:
    """`path` of the journal that was put away, `why`, and what was carried over from it."""

    path: Path
    why: str
    carried: Carried


def open_or_set_aside(
    state: StateDir, *, clock: Clock, random_bytes: RandomBytes, condemned: str = "", once_more: bool = False
) -> tuple[Journal, SetAside | None]:
    """The device's journal, with the gate's tables in it and all in it that those put away have left. `condemned`: why the present one
    must go whatever its chain says. `once_more`: somebody else set one aside that this process may have written to since.

    Raises NotEnrolled; JournalBroken when the journal cannot be reached for a reason that passes (disk full, locked), or when not
    even a fresh one can be made here.
    """
    with mending(state):
        why = condemned
        if not why:
            try:
                journal = open_journal(state, clock=clock, random_bytes=random_bytes)
                _make_ready(state, journal, random_bytes, once_more=once_more)
                return journal, None
            except JournalBroken as error:
                if not _beyond_repair(error):
                    raise
                why = str(error)
        path = set_aside(state)
        journal = open_journal(state, clock=clock, random_bytes=random_bytes)
        carried = _make_ready(state, journal, random_bytes)
        _log.error("journal_set_aside", why=why, file=path.name, incarnation=journal.incarnation)
        return journal, SetAside(path, why, carried)


def _beyond_repair(error: JournalBroken) -> bool:
    """A full or busy disk is no reason to give up a journal; a chain that does not hold or a file that is no database is."""
    cause = error.__cause__
    if isinstance(cause, DBAPIError):
        return (getattr(cause.orig, "sqlite_errorcode", 0) & 0xFF) in UNREADABLE
    return True


def _make_ready(state: StateDir, journal: Journal, random_bytes: RandomBytes, *, once_more: bool = False) -> Carried:
    try:
        tables.create(journal.engine)
        with journal.write() as connection:
            granted_copy.restore(state, connection)
        return carry_over(state, journal, random_bytes=random_bytes, once_more=once_more)
    except DBAPIError as error:
        raise JournalBroken(f"journal: cannot be written ({error.orig})") from error
