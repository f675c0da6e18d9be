"""Watching a file for the commits of others, over a pool whose connections each count for themselves."""

from __future__ import annotations

from pathlib import Path

from sync.store import Watch, open_engine


def test_a_watch_hears_of_others_over_any_pooled_connection(tmp_path: Path) -> None:
    engine, other = open_engine(tmp_path / "a.db"), open_engine(tmp_path / "a.db")
    with other.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (n INTEGER)")

    def write(into: object) -> None:
        with into.begin() as connection:  # type: ignore[attr-defined]
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")

    watch = Watch(engine)
    assert watch.changed()
    assert watch.changed()  # until it was taken in
    watch.taken_in()
    assert not watch.changed()
    write(engine)
    assert not watch.changed()  # its own
    write(other)
    assert watch.changed()
    watch.taken_in()
    with (
        engine.connect() as first
    ):  # holds the connection that was asked so far, so that the next question takes another
        first.exec_driver_sql("SELECT 1")
        first.rollback()
        write(other)
        write(other)
        assert watch.changed()
        watch.taken_in()
        assert not watch.changed()
        write(other)
        write(other)
        assert watch.changed()
    heard = 0
    for _ in range(4):  # whichever of the two is asked: what was not taken in on it is said once
        heard += watch.changed()
        watch.taken_in()
    assert heard
    assert not watch.changed()


def test_asking_takes_no_transaction(tmp_path: Path) -> None:
    engine, other = open_engine(tmp_path / "a.db"), open_engine(tmp_path / "a.db")
    with other.begin():  # BEGIN IMMEDIATE would wait for this one
        watch = Watch(engine)
        assert watch.changed()
        watch.taken_in()
        assert not watch.changed()
