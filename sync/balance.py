"""The device's side of the checksum: sums of a cache's rows in 256 parts a table (by the first byte of the key), moved on with every page
and counted anew part by part while nothing else is to be done.

The sums say what was laid down; counting anew says what is there now. Where the two differ the file was changed behind our back; where
the total differs from the hub's, hub and device have gone apart. A part that was never counted (a cache from before) has no row, and
there is no total until each part has one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select

from sync.checksum import COLUMNS, add, digest, to_signed

PARTS = 256
_CHUNK = 500


def begin(connection: Connection, held: Table) -> None:
    """For a cache without a row: every part is counted, and comes to nothing."""
    connection.execute(
        insert(held), [{"table": name, "part": part, "sum": 0} for name in COLUMNS for part in range(PARTS)]
    )


def weigh(connection: Connection, target: Table, keys: Sequence[bytes]) -> Counter[int]:
    """What the rows with these keys come to now, by part."""
    name = target.name
    columns = [target.c[column] for column in COLUMNS[name]]
    found: Counter[int] = Counter()
    for start in range(0, len(keys), _CHUNK):
        for row in connection.execute(select(*columns).where(columns[0].in_(keys[start : start + _CHUNK]))):
            found[row[0][0]] += digest(name, row)
    return found


def move(
    connection: Connection, held: Table, table: str, *, before: Mapping[int, int], after: Mapping[int, int]
) -> None:
    """Take changed rows into the sums of their parts. Parts that were never counted stay so."""
    changed = sorted(part for part in before.keys() | after.keys() if before.get(part, 0) != after.get(part, 0))
    if not changed:
        return
    sums = {
        row.part: row.sum
        for row in connection.execute(
            select(held.c.part, held.c.sum).where(held.c.table == table, held.c.part.in_(changed))
        )
    }
    for part, total in sums.items():
        _put(connection, held, table, part, add(total, after.get(part, 0) - before.get(part, 0)))


def total(connection: Connection, held: Table) -> int | None:
    """The checksum of the whole cache; None while some part was never counted."""
    sums = connection.scalars(select(held.c.sum)).all()
    return sum(sums) % (1 << 64) if len(sums) == PARTS * len(COLUMNS) else None


def uncounted(connection: Connection, held: Table) -> int:
    """How many parts were never counted."""
    return PARTS * len(COLUMNS) - int(connection.scalar(select(func.count()).select_from(held)) or 0)


def recount(connection: Connection, held: Table, target: Table, part: int) -> bool:
    """Count one part of a table from its rows. False: they are not what was laid down. A part without a sum gets it."""
    columns = [target.c[column] for column in COLUMNS[target.name]]
    query = select(*columns).where(columns[0] >= bytes([part]))
    if part + 1 < PARTS:
        query = query.where(columns[0] < bytes([part + 1]))
    now = to_signed(sum(digest(target.name, row) for row in connection.execute(query)))
    known: Any = connection.scalar(select(held.c.sum).where(held.c.table == target.name, held.c.part == part))
    if known is None:
        _put(connection, held, target.name, part, now)
        return True
    return bool(known == now)


def _put(connection: Connection, held: Table, table: str, part: int, value: int) -> None:
    here = (held.c.table == table, held.c.part == part)
    connection.execute(delete(held).where(*here))
    connection.execute(insert(held), {"table": table, "part": part, "sum": to_signed(value)})
