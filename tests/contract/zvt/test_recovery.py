"""The kiosk's process dies at every step of a sale; another one clears up from the journal alone.

In the end the terminal's ledger holds exactly what the journal says is confirmed, and nothing is left open.
"""

from __future__ import annotations

import pytest

from kiosk.payment import AttemptId, Outcome, State, StepRefusedError, journal, recovery
from tests.support.zvt import AT, CLOCK, PLANS, Sale, clear_up, confirmed, last_state

CRASHES = [
    (plan, step) for plan, steps in PLANS.items() for step in range(1, len(steps) + 1) if plan == "confirm" or step > 4
]


@pytest.mark.parametrize(("plan", "steps"), CRASHES, ids=[f"{plan}-{PLANS[plan][step - 1]}" for plan, step in CRASHES])
def test_crash_after_every_step(start, engine, plan, steps):
    till = start("--personality", "keep" if plan == "void" else "reverse")
    sale = Sale(till, engine)
    for step in PLANS[plan][:steps]:
        sale.do(step)
    till.crash()
    assert clear_up(till, engine) == ()
    assert till.emulator.charged() == confirmed(engine)
    done = PLANS[plan][:steps][-1]
    if done == "confirmed":
        assert last_state(engine) is State.CONFIRMED
    else:
        assert last_state(engine) in {State.NOT_CHARGED, State.VOIDED, State.REVERSED}
        assert till.emulator.charged() == 0, "the guest is gone and nothing was printed: nobody pays"


@pytest.mark.parametrize("personality", ["reverse", "decline", "keep"])
def test_crash_while_the_answer_is_on_its_way(start, engine, personality):
    """06 0F never reached us, and then the process died: found charged, given back, proven."""
    till = start("--personality", personality, "--fault", "lost-before-completion")
    sale = Sale(till, engine)
    for step in PLANS["confirm"][:6]:
        sale.do(step)
    assert sale.answer.outcome is Outcome.UNKNOWN
    assert till.emulator.charged() == 3300
    till.crash()
    assert clear_up(till, engine) == ()
    assert last_state(engine) is State.REVERSED
    assert till.emulator.charged() == 0


def test_unknown_with_the_guest_present_is_proven_and_can_be_issued(start, engine):
    till = start("--fault", "lost-before-completion")
    sale = Sale(till, engine)
    for step in PLANS["confirm"][:6]:
        sale.do(step)
    sale.row(State.UNKNOWN, sale.answer)
    row = recovery.resolve(
        engine, till.terminal, attempt_id=AttemptId("a1"), clock=CLOCK, boot="b1", nothing_issued=False
    )
    assert row.state is State.UNKNOWN
    assert row.evidence.outcome is Outcome.APPROVED_FINAL
    sale.row(State.CONFIRMED, row.evidence)
    assert till.emulator.charged() == confirmed(engine) == 3300


def test_absent_terminal_leaves_it_unknown_and_no_other_guest_is_charged(start, engine):
    till = start("--fault", "lost-before-completion")
    sale = Sale(till, engine)
    for step in PLANS["confirm"][:6]:
        sale.do(step)
    later = till.request()
    till.crash()
    till.emulator.end()
    (left,) = clear_up(till, engine, passes=2)
    assert left.state is State.UNKNOWN
    with pytest.raises(StepRefusedError), engine.begin() as connection:
        journal.begin(connection, request=later, at=AT, boot="b2")
    till.emulator.start()
    assert clear_up(till, engine) == ()
    assert last_state(engine) is State.REVERSED
    with engine.begin() as connection:
        journal.begin(connection, request=later, at=AT, boot="b2")


def test_a_terminal_that_contradicts_itself_is_left_to_a_person(start, engine):
    till = start("--fault", "lost-before-completion", "--fault", "repeat-wrong-amount")
    sale = Sale(till, engine)
    for step in PLANS["confirm"][:6]:
        sale.do(step)
    till.crash()
    (left,) = clear_up(till, engine)
    assert left.state is State.STUCK
    assert left.evidence.code == "amount_differs"
    assert till.emulator.charged() == 3300, "nobody guesses about money"
    assert clear_up(till, engine) == (left,), "stuck stays stuck, without another row"


def test_a_refused_reversal_is_left_to_a_person(start, engine):
    till = start("--fault", "lost-before-completion", "--fault", "reversal=B5")
    sale = Sale(till, engine)
    for step in PLANS["confirm"][:6]:
        sale.do(step)
    till.crash()
    (left,) = clear_up(till, engine)
    assert left.state is State.STUCK
    assert left.evidence.outcome is Outcome.APPROVED_FINAL


def test_reversal_that_got_lost_is_asked_about_not_sent_again(start, engine):
    till = start("--fault", "lost-before-completion", "--fault", "reversal-silent")
    sale = Sale(till, engine)
    for step in PLANS["confirm"][:6]:
        sale.do(step)
    till.crash()
    assert clear_up(till, engine) == ()
    assert last_state(engine) is State.REVERSED
    assert [entry["event"] for entry in till.emulator.entries()].count("reversal") == 1
    assert till.emulator.charged() == 0


@pytest.mark.slow
def test_on_a_serial_line_the_terminal_stops_waiting_for_a_guest_who_is_gone(start, engine):
    """A terminal on a serial line does not notice the crash: it must not take the next guest's card."""
    till = start("--attended", pty=True)
    sale = Sale(till, engine)
    sale.do("begin")
    sale.do("sent")

    class Crash(Exception):
        pass

    def watch(progress):
        if progress.may_cancel:
            raise Crash

    with pytest.raises(Crash):
        till.terminal.authorise(sale.request, watch)
    till.crash()
    assert clear_up(till, engine) == ()
    assert last_state(engine) is State.NOT_CHARGED
    assert [entry["event"] for entry in till.emulator.entries()] == ["cancelled"]


def test_the_row_is_on_disk_before_the_reversal_leaves(start, engine, monkeypatch):
    till = start("--fault", "lost-before-completion")
    sale = Sale(till, engine)
    for step in PLANS["confirm"][:6]:
        sale.do(step)
    till.crash()
    reverse, seen = till.terminal.reverse, []

    def watched(charged, *, key):
        seen.append(last_state(engine))  # another connection: what is not committed is not there
        return reverse(charged, key=key)

    monkeypatch.setattr(till.terminal, "reverse", watched)
    assert clear_up(till, engine) == ()
    assert seen == [State.REVERSAL_SENT]


def test_a_restart_asks_before_it_sends_a_second_reversal(start, engine, monkeypatch):
    till = start()
    sale = Sale(till, engine)
    for step in PLANS["reverse"][:-1]:
        sale.do(step)
    till.crash()

    def reverse(charged, *, key):
        raise AssertionError("the reversal had been done; a query would have shown it")

    monkeypatch.setattr(till.terminal, "reverse", reverse)
    assert clear_up(till, engine) == ()
    assert last_state(engine) is State.REVERSED
