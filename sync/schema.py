"""Migrations of the files on a device: forward only, in the file they belong to, with the data in them.

Each package owns its tables in `journal.db` and says in small steps how an older form becomes the newer one. Which form a file has
stands in the table `tables_version`, one row an owner. Everything that an owner's tables need happens in one transaction under the
journal's write lock, so a kill in the middle leaves the old form whole, and two processes that start at once do it once.

A file of a newer version than the program is left untouched and refused in one line: it is not broken, and must not be set aside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, inspect, select
from sqlalchemy.dialects.sqlite import insert as upsert

from sync.errors import NewerFile

_metadata = MetaData()
tables_version = Table(
    "tables_version",
    _metadata,
    Column("owner", Text, primary_key=True),
    Column("version", Integer, nullable=False),
)

Step = Callable[[Connection], None]
"""From one version to the next, inside the caller's transaction. Uses what stood in the tables then, never this version's objects."""


@dataclass(frozen=True, slots=True)
class Owned:
    """The tables of one package. `steps[0]` leads from version 1, the form that files had before versions were written down, to 2."""

    owner: str
    metadata: MetaData
    steps: tuple[Step, ...] = ()
    after: Step | None = None
    """What belongs to the tables beside them (triggers), made where it is missing."""

    @property
    def version(self) -> int:
        return len(self.steps) + 1


def run_sql(*statements: str) -> Step:
    def step(connection: Connection) -> None:
        for statement in statements:
            connection.exec_driver_sql(statement)

    return step


def bring_up(connection: Connection, owned: Owned) -> tuple[int, int]:
    """Make or migrate the owner's tables in the caller's write transaction. (version found, version now); found 0: there were none.

    Raises NewerFile before anything was changed.
    """
    _metadata.create_all(connection)
    noted = connection.scalar(select(tables_version.c.version).where(tables_version.c.owner == owned.owner))
    found = noted
    if found is None:
        there = set(inspect(connection).get_table_names())
        found = 1 if there & set(owned.metadata.tables) else 0
    if found > owned.version:
        raise NewerFile(
            f"journal: the tables of '{owned.owner}' are of version {found}; this program knows {owned.version}: "
            "install the newer program again"
        )
    for step in owned.steps[max(found, 1) - 1 :] if found else ():
        step(connection)
    owned.metadata.create_all(connection)
    if owned.after is not None:
        owned.after(connection)
    if noted != owned.version:
        statement = upsert(tables_version).values(owner=owned.owner, version=owned.version)
        connection.execute(
            statement.on_conflict_do_update(index_elements=["owner"], set_={"version": statement.excluded.version})
        )
    return found, owned.version
