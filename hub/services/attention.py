"""What people should look at: put on record once, shown on the office's first page."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select

from hub.tables import stamp, trouble


def note_trouble(connection: Connection, *, device: bytes | None, kind: str, detail: str, now: datetime) -> None:
    """Put something on record that a person should look at. The same thing said again is not listed twice."""
    same = select(trouble.c.number).where(
        trouble.c.device == device, trouble.c.kind == kind, trouble.c.detail == detail
    )
    if connection.scalar(same) is None:
        connection.execute(insert(trouble), {"at": stamp(now), "device": device, "kind": kind, "detail": detail})
