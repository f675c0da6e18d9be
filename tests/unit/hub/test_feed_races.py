"""The feed under concurrent writers, on PostgreSQL: the only engine that has them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError

from hub import tables
from hub.database import run, sqlstate
from hub.node import HubNode
from hub.services import feed, housekeeping
from hub.web.across import AcrossWorkers
from sync.protocol import Cursor, has_reached
from tests import hubkit
from tickets.clock import FixedClock


@pytest.fixture
def node(tmp_path: Path) -> Iterator[HubNode]:
    made = hubkit.make_node(tmp_path, clock=FixedClock(hubkit.NOON), random_bytes=hubkit.seeded(1), engine="postgresql")
    yield made
    made.engine.dispose()


def put_used(connection: object, op: bytes, *, gate: str = "A") -> None:
    row = {
        "op": op,
        "ticket": op[:10],
        "passage": "entry",
        "units": 1,
        "window": "",
        "at": "2026-11-23T03:00:00.000+00:00",
    }
    row |= {"gate": gate, "mode": "policy", "released": 0, "device": op}
    connection.execute(insert(tables.used), row)  # type: ignore[attr-defined]
    feed.touch(connection, "used", [op])  # type: ignore[arg-type]


def ops_after(node: HubNode, cursor: str | None) -> tuple[set[str], str]:
    found: set[str] = set()
    more = True
    while more:
        page = node.changes(cursor, rows_max=100)
        found |= {row["op"] for part in page.tables if part.table == "used" for row in part.as_mappings()}
        cursor, more = page.cursor, page.more
    assert cursor is not None
    return found, cursor


def test_a_number_drawn_early_and_committed_late_is_not_passed_over(node: HubNode) -> None:
    """The gap: a reader by numbers alone has gone by when the first one commits."""
    early, late = os.urandom(16), os.urandom(16)
    with node.engine.connect() as slow:
        with slow.begin():
            put_used(slow, early)
            with node.write() as quick:
                put_used(quick, late)
            with node.read() as connection:
                naive = feed.position(connection)
            seen, cursor = ops_after(node, None)
            assert seen == set(), "the later number waits for the earlier transaction"
            assert node.changes(cursor, rows_max=100).checksum is None, "nobody can say what this place comes to"
        with node.read() as connection:
            passed = connection.scalars(select(tables.change.c.key).where(tables.change.c.seq > naive)).all()
        assert early.hex() not in passed, "a cursor of numbers would never have found it"
    seen, cursor = ops_after(node, cursor)
    assert seen == {early.hex(), late.hex()}
    assert node.changes(cursor, rows_max=100).checksum is not None


def test_the_order_is_that_of_transactions_not_of_numbers(node: HubNode) -> None:
    """The half fix (numbers below the horizon) loses a row whose older transaction drew its later number."""
    older, younger = os.urandom(16), os.urandom(16)
    with node.engine.connect() as first, node.engine.connect() as second:
        one, two = first.begin(), second.begin()
        first.execute(text("SELECT pg_current_xact_id()"))
        put_used(second, younger)
        put_used(first, older)
        one.commit()
        seen, cursor = ops_after(node, None)
        assert seen == {older.hex()}
        two.commit()
    assert ops_after(node, cursor)[0] == {younger.hex()}
    assert Cursor.decode(cursor).xid > 0


def test_writers_at_once_lose_nothing_and_the_sum_is_right(node: HubNode) -> None:
    written: set[str] = set()
    stop = threading.Event()
    lock = threading.Lock()

    def write(seed: int) -> None:
        rng = hubkit.seeded(seed)
        for number in range(40):
            ops = [rng(16) for _ in range(3)]
            with node.write() as connection:
                for op in ops:
                    put_used(connection, op)
                    connection.execute(text("SELECT pg_sleep(:s)"), {"s": (rng(1)[0] % 4) / 1000})
            with lock:
                written.update(op.hex() for op in ops)
            if number == 39:
                return

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    seen: set[str] = set()
    cursor: str | None = None
    while not stop.is_set():
        if not any(thread.is_alive() for thread in threads):
            stop.set()
        fresh, cursor = ops_after(node, cursor)
        seen |= fresh
        node.housekeep()
    fresh, cursor = ops_after(node, cursor)
    assert written == seen | fresh
    assert len(written) == 6 * 40 * 3
    before = node.changes(cursor, rows_max=10).checksum
    while node.housekeep().folded:
        pass
    assert before == node.changes(cursor, rows_max=10).checksum is not None, "folded or not, the sum is the same"


def test_a_transaction_that_runs_for_long_is_told(node: HubNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "STALLED_S", 0.0)
    with node.engine.connect() as slow, slow.begin():
        put_used(slow, os.urandom(16))
        kept = node.housekeep()
    assert kept.horizon_age_s > 0
    with node.read() as connection:
        assert "feed_stalled" in connection.scalars(select(tables.trouble.c.kind)).all()
    assert node.housekeep().horizon_age_s == 0


def test_a_lost_race_is_run_again_and_a_row_that_stays_is_no_race(node: HubNode) -> None:
    op = os.urandom(16)
    tries: list[int] = []

    def work(connection: object) -> str:
        tries.append(1)
        if connection.scalar(select(tables.used.c.op).where(tables.used.c.op == op)) is not None:  # type: ignore[attr-defined]
            return "there"
        if len(tries) == 1:  # somebody is quicker between the look and the insert
            with node.write() as other:
                put_used(other, op)
        put_used(connection, op)
        return "put"

    assert run(node.engine, work) == "there"
    assert len(tries) == 2

    def stubborn(connection: object) -> None:
        tries.append(1)
        put_used(connection, op)

    tries.clear()
    with pytest.raises(DBAPIError) as caught:
        run(node.engine, stubborn)
    assert sqlstate(caught.value) == "23505"
    assert len(tries) == 2


def test_a_deadlock_is_run_again(node: HubNode) -> None:
    names = ("one", "two")
    with node.write() as connection:
        for name in names:
            feed.put(connection, name, "0")
    barrier = threading.Barrier(2, timeout=10)
    done: list[str] = []

    def both(order: tuple[str, str]) -> None:
        met: list[bool] = []

        def work(connection: object) -> None:
            for number, name in enumerate(order):
                statement = (
                    tables.meta.update().where(tables.meta.c.key == name).values(value=tables.meta.c.value + "1")
                )
                connection.execute(statement)  # type: ignore[attr-defined]
                if number == 0 and not met:
                    met.append(True)
                    barrier.wait()

        run(node.engine, work)
        done.append(order[0])

    threads = [threading.Thread(target=both, args=(order,)) for order in (names, names[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(done) == ["one", "two"]
    with node.read() as connection:
        values = connection.scalars(select(tables.meta.c.value).where(tables.meta.c.key.in_(names))).all()
    assert values == ["011", "011"]


def test_a_word_wakes_the_other_worker_soon(node: HubNode) -> None:
    heard, silence = threading.Event(), threading.Event()
    here, there = AcrossWorkers(node.engine, silence.set), AcrossWorkers(node.engine, heard.set)
    here.start()
    there.start()
    try:
        assert heard.wait(5), "it rings once it listens"
        delays_ms = []
        for _ in range(5):
            heard.clear()
            began_s = time.monotonic()
            here.tell()
            assert heard.wait(5)
            delays_ms.append((time.monotonic() - began_s) * 1000)
        assert min(delays_ms) < 50
    finally:
        here.stop()
        there.stop()


def test_what_stands_after_an_upload_is_reached_by_nobody_before_its_rows(node: HubNode) -> None:
    """The write checkpoint: a device lays its own rows over its cache until the feed has brought them. A cursor of where the feed is
    settled, taken inside the upload, lies before its rows.
    """
    older, op = os.urandom(16), os.urandom(16)
    with node.engine.connect() as slow:
        slow.begin()
        put_used(slow, older)
        with node.engine.connect() as mine:
            mine.begin()
            put_used(mine, op)
            mark, here = feed.cursor_after_mine(mine), feed.cursor_here(mine)
            assert has_reached(here, here)
            assert not has_reached(here, mark)
            assert not has_reached(ops_after(node, None)[1], mark)
            mine.commit()
        found, cursor = ops_after(node, None)
        assert op.hex() not in found, "an older transaction holds the feed back"
        assert not has_reached(cursor, mark)
        slow.commit()
    found, cursor = ops_after(node, None)
    assert {op.hex(), older.hex()} <= found
    assert has_reached(cursor, mark)
    pages = node.changes(None, rows_max=1)
    assert not has_reached(pages.cursor, mark), "half of the way is not there"
