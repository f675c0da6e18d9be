"""The hub's database: SQLite by default, PostgreSQL where one machine is outgrown. Opens it, migrates it, and knows nothing of tickets.

One writer at a time on SQLite (BEGIN IMMEDIATE). On PostgreSQL many: READ COMMITTED, whoever decides locks the row that it decides
about first (docs/decisions/0011), and what loses a race is run again from its start by `run`. Readers that must see one moment use
`reading`. Nothing here ever shows a password.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from hub.errors import HubError
from sync.store import open_engine
from sync.store import reading as reading_sqlite

POOL_SIZE, POOL_OVERFLOW = 8, 8
"""Connections a process keeps and may add. A worker has no more threads that write than that; the rest wait `POOL_TIMEOUT_S`."""
POOL_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 30_000
LOCK_TIMEOUT_MS = 5_000
"""A ticket's row is held for milliseconds. Who waits this long stands behind something broken and is told `busy`."""
IDLE_TIMEOUT_MS = 15_000
"""A transaction that its process forgot about would hold the feed's horizon for everyone."""

ATTEMPTS_MAX = 6
_RACES = {"40001", "40P01", "23505"}
"""Serialization failure, deadlock, and a unique row that another transaction inserted first. PostgreSQL, appendix A."""

_T = TypeVar("_T")


def open_database(url: str) -> Engine:
    """An engine with the newest schema on it. Every write transaction on SQLite starts with BEGIN IMMEDIATE and ends synced.

    Raises HubError for a database that cannot be opened.
    """
    try:
        return _opened(url)
    except SQLAlchemyError as error:
        why = str(getattr(error, "orig", None) or error).partition("\n")[0]
        raise HubError(f"{_shown(url)}: this database cannot be used ({_without_password(why, url)})") from error
    except ImportError as error:
        raise HubError(f"{_shown(url)}: its driver is not installed ({error})") from error
    except OSError as error:
        raise HubError(f"{_shown(url)}: this database cannot be used ({error.strerror})") from error


def _opened(url: str) -> Engine:
    parsed = _parsed(url)
    match parsed.get_backend_name():
        case "sqlite":
            path = sqlite_path(url)
            if path is None:
                raise HubError(f"{url}: a file is expected, such as sqlite:///hub.db")
            path.parent.mkdir(parents=True, exist_ok=True)
            engine = open_engine(path)
            event.listen(engine, "connect", _make_room)
        case "postgresql":
            engine = _postgresql(parsed)
        case other:
            raise HubError(f"{_shown(url)}: '{other}' is no database for a hub; sqlite or postgresql+psycopg is")
    try:
        with engine.begin() as connection:
            take_turns(connection, "migrations")
            migrate(connection)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _make_room(connection: Any, _: Any) -> None:
    """A hub's keys are random, so each segment touches pages all over: let them stay in memory and in the log for a while."""
    connection.execute("PRAGMA cache_size=-32768")
    connection.execute("PRAGMA wal_autocheckpoint=8000")


def _postgresql(parsed: URL) -> Engine:
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    session = {
        "statement_timeout": STATEMENT_TIMEOUT_MS,
        "lock_timeout": LOCK_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": IDLE_TIMEOUT_MS,
        "synchronous_commit": "on",
        "timezone": "UTC",
    }
    return create_engine(
        parsed,
        isolation_level="READ COMMITTED",
        pool_size=POOL_SIZE,
        max_overflow=POOL_OVERFLOW,
        pool_timeout=POOL_TIMEOUT_S,
        pool_pre_ping=True,  # a server that was restarted costs nobody an error
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "kaisatsu-hub",
            "options": " ".join(f"-c {name}={value}" for name, value in session.items()),
        },
    )


def is_postgresql(bind: Connection | Engine) -> bool:
    return bind.dialect.name == "postgresql"


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one moment of the database and writes nothing."""
    if not is_postgresql(engine):
        with reading_sqlite(engine) as connection:
            yield connection
        return
    with engine.connect() as fresh:
        connection = fresh.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            yield connection


@contextmanager
def one_moment(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one moment and may write. On PostgreSQL it fails where another wrote the same rows since: for the hub's own
    chores, of which one process at a time does any.
    """
    with engine.connect() as fresh:
        connection = fresh.execution_options(isolation_level="REPEATABLE READ") if is_postgresql(engine) else fresh
        with connection.begin():
            yield connection


def run(engine: Engine, work: Callable[[Connection], _T]) -> _T:
    """Run `work` in one durable transaction and return what it says. Where others got in its way it is rolled back and run again, at
    most ATTEMPTS_MAX times; so it must do nothing but talk to the database. A unique row that is still there the second time is no
    race: then the error goes to the caller.
    """
    for attempt in range(ATTEMPTS_MAX):
        try:
            with engine.begin() as connection:
                connection.info["attempt"] = attempt
                return work(connection)
        except DBAPIError as error:
            last = attempt + 1 == ATTEMPTS_MAX or (sqlstate(error) == "23505" and attempt > 0)
            if last or not is_race(error):
                raise
        time.sleep(random.uniform(0, 0.002 * 2**attempt))  # noqa: S311 only so that two do not meet again
    raise AssertionError("unreachable")


def sqlstate(error: DBAPIError) -> str | None:
    """PostgreSQL's five characters; None for SQLite, which has one writer and no races."""
    found: Any = getattr(error.orig, "sqlstate", None)
    return found if isinstance(found, str) else None


def is_race(error: DBAPIError) -> bool:
    """Whether another transaction was in the way, so that the same again may go through."""
    return sqlstate(error) in _RACES


def take_turns(connection: Connection, name: str) -> None:
    """Until this transaction ends nobody else passes here under the same name. For decisions over many rows that no single row's lock
    covers; SQLite's writers take turns anyway.
    """
    if is_postgresql(connection):
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key(name)})


def try_turn(connection: Connection, name: str) -> bool:
    """Like take_turns, but never waits. False: another process is at it."""
    if not is_postgresql(connection):
        return True
    return bool(connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": lock_key(name)}))


def lock_key(name: str) -> int:
    """PostgreSQL's number of a lock that has a name."""
    return int.from_bytes(hashlib.sha256(b"kaisatsu/" + name.encode()).digest()[:8], "big", signed=True)


def sqlite_path(url: str) -> Path | None:
    """The file behind a SQLite URL, else None. Raises HubError for what is no URL."""
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return None
    return Path(parsed.database)


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError) as error:
        shown = url if "@" not in url else "..." + url[url.rindex("@") :]
        raise HubError(f"{shown}: no database URL; such as sqlite:///hub.db") from error


def _shown(url: str) -> str:
    """Without its password."""
    return _parsed(url).render_as_string(hide_password=True)


def _without_password(line: str, url: str) -> str:
    password = _parsed(url).password
    return line.replace(str(password), "***") if password else line


def migrate(connection: Connection) -> None:
    """Bring the schema up to date inside the caller's transaction: all of it or nothing."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
