"""A copy of a hub's SQLite database while it serves. The copy knows that it is one, so that whoever starts on it begins a new epoch."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from datetime import datetime
from pathlib import Path

from hub.database import sqlite_path
from hub.errors import HubError
from hub.services.restore import COPY
from hub.tables import stamp
from sync.state import sync_directory

PAGES_A_STEP = 2_000
"""Eight megabytes; between steps writers go on."""


def backup(database_url: str, to: Path, *, now: datetime) -> int:
    """Copy a running hub's database to a file that must not be there yet; its size in bytes. Complete and synced, or not there.

    Raises HubError.
    """
    path = sqlite_path(database_url)
    if path is None:
        raise HubError("hub backup copies a SQLite file; for PostgreSQL see docs/operations/backup.md (pg_dump)")
    if not path.is_file():
        raise HubError(f"{path}: no such file")
    if to.exists():
        raise HubError(f"{to}: is there already; a backup replaces nothing")
    fresh = to.with_name(f".{to.name}.new")
    fresh.unlink(missing_ok=True)
    try:
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with (
            contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as source,
            contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as target,
        ):
            source.backup(target, pages=PAGES_A_STEP, sleep=0.01)
            target.execute("PRAGMA journal_mode=DELETE")
            target.execute("PRAGMA synchronous=FULL")
            target.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (COPY, stamp(now)))
            (found,) = target.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise HubError(f"{path}: {found}; this database needs its last good backup")
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.replace(to)
        sync_directory(to.parent)
    except (OSError, sqlite3.Error) as error:
        raise HubError(f"{to}: the backup could not be made ({error})") from error
    finally:
        fresh.unlink(missing_ok=True)
    return to.stat().st_size
