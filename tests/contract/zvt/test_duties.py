"""What the driver owes beside the payment itself: reversals, the end of day, states of the terminal, ids of messages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kiosk.payment import Health, Outcome, Stage, State, TerminalLinkError
from kiosk.payment.zvt import Kind, Options
from kiosk.payment.zvt.errors import AttemptOpenError
from tests.support.zvt import PASSWORD, PLANS, QUICK, Sale, clear_up, last_state


def test_only_the_terminals_last_transaction_is_reversed(start):
    till = start()
    _, small = till.paid(500)
    _, proof = till.paid()
    told = till.terminal.reverse(small, key="k1")
    assert (told.outcome, told.code) == (Outcome.APPROVED_FINAL, "not_last")
    assert [entry["event"] for entry in till.emulator.entries()].count("reversal") == 0
    assert till.terminal.reverse(proof, key="k2").outcome is Outcome.NOT_CHARGED
    assert till.emulator.charged() == 500


def test_without_a_repeat_receipt_only_what_this_process_saw_is_reversed(start):
    till = start("--fault", "repeat-silent")
    _, proof = till.paid()
    till.crash()
    told = till.terminal.reverse(proof, key="k1")
    assert (told.outcome, told.code) == (Outcome.APPROVED_FINAL, "last_unknown")
    _, proof = till.paid(700)
    assert till.terminal.reverse(proof, key="k2").outcome is Outcome.NOT_CHARGED
    assert till.emulator.charged() == 3300


def test_a_reversal_that_hit_another_payment_is_for_a_person(start, engine):
    """Portalum issue 24. Between our question and our reversal another till was served: the terminal takes that one back."""
    till = start("--fault", "reversal-wrong", reverses_only_last=False)
    sale = Sale(till, engine)
    for step in PLANS["confirm"]:
        sale.do(step)
    till.paid(700)
    sale.do("back_sent")
    sale.do("back")
    assert (sale.answer.outcome, sale.answer.code) == (Outcome.UNKNOWN, "other_reversed")
    sale.row(State.UNKNOWN, sale.answer)
    (left,) = clear_up(till, engine)
    assert left.state is State.STUCK
    assert last_state(engine) is State.STUCK
    assert till.emulator.charged() == 3300, "the guest's charge stands, and nothing was sent again"


def test_no_end_of_day_while_an_attempt_is_open(start):
    till = start("--fault", "lost-before-completion")
    request = till.request()
    held = till.authorise(request)
    with pytest.raises(AttemptOpenError):
        till.terminal.end_of_day()
    doubt = till.terminal.confirm(held)
    assert doubt.outcome is Outcome.UNKNOWN
    with pytest.raises(AttemptOpenError):
        till.terminal.end_of_day()
    assert "closed" not in [entry["event"] for entry in till.emulator.entries()]
    assert till.query(request, doubt).outcome is Outcome.APPROVED_FINAL
    assert till.terminal.end_of_day().total.minor == 3300


def test_a_terminal_that_rests_after_its_end_of_day_is_busy_not_away(start):
    till = start("--fault", "eod-reboot=1500", timers=replace(QUICK, rest_s=30))
    till.paid()
    assert till.terminal.end_of_day().total.minor == 3300
    assert till.terminal.health() is Health.BUSY
    with pytest.raises(TerminalLinkError):
        till.terminal.baseline()
    till.tries = 100
    till.paid(500)
    assert till.terminal.health() is Health.READY
    assert till.terminal.totals().total.minor == 500


@pytest.mark.parametrize(
    ("status", "health"),
    [
        ("9C", Health.BUSY),
        ("DC", Health.BUSY),
        ("DF", Health.OUT_OF_ORDER),
        ("F0", Health.NEEDS_END_OF_DAY),
        ("51", Health.NEEDS_SERVICE),
        ("C2", Health.NEEDS_SERVICE),
    ],
)
def test_states_of_the_terminal(start, status, health):
    till = start("--fault", f"status={status}")
    assert till.terminal.open() is health


@pytest.mark.parametrize("numbered", [True, False])
def test_ids_are_used_where_the_terminal_echoes_them(start, numbered):
    till = start(*(() if numbered else ("--fault", "no-sequence")))
    till.paid()
    till.emulator.end()
    trace = " ".join(till.terminal._session.wire.trace)
    assert ("80 00 (8)" in trace) is numbered
    assert till.emulator.charged() == 3300


def test_abort_is_not_sent_once_the_host_is_asked(start):
    till = start("--fault", "slow-host=600")
    request = till.request()

    def watch(progress):
        if progress.stage is Stage.PROCESSING:
            till.terminal.cancel()

    held = till.terminal.authorise(request, watch)
    assert till.terminal.confirm(held).outcome is Outcome.APPROVED_FINAL
    assert not any(line.startswith("> 06 B0") for line in till.terminal._session.wire.trace)


def test_an_order_that_was_charged_is_not_charged_again(start):
    """The till has lost its memory of the first attempt; the terminal has not (card complete, 7.2)."""
    till = start("--personality", "decline", **_of(Kind.CARD_COMPLETE))
    till.paid()
    request = till.request()
    again = till.authorise(request)
    assert (again.outcome, again.code) == (Outcome.UNKNOWN, "order_charged_before")
    assert till.query(request, again).outcome is Outcome.NOT_CHARGED
    assert till.emulator.charged() == 3300


def test_a_mirrored_receipt_takes_nothing_back_behind_our_books(start):
    """The number comes from the baseline in the journal: an orphan that a query has proven stands, or is reversed by 06 30."""
    till = start("--personality", "keep", "--fault", "lost-after-host-before-status", **_of(Kind.MIRRORED))
    request = till.request()
    doubt = till.authorise(request)
    found = till.query(request)
    assert (doubt.outcome, found.outcome) == (Outcome.UNKNOWN, Outcome.APPROVED_FINAL)
    till.paid(700)
    assert till.emulator.charged() == 4000
    assert "reversed" not in [entry["event"] for entry in till.emulator.entries()]


def test_a_partial_issue_is_never_sent(start):
    till = start()
    till.paid()
    till.terminal.void(till.authorise(till.request()))
    assert not any("84 9D" in line for line in till.terminal._session.wire.trace)


def _of(kind: Kind) -> dict:
    chosen = Options.of(kind, password=PASSWORD)
    return {"mirrors_receipt": chosen.mirrors_receipt, "compares_orders": chosen.compares_orders}
