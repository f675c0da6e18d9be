"""The simulation's own tests: the sample of seeds that every run of the tests plays, exact replay, faults that really happen, mutants."""

from __future__ import annotations

import os
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync import cache as cache_file
from sync.cache import Cache
from tests.simulation import venue
from tests.simulation.disk import Disk
from tests.simulation.mutants import MUTANTS, caught, first_to_catch

SEEDS = range(16)


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    with venue.template() as folder:
        yield folder


@pytest.fixture(scope="module")
def played(made: Path) -> list[venue.Outcome]:
    return [venue.run(seed, made, traced=seed < 2) for seed in SEEDS]


def test_every_promise_holds_at_rest(played: list[venue.Outcome]) -> None:
    assert {outcome.seed: outcome.violations for outcome in played if outcome.violations} == {}


def test_a_seed_replays_exactly(made: Path, played: list[venue.Outcome]) -> None:
    for seed in (0, 1):
        again = venue.run(seed, made, traced=True)
        assert again.trace
        assert again.trace == played[seed].trace


def test_what_can_go_wrong_went_wrong(played: list[venue.Outcome]) -> None:
    """Guards the simulation itself: seeds in which nothing happens would prove nothing."""
    seen: Counter[str] = sum((outcome.seen for outcome in played), Counter())
    for what in ("crashed", "power_lost", "late", "partitions", "interleaved", "given_back", "papers", "clock_jumps"):
        assert seen[what] > 0, f"no {what}: {seen}"
    assert sum(outcome.sales for outcome in played) > len(SEEDS)
    assert sum(outcome.admissions for outcome in played) > 2 * len(SEEDS)


@pytest.mark.parametrize(("level", "kept"), [("FULL", 10), ("NORMAL", 0)])
def test_a_power_cut_keeps_what_sqlite_has_synced(tmp_path: Path, level: str, kept: int) -> None:
    disk = Disk()
    disk.watch()
    try:
        db = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={level}")
        db.execute("CREATE TABLE row (n)")
        db.execute("PRAGMA wal_checkpoint")
        for number in range(10):
            db.execute("INSERT INTO row VALUES (?)", (number,))
        files, _ = disk.after_power_loss(tmp_path, random.Random(4))
        disk.put(files, tmp_path / "after")
        db.close()
        db = sqlite3.connect(tmp_path / "after" / "journal.db")
        assert db.execute("SELECT count(*) FROM row").fetchone() == (kept,)
        assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)
        db.close()
    finally:
        disk.stop()


def test_a_place_that_rows_are_deleted_for_survives_a_power_cut(tmp_path: Path) -> None:
    disk = Disk()
    disk.watch()
    try:
        cache = Cache.create(tmp_path / "cache-1.db")
        with cache.engine.begin() as connection:
            cache_file.move_cursor(connection, "there")
        assert cache_file.durable_cursors(tmp_path / "cache-1.db") == ("there",)
        with cache.engine.begin() as connection:
            cache_file.move_cursor(connection, "further")
        files, lost = disk.after_power_loss(tmp_path, random.Random(1))
        disk.put(files, tmp_path / "after")
        cache.close()
        cut = Cache.open(tmp_path / "after" / "cache-1.db")
        with cut.engine.begin() as connection:
            assert cache_file.cursors(connection) == ("there",)
        cut.close()
        assert lost, "what was not synced is gone, or this proves nothing"
    finally:
        disk.stop()


def test_each_mutant_has_a_seed() -> None:
    assert set(caught()) == set(MUTANTS)
    assert len(MUTANTS) >= 12


@pytest.mark.skipif(
    "KAISATSU_MUTANTS" not in os.environ, reason="seeds found before the last merges: KAISATSU_MUTANTS=1 runs them"
)
@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_mutant_is_caught(made: Path, name: str) -> None:
    assert first_to_catch(name, made, known=caught()[name]) is not None, (
        f"{name} escaped: the simulation is blind to it"
    )
