"""Clearing up attempts that a stopped process left open, before the kiosk says it is ready.

Each answer is journalled before the next command goes out; a reversal is journalled before it is sent. This runs without a
guest: what is found charged is given back, because nothing of it was issued. What cannot be decided stays on record.
"""

from __future__ import annotations

from datetime import datetime

import structlog
from sqlalchemy import Engine

from kiosk.payment import journal
from kiosk.payment.attempt import Row, State, Step, charge_evidence, recovery_step, request_of, state_after
from kiosk.payment.contract import AttemptId, Evidence, Outcome, Terminal
from sync.store import reading
from tickets.clock import Clock

log = structlog.get_logger()

STEPS_MAX = 12
"""More steps than any resolvable attempt takes in one pass; an attempt that is not ripe waits for the next pass."""


def resolve(
    engine: Engine, terminal: Terminal, *, attempt_id: AttemptId, clock: Clock, boot: str, nothing_issued: bool = True
) -> Row:
    """Take one attempt as far as it will go now and return its newest row.

    CONFIRMED, NOT_CHARGED, ... : settled. UNKNOWN: the terminal is away or busy, call again later. STUCK: a person decides.
    With `nothing_issued` a charge that a query proves is reversed (the guest is gone); without it (the guest stands here and
    the order can still be issued) it becomes CONFIRMED, to be appended by the caller together with its tickets: the row
    returned is then the UNKNOWN row that carries the proof.
    """
    for _ in range(STEPS_MAX):
        with reading(engine) as connection:
            rows = journal.rows(connection, attempt_id)
        match recovery_step(rows):
            case Step.NOTHING | Step.ATTENDANT:
                return rows[-1]
            case Step.MARK_UNKNOWN:
                # It names no charge: what was seen stands in the rows before it, and only a query may say "charged" here.
                gone = Evidence(outcome=Outcome.UNKNOWN, code="restarted", attempt_id=attempt_id)
                _append(engine, attempt_id, State.UNKNOWN, gone, clock.now_utc(), boot)
            case Step.QUERY:
                found = terminal.query(request_of(rows), seen=charge_evidence(rows))
                state = state_after(rows, found)
                if found.outcome is Outcome.APPROVED_FINAL:
                    state = State.UNKNOWN  # proven charged; what follows is decided on the row, not in memory
                row = _append(engine, attempt_id, state, found, clock.now_utc(), boot)
                if state is State.UNKNOWN and found.outcome is not Outcome.APPROVED_FINAL:
                    return row
            case Step.REVERSE:
                if not nothing_issued:
                    return rows[-1]
                charge = rows[-1].evidence
                assert charge is not None
                _append(engine, attempt_id, State.REVERSAL_SENT, charge, clock.now_utc(), boot)
                answer = terminal.reverse(charge, key=f"{attempt_id}/{len(rows)}")
                with reading(engine) as connection:
                    rows = journal.rows(connection, attempt_id)
                row = _append(engine, attempt_id, state_after(rows, answer), answer, clock.now_utc(), boot)
                if answer.outcome is Outcome.APPROVED_FINAL:
                    return row
    return rows[-1]


def resolve_all(engine: Engine, terminal: Terminal, *, clock: Clock, boot: str) -> tuple[Row, ...]:
    """`resolve` each unsettled attempt, oldest first; returns the newest rows of those that are still unsettled after it."""
    with reading(engine) as connection:
        waiting = journal.unsettled(connection)
    for row in waiting:
        ended = resolve(engine, terminal, attempt_id=row.attempt_id, clock=clock, boot=boot)
        log.info("payment_recovered", attempt_id=row.attempt_id, found=row.state, now=ended.state, rows=ended.n)
    with reading(engine) as connection:
        return journal.unsettled(connection)


def _append(
    engine: Engine, attempt_id: AttemptId, state: State, evidence: Evidence | None, at: datetime, boot: str
) -> Row:
    with engine.begin() as connection:
        return journal.append(connection, attempt_id=attempt_id, state=state, at=at, boot=boot, evidence=evidence)
