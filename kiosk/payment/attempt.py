"""The life of one payment attempt, as a pure table: which row may follow which, and what a restart does.

    INTENT -> SENT -> HELD -> CONFIRM_SENT -> CONFIRMED          (HELD -> VOID_SENT -> VOIDED)
                SENT -> CONFIRMED | DECLINED | CANCELLED | NOT_CHARGED
    CONFIRMED -> REVERSAL_SENT -> REVERSED
    any that waits -> UNKNOWN -> what a query proves, or STUCK (a person decides)

A row is synced before the outside action it names. An attempt is closed once it is proven that nothing is charged; CONFIRMED is
settled as far as the terminal goes, whether its tickets reached the guest is the sale engine's knowledge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kiosk.payment.contract import AttemptId, Evidence, OrderRef, Outcome, PayRequest


class State(StrEnum):
    """One row's word. The order of money and printing stands in the design; NEW is an attempt without any row."""

    INTENT = "intent"
    SENT = "sent"
    HELD = "held"
    CONFIRM_SENT = "confirm_sent"
    CONFIRMED = "confirmed"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    NOT_CHARGED = "not_charged"
    VOID_SENT = "void_sent"
    VOIDED = "voided"
    REVERSAL_SENT = "reversal_sent"
    REVERSED = "reversed"
    UNKNOWN = "unknown"
    STUCK = "stuck"


CLOSED = frozenset({State.DECLINED, State.CANCELLED, State.NOT_CHARGED, State.VOIDED, State.REVERSED})
"""Proven not charged: another attempt on the same order may begin."""

SETTLED = CLOSED | {State.CONFIRMED}
"""The terminal owes no answer."""

_AFTER: dict[State | None, frozenset[State]] = {
    None: frozenset({State.INTENT}),
    State.INTENT: frozenset({State.SENT, State.NOT_CHARGED, State.UNKNOWN}),
    State.SENT: frozenset(
        {State.HELD, State.CONFIRMED, State.DECLINED, State.CANCELLED, State.NOT_CHARGED, State.UNKNOWN}
    ),
    State.HELD: frozenset({State.CONFIRM_SENT, State.VOID_SENT, State.UNKNOWN}),
    State.CONFIRM_SENT: frozenset({State.CONFIRMED, State.NOT_CHARGED, State.UNKNOWN}),
    State.CONFIRMED: frozenset({State.REVERSAL_SENT}),
    State.VOID_SENT: frozenset({State.VOIDED, State.UNKNOWN}),
    # Refused or never sent, the charge stands: sent again under the same receipt number, or a person's.
    State.REVERSAL_SENT: frozenset({State.REVERSED, State.REVERSAL_SENT, State.UNKNOWN, State.STUCK}),
    State.UNKNOWN: frozenset(
        {
            State.UNKNOWN,
            State.CONFIRMED,
            State.NOT_CHARGED,
            State.VOIDED,
            State.REVERSAL_SENT,
            State.REVERSED,
            State.STUCK,
        }
    ),
    # Only by a named person: what they found out, or one more try.
    State.STUCK: frozenset({State.UNKNOWN, State.CONFIRMED, State.NOT_CHARGED, State.REVERSAL_SENT, State.REVERSED}),
    State.DECLINED: frozenset(),
    State.CANCELLED: frozenset(),
    State.NOT_CHARGED: frozenset(),
    State.VOIDED: frozenset(),
    State.REVERSED: frozenset(),
}

ASK_AGAIN = frozenset(
    {"terminal_absent", "terminal_silent", "terminal_link", "terminal_busy", "terminal_no_host", "in_progress"}
)
"""Evidence codes of a query or reversal that could not be done yet: waiting helps. Otherwise it is for a person."""


@dataclass(frozen=True, slots=True)
class Row:
    """One payment row. `request` stands on INTENT; `evidence` on every row that follows an answer of the terminal, and on
    CONFIRM_SENT, VOID_SENT and REVERSAL_SENT the evidence that is acted on."""

    attempt_id: AttemptId
    n: int
    order_ref: OrderRef
    state: State
    at: datetime
    boot: str
    evidence: Evidence | None = None
    request: PayRequest | None = None


def may_follow(last: State | None, state: State) -> bool:
    """Whether a row `state` may be appended after a row `last` (None: the attempt has no row yet)."""
    return state in _AFTER[last]


def may_begin(last_states: Iterable[State]) -> bool:
    """Whether an order may have a new attempt, given the last state of each earlier one: all proven not charged."""
    return all(state in CLOSED for state in last_states)


def state_after(rows: Sequence[Row], evidence: Evidence) -> State:
    """The row to append once the terminal answered with `evidence`, `rows` being the attempt so far.

    For SENT, CONFIRM_SENT, VOID_SENT and REVERSAL_SENT it is the answer to that command; for UNKNOWN the answer to a query. An
    attempt that a query finds charged becomes CONFIRMED unless it was about to be voided or reversed: those stay UNKNOWN and
    `recovery_step` says REVERSE.
    """
    last = rows[-1].state
    outcome = evidence.outcome
    match last:
        case State.SENT:
            return _AFTER_AUTHORISE[outcome]
        case State.CONFIRM_SENT:
            if outcome is Outcome.APPROVED_FINAL:
                return State.CONFIRMED
            return State.NOT_CHARGED if outcome.is_proven_uncharged else State.UNKNOWN
        case State.VOID_SENT:
            return State.VOIDED if outcome.is_proven_uncharged else State.UNKNOWN
        case State.REVERSAL_SENT:
            if outcome.is_proven_uncharged:
                return State.REVERSED
            return (
                State.STUCK if outcome is Outcome.APPROVED_FINAL and evidence.code not in ASK_AGAIN else State.UNKNOWN
            )
        case State.UNKNOWN:
            return _after_query(rows, evidence)
        case _:
            raise ValueError(f"the terminal was not asked anything in state {last}")


_AFTER_AUTHORISE = {
    Outcome.APPROVED_HELD: State.HELD,
    Outcome.APPROVED_FINAL: State.CONFIRMED,
    Outcome.DECLINED: State.DECLINED,
    Outcome.CANCELLED: State.CANCELLED,
    Outcome.NOT_CHARGED: State.NOT_CHARGED,
    Outcome.IN_PROGRESS: State.UNKNOWN,
    Outcome.UNKNOWN: State.UNKNOWN,
}


def _after_query(rows: Sequence[Row], evidence: Evidence) -> State:
    asked = _intention(rows)
    if evidence.outcome.is_proven_uncharged:
        return {State.VOID_SENT: State.VOIDED, State.REVERSAL_SENT: State.REVERSED}.get(asked, State.NOT_CHARGED)
    if evidence.outcome is Outcome.APPROVED_FINAL:
        return State.UNKNOWN if asked in {State.VOID_SENT, State.REVERSAL_SENT} else State.CONFIRMED
    if evidence.outcome is Outcome.IN_PROGRESS or evidence.code in ASK_AGAIN:
        return State.UNKNOWN
    return State.STUCK


def _intention(rows: Sequence[Row]) -> State:
    """What was last meant for this attempt before it became unknown."""
    return next((row.state for row in reversed(rows) if row.state is not State.UNKNOWN), State.INTENT)


class Step(StrEnum):
    """What recovery does next with an attempt."""

    NOTHING = "nothing"
    """Settled."""
    MARK_UNKNOWN = "mark_unknown"
    """Append UNKNOWN: the process that waited for the terminal's answer is gone."""
    QUERY = "query"
    REVERSE = "reverse"
    """Append REVERSAL_SENT with the charge's evidence, then reverse: the guest is gone and nothing was issued."""
    ATTENDANT = "attendant"
    """Stuck: it stays on record and the tender stays closed until a person has ruled."""


def recovery_step(rows: Sequence[Row]) -> Step:
    """The next step for an attempt found in the journal at start, before the kiosk says it is ready (payments.md, 7).

    Nothing of such an attempt was issued: tickets become valid in the transaction that writes CONFIRMED. An UNKNOWN row whose
    evidence is a proven charge is reversed; any other UNKNOWN is queried.
    """
    last = rows[-1]
    match last.state:
        case state if state in SETTLED:
            return Step.NOTHING
        case State.STUCK:
            return Step.ATTENDANT
        case State.UNKNOWN:
            found = last.evidence is not None and last.evidence.outcome is Outcome.APPROVED_FINAL
            return Step.REVERSE if found else Step.QUERY
        case _:
            return Step.MARK_UNKNOWN


def charge_evidence(rows: Sequence[Row]) -> Evidence | None:
    """The newest evidence that names the charge: `seen` for a query, the argument of a reversal. A terminal names it by receipt
    or trace number, a payment service by its own id."""
    for row in reversed(rows):
        found = row.evidence
        if found is not None and (found.receipt_no, found.trace, found.provider_id) != (None, None, None):
            return found
    return None


def request_of(rows: Sequence[Row]) -> PayRequest:
    """The request that the INTENT row carries."""
    request = rows[0].request
    assert request is not None, "the first row of an attempt is its INTENT"
    return request
