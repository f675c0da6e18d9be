"""The press over a line whose other end is this test: every byte and its moment is chosen, nothing is left to a scheduler."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from printer import profile, spool, templates
from printer.document import Document, Mark, Qr
from printer.encode import commands
from printer.profile import Profile
from printer.spool import Decision, State
from printer.spool.line import Line
from printer.spool.press import Press
from sync.store import open_engine, reading
from tests.unit.printer import papers

AT = datetime(2026, 11, 23, 1, 23, tzinfo=UTC)
WELL = bytes.fromhex("1000000f")
IN_ORDER = b"\x00"
MODERN = profile.load("generic-80")
OLD = dataclasses.replace(MODERN, name="old", process_id=False, clear=False)
"""Answers GS r in order, knows neither process ids nor Clear: many clones."""

TOO_WIDE = Document("ticket", "too-wide", "ja", (Qr("A" * 900), Mark()))


class Hands:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.s = 1000.0

    def now_utc(self) -> datetime:
        return AT + timedelta(seconds=self.s)

    def monotonic_s(self) -> float:
        return self.s


class Wire:
    """A link whose printer says what the test says, and nothing else."""

    answers = True

    def __init__(self, *, falls_with_power: bool) -> None:
        self.falls_with_power = falls_with_power
        self.sent = bytearray()
        self.said = b""

    def open(self) -> None:
        self.said = b""

    def close(self) -> None: ...

    def fileno(self) -> int:
        return -1

    def send(self, data: bytes) -> int:
        self.sent += data
        return len(data)

    def receive(self) -> bytes:
        said, self.said = self.said, b""
        return said

    def patient(self, *, on: bool) -> None: ...


class Bench:
    """A press on such a wire, and a sale engine's hands on its rows."""

    def __init__(self, engine: Engine, kind: Profile, *, falls_with_power: bool = True) -> None:
        self.engine = engine
        self.clock = Hands()
        self.wire = Wire(falls_with_power=falls_with_power)
        self.line = Line(self.wire, kind, self.clock)
        self.press = Press(self.line, kind, engine, self.clock, machine=spool.machine_boot())
        self.turn()
        self.says(WELL)

    def turn(self, *, after_s: float = 0.0) -> None:
        """One round of the spool's loop, as `printer.spool.process` does it."""
        self.clock.s += after_s
        self.line.reopen()
        self.press.look()
        self.press.step()
        self.line.write()
        self.press.step()

    def says(self, data: bytes) -> None:
        self.wire.said = data
        for event in self.line.read():
            self.press.happened(event)
        self.turn()

    def put_down(self, job: str, *documents: Document) -> None:
        with self.engine.begin() as connection:
            spool.enqueue(connection, job, "tickets", documents, boot="boot-1", now=self.clock.now_utc())
        self.turn(after_s=0.01)

    def rule(self, job: str, decision: Decision) -> None:
        with self.engine.begin() as connection:
            spool.rule(connection, job, decision, boot="boot-1", now=self.clock.now_utc())
        self.turn(after_s=0.01)

    def progress(self, job: str) -> spool.Progress:
        with reading(self.engine) as connection:
            found = spool.progress(connection, job)
        assert found is not None
        return found

    def states(self, job: str) -> list[State]:
        return [part.state for part in self.progress(job).parts]

    def diary(self) -> list[str]:
        with reading(self.engine) as connection:
            return list(connection.exec_driver_sql("SELECT what FROM print_event ORDER BY id").scalars())

    @property
    def asked(self) -> int:
        return self.wire.sent.count(commands.PROCESSED)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_engine(tmp_path / "journal.db")
    spool.create(made)
    with made.begin() as connection:
        spool.announce_boot(connection, "boot-1", now=AT)
    yield made
    made.dispose()


def coupon(part: int) -> Document:
    return templates.document(papers.coupon(part))


# --- what cannot be printed ---------------------------------------------------------------------------------------------------


def test_what_cannot_be_printed_holds_up_nothing(engine: Engine) -> None:
    bench = Bench(engine, MODERN)
    bench.put_down("sale-1", coupon(1), TOO_WIDE, coupon(2))
    bench.says(b"\x37\x220001\x00")
    bench.says(b"\x37\x220002\x00")
    assert bench.states("sale-1") == [State.CONFIRMED, State.UNPRINTABLE, State.CONFIRMED]
    assert bench.progress("sale-1").state is State.UNPRINTABLE
    assert bench.progress("sale-1").ruled


def test_ruling_print_on_what_cannot_be_printed_is_no_loop(engine: Engine) -> None:
    """The sale engine looks 25 times a second; a ruling that changes nothing must not start the same failure again."""
    bench = Bench(engine, MODERN)
    bench.put_down("sale-1", TOO_WIDE)
    for _ in range(5):
        progress = bench.progress("sale-1")
        if progress.state is State.IN_DOUBT or not progress.ruled:  # as kiosk/sale/engine.py does
            bench.rule("sale-1", Decision.PRINT)
        bench.turn(after_s=0.04)
    assert bench.diary().count("unprintable") == 1
    assert bench.diary().count("ruled") == 0
    assert bench.progress("sale-1").untouched
    bench.rule("sale-1", Decision.PRINT)
    assert bench.states("sale-1") == [State.UNPRINTABLE]
    assert bench.diary().count("unprintable") == 1
    bench.rule("sale-1", Decision.OWE)
    assert bench.states("sale-1") == [State.OWED]


def test_what_cannot_be_printed_waits_for_the_next_run_of_the_engine(engine: Engine) -> None:
    bench = Bench(engine, MODERN)
    bench.put_down("sale-1", TOO_WIDE)
    with engine.begin() as connection:
        assert spool.waiting(connection, boot="boot-1") == ()
        assert spool.waiting(connection, boot="boot-2") == ("sale-1",)
