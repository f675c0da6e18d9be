"""The hub's database: SQLite by default, PostgreSQL where one machine is outgrown. Opens it, migrates it, and knows nothing of tickets."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, make_url

from hub.errors import HubError
from sync.store import open_engine


def open_database(url: str) -> Engine:
    """An engine with the newest schema on it. Every write transaction on SQLite starts with BEGIN IMMEDIATE and ends synced."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        engine = create_engine(parsed, isolation_level="REPEATABLE READ")
    else:
        path = sqlite_path(url)
        if path is None:
            raise HubError(f"{url}: a file is expected, such as sqlite:///hub.db")
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = open_engine(path)
    with engine.begin() as connection:
        migrate(connection)
    return engine


def sqlite_path(url: str) -> Path | None:
    """The file behind a SQLite URL, else None."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return None
    return Path(parsed.database)


def migrate(connection: Connection) -> None:
    """Bring the schema up to date inside the caller's transaction: all of it or nothing."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
