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
from printer.errors import LinkError
from printer.profile import Profile
from printer.spool import Decision, Grade, State
from printer.spool.line import Line
from printer.spool.press import ASK_AGAIN_AFTER_S, STALE_AT_START, Press
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


# --- whose answer -------------------------------------------------------------------------------------------------------------


def taken_away(engine: Engine, *, falls_with_power: bool = True) -> Bench:
    """A guest has left while a part is at the printer, and the next guest's part stands behind it."""
    bench = Bench(engine, OLD, falls_with_power=falls_with_power)
    if not falls_with_power:  # whatever an earlier process asked is behind us
        bench.put_down("first", coupon(9))
        bench.says(IN_ORDER * (STALE_AT_START + 1))
        assert bench.states("first") == [State.CONFIRMED]
        bench.says(IN_ORDER * STALE_AT_START)
    bench.put_down("sale-1", coupon(1))
    assert bench.states("sale-1") == [State.SENDING]
    bench.rule("sale-1", Decision.OWE)
    bench.put_down("sale-2", coupon(2))
    return bench


def test_an_answer_for_a_part_that_was_taken_away_proves_nothing_else(engine: Engine) -> None:
    bench = taken_away(engine)
    bench.says(IN_ORDER)
    assert bench.states("sale-1") == [State.OWED]
    assert bench.states("sale-2") == [State.SENDING]
    bench.says(IN_ORDER)
    assert bench.states("sale-2") == [State.CONFIRMED]
    assert bench.progress("sale-2").parts[0].grade is Grade.PROCESSED


def test_an_answer_that_was_lost_is_asked_for_again(engine: Engine) -> None:
    """Of a printer without process ids, too: one answer more than were open proves it."""
    bench = Bench(engine, OLD)
    bench.put_down("sale-1", coupon(1))
    bench.turn()
    bench.turn(after_s=ASK_AGAIN_AFTER_S + 0.1)
    assert bench.asked == 2
    bench.says(IN_ORDER)
    assert bench.states("sale-1") == [State.CONFIRMED]
    # Nobody knows whether the first was lost or late: the next part is not proven by one answer alone.
    bench.put_down("sale-2", coupon(2))
    bench.says(IN_ORDER)
    assert bench.states("sale-2") == [State.SENDING]
    bench.says(IN_ORDER)
    assert bench.states("sale-2") == [State.CONFIRMED]


def test_a_lost_answer_of_a_part_taken_away_stops_nobody(engine: Engine) -> None:
    bench = taken_away(engine)
    bench.says(IN_ORDER)  # the one before was lost: this is sale-2's own, and the press cannot know it
    assert bench.states("sale-2") == [State.SENDING]
    bench.says(IN_ORDER)
    assert bench.states("sale-2") == [State.CONFIRMED]


def test_a_new_connection_brings_no_old_answers(engine: Engine) -> None:
    bench = taken_away(engine)
    bench.press.link_lost("cut")
    bench.turn(after_s=10)
    bench.says(WELL)
    bench.rule("sale-2", Decision.PRINT)
    assert bench.states("sale-2") == [State.SENDING]
    bench.says(IN_ORDER)
    assert bench.states("sale-2") == [State.CONFIRMED]


def test_a_serial_line_that_was_opened_anew_may_bring_old_answers(engine: Engine) -> None:
    bench = taken_away(engine, falls_with_power=False)
    bench.press.link_lost("pulled out")
    bench.turn(after_s=10)
    bench.says(WELL)
    bench.rule("sale-2", Decision.PRINT)
    assert bench.states("sale-2") == [State.SENDING]
    bench.says(IN_ORDER * 3)  # sale-1's, and the two that the first try of sale-2 asked for
    assert bench.states("sale-2") == [State.SENDING]
    bench.says(IN_ORDER)
    assert bench.states("sale-2") == [State.CONFIRMED]


def test_a_serial_line_may_bring_the_answers_of_the_process_before(engine: Engine) -> None:
    bench = Bench(engine, OLD, falls_with_power=False)
    bench.put_down("sale-1", coupon(1))
    bench.says(IN_ORDER * STALE_AT_START)
    assert bench.states("sale-1") == [State.SENDING]
    bench.says(IN_ORDER)
    assert bench.states("sale-1") == [State.CONFIRMED]


def test_clear_leaves_no_answer_behind(engine: Engine) -> None:
    bench = Bench(engine, dataclasses.replace(OLD, clear=True))
    bench.put_down("sale-1", coupon(1))
    bench.rule("sale-1", Decision.OWE)
    bench.put_down("sale-2", coupon(2))
    assert bench.states("sale-2") == [State.QUEUED]
    bench.says(IN_ORDER + b"\x37\x25\x00")
    bench.says(WELL)
    assert bench.states("sale-2") == [State.SENDING]
    bench.says(IN_ORDER)
    assert bench.states("sale-2") == [State.CONFIRMED]


def test_a_link_that_breaks_after_a_ruling_writes_no_row(engine: Engine) -> None:
    bench = Bench(engine, OLD)
    bench.put_down("sale-1", coupon(1))
    bench.rule("sale-1", Decision.VOID)
    before = bench.diary()
    bench.press.link_lost(str(LinkError("cut")))
    assert bench.states("sale-1") == [State.VOID]
    assert bench.diary() == before
