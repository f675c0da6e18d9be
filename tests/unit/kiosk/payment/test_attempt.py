"""The life of an attempt, walked through completely: every state, every answer, every restart."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import pytest

from kiosk.payment import AttemptId, Evidence, Method, OrderRef, Outcome, PayRequest
from kiosk.payment.attempt import (
    ASK_AGAIN,
    CLOSED,
    SETTLED,
    Row,
    State,
    Step,
    charge_evidence,
    may_begin,
    may_follow,
    recovery_step,
    request_of,
    state_after,
)
from tickets.money import Money

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
A, ORDER = AttemptId("a1"), OrderRef("o1")
REQUEST = PayRequest(A, ORDER, Money(3300, "JPY"), Method.CARD, 60, {})
CHARGE = Evidence(Outcome.APPROVED_FINAL, "last_is_ours", A, Money(3300, "JPY"), receipt_no=7, trace=7)


def rows(*states: State, last: Evidence | None = None) -> list[Row]:
    made = [
        Row(A, n, ORDER, state, AT, "b1", request=REQUEST if n == 1 else None)
        for n, state in enumerate(states, start=1)
    ]
    if last is not None:
        made[-1] = Row(A, len(made), ORDER, made[-1].state, AT, "b1", evidence=last)
    return made


def evidence(outcome: Outcome, code: str = "x") -> Evidence:
    return Evidence(outcome, code, A)


S = State


def test_every_state_is_reachable_and_closed_ones_are_the_end():
    reached, fresh = set(), {None}
    while fresh:
        fresh = {state for last in fresh for state in State if may_follow(last, state)} - reached
        reached |= fresh
    assert reached == set(State)
    assert all(not any(may_follow(state, after) for after in State) for state in CLOSED)


def test_no_charge_becomes_valid_without_passing_through_the_terminal():
    """Only the answer to a sent command, a query, or a named person confirms."""
    assert {last for last in State if may_follow(last, S.CONFIRMED)} == {S.SENT, S.CONFIRM_SENT, S.UNKNOWN, S.STUCK}
    assert {last for last in [None, *State] if may_follow(last, S.SENT)} == {S.INTENT}


def test_a_charge_can_only_end_proven():
    """From every state that may be charged, a closed state is reached only by way of an answer."""
    for last in (S.HELD, S.CONFIRMED, S.REVERSAL_SENT):
        assert not {S.DECLINED, S.CANCELLED, S.NOT_CHARGED} & {s for s in State if may_follow(last, s)}


@pytest.mark.parametrize("states", list(product(State, repeat=2)))
def test_a_new_attempt_needs_all_earlier_ones_proven_uncharged(states):
    uncharged = {S.DECLINED, S.CANCELLED, S.NOT_CHARGED, S.VOIDED, S.REVERSED}
    assert may_begin(states) is (set(states) <= uncharged)


def test_a_first_attempt_may_begin():
    assert may_begin([])


ASKED = {
    S.SENT: rows(S.INTENT, S.SENT),
    S.CONFIRM_SENT: rows(S.INTENT, S.SENT, S.HELD, S.CONFIRM_SENT),
    S.VOID_SENT: rows(S.INTENT, S.SENT, S.HELD, S.VOID_SENT),
    S.REVERSAL_SENT: rows(S.INTENT, S.SENT, S.CONFIRMED, S.REVERSAL_SENT),
}


@pytest.mark.parametrize(
    ("last", "outcome", "state"),
    [
        (S.SENT, Outcome.APPROVED_HELD, S.HELD),
        (S.SENT, Outcome.APPROVED_FINAL, S.CONFIRMED),
        (S.SENT, Outcome.DECLINED, S.DECLINED),
        (S.SENT, Outcome.CANCELLED, S.CANCELLED),
        (S.SENT, Outcome.NOT_CHARGED, S.NOT_CHARGED),
        (S.SENT, Outcome.UNKNOWN, S.UNKNOWN),
        (S.SENT, Outcome.IN_PROGRESS, S.UNKNOWN),
        (S.CONFIRM_SENT, Outcome.APPROVED_FINAL, S.CONFIRMED),
        (S.CONFIRM_SENT, Outcome.NOT_CHARGED, S.NOT_CHARGED),
        (S.CONFIRM_SENT, Outcome.UNKNOWN, S.UNKNOWN),
        (S.CONFIRM_SENT, Outcome.APPROVED_HELD, S.UNKNOWN),
        (S.VOID_SENT, Outcome.NOT_CHARGED, S.VOIDED),
        (S.VOID_SENT, Outcome.UNKNOWN, S.UNKNOWN),
        (S.VOID_SENT, Outcome.APPROVED_FINAL, S.UNKNOWN),
        (S.REVERSAL_SENT, Outcome.NOT_CHARGED, S.REVERSED),
        (S.REVERSAL_SENT, Outcome.APPROVED_FINAL, S.STUCK),
        (S.REVERSAL_SENT, Outcome.UNKNOWN, S.UNKNOWN),
    ],
)
def test_what_an_answer_makes_of_an_attempt(last, outcome, state):
    assert state_after(ASKED[last], evidence(outcome)) is state


def test_every_answer_to_every_question_gives_a_row_that_may_follow():
    unknowns = {asked: [*before, rows(S.UNKNOWN)[0]] for asked, before in ASKED.items()}
    for before, outcome, code in product([*ASKED.values(), *unknowns.values()], Outcome, ["x", *sorted(ASK_AGAIN)]):
        state = state_after(before, evidence(outcome, code))
        assert may_follow(before[-1].state, state)
        if outcome is Outcome.UNKNOWN:
            assert state in {S.UNKNOWN, S.STUCK}
        if state in CLOSED:
            assert outcome.is_proven_uncharged


@pytest.mark.parametrize(
    ("asked", "outcome", "code", "state"),
    [
        (S.SENT, Outcome.NOT_CHARGED, "x", S.NOT_CHARGED),
        (S.SENT, Outcome.APPROVED_FINAL, "x", S.CONFIRMED),
        (S.CONFIRM_SENT, Outcome.APPROVED_FINAL, "x", S.CONFIRMED),
        (S.VOID_SENT, Outcome.NOT_CHARGED, "x", S.VOIDED),
        (S.VOID_SENT, Outcome.APPROVED_FINAL, "x", S.UNKNOWN),
        (S.REVERSAL_SENT, Outcome.NOT_CHARGED, "x", S.REVERSED),
        (S.REVERSAL_SENT, Outcome.APPROVED_FINAL, "x", S.UNKNOWN),
        (S.SENT, Outcome.UNKNOWN, "terminal_absent", S.UNKNOWN),
        (S.SENT, Outcome.IN_PROGRESS, "in_progress", S.UNKNOWN),
        (S.SENT, Outcome.UNKNOWN, "totals_disagree", S.STUCK),
        (S.REVERSAL_SENT, Outcome.UNKNOWN, "amount_differs", S.STUCK),
    ],
)
def test_what_a_query_makes_of_an_unknown_attempt(asked, outcome, code, state):
    before = [*ASKED[asked], rows(S.UNKNOWN)[0], rows(S.UNKNOWN)[0]]
    assert state_after(before, evidence(outcome, code)) is state


def test_nobody_asked_means_no_answer():
    for state in set(State) - {*ASKED, S.UNKNOWN}:
        with pytest.raises(ValueError, match="not asked"):
            state_after(rows(S.INTENT, state), evidence(Outcome.APPROVED_FINAL))


@pytest.mark.parametrize("state", list(State))
def test_restart_table(state):
    """payments.md 7: whatever waited is asked about; what is settled stays; stuck stays with a person."""
    expected = {S.UNKNOWN: Step.QUERY, S.STUCK: Step.ATTENDANT} | dict.fromkeys(SETTLED, Step.NOTHING)
    assert recovery_step(rows(S.INTENT, state)) is expected.get(state, Step.MARK_UNKNOWN)


def test_only_a_proven_charge_is_reversed_after_a_restart():
    for outcome in Outcome:
        step = recovery_step(rows(S.INTENT, S.SENT, S.UNKNOWN, last=evidence(outcome)))
        assert step is (Step.REVERSE if outcome is Outcome.APPROVED_FINAL else Step.QUERY)


def test_what_was_seen_is_the_newest_row_that_names_the_charge():
    made = [*rows(S.INTENT, S.SENT), *rows(S.HELD, last=CHARGE), *rows(S.UNKNOWN, last=evidence(Outcome.UNKNOWN))]
    assert charge_evidence(made) is CHARGE
    assert charge_evidence(rows(S.INTENT, S.SENT)) is None
    assert request_of(made) is REQUEST
