"""The spool's side of the tables: what may be printed next, and each step of a part as one statement that checks where it starts.

Every change names the state it expects. A ruling that came in between wins, and the spool sees that by a row count of 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, exists, select, update
from sqlalchemy.dialects.sqlite import insert

from printer.spool.job import UNFINISHED, record, refresh
from printer.spool.schema import Grade, State, print_job, print_part, print_roll, sale_boot

PROCESS_ID_MAX = 9999
_PRINTABLE = (State.QUEUED, State.REISSUED)


@dataclass(frozen=True, slots=True)
class Part:
    """A part that may be printed. `tries` is how often its printing was begun before."""

    job: str
    seq: int
    document: str
    tries: int

    @property
    def key(self) -> tuple[str, int, int]:
        return self.job, self.seq, self.tries


@dataclass(frozen=True, slots=True)
class Roll:
    process_id: int
    used_dots_203: int


# A job is printed when it is of the engine's present run, of this start of the machine, and nobody needs to be asked.
_allowed = and_(
    print_job.c.ruled == 1,
    exists().where(sale_boot.c.boot == print_job.c.boot, sale_boot.c.machine == bindparam("machine")),
)
_next = (
    select(print_part.c.job, print_part.c.seq, print_part.c.document, print_part.c["try"].label("tries"))
    .join(print_job, print_job.c.id == print_part.c.job)
    .where(print_part.c.state.in_(_PRINTABLE), _allowed)
    .order_by(print_job.c.created_at, print_job.c.id, print_part.c.seq)
    .limit(1)
)
_begin = (
    update(print_part)
    .where(
        print_part.c.job == bindparam("b_job"),
        print_part.c.seq == bindparam("b_seq"),
        print_part.c["try"] == bindparam("b_tries"),
        print_part.c.state.in_(_PRINTABLE),
        exists().where(print_job.c.id == print_part.c.job, _allowed),
    )
    .values(
        {"state": State.SENDING, "try": print_part.c["try"] + 1, "process_id": bindparam("b_process_id"), "grade": None}
    )
)
_unprintable = (
    update(print_part)
    .where(
        print_part.c.job == bindparam("b_job"),
        print_part.c.seq == bindparam("b_seq"),
        print_part.c["try"] == bindparam("b_tries"),
        print_part.c.state.in_(_PRINTABLE),
    )
    .values(state=State.UNPRINTABLE)
)
_settle = (
    update(print_part)
    .where(
        print_part.c.job == bindparam("b_job"),
        print_part.c.seq == bindparam("b_seq"),
        print_part.c["try"] == bindparam("b_try"),
        print_part.c.state == State.SENDING,
    )
    .values(state=bindparam("b_state"), grade=bindparam("b_grade"))
)
_unsend = (
    update(print_part)
    .where(
        print_part.c.job == bindparam("b_job"),
        print_part.c.seq == bindparam("b_seq"),
        print_part.c["try"] == bindparam("b_try"),
        print_part.c.state == State.SENDING,
    )
    .values({"state": bindparam("b_state"), "try": bindparam("b_try") - 1})
)
_still = select(print_part.c.state).where(
    print_part.c.job == bindparam("job"), print_part.c.seq == bindparam("seq"), print_part.c["try"] == bindparam("try")
)
_hold = update(print_job).where(print_job.c.id == bindparam("b_job")).values(ruled=0)
_sending = select(print_part.c.job, print_part.c.seq).where(print_part.c.state == State.SENDING)
_begun = (
    select(print_part.c.job)
    .where(print_part.c.state.in_(UNFINISHED))
    .where(print_part.c.job.in_(select(print_part.c.job).where(print_part.c["try"] > 0)))
    .distinct()
)
_late = select(print_part.c.job, print_part.c.seq, print_part.c["try"].label("tries")).where(
    print_part.c.state == State.IN_DOUBT, print_part.c.process_id == bindparam("process_id")
)
_late_confirm = (
    update(print_part)
    .where(
        print_part.c.job == bindparam("b_job"),
        print_part.c.seq == bindparam("b_seq"),
        print_part.c.state == State.IN_DOUBT,
    )
    .values(state=State.CONFIRMED, grade=Grade.CONFIRMED)
)
_roll = select(print_roll.c.process_id, print_roll.c.used_dots_203)
_roll_first = insert(print_roll).values(one=1, process_id=0, used_dots_203=0).on_conflict_do_nothing()
_roll_id = update(print_roll).values(process_id=bindparam("b_process_id"))
_roll_used = update(print_roll).values(used_dots_203=print_roll.c.used_dots_203 + bindparam("b_dots"))
_roll_new = update(print_roll).values(used_dots_203=0)


def recover(connection: Connection, *, now: datetime) -> int:
    """At the start: what was being sent is in doubt, and no job that was begun goes on by itself. How many jobs wait now."""
    for job, seq in connection.execute(_sending).all():
        connection.execute(
            print_part.update().where(print_part.c.job == job, print_part.c.seq == seq).values(state=State.IN_DOUBT)
        )
        record(connection, job, seq, "in_doubt", "the spool was stopped while it was being sent", now=now)
    begun = connection.execute(_begun).scalars().all()
    for job in begun:
        connection.execute(_hold, {"b_job": job})
        refresh(connection, job)
    connection.execute(_roll_first)
    return len(begun)


def peek(connection: Connection, *, machine: str) -> Part | None:
    """The part to print next; None while there is nothing, or nothing that may be printed without a ruling."""
    row = connection.execute(_next, {"machine": machine}).first()
    return None if row is None else Part(row.job, row.seq, row.document, row.tries)


def begin(connection: Connection, part: Part, *, process_id: int, machine: str, now: datetime) -> bool:
    """Mark a part as being sent; durable before its first byte. False when it may no longer be printed."""
    found = connection.execute(
        _begin,
        {
            "b_job": part.job,
            "b_seq": part.seq,
            "b_tries": part.tries,
            "b_process_id": f"{process_id:04d}",
            "machine": machine,
        },
    )
    if found.rowcount != 1:
        return False
    connection.execute(_roll_id, {"b_process_id": process_id})
    refresh(connection, part.job)
    record(connection, part.job, part.seq, "sending", f"try {part.tries + 1}, process id {process_id:04d}", now=now)
    return True


def confirm(connection: Connection, part: Part, grade: Grade, *, dots_203: int, now: datetime) -> bool:
    """A part is on paper. False when a ruling had taken it away."""
    if not _step(connection, part, State.CONFIRMED, grade):
        return False
    connection.execute(_roll_used, {"b_dots": dots_203})
    record(connection, part.job, part.seq, "confirmed", grade, now=now)
    return True


def doubt(connection: Connection, part: Part, why: str, *, now: datetime) -> bool:
    """A part may be on paper or not; its job waits for a ruling."""
    if not _step(connection, part, State.IN_DOUBT, None):
        return False
    connection.execute(_hold, {"b_job": part.job})
    refresh(connection, part.job)
    record(connection, part.job, part.seq, "in_doubt", why, now=now)
    return True


def again(connection: Connection, part: Part, why: str, *, now: datetime) -> bool:
    """A part is known not to be on paper in one piece: it is printed again, marked 再発行."""
    if not _step(connection, part, State.REISSUED, None):
        return False
    record(connection, part.job, part.seq, "reissued", why, now=now)
    return True


def unsend(connection: Connection, part: Part, *, now: datetime) -> bool:
    """No byte of a part left this machine after all: it is what it was before. False when a ruling had taken it away."""
    state = State.QUEUED if part.tries == 0 else State.REISSUED
    found = connection.execute(
        _unsend, {"b_job": part.job, "b_seq": part.seq, "b_try": part.tries + 1, "b_state": state}
    )
    if found.rowcount != 1:
        return False
    refresh(connection, part.job)
    record(connection, part.job, part.seq, "unsent", "no byte left", now=now)
    return True


def unprintable(connection: Connection, part: Part, why: str, *, now: datetime) -> None:
    """A part that this printer cannot be told (a bug, a missing font): it is passed over, and the rest of its job is printed."""
    found = connection.execute(_unprintable, {"b_job": part.job, "b_seq": part.seq, "b_tries": part.tries})
    if found.rowcount == 1:
        refresh(connection, part.job)
        record(connection, part.job, part.seq, "unprintable", why, now=now)


def still_sending(connection: Connection, part: Part) -> bool:
    """Whether a part is still the spool's own; a ruling may have taken it away."""
    state = connection.execute(_still, {"job": part.job, "seq": part.seq, "try": part.tries + 1}).scalar()
    return state == State.SENDING


def late(connection: Connection, process_id: str, *, now: datetime) -> bool:
    """A process id that nobody waits for: it settles a part in doubt, and lets nothing go on."""
    rows = connection.execute(_late, {"process_id": process_id}).all()
    if len(rows) != 1:
        return False
    job, seq = rows[0].job, rows[0].seq
    connection.execute(_late_confirm, {"b_job": job, "b_seq": seq})
    refresh(connection, job)
    record(connection, job, seq, "confirmed", "late answer", now=now)
    return True


def roll(connection: Connection) -> Roll:
    row = connection.execute(_roll).one()
    return Roll(row.process_id, row.used_dots_203)


def following(process_id: int) -> int:
    """Process ids ascend from 0001 to 9999 and begin again."""
    return process_id % PROCESS_ID_MAX + 1


def take_process_id(connection: Connection) -> int:
    """A process id of its own, for asking again after a lost answer."""
    process_id = following(roll(connection).process_id)
    connection.execute(_roll_id, {"b_process_id": process_id})
    return process_id


def new_roll(connection: Connection, *, now: datetime) -> None:
    connection.execute(_roll_new)
    record(connection, None, None, "new_roll", "paper was loaded", now=now)


def _step(connection: Connection, part: Part, state: State, grade: Grade | None) -> bool:
    found = connection.execute(
        _settle,
        {"b_job": part.job, "b_seq": part.seq, "b_try": part.tries + 1, "b_state": state, "b_grade": grade},
    )
    if found.rowcount != 1:
        return False
    refresh(connection, part.job)
    return True
