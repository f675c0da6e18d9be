"""Health: one row a part in `health.db`, in the run-time directory (gone with a reboot, never fsync'd).

Each process publishes what it knows of its own device; whoever wants to know reads rows and asks no device. A row older than
its reader allows means "unknown", never "well".
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from sync.service.shared import create_shared


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


class Board:
    """The rows of one device. Any process may open it; each writes its own parts only."""

    def __init__(self, path: Path) -> None:
        create_shared(path)
        self._db = sqlite3.connect(path, timeout=2, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        columns = [row[1] for row in self._db.execute("PRAGMA table_info(health)")]
        if columns and columns != _COLUMNS:
            self._db.execute("DROP TABLE health")  # of another version: everyone says again how it is within seconds
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS health (part TEXT PRIMARY KEY, state TEXT NOT NULL, since TEXT NOT NULL,"
            " at TEXT NOT NULL, stops TEXT NOT NULL, facts TEXT NOT NULL) WITHOUT ROWID"
        )

    def publish(self, health: Health) -> None:
        at = health.at.isoformat()
        self._db.execute(
            "INSERT INTO health VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT(part) DO UPDATE SET"
            " since = CASE WHEN state = excluded.state THEN since ELSE excluded.since END,"
            " state = excluded.state, at = excluded.at, stops = excluded.stops, facts = excluded.facts",
            (
                health.part,
                health.state,
                at,
                at,
                health.stops,
                json.dumps(dict(health.facts), ensure_ascii=False),
            ),
        )

    def read(self, part: str, *, now: datetime, age_s_max: float) -> Health:
        """The row of `part`; state UNKNOWN when there is none or it is older than `age_s_max`."""
        row = self._db.execute("SELECT state, at, stops, facts FROM health WHERE part = ?", (part,)).fetchone()
        if row is None:
            return Health(part=part, state=State.UNKNOWN, at=now)
        at = datetime.fromisoformat(row[1])
        state = State(row[0]) if (now - at).total_seconds() <= age_s_max else State.UNKNOWN
        return Health(part=part, state=state, at=at, stops=row[2], facts=json.loads(row[3]))

    def parts(self) -> list[dict[str, Any]]:
        """Every row as it stands, for telemetry and the doctor: part, state, at, stops, facts."""
        rows = self._db.execute("SELECT part, state, at, stops, facts FROM health ORDER BY part").fetchall()
        return [
            {"part": part, "state": state, "at": at, "stops": stops, "facts": json.loads(facts)}
            for part, state, at, stops, facts in rows
        ]

    def close(self) -> None:
        self._db.close()
