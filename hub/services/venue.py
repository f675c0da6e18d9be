"""The venue: its catalogue document and its slots."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, insert, select
from sqlalchemy import update as sql_update

from hub.errors import VenueMissing
from hub.services import feed
from hub.tables import document, slot, stamp
from tickets.catalogue import Catalogue, parse

CATALOGUE = "catalogue"


@lru_cache(maxsize=4)
def _parsed(text: str) -> Catalogue:
    return parse(text)


def find_catalogue(connection: Connection) -> Catalogue | None:
    text = connection.scalar(select(document.c.text).where(document.c.name == CATALOGUE))
    return None if text is None else _parsed(text)


def catalogue(connection: Connection) -> Catalogue:
    """Raises VenueMissing before the first catalogue."""
    found = find_catalogue(connection)
    if found is None:
        raise VenueMissing("no venue yet: run `kaisatsu hub seed`, or import a catalogue")
    return found


def publish_catalogue(connection: Connection, row: dict[str, Any], *, now: datetime) -> None:
    """Put a catalogue in force; it reaches devices with the feed. Raises CatalogueError for one that cannot be used."""
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    parse(text)
    values = {"text": text, "at": stamp(now)}
    if connection.scalar(select(document.c.name).where(document.c.name == CATALOGUE)) is None:
        connection.execute(insert(document), {"name": CATALOGUE, **values})
    else:
        connection.execute(sql_update(document).where(document.c.name == CATALOGUE).values(values))
    feed.touch(connection, "document", [CATALOGUE])


def open_slots(
    connection: Connection, product: str, *, day: date, times: list[tuple[int, int]], minutes: int, capacity: int
) -> int:
    """Open the slots of one day (local `times` as (hour, minute)); those that are there already stay as they are. How many are new."""
    zone = catalogue(connection).venue.day
    fresh = []
    for hour, minute in times:
        starts = zone.local(datetime(day.year, day.month, day.day, 12, tzinfo=UTC)).replace(
            year=day.year, month=day.month, day=day.day, hour=hour, minute=minute, second=0, microsecond=0
        )
        name = f"{product}-{day.isoformat()}-{hour:02d}{minute:02d}"
        if connection.scalar(select(slot.c.slot).where(slot.c.slot == name)) is None:
            fresh.append(
                {
                    "slot": name,
                    "product": product,
                    "starts_at": stamp(starts),
                    "ends_at": stamp(starts + timedelta(minutes=minutes)),
                    "capacity": capacity,
                    "leased": 0,
                    "free": capacity,
                }
            )
    if fresh:
        connection.execute(insert(slot), fresh)
        feed.touch(connection, "slot", [str(row["slot"]) for row in fresh])
    return len(fresh)
