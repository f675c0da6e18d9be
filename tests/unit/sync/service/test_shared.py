"""What one daemon creates, a daemon under another account can write."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync.service.health import Board
from sync.service.shared import create_shared
from sync.store import open_engine


@pytest.fixture
def group_umask() -> Iterator[None]:
    """The UMask= of our units."""
    before = os.umask(0o007)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    return {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir()}


@pytest.mark.usefixtures("group_umask")
def test_a_database_its_wal_and_its_index_are_writable_by_the_group(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "journal.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE sale (id INTEGER)")
        assert modes(tmp_path) == {"journal.db": "0o660", "journal.db-wal": "0o660", "journal.db-shm": "0o660"}
    engine.dispose()


@pytest.mark.usefixtures("group_umask")
def test_the_health_board_is_writable_by_the_group(tmp_path: Path) -> None:
    Board(tmp_path / "health.db")
    assert modes(tmp_path)["health.db"] == "0o660"


def test_a_file_that_is_there_keeps_mode_and_content(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"kept")
    path.chmod(0o600)
    create_shared(path)
    assert path.read_bytes() == b"kept"
    assert modes(tmp_path) == {"journal.db": "0o600"}


def test_a_reader_creates_nothing(tmp_path: Path) -> None:
    open_engine(tmp_path / "absent.db", read_only=True).dispose()
    assert list(tmp_path.iterdir()) == []
