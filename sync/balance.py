"""The device's side of the checksum: sums of a cache's rows in 256 parts a table (by the first byte of the key), moved on with every page
and counted anew part by part while nothing else is to be done.

The sums say what was laid down; counting anew says what is there now. Where the two differ the file was changed behind our back; where
the total differs from the hub's, hub and device have gone apart. A part that was never counted (a cache from before) has no row, and
there is no total until each part has one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select

from sync.checksum import COLUMNS, add, digest_of_text, to_signed

PARTS = 256
_CHUNK = 900


def begin(connection: Connection, held: Table) -> None:
    """For a cache without a row: every part is counted, and comes to nothing."""
    connection.execute(
        insert(held), [{"table": name, "part": part, "sum": 0} for name in COLUMNS for part in range(PARTS)]
    )


def weigh(connection: Connection, target: Table, keys: Sequence[bytes]) -> Counter[int]:
    """What the rows with these keys come to now, by part."""
    found: Counter[int] = Counter()
    for start in range(0, len(keys), _CHUNK):
        part = keys[start : start + _CHUNK]
        marks = ",".join("?" * len(part))
        _count(found, target.name, _rows(connection, target, f"IN ({marks})", tuple(part)))
    return found


def weigh_text(table: str, rows: Iterable[Sequence[Any]]) -> Counter[int]:
    """What rows come to, by part; values in the order of COLUMNS[table], bytes as hex: as they came over the wire."""
    found: Counter[int] = Counter()
    _count(found, table, rows)
    return found


def _count(found: Counter[int], table: str, rows: Iterable[Sequence[Any]]) -> None:
    for row in rows:
        found[int(row[0][:2], 16)] += digest_of_text(table, row)


def _rows(
    connection: Connection, target: Table, condition: str, parameters: tuple[bytes, ...]
) -> list[tuple[Any, ...]]:
    """Rows with bytes as hex, straight from the driver: SQLAlchemy would cost three times the query."""
    names = COLUMNS[target.name]
    columns = ",".join(
        f'lower(hex("{name}"))' if target.c[name].type.python_type is bytes else f'"{name}"' for name in names
    )
    query = f'SELECT {columns} FROM "{target.name}" WHERE "{names[0]}" {condition}'  # noqa: S608 names of our own tables
    driver: Any = connection.connection.driver_connection
    return list(driver.execute(query, parameters).fetchall())


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
    if part + 1 < PARTS:
        rows = _rows(
            connection, target, f'>= ? AND "{COLUMNS[target.name][0]}" < ?', (bytes([part]), bytes([part + 1]))
        )
    else:
        rows = _rows(connection, target, ">= ?", (bytes([part]),))
    now = to_signed(sum(weigh_text(target.name, rows).values()))
    known: Any = connection.scalar(select(held.c.sum).where(held.c.table == target.name, held.c.part == part))
    if known is None:
        _put(connection, held, target.name, part, now)
        return True
    return bool(known == now)


def _put(connection: Connection, held: Table, table: str, part: int, value: int) -> None:
    here = (held.c.table == table, held.c.part == part)
    connection.execute(delete(held).where(*here))
    connection.execute(insert(held), {"table": table, "part": part, "sum": to_signed(value)})
