"""The spool's tables in the device's journal file. They are fsync'd facts of this device and never leave it.

What was printed is decided by rows, never by a timer: a part is `confirmed` when the printer said so, and `in_doubt` when it
might have been printed and nobody can know. Nothing here is deleted.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import CheckConstraint, Column, Engine, ForeignKey, Index, Integer, MetaData, String, Table, Text

from sync.schema import Owned, bring_up

metadata = MetaData()


class State(StrEnum):
    """Of a part; a job has the state that its parts give it.

    queued: no byte was sent. sending: the row was durable before the first byte. confirmed: on paper, see `Grade`. in_doubt: may be
    on paper; waits for a ruling. reissued: to be printed again, marked 再発行. unprintable: this printer cannot be told it, now or
    later; it holds up nothing and stays so until it is ruled void, owed or seen. void, owed: ruled so; nothing will be printed.
    """

    QUEUED = "queued"
    SENDING = "sending"
    CONFIRMED = "confirmed"
    IN_DOUBT = "in_doubt"
    REISSUED = "reissued"
    UNPRINTABLE = "unprintable"
    VOID = "void"
    OWED = "owed"


class Grade(StrEnum):
    """How a part is known to be printed. confirmed: the printer named its process id after printing (GS ( H). processed: the printer
    answered a request that stood behind it (GS r). sent: all bytes were taken, the printer says nothing. seen: a person says so.
    """

    CONFIRMED = "confirmed"
    PROCESSED = "processed"
    SENT = "sent"
    SEEN = "seen"


print_job = Table(
    "print_job",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("boot", String, nullable=False),
    Column("state", String, nullable=False),
    Column("created_at", String, nullable=False),
    # 1: nobody needs to be asked. 0: a part is in doubt, or the spool was restarted within the job; nothing goes on before a ruling.
    Column("ruled", Integer, nullable=False),
    CheckConstraint("ruled IN (0, 1)"),
)

print_part = Table(
    "print_part",
    metadata,
    Column("job", String, ForeignKey("print_job.id"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("document", Text, nullable=False),
    Column("sha256", String, nullable=False),
    Column("state", String, nullable=False),
    Column("try", Integer, nullable=False),
    Column("process_id", String),
    Column("grade", String),
)
Index(
    "print_part_open",
    print_part.c.state,
    sqlite_where=print_part.c.state.in_(("queued", "sending", "in_doubt", "reissued", "unprintable")),
)

print_event = Table(
    "print_event",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("job", String),
    Column("seq", Integer),
    Column("at", String, nullable=False),
    Column("what", String, nullable=False),
    Column("detail", String, nullable=False),
)

# One row each: the run of the sale engine that may print now, and the roll in the printer.
sale_boot = Table(
    "sale_boot",
    metadata,
    Column("one", Integer, CheckConstraint("one = 1"), primary_key=True),
    Column("boot", String, nullable=False),
    Column("machine", String, nullable=False),
    Column("at", String, nullable=False),
)

print_roll = Table(
    "print_roll",
    metadata,
    Column("one", Integer, CheckConstraint("one = 1"), primary_key=True),
    Column("process_id", Integer, nullable=False),
    Column("used_dots_203", Integer, nullable=False),
)


OWNED = Owned("spool", metadata)


def create(engine: Engine) -> None:
    """Make or migrate the tables. Safe to call from every process that opens the journal. Raises NewerFile."""
    with engine.begin() as connection:
        bring_up(connection, OWNED)
