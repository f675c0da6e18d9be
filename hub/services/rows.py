"""Many rows in few statements: what a segment of uploads has to say to the database at once.

Decides nothing. What goes wrong comes out as the database error that single inserts would have raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, insert
from sqlalchemy.exc import DBAPIError

CHUNK = 500
"""Keys in one question: SQLite takes 32 766 parameters, and half a thousand is what a segment has."""


def insert_rows(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows that name the same columns. PostgreSQL takes them by COPY, which costs a third of as many inserts."""
    if not rows:
        return
    if connection.dialect.name == "postgresql" and len(rows) > 1:
        _copy(connection, table, rows)
    else:
        connection.execute(insert(table), list(rows))


def select_in(connection: Connection, query: Select[Any], column: ColumnElement[Any], keys: Iterable[Any]) -> list[Any]:
    """The rows of `query` whose `column` is one of `keys`, asked for in the keys' order, so that locks are taken in one order."""
    wanted, found = sorted(set(keys)), []
    for start in range(0, len(wanted), CHUNK):
        found.extend(connection.execute(query.where(column.in_(wanted[start : start + CHUNK]))).all())
    return found


def _copy(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    import psycopg

    quote = connection.dialect.identifier_preparer.quote
    names = list(rows[0])
    columns = ", ".join(quote(name) for name in names)
    statement = f"COPY {quote(table.name)} ({columns}) FROM STDIN"
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            write: Callable[[Sequence[Any]], None] = copy.write_row
            for row in rows:
                write([row[name] for name in names])
    except psycopg.Error as error:
        raise DBAPIError.instance(statement, None, error, psycopg.Error, dialect=connection.dialect) from error
