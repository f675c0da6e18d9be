"""SQLite as devices and hub open it: where the processes meet.

The journal is durable before anything is visible: WAL with `synchronous=FULL` syncs the log at every commit; with NORMAL a
power cut takes back commits that a guest has already seen. Each write transaction starts with BEGIN IMMEDIATE, because a
read that later upgrades to a write fails at once in WAL instead of waiting.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from sync.service.shared import create_shared

BUSY_TIMEOUT_S = 10.0
"""A writer waits this long for another process's commit before it gives up. A commit takes milliseconds; a disk can take seconds."""


class Durability(StrEnum):
    """What a commit promises: FULL survives a power cut, NORMAL survives a crash of the process (replaceable files)."""

    FULL = "FULL"
    NORMAL = "NORMAL"


def open_engine(path: Path, *, durability: Durability = Durability.FULL, read_only: bool = False) -> Engine:
    """An engine on one SQLite file. Connections may be used from any one thread at a time.

    Read-only engines see committed rows of others at the start of each transaction and never write, not even a WAL file of
    their own beside a missing database.
    """
    if not read_only:
        create_shared(path)
    uri = f"file:{path}?mode={'ro' if read_only else 'rwc'}"

    def connect() -> sqlite3.Connection:
        db = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        if not read_only:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA synchronous={durability}")
        db.execute("PRAGMA foreign_keys=ON")
        return db

    engine = create_engine("sqlite+pysqlite://", creator=connect, poolclass=QueuePool, pool_size=4, max_overflow=4)
    begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("watching"):
            connection.exec_driver_sql("BEGIN" if options.get("reading") else begin)

    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A read transaction (BEGIN DEFERRED) on an engine that also writes: one consistent view, no write lock."""
    with engine.connect() as fresh:
        connection = fresh.execution_options(reading=True)
        with connection.begin() as transaction:
            yield connection
            transaction.rollback()


def data_version(connection: Connection) -> int:
    """Changes whenever another connection has committed to this file; asked by whoever missed a doorbell.

    A number means something only beside an earlier one of the same connection, and its own commits do not change it.
    """
    value: Any = connection.exec_driver_sql("PRAGMA data_version").scalar_one()
    return int(value)


class Watch:
    """Whether others have committed to a file since it was last read, asked on whichever pooled connection is at hand.

    Each connection's number is kept with that connection and compared with no other's. One that is new, or was not asked for a while,
    may say "changed" once too often, never once too little. A connection of its own would count this process's own commits as
    others', so that a gate would read all its grants again at each scan. Asked outside of any transaction, which would cost ten
    times the question.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._key = object()
        self._asked: tuple[dict[Any, Any], int] | None = None

    def changed(self) -> bool:
        """Ask before reading. True until `taken_in` says that the reading went well. Raises DBAPIError."""
        with self._engine.connect() as fresh:
            connection = fresh.execution_options(watching=True)
            self._asked = (connection.info, data_version(connection))  # `info` lives as long as the pooled connection
        info, version = self._asked
        return info.get(self._key) != version

    def taken_in(self) -> None:
        """What stood in the file when `changed` was asked has been read; what came meanwhile is still to be read."""
        if self._asked is not None:
            info, version = self._asked
            info[self._key] = version
