"""Health: one row a part in `health.db`, in the run-time directory (gone with a reboot, never fsync'd).

Each process publishes what it knows of its own device; whoever wants to know reads rows and asks no device. A row older than
its reader allows means "unknown", never "well". No daemon may die of it: with the disk full, or the file broken, rows grow old.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import structlog

from sync.service.shared import create_shared

T = TypeVar("T")
log = structlog.get_logger()


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    OFF = "off"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Health:
    """What a part says of itself.

    `part` such as printer, terminal, camera, hub; `stops` what cannot be done meanwhile (a message key, empty if nothing);
    `facts` small JSON values for screens and the doctor (paper, unsent, age); `at` when it was said.
    """

    part: str
    state: State
    at: datetime
    stops: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


_COLUMNS = ["part", "state", "since", "at", "stops", "facts"]
_PUBLISH = (
    "INSERT INTO health VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT(part) DO UPDATE SET"
    " since = CASE WHEN state = excluded.state THEN since ELSE excluded.since END,"
    " state = excluded.state, at = excluded.at, stops = excluded.stops, facts = excluded.facts"
)


class Board:
    """The rows of one device. Any process may open it; each writes its own parts only. Nothing here raises for a file that cannot be
    written or read: that is logged once, once more when it is over, and tried again with every call.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._opening = threading.Lock()
        self._troubled: set[str] = set()
        self._try("open", self._open)

    def publish(self, health: Health) -> None:
        at = health.at.isoformat()
        row = (health.part, health.state, at, at, health.stops, json.dumps(dict(health.facts), ensure_ascii=False))
        self._try("write", lambda: self._open().execute(_PUBLISH, row))

    def read(self, part: str, *, now: datetime, age_s_max: float) -> Health:
        """The row of `part`; state UNKNOWN when there is none, it is older than `age_s_max`, or it cannot be read."""
        rows = self._rows("SELECT state, at, stops, facts FROM health WHERE part = ?", part)
        if not rows:
            return Health(part=part, state=State.UNKNOWN, at=now)
        row = rows[0]
        at = datetime.fromisoformat(row[1])
        state = State(row[0]) if (now - at).total_seconds() <= age_s_max else State.UNKNOWN
        return Health(part=part, state=state, at=at, stops=row[2], facts=json.loads(row[3]))

    def parts(self) -> list[dict[str, Any]]:
        """Every row as it stands, for telemetry and the doctor: part, state, at, stops, facts. None where it cannot be read."""
        return [
            {"part": part, "state": state, "at": at, "stops": stops, "facts": json.loads(facts)}
            for part, state, at, stops, facts in self._rows(
                "SELECT part, state, at, stops, facts FROM health ORDER BY part"
            )
        ]

    def close(self) -> None:
        if self._db is not None:
            self._db.close()

    def _open(self) -> sqlite3.Connection:
        with self._opening:
            if self._db is None:
                create_shared(self._path)
                db = sqlite3.connect(self._path, timeout=2, isolation_level=None, check_same_thread=False)
                try:
                    _make_table(db)
                except sqlite3.Error:
                    db.close()
                    raise
                self._db = db
            return self._db

    def _rows(self, query: str, *parameters: str) -> list[tuple[str, ...]]:
        return self._try("read", lambda: self._open().execute(query, parameters).fetchall()) or []

    def _try(self, what: str, call: Callable[[], T]) -> T | None:
        try:
            done = call()
        except sqlite3.Error as error:
            if what not in self._troubled:
                self._troubled.add(what)
                log.warning("health_unusable", what=what, why=str(error))
            return None
        if what in self._troubled:
            self._troubled.discard(what)
            log.info("health_usable", what=what)
        return done


def _make_table(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=OFF")
    columns = [row[1] for row in db.execute("PRAGMA table_info(health)")]
    if columns and columns != _COLUMNS:
        db.execute("DROP TABLE health")  # of another version: everyone says again how it is within seconds
    db.execute(
        "CREATE TABLE IF NOT EXISTS health (part TEXT PRIMARY KEY, state TEXT NOT NULL, since TEXT NOT NULL,"
        " at TEXT NOT NULL, stops TEXT NOT NULL, facts TEXT NOT NULL) WITHOUT ROWID"
    )
