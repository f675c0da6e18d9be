"""The rows of a job: what may be printed next, what a ruling does, and that a step only starts from where it may."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from printer import spool, templates
from printer.document import Document, Feed, Mark
from printer.errors import JobError
from printer.spool import Decision, Grade, State, ledger
from printer.spool.ledger import Part
from sync.store import open_engine
from tests.unit.printer import papers

AT = datetime(2026, 11, 23, 1, 23, tzinfo=UTC)
MACHINE = spool.machine_boot()
BOOK = [templates.document(papers.coupon(part)) for part in (1, 2, 3)]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_engine(tmp_path / "journal.db")
    spool.create(made)
    with made.begin() as connection:
        spool.announce_boot(connection, "boot-1", now=AT)
        ledger.recover(connection, now=AT)
        spool.enqueue(connection, "a", "tickets", BOOK, boot="boot-1", now=AT)
    yield made
    made.dispose()


def peek(engine: Engine) -> Part | None:
    with engine.begin() as connection:
        return ledger.peek(connection, machine=MACHINE)


def begin(engine: Engine, part: Part, *, process_id: int = 1) -> bool:
    with engine.begin() as connection:
        return ledger.begin(connection, part, process_id=process_id, machine=MACHINE, now=AT)


def progress(engine: Engine) -> spool.Progress:
    with engine.begin() as connection:
        found = spool.progress(connection, "a")
    assert found is not None
    return found


def states(engine: Engine) -> list[State]:
    return [part.state for part in progress(engine).parts]


def rule(engine: Engine, decision: Decision, **more: object) -> None:
    with engine.begin() as connection:
        spool.rule(connection, "a", decision, boot="boot-1", now=AT, **more)


def first(engine: Engine) -> Part:
    part = peek(engine)
    assert part is not None
    assert begin(engine, part)
    return part


def test_a_job_waits_untouched(engine: Engine) -> None:
    found = progress(engine)
    assert (found.total, found.done, found.state, found.untouched) == (3, 0, State.QUEUED, True)


def test_parts_in_order(engine: Engine) -> None:
    for seq in (1, 2, 3):
        part = first(engine)
        assert part.seq == seq
        with engine.begin() as connection:
            assert ledger.confirm(connection, part, Grade.CONFIRMED, dots_203=546, now=AT)
    assert peek(engine) is None
    assert progress(engine).state is State.CONFIRMED
    with engine.begin() as connection:
        assert ledger.roll(connection).used_dots_203 == 3 * 546


def test_a_part_is_begun_once(engine: Engine) -> None:
    part = first(engine)
    assert not begin(engine, part)


def test_the_next_part_is_offered_while_one_is_sent(engine: Engine) -> None:
    first(engine)
    following = peek(engine)
    assert following is not None
    assert following.seq == 2


@pytest.mark.parametrize("column", ["boot", "machine"])
def test_another_boot_prints_nothing(engine: Engine, column: str) -> None:
    part = peek(engine)
    assert part is not None
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE sale_boot SET {column} = 'other'")
    assert peek(engine) is None
    assert not begin(engine, part)


def test_no_boot_prints_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM sale_boot")
    assert peek(engine) is None


def test_doubt_holds_the_job_until_a_ruling(engine: Engine) -> None:
    part = first(engine)
    with engine.begin() as connection:
        assert ledger.doubt(connection, part, "link lost", now=AT)
    assert states(engine) == [State.IN_DOUBT, State.QUEUED, State.QUEUED]
    assert peek(engine) is None
    with engine.begin() as connection:
        assert spool.waiting(connection, boot="boot-1") == ("a",)
    rule(engine, Decision.PRINT, parts=[2, 3])
    assert states(engine) == [State.IN_DOUBT, State.QUEUED, State.QUEUED]
    following = peek(engine)
    assert following is not None
    assert following.seq == 2
    rule(engine, Decision.PRINT)
    again = peek(engine)
    assert again is not None
    assert (again.seq, again.tries) == (1, 1)


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        (Decision.PRINT, [State.REISSUED, State.QUEUED, State.QUEUED]),
        (Decision.VOID, [State.VOID] * 3),
        (Decision.OWE, [State.OWED] * 3),
        (Decision.SEEN, [State.CONFIRMED] * 3),
    ],
)
def test_rulings(engine: Engine, decision: Decision, expected: list[State]) -> None:
    part = first(engine)
    with engine.begin() as connection:
        ledger.doubt(connection, part, "link lost", now=AT)
    rule(engine, decision)
    assert states(engine) == expected
    assert progress(engine).ruled


def test_a_ruling_wins_over_an_answer_that_comes_later(engine: Engine) -> None:
    part = first(engine)
    rule(engine, Decision.OWE)
    with engine.begin() as connection:
        assert not ledger.still_sending(connection, part)
        assert not ledger.confirm(connection, part, Grade.CONFIRMED, dots_203=1, now=AT)
        assert not ledger.again(connection, part, "x", now=AT)
        assert not ledger.doubt(connection, part, "x", now=AT)
    assert states(engine) == [State.OWED] * 3


def test_an_old_answer_does_not_confirm_a_new_try(engine: Engine) -> None:
    old = first(engine)
    with engine.begin() as connection:
        assert ledger.again(connection, old, "paper out", now=AT)
    new = first(engine)
    assert (new.seq, new.tries) == (1, 1)
    with engine.begin() as connection:
        assert not ledger.confirm(connection, old, Grade.CONFIRMED, dots_203=1, now=AT)
        assert ledger.confirm(connection, new, Grade.CONFIRMED, dots_203=1, now=AT)


def test_unsent_is_untouched_again(engine: Engine) -> None:
    part = first(engine)
    assert not progress(engine).untouched
    with engine.begin() as connection:
        assert ledger.unsend(connection, part, now=AT)
        assert not ledger.unsend(connection, part, now=AT)
    assert progress(engine).untouched


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        (Decision.PRINT, State.UNPRINTABLE),
        (Decision.VOID, State.VOID),
        (Decision.OWE, State.OWED),
        (Decision.SEEN, State.CONFIRMED),
    ],
)
def test_rulings_on_what_cannot_be_printed(engine: Engine, decision: Decision, expected: State) -> None:
    part = peek(engine)
    assert part is not None
    with engine.begin() as connection:
        ledger.unprintable(connection, part, "too wide", now=AT)
        ledger.unprintable(connection, part, "too wide", now=AT)
    assert states(engine) == [State.UNPRINTABLE, State.QUEUED, State.QUEUED]
    assert progress(engine).untouched
    following = peek(engine)
    assert following is not None
    assert following.seq == 2
    rule(engine, decision, parts=[1])
    assert states(engine)[0] is expected


def test_recovery_puts_in_doubt_and_holds(engine: Engine) -> None:
    part = first(engine)
    with engine.begin() as connection:
        ledger.confirm(connection, part, Grade.CONFIRMED, dots_203=1, now=AT)
    first(engine)
    with engine.begin() as connection:
        spool.enqueue(connection, "b", "tickets", BOOK[:1], boot="boot-1", now=AT)
        assert ledger.recover(connection, now=AT) == 1
    assert states(engine) == [State.CONFIRMED, State.IN_DOUBT, State.QUEUED]
    assert not progress(engine).ruled
    following = peek(engine)
    assert following is not None
    assert following.job == "b"  # of which no byte was ever sent


def test_recovery_between_two_parts_holds_too(engine: Engine) -> None:
    part = first(engine)
    with engine.begin() as connection:
        ledger.confirm(connection, part, Grade.CONFIRMED, dots_203=1, now=AT)
        ledger.recover(connection, now=AT)
    assert peek(engine) is None


def test_a_late_answer_settles_a_doubt_and_lets_nothing_go_on(engine: Engine) -> None:
    part = first(engine)
    with engine.begin() as connection:
        ledger.doubt(connection, part, "stopped", now=AT)
        assert not ledger.late(connection, "0002", now=AT)
        assert ledger.late(connection, "0001", now=AT)
    assert states(engine)[0] is State.CONFIRMED
    assert progress(engine).state is State.IN_DOUBT
    assert peek(engine) is None


def test_the_same_job_twice_is_one_job(engine: Engine) -> None:
    before = progress(engine)
    with engine.begin() as connection:
        spool.enqueue(connection, "a", "tickets", BOOK, boot="boot-1", now=AT)
    assert progress(engine) == before


def test_jobs_that_mean_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        for documents in ([], [Document("t", "i", "ja", (Feed(1),))], BOOK[:1] * 201):
            with pytest.raises(JobError):
                spool.enqueue(connection, "x", "tickets", documents, boot="boot-1", now=AT)
        with pytest.raises(JobError, match="other documents"):
            spool.enqueue(connection, "a", "tickets", BOOK[:1], boot="boot-1", now=AT)
        with pytest.raises(JobError, match="not known"):
            spool.rule(connection, "nothing", Decision.OWE, boot="boot-1", now=AT)
        with pytest.raises(JobError, match="parts 1 to 3"):
            spool.rule(connection, "a", Decision.OWE, boot="boot-1", now=AT, parts=[4])
        assert spool.progress(connection, "nothing") is None


def test_nothing_of_a_rolled_back_sale_is_printed(engine: Engine) -> None:
    with engine.connect() as connection, connection.begin() as transaction:
        spool.enqueue(connection, "b", "tickets", [Document("t", "i", "ja", (Mark(),))], boot="boot-1", now=AT)
        transaction.rollback()
    with engine.begin() as connection:
        assert spool.progress(connection, "b") is None


def test_process_ids_ascend_and_begin_again() -> None:
    assert ledger.following(0) == 1
    assert ledger.following(9998) == 9999
    assert ledger.following(9999) == 1
