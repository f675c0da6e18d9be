"""What the sale engine calls: put a job down, ask how far it is, rule on it. All inside the caller's own transaction.

The engine decides that something is printed, the spool prints it. A job belongs to the run ("boot") of the engine that made it;
the jobs of an earlier run wait until the present one has ruled on them, whatever happened to power in between.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import assert_never

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.dialects.sqlite import insert

from printer.document import Document, Mark, to_json
from printer.errors import JobError
from printer.spool.schema import Grade, State, print_event, print_job, print_part, sale_boot

PARTS_MAX = 200
"""Twice the tickets of the largest order: a limit against a loop, not against a guest."""

UNFINISHED = (State.QUEUED, State.SENDING, State.IN_DOUBT, State.REISSUED)
"""What the spool has to do with yet."""

UNSETTLED = (*UNFINISHED, State.UNPRINTABLE)
"""What is neither on paper nor ruled away."""


_UNSENT = (State.QUEUED, State.UNPRINTABLE, State.VOID)


class Decision(StrEnum):
    """print: what is not confirmed is printed (what may be on paper already, as 再発行), but for what is unprintable. void: it is no
    longer wanted. owe: it is owed to the guest. seen: a person has the paper in hand, and it counts as printed; a kiosk alone never
    rules so, it is for the desk, where staff look at the paper.
    """

    PRINT = "print"
    VOID = "void"
    OWE = "owe"
    SEEN = "seen"


@dataclass(frozen=True, slots=True)
class PartProgress:
    """`tries` is how often its printing was begun; `grade` how well a confirmed part is known."""

    seq: int
    state: State
    tries: int
    grade: Grade | None


@dataclass(frozen=True, slots=True)
class Progress:
    """A job as its rows stand. `ruled` is False while the spool waits for a ruling."""

    job_id: str
    kind: str
    boot: str
    state: State
    ruled: bool
    parts: tuple[PartProgress, ...]

    @property
    def total(self) -> int:
        return len(self.parts)

    @property
    def done(self) -> int:
        """Parts on paper."""
        return sum(part.state is State.CONFIRMED for part in self.parts)

    @property
    def untouched(self) -> bool:
        """No byte of any part was ever sent: the money may go back without a question."""
        return all(part.tries == 0 and part.state in _UNSENT for part in self.parts)


_insert_job = insert(print_job)
_insert_part = insert(print_part)
_insert_event = insert(print_event)
_job = select(print_job).where(print_job.c.id == bindparam("job"))
_parts = select(print_part).where(print_part.c.job == bindparam("job")).order_by(print_part.c.seq)
_shas = select(print_part.c.sha256).where(print_part.c.job == bindparam("job")).order_by(print_part.c.seq)
_states = select(print_part.c.state).where(print_part.c.job == bindparam("job"))
_is_held = select(print_job.c.ruled).where(print_job.c.id == bindparam("job"))
_set_part = (
    update(print_part)
    .where(print_part.c.job == bindparam("b_job"), print_part.c.seq == bindparam("b_seq"))
    .values(state=bindparam("b_state"), grade=bindparam("b_grade"))
)
_set_job_state = update(print_job).where(print_job.c.id == bindparam("b_job")).values(state=bindparam("b_state"))
_set_job_ruled = update(print_job).where(print_job.c.id == bindparam("b_job")).values(boot=bindparam("b_boot"), ruled=1)
_waiting = (
    select(print_job.c.id)
    .where(
        print_job.c.id.in_(select(print_part.c.job).where(print_part.c.state.in_(UNSETTLED))),
        (print_job.c.ruled == 0) | (print_job.c.boot != bindparam("boot")),
    )
    .order_by(print_job.c.created_at, print_job.c.id)
)
_announcement = insert(sale_boot)
_boot_now = _announcement.on_conflict_do_update(
    index_elements=[sale_boot.c.one],
    set_={
        "boot": _announcement.excluded.boot,
        "machine": _announcement.excluded.machine,
        "at": _announcement.excluded.at,
    },
)


def machine_boot() -> str:
    """The kernel's id of this start of the machine; it tells a run of the engine before a power cut from one after it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def announce_boot(connection: Connection, boot: str, *, now: datetime) -> None:
    """The sale engine's first write of each run: from its commit on, only jobs of `boot` are printed."""
    connection.execute(_boot_now, {"one": 1, "boot": boot, "machine": machine_boot(), "at": now.isoformat()})


def enqueue(
    connection: Connection, job_id: str, kind: str, documents: Sequence[Document], *, boot: str, now: datetime
) -> None:
    """Put a job down, in the transaction that makes its tickets valid. Ring the spool's bell after the commit.

    The same id with the same documents is the same job (nothing happens); with others it is a JobError, as is a job without
    parts or a document that does not end with its Mark.
    """
    if not 1 <= len(documents) <= PARTS_MAX:
        raise JobError(f"job '{job_id}': {len(documents)} parts; 1 to {PARTS_MAX} are allowed")
    for document in documents:
        if not document.blocks or not isinstance(document.blocks[-1], Mark):
            raise JobError(f"job '{job_id}': document '{document.id}' does not end with its mark")
    texts = [to_json(document) for document in documents]
    shas = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    if connection.execute(_job, {"job": job_id}).first() is not None:
        if connection.execute(_shas, {"job": job_id}).scalars().all() != shas:
            raise JobError(f"job '{job_id}' exists with other documents")
        return
    connection.execute(
        _insert_job,
        {"id": job_id, "kind": kind, "boot": boot, "state": State.QUEUED, "created_at": now.isoformat(), "ruled": 1},
    )
    rows = [
        {"job": job_id, "seq": seq, "document": text, "sha256": sha, "state": State.QUEUED, "try": 0}
        for seq, (text, sha) in enumerate(zip(texts, shas, strict=True), start=1)
    ]
    connection.execute(_insert_part, rows)
    record(connection, job_id, None, "queued", f"{len(rows)} parts", now=now)


def progress(connection: Connection, job_id: str) -> Progress | None:
    """How far a job is; None for an id that was never put down."""
    job = connection.execute(_job, {"job": job_id}).mappings().first()
    if job is None:
        return None
    parts = tuple(
        PartProgress(
            seq=row["seq"],
            state=State(row["state"]),
            tries=row["try"],
            grade=None if row["grade"] is None else Grade(row["grade"]),
        )
        for row in connection.execute(_parts, {"job": job_id}).mappings()
    )
    return Progress(
        job_id=job_id,
        kind=job["kind"],
        boot=job["boot"],
        state=State(job["state"]),
        ruled=bool(job["ruled"]),
        parts=parts,
    )


def rule(
    connection: Connection,
    job_id: str,
    decision: Decision,
    *,
    boot: str,
    now: datetime,
    parts: Collection[int] | None = None,
) -> Progress:
    """Decide on the parts that are not confirmed (all of them, or the numbers in `parts`), and let the job go on under `boot`.

    A part in doubt that is not named stays in doubt; the spool prints the others. `print` on a part whose printing was begun makes
    it 再発行. A part that is being sent right now, or is unprintable, is left alone by `print` and taken away from the spool by the
    others.
    Raises JobError for an unknown job or part.
    """
    found = progress(connection, job_id)
    if found is None:
        raise JobError(f"job '{job_id}' is not known")
    if parts is not None and not set(parts) <= {part.seq for part in found.parts}:
        raise JobError(f"job '{job_id}' has parts 1 to {found.total}")
    for part in found.parts:
        if part.state in UNSETTLED and (parts is None or part.seq in parts):
            state, grade = _ruled(part, decision)
            connection.execute(_set_part, {"b_job": job_id, "b_seq": part.seq, "b_state": state, "b_grade": grade})
    connection.execute(_set_job_ruled, {"b_job": job_id, "b_boot": boot})
    refresh(connection, job_id)
    named = "all" if parts is None else ",".join(str(seq) for seq in sorted(parts))
    record(connection, job_id, None, "ruled", f"{decision} {named}", now=now)
    ruled = progress(connection, job_id)
    assert ruled is not None
    return ruled


def waiting(connection: Connection, *, boot: str) -> tuple[str, ...]:
    """Unsettled jobs of which nothing will be printed before `boot` has ruled: of an earlier run, or in doubt. Oldest first."""
    return tuple(connection.execute(_waiting, {"boot": boot}).scalars())


def record(
    connection: Connection, job_id: str | None, seq: int | None, what: str, detail: str, *, now: datetime
) -> None:
    """One line of the spool's diary. Ids and causes; never a code or a text of the paper."""
    connection.execute(
        _insert_event, {"job": job_id, "seq": seq, "at": now.isoformat(), "what": what, "detail": detail}
    )


def refresh(connection: Connection, job_id: str) -> State:
    """Give a job the state that its parts have together; unfinished and waiting for a ruling, it is in doubt."""
    states = {State(state) for state in connection.execute(_states, {"job": job_id}).scalars()}
    held = connection.execute(_is_held, {"job": job_id}).scalar() == 0
    state = State.IN_DOUBT if held and states & set(UNFINISHED) else _together(states)
    connection.execute(_set_job_state, {"b_job": job_id, "b_state": state})
    return state


def _together(states: set[State]) -> State:
    for state in (State.IN_DOUBT, State.SENDING, State.REISSUED):
        if state in states:
            return state
    if State.QUEUED in states:
        return State.QUEUED if states == {State.QUEUED} else State.SENDING
    for state in (State.UNPRINTABLE, State.OWED, State.CONFIRMED):
        if state in states:
            return state
    return State.VOID


def _ruled(part: PartProgress, decision: Decision) -> tuple[State, Grade | None]:
    match decision:
        case Decision.PRINT:
            return (State.REISSUED if part.state is State.IN_DOUBT else part.state), part.grade
        case Decision.VOID:
            return State.VOID, None
        case Decision.OWE:
            return State.OWED, None
        case Decision.SEEN:
            return State.CONFIRMED, Grade.SEEN
        case never:
            assert_never(never)
