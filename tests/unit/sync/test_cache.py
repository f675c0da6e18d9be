"""The cache is replaceable, and says so when it cannot be read."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from sync import cache
from sync.cache import Cache
from sync.errors import CacheBroken
from tests.support.gate_device import GateDevice, cache_ticket, cache_use, ticket_of
from tickets.life_cycle import TicketState


class PowerCut(Exception):
    """Whatever ends a transaction before its time."""


def test_pages_lie_over_each_other_and_tombstones_take_away(tmp_path: Path) -> None:
    made = GateDevice(tmp_path).cache()
    cache_ticket(made, "a", short_id="123456")
    cache_ticket(made, "a", state="cancelled", short_id="123456")
    cache_ticket(made, "b", short_id="123456")
    cache_use(made, "a", op=b"1" * 16)
    cache_use(made, "a", op=b"1" * 16, released=1)
    opened = Cache.open(tmp_path / "cache-1.db")
    with opened.engine.begin() as connection:
        found = cache.find(connection, ticket_of("a"))
        assert found is not None
        assert found.state is TicketState.CANCELLED
        assert {row.ticket for row in cache.find_by_short_id(connection, "123456")} == {ticket_of("a"), ticket_of("b")}
        (known,) = cache.uses(connection, ticket_of("a"))
        assert known.released
        assert cache.find(connection, ticket_of("never")) is None
        assert cache.uses(connection, ticket_of("b")) == ()
    with made.engine.begin() as connection:
        cache.apply(connection, "ticket", columns=[], rows=[], deletes=[ticket_of("a").hex()])
        cache.apply(connection, "used", columns=["op", "ticket"], rows=[], deletes=[(b"1" * 16).hex()])
    with opened.engine.begin() as connection:
        assert cache.find(connection, ticket_of("a")) is None
        assert cache.uses(connection, ticket_of("a")) == ()


def test_columns_of_a_later_hub_are_passed_over(tmp_path: Path) -> None:
    made = GateDevice(tmp_path).cache()
    with made.engine.begin() as connection:
        cache.apply(
            connection,
            "ticket",
            columns=["ticket", "colour", "variant", "uses", "state", "not_before", "expires", "language", "short_id"],
            rows=[[ticket_of("a").hex(), "red", 1, 1, "valid", 0, 1, "ja", ""]],
            deletes=[],
        )
        assert cache.find(connection, ticket_of("a")) is not None


def test_rows_and_cursor_commit_together(tmp_path: Path) -> None:
    made = GateDevice(tmp_path).cache()
    cache_ticket(made, "a")
    with made.engine.begin() as connection:
        assert cache.cursor(connection) is None
        cache.move_cursor(connection, "one")
    with contextlib.suppress(PowerCut), made.engine.begin() as connection:
        cache.move_cursor(connection, "two")
        cache.apply(connection, "ticket", columns=[], rows=[], deletes=[ticket_of("a").hex()])
        raise PowerCut
    with made.engine.begin() as connection:
        assert cache.cursor(connection) == "one"
        assert cache.find(connection, ticket_of("a")) is not None


def test_whoever_reads_cannot_write(tmp_path: Path) -> None:
    GateDevice(tmp_path).cache()
    opened = Cache.open(tmp_path / "cache-1.db")
    with pytest.raises(Exception, match="readonly"), opened.engine.begin() as connection:
        cache.move_cursor(connection, "mine")


def test_a_missing_foreign_or_other_cache_is_broken(tmp_path: Path) -> None:
    with pytest.raises(CacheBroken):
        Cache.open(tmp_path / "cache-9.db")
    assert not (tmp_path / "cache-9.db").exists()
    (tmp_path / "cache-8.db").write_bytes(b"no database at all, but long enough to look" * 100)
    with pytest.raises(CacheBroken):
        Cache.open(tmp_path / "cache-8.db")
    made = Cache.create(tmp_path / "cache-7.db")
    with made.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '99' WHERE key = 'schema'")
    with pytest.raises(CacheBroken, match="schema 99"):
        Cache.open(tmp_path / "cache-7.db")


def test_a_cache_cut_in_half_is_found_out(tmp_path: Path) -> None:
    made = GateDevice(tmp_path).cache()
    for number in range(300):
        cache_ticket(made, f"ticket {number}")
    made.check()
    made.close()
    path = tmp_path / "cache-1.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CacheBroken):
        Cache.open(path).check()
