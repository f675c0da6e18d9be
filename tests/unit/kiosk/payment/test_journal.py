"""Payment rows in a real SQLite file: in order, append-only, one open attempt at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DatabaseError

from kiosk.payment import AttemptId, Evidence, Method, OrderRef, Outcome, PayRequest, State, StepRefusedError, journal
from kiosk.payment.tables import create
from sync.store import open_engine, reading
from tickets.money import Money

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
PROOF = Evidence(Outcome.APPROVED_FINAL, "approved", AttemptId("a1"), receipt_no=7)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    opened = open_engine(tmp_path / "journal.db")
    create(opened)
    create(opened)  # starting twice is no error
    yield opened
    opened.dispose()


def begin(engine, attempt="a1", order="o1"):
    request = PayRequest(AttemptId(attempt), OrderRef(order), Money(3300, "JPY"), Method.CARD, 60, {"last": None})
    with engine.begin() as connection:
        return journal.begin(connection, request=request, at=AT, boot="b1")


def add(engine, *states, attempt="a1", evidence=None):
    for state in states:
        with engine.begin() as connection:
            journal.append(connection, attempt_id=AttemptId(attempt), state=state, at=AT, boot="b1", evidence=evidence)


def test_rows_come_back_as_they_went_in(engine):
    first = begin(engine)
    add(engine, State.SENT)
    add(engine, State.HELD, State.CONFIRM_SENT, State.CONFIRMED, evidence=PROOF)
    with reading(engine) as connection:
        rows = journal.rows(connection, AttemptId("a1"))
        assert journal.unsettled(connection) == ()
    assert rows[0] == first
    assert [row.n for row in rows] == [1, 2, 3, 4, 5]
    assert [row.state for row in rows][-2:] == [State.CONFIRM_SENT, State.CONFIRMED]
    assert rows[-1].evidence == PROOF
    assert rows[0].request.baseline == {"last": None}


def test_a_row_that_may_not_follow_is_refused_and_nothing_is_written(engine):
    begin(engine)
    with pytest.raises(StepRefusedError, match="confirmed cannot follow intent"):
        add(engine, State.CONFIRMED, evidence=PROOF)
    with pytest.raises(StepRefusedError, match="no INTENT"):
        add(engine, State.SENT, attempt="a9")
    add(engine, State.SENT)
    with pytest.raises(StepRefusedError, match="without proof"):
        add(engine, State.CONFIRMED)
    with pytest.raises(StepRefusedError, match="no evidence of"):
        add(engine, State.HELD, evidence=Evidence(Outcome.APPROVED_HELD, "x", AttemptId("a2")))
    with reading(engine) as connection:
        assert len(journal.rows(connection, AttemptId("a1"))) == 2


def test_no_second_attempt_while_the_first_may_be_charged(engine):
    begin(engine)
    add(engine, State.SENT)
    for order in ("o1", "o2"):  # the same order, or the same terminal
        with pytest.raises(StepRefusedError):
            begin(engine, "a2", order)
    add(engine, State.DECLINED, evidence=Evidence(Outcome.DECLINED, "zvt_result_05"))
    begin(engine, "a2", "o1")
    with reading(engine) as connection:
        assert [row.attempt_id for row in journal.last_of_order(connection, OrderRef("o1"))] == ["a1", "a2"]
        assert [row.attempt_id for row in journal.unsettled(connection)] == ["a2"]


def test_a_confirmed_order_is_not_charged_again_but_the_next_guest_may_pay(engine):
    begin(engine)
    add(engine, State.SENT)
    add(engine, State.HELD, State.CONFIRM_SENT, State.CONFIRMED, evidence=PROOF)
    with pytest.raises(StepRefusedError, match="state confirmed"):
        begin(engine, "a2", "o1")
    begin(engine, "a3", "o2")


def test_a_stuck_attempt_closes_the_terminal_until_a_person_has_ruled(engine):
    begin(engine)
    add(engine, State.SENT)
    add(engine, State.UNKNOWN, State.STUCK, evidence=Evidence(Outcome.UNKNOWN, "totals_disagree"))
    with pytest.raises(StepRefusedError, match="stuck"):
        begin(engine, "a2", "o2")
    add(engine, State.NOT_CHARGED, evidence=Evidence(Outcome.NOT_CHARGED, "attendant"))
    begin(engine, "a2", "o2")


@pytest.mark.parametrize("statement", ["UPDATE payment_event SET state='confirmed'", "DELETE FROM payment_event"])
def test_the_file_itself_refuses_to_forget(engine, statement):
    begin(engine)
    with pytest.raises(DatabaseError, match="only ever appended"), engine.begin() as connection:
        connection.execute(text(statement))


def test_the_table_is_as_agreed(engine):
    names = [column["name"] for column in inspect(engine).get_columns("payment_event")]
    assert names == ["attempt_id", "n", "order_ref", "state", "at", "evidence", "boot"]
