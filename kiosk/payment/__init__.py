"""Payment terminals behind one contract, and the synced record of every step.

How the sale engine uses it, for each step that can move money: (a) begin a transaction on the journal, (b) append the row,
commit, (c) call the terminal; then append what it answered.

    terminal.open()                                              # once; Health
    base = terminal.baseline()                                   # TerminalLinkError: do not begin
    request = PayRequest(attempt_id, order_ref, amount, Method.CARD, deadline_s, base)
    with engine.begin() as c: journal.begin(c, request=request, at=now, boot=boot)           # INTENT; may refuse
    with engine.begin() as c: journal.append(c, attempt_id=..., state=State.SENT, ...)
    answer = terminal.authorise(request, watch)
    state = state_after(rows, answer)                            # HELD, DECLINED, ..., UNKNOWN
    with engine.begin() as c: journal.append(c, ..., state=state, evidence=answer)
    # HELD: decide within seconds; the driver keeps the hold alive meanwhile
    with engine.begin() as c: journal.append(c, ..., state=State.CONFIRM_SENT, evidence=answer)
    proof = terminal.confirm(answer)                             # APPROVED_FINAL is the proof (06 0F)
    with engine.begin() as c:                                    # one transaction:
        journal.append(c, ..., state=State.CONFIRMED, evidence=proof)
        ...                                                      # tickets valid, print job

UNKNOWN at any point: `recovery.resolve(engine, terminal, attempt_id=..., nothing_issued=False)` while the guest is there; the
UNKNOWN row it returns carries the proof if the guest was charged (append CONFIRMED with it and issue, or let `resolve` with
`nothing_issued=True` give the money back). After a restart, before the kiosk says it is ready: `recovery.resolve_all`.

No driver writes the journal. The journal accepts no row that cannot follow, and no second attempt while an earlier one on the
order may be charged or any attempt is unsettled.
"""

from __future__ import annotations

from kiosk.payment.attempt import CLOSED, SETTLED, Row, State, Step, may_begin, may_follow, recovery_step, state_after
from kiosk.payment.contract import (
    AttemptId,
    Baseline,
    Caps,
    Evidence,
    Health,
    Method,
    OrderRef,
    Outcome,
    PayRequest,
    Progress,
    Stage,
    Terminal,
    Totals,
    Watcher,
)
from kiosk.payment.errors import (
    EvidenceError,
    PaymentError,
    StepRefusedError,
    TerminalAbsentError,
    TerminalLinkError,
    TerminalSilentError,
)

__all__ = [
    "CLOSED",
    "SETTLED",
    "AttemptId",
    "Baseline",
    "Caps",
    "Evidence",
    "EvidenceError",
    "Health",
    "Method",
    "OrderRef",
    "Outcome",
    "PayRequest",
    "PaymentError",
    "Progress",
    "Row",
    "Stage",
    "State",
    "Step",
    "StepRefusedError",
    "Terminal",
    "TerminalAbsentError",
    "TerminalLinkError",
    "TerminalSilentError",
    "Totals",
    "Watcher",
    "may_begin",
    "may_follow",
    "recovery_step",
    "state_after",
]
