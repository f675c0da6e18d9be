"""The hub's database: SQLite by default, PostgreSQL where one machine is outgrown. Opens it, migrates it, and knows nothing of tickets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from hub.errors import HubError
from sync.store import open_engine


def open_database(url: str) -> Engine:
    """An engine with the newest schema on it. Every write transaction on SQLite starts with BEGIN IMMEDIATE and ends synced.

    Raises HubError for a database that cannot be opened.
    """
    try:
        return _opened(url)
    except SQLAlchemyError as error:
        why = str(getattr(error, "orig", None) or error).partition("\n")[0]
        raise HubError(f"{_shown(url)}: this database cannot be used ({why})") from error
    except ImportError as error:
        raise HubError(f"{_shown(url)}: its driver is not installed ({error})") from error
    except OSError as error:
        raise HubError(f"{_shown(url)}: this database cannot be used ({error.strerror})") from error


def _opened(url: str) -> Engine:
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite":
        engine = create_engine(parsed, isolation_level="READ COMMITTED")
    else:
        path = sqlite_path(url)
        if path is None:
            raise HubError(f"{url}: a file is expected, such as sqlite:///hub.db")
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = open_engine(path)
        event.listen(engine, "connect", _make_room)
    with engine.begin() as connection:
        migrate(connection)
    return engine


def _make_room(connection: Any, _: Any) -> None:
    """A hub's keys are random, so each segment touches pages all over: let them stay in memory and in the log for a while."""
    connection.execute("PRAGMA cache_size=-32768")
    connection.execute("PRAGMA wal_autocheckpoint=8000")


def sqlite_path(url: str) -> Path | None:
    """The file behind a SQLite URL, else None. Raises HubError for what is no URL."""
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return None
    return Path(parsed.database)


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError as error:
        raise HubError(f"{url}: no database URL; such as sqlite:///hub.db") from error


def _shown(url: str) -> str:
    """Without its password."""
    return _parsed(url).render_as_string(hide_password=True)


def migrate(connection: Connection) -> None:
    """Bring the schema up to date inside the caller's transaction: all of it or nothing."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
