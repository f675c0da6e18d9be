"""What follows for an open order: the whole table, cell by cell."""

from __future__ import annotations

from itertools import product

import pytest

from kiosk.payment.attempt import CLOSED, State
from kiosk.sale.ruling import Case, Move, Paper, next_move

STATES = [None, *State]


def cases():
    for attempt, sold, given_back, paper in product(STATES, (False, True), (False, True), Paper):
        if attempt is State.CONFIRMED and not sold:
            continue  # one transaction: it cannot be
        if given_back and not sold:
            continue
        yield Case(attempt=attempt, sold=sold, given_back=given_back, paper=paper)


@pytest.mark.parametrize("case", tuple(cases()), ids=str)
def test_every_case_has_one_answer(case):
    move = next_move(case)
    if case.attempt is State.STUCK:
        assert move is Move.PERSON
    elif not case.sold:
        assert move is (Move.NOTHING if case.attempt is None or case.attempt in CLOSED else Move.SETTLE)
    elif case.given_back:
        assert move is Move.NOTHING
    elif case.attempt in CLOSED:
        assert move is Move.RECORD_GIVEN_BACK
    elif case.attempt in (None, State.CONFIRMED):
        follows = {Paper.DONE: Move.NOTHING, Paper.UNTOUCHED: Move.GIVE_BACK, Paper.BEGUN: Move.OWE}
        assert move is follows[case.paper]
    else:
        assert move is Move.FINISH_GIVING_BACK


def test_while_a_reversal_is_open_nothing_is_owed_and_nothing_printed():
    """Money that may be on its way back must not buy tickets a second time."""
    for case in cases():
        if case.sold and case.attempt in (State.REVERSAL_SENT, State.UNKNOWN):
            assert next_move(case) in (Move.FINISH_GIVING_BACK, Move.NOTHING)


def test_money_goes_back_only_while_the_paper_is_untouched():
    assert {case.paper for case in cases() if next_move(case) is Move.GIVE_BACK} == {Paper.UNTOUCHED}
