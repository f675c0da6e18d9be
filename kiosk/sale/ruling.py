"""What follows for an order that an earlier run, or an earlier guest, left open: one pure table over attempt, sale and paper.

The three are one truth held in three places, so nobody else may decide on one of them alone. Two rules make the table: a charge
without a sale goes back, because nobody got anything for it; a sale goes back only as a whole, money proven returned and tickets
invalid in one transaction, and only while no byte of its paper was sent. Everything else is owed, or waits for a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kiosk.payment.attempt import CLOSED, State


class Paper(StrEnum):
    """How far the tickets of a sale are: all on paper or ruled on, no byte sent, or something in between."""

    DONE = "done"
    UNTOUCHED = "untouched"
    BEGUN = "begun"


class Move(StrEnum):
    NOTHING = "nothing"
    SETTLE = "settle"
    """Ask the terminal about an attempt without a sale; what is charged goes back."""
    GIVE_BACK = "give_back"
    """Reverse the charge of a sale of which nothing was printed."""
    FINISH_GIVING_BACK = "finish_giving_back"
    """A reversal was sent and its end is not known: ask, and until then neither print nor owe."""
    RECORD_GIVEN_BACK = "record_given_back"
    """The money is proven back; the sale does not say so yet."""
    OWE = "owe"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Case:
    """`attempt` is the newest attempt's state, None for an order of 0; `sold` and `given_back`: the operations exist."""

    attempt: State | None
    sold: bool
    given_back: bool
    paper: Paper


def next_move(case: Case) -> Move:
    if case.attempt is State.STUCK:
        return Move.PERSON
    if not case.sold:
        assert case.attempt is not State.CONFIRMED, "a proven charge and its sale are one transaction"
        return Move.NOTHING if case.attempt is None or case.attempt in CLOSED else Move.SETTLE
    if case.given_back:
        return Move.NOTHING
    if case.attempt in CLOSED:
        return Move.RECORD_GIVEN_BACK
    if case.attempt is not None and case.attempt is not State.CONFIRMED:
        return Move.FINISH_GIVING_BACK
    match case.paper:
        case Paper.DONE:
            return Move.NOTHING
        case Paper.UNTOUCHED:
            return Move.GIVE_BACK
        case Paper.BEGUN:
            return Move.OWE
