"""Many rows in few statements: what a segment of uploads has to say to the database at once.

Decides nothing. Values go to the driver as they are (bytes, text, whole numbers), past SQLAlchemy's work on each of them, which costs
more than SQLite's own. What goes wrong comes out as the database error that single inserts would have raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Column, Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

CHUNK = 500
"""Keys in one question: SQLite takes 32 766 parameters, and half a thousand is what a segment has."""


def insert_rows(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows that name the same columns, in the same order. PostgreSQL takes them by COPY."""
    if not rows:
        return
    names = tuple(rows[0])
    values = [tuple(row.values()) for row in rows]
    if connection.dialect.name == "postgresql":
        _copy(connection, _copy_statement(table, names), values)
    else:
        connection.exec_driver_sql(_insert_statement(table, names), values)


def select_in(
    connection: Connection,
    columns: Sequence[Column[Any]],
    key: Column[Any],
    keys: Iterable[bytes],
    *,
    lock: bool = False,
) -> list[Any]:
    """`columns` of the rows whose `key` is one of `keys`. `lock`: until the transaction ends, taken in the order of the keys, so that
    two who lock many wait for each other and never in a ring.
    """
    wanted = sorted(set(keys))
    found: list[Any] = []
    names = tuple(column.name for column in columns)
    for start in range(0, len(wanted), CHUNK):
        part = wanted[start : start + CHUNK]
        if connection.dialect.name == "postgresql":
            found.extend(connection.exec_driver_sql(_select_any(key.table, names, key.name, lock), (part,)).all())
        else:
            statement = _select_list(key.table, names, key.name, len(part))
            found.extend(connection.exec_driver_sql(statement, tuple(part)).all())
    return found


def look_up_by_index(connection: Connection) -> None:
    """For the rest of this transaction PostgreSQL looks keys up in indexes. Right after a burst its statistics are of a table that was
    small, and it would read the whole of it for each segment: sixty milliseconds instead of three.

    What has no index is read as a whole all the same, and counts as endlessly dear then; so that PostgreSQL does not compile each such
    question of a few rows first (some eighty milliseconds), its compiler is off as long.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        connection.exec_driver_sql("SET LOCAL jit = off")


@cache
def _insert_statement(table: Table, names: tuple[str, ...]) -> str:
    places = ", ".join("?" * len(names))
    return f"INSERT INTO {_sqlite(table.name)} ({', '.join(map(_sqlite, names))}) VALUES ({places})"  # noqa: S608 names of ours


@cache
def _copy_statement(table: Table, names: tuple[str, ...]) -> str:
    return f"COPY {_postgresql(table.name)} ({', '.join(map(_postgresql, names))}) FROM STDIN"


@cache
def _select_any(table: Table, names: tuple[str, ...], key: str, lock: bool) -> str:  # noqa: FBT001 cached by its arguments
    order = f" ORDER BY {_postgresql(key)} FOR UPDATE" if lock else ""
    columns = ", ".join(map(_postgresql, names))
    return f"SELECT {columns} FROM {_postgresql(table.name)} WHERE {_postgresql(key)} = ANY(%s){order}"  # noqa: S608 names of ours


@cache
def _select_list(table: Table, names: tuple[str, ...], key: str, count: int) -> str:
    columns, places = ", ".join(map(_sqlite, names)), ", ".join("?" * count)
    return f"SELECT {columns} FROM {_sqlite(table.name)} WHERE {_sqlite(key)} IN ({places})"  # noqa: S608 names of ours


_sqlite: Callable[[str], str] = sqlite.dialect().identifier_preparer.quote
_postgresql: Callable[[str], str] = postgresql.dialect().identifier_preparer.quote  # type: ignore[no-untyped-call]


def _copy(connection: Connection, statement: str, rows: Iterable[Sequence[Any]]) -> None:
    import psycopg

    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:
        raise DBAPIError.instance(statement, None, error, psycopg.Error, dialect=connection.dialect) from error
