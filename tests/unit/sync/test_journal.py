"""The journal: chained, durable, shared by processes, and never quietly another one than it was."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from sync import chain, journal
from sync.errors import JournalBroken, NotEnrolled
from sync.journal import Journal, open_journal, set_aside
from sync.operation import Incarnation, Previous, Refusal, from_body
from sync.state import StateDir
from tests.support.gate_device import NOON, ROOT, GateDevice, key_of
from tickets.admission import Reason
from tickets.ids import OpId

WRITER = """
import os, sys
from pathlib import Path
from sync.journal import open_journal
from sync.operation import Refusal
from sync.state import StateDir
from tickets.admission import Reason
from tickets.clock import SystemClock

journal = open_journal(StateDir(Path(sys.argv[1])), clock=SystemClock(), random_bytes=os.urandom)
print("open", flush=True)
for number in range(int(sys.argv[2])):
    with journal.write() as connection:
        done = journal.append(connection, Refusal(os.urandom(16).hex(), "2026-11-23T03:00:00+00:00", None,
                                                  Reason.UNKNOWN, "A", str(number)))
    print(done.seq, flush=True)
"""


def refusal(number: int) -> Refusal:
    return Refusal(number.to_bytes(16, "big").hex(), NOON.isoformat(), None, Reason.UNKNOWN, "A", f"A {number:03d}")


def append(to: Journal, *numbers: int) -> None:
    for number in numbers:
        with to.write() as connection:
            to.append(connection, refusal(number))


def bodies(of: Journal) -> list[str]:
    with of.read() as connection:
        query = select(journal.operation.c.body).order_by(journal.operation.c.incarnation, journal.operation.c.seq)
        return list(connection.scalars(query))


def edit(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as db:
        db.execute(statement)


def writer(path: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(count)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_a_first_journal_starts_with_its_incarnation(tmp_path: Path) -> None:
    made = GateDevice(tmp_path).journal()
    (first,) = [from_body(body) for body in bodies(made)]
    assert isinstance(first, Incarnation)
    assert (first.reason, first.previous, made.incarnation) == ("enrolled", None, 1)
    assert StateDir(tmp_path).incarnation() == 1


def test_the_journal_syncs_every_commit(tmp_path: Path) -> None:
    """NORMAL would give back, at a power cut, commits that somebody has already seen."""
    made = GateDevice(tmp_path).journal()
    with made.write() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"


def test_numbers_and_hashes_follow_each_other(tmp_path: Path) -> None:
    made = GateDevice(tmp_path).journal()
    append(made, 1, 2, 3)
    previous = chain.ZERO_HASH
    with made.read() as connection:
        rows = connection.execute(select(journal.operation).order_by(journal.operation.c.seq)).all()
    assert [row.seq for row in rows] == [1, 2, 3, 4]
    for row in rows:
        previous = chain.operation_hash(made.device, 1, row.seq, previous, row.body)
        assert row.hash == previous
        assert json.loads(row.body)["op"] == row.op.hex()
    made.verify()


def test_what_fails_leaves_no_gap(tmp_path: Path) -> None:
    made = GateDevice(tmp_path).journal()
    append(made, 1)
    with contextlib.suppress(ZeroDivisionError), made.write() as connection:
        made.append(connection, refusal(2))
        _ = 1 / 0  # the caller's own row did not fit
    with pytest.raises(IntegrityError):
        append(made, 1)
    append(made, 3)
    made.verify()
    assert len(bodies(made)) == 3


def test_opening_again_goes_on(tmp_path: Path) -> None:
    device = GateDevice(tmp_path)
    append(device.journal(), 1)
    again = device.journal()
    append(again, 2)
    assert (again.incarnation, len(bodies(again))) == (1, 3)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE operation SET body = replace(body, 'A 002', 'A 999') WHERE seq = 3",
        "DELETE FROM operation WHERE seq = 3",
        "DELETE FROM operation WHERE seq = 1",
        "UPDATE operation SET hash = zeroblob(32) WHERE seq = 4",
        "UPDATE operation SET incarnation = 2 WHERE seq = 4",
        "UPDATE meta SET value = '00000000000000000000000000000000' WHERE key = 'device'",
        "UPDATE meta SET value = '9' WHERE key = 'schema'",
        "UPDATE meta SET value = 'x' WHERE key = 'incarnation'",
        "DELETE FROM meta WHERE key = 'incarnation'",
    ],
)
def test_an_edited_journal_is_broken(tmp_path: Path, statement: str) -> None:
    device = GateDevice(tmp_path)
    append(device.journal(), 1, 2, 3)
    edit(tmp_path / "journal.db", statement)
    with pytest.raises(JournalBroken):
        device.journal()


def test_a_file_that_is_no_database_is_broken(tmp_path: Path) -> None:
    device = GateDevice(tmp_path)
    (tmp_path / "journal.db").write_bytes(b"this is not a database, whatever it is called" * 200)
    with pytest.raises(JournalBroken):
        device.journal()


def test_an_older_copy_put_back_is_found_out(tmp_path: Path) -> None:
    device = GateDevice(tmp_path)
    device.journal().engine.dispose()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copy = (tmp_path / "journal.db").read_bytes()
    set_aside(device.state)
    device.journal().engine.dispose()
    set_aside(device.state)
    (tmp_path / "journal.db").write_bytes(copy)
    with pytest.raises(JournalBroken, match="older copy"):
        device.journal()


def test_a_journal_set_aside_is_whole_and_named_by_the_next(tmp_path: Path) -> None:
    device = GateDevice(tmp_path)
    old = device.journal()
    append(old, 1, 2)
    with old.read() as connection:
        head = connection.scalar(select(journal.operation.c.hash).where(journal.operation.c.seq == 3))
    put_away = set_aside(device.state)
    assert put_away.name == "journal.001.db"
    fresh = device.journal()
    assert fresh.incarnation == 2
    birth = from_body(bodies(fresh)[0])
    assert isinstance(birth, Incarnation)
    assert birth.reason == "journal set aside"
    assert birth.previous == Previous(1, 3, head.hex() if head else None)
    with sqlite3.connect(put_away) as db:
        assert db.execute("SELECT count(*) FROM operation").fetchone() == (3,)
    old.engine.dispose()


def test_a_power_cut_while_setting_aside_loses_nothing(tmp_path: Path) -> None:
    """The database was renamed, its log was not: the log must follow, never be read by the next database."""
    device = GateDevice(tmp_path)
    made = device.journal()
    append(made, 1, 2)
    kept = {name: (tmp_path / name).read_bytes() for name in ("journal.db", "journal.db-wal")}
    assert kept["journal.db-wal"]
    made.engine.dispose()
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "journal.001.db").write_bytes(kept["journal.db"])
    (tmp_path / "journal.db-wal").write_bytes(kept["journal.db-wal"])
    fresh = device.journal()
    birth = from_body(bodies(fresh)[0])
    assert isinstance(birth, Incarnation)
    assert birth.previous is not None
    assert birth.previous.seq == 3
    assert len(bodies(fresh)) == 1
    with sqlite3.connect(tmp_path / "journal.001.db") as db:
        assert db.execute("SELECT count(*) FROM operation").fetchone() == (3,)


def test_segments_are_cut_once_and_sent_again_byte_for_byte(tmp_path: Path) -> None:
    device = GateDevice(tmp_path)
    made = device.journal()
    append(made, *range(1, 10))
    segment = made.next_segment(device.state)
    assert segment is not None
    append(made, 11)
    assert made.next_segment(device.state) == segment
    assert GateDevice(tmp_path).journal().next_segment(device.state) == segment
    chain.verify(segment, key_of("gate A").public_key())
    assert made.unsent() == 11
    made.acknowledge(segment, [(OpId(bytes(16)), "accepted", "")], at=NOON.isoformat())
    assert made.unsent() == 1
    rest = made.next_segment(device.state)
    assert rest is not None
    assert (rest.first, rest.before) == (11, segment.head)
    made.acknowledge(segment, [], at=NOON.isoformat())  # a late, repeated answer moves nothing back
    assert made.unsent() == 1
    made.acknowledge(rest, [], at=NOON.isoformat())
    assert made.next_segment(device.state) is None


def test_a_segment_has_a_limit(tmp_path: Path) -> None:
    device = GateDevice(tmp_path)
    made = device.journal()
    with made.write() as connection:
        for number in range(1, 700):
            made.append(connection, refusal(number))
    segment = made.next_segment(device.state)
    assert segment is not None
    assert len(segment.bodies) == chain.SEGMENT_OPERATIONS_MAX


def test_what_was_acknowledged_must_still_be_there(tmp_path: Path) -> None:
    device = GateDevice(tmp_path)
    made = device.journal()
    append(made, 1, 2)
    segment = made.next_segment(device.state)
    assert segment is not None
    made.acknowledge(segment, [], at=NOON.isoformat())
    made.engine.dispose()
    edit(tmp_path / "journal.db", "UPDATE operation SET hash = zeroblob(32) WHERE seq = 3")
    with pytest.raises(JournalBroken, match=r"1\.3 is not the one"):
        device.journal()


def test_before_enrolment_there_is_no_journal(tmp_path: Path) -> None:
    with pytest.raises(NotEnrolled, match=r"device\.json"):
        open_journal(StateDir(tmp_path), clock=GateDevice(tmp_path / "other").clock, random_bytes=os.urandom)


def test_two_processes_hammer_one_chain(tmp_path: Path) -> None:
    """No number twice, none left out, and a checkpoint in between does no harm."""
    made = GateDevice(tmp_path).journal()
    processes = [writer(tmp_path, 60) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
    for number in range(1, 31):
        append(made, number)
        if number % 10 == 0:
            with made.engine.connect() as connection:
                raw = connection.connection.dbapi_connection
                assert raw is not None
                raw.execute("PRAGMA wal_checkpoint(PASSIVE)")
    # Read through the same buffer as the first line: communicate() would miss what that has read ahead.
    said = [{int(line) for line in process.stdout or ()} for process in processes]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    made.verify()
    assert len(bodies(made)) == 1 + 60 + 60 + 30
    assert len(said[0]) == len(said[1]) == 60
    assert not said[0] & said[1]


def test_a_process_killed_while_it_appends_takes_nothing_with_it(tmp_path: Path) -> None:
    GateDevice(tmp_path).journal().engine.dispose()
    for turn in range(3):
        process = writer(tmp_path, 100_000)
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(10 + turn * 7)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        complete = [int(line) for line in said[1:] if line.endswith("\n")]
        again = GateDevice(tmp_path).journal()  # verifies the chain
        with again.read() as connection:
            kept = set(connection.scalars(select(journal.operation.c.seq)))
        assert set(complete) <= kept
        assert kept == set(range(1, len(kept) + 1))
        again.engine.dispose()
