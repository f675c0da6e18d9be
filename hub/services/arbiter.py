"""The arbiter: answers claims, a group of them in one transaction.

    shut out releases -> lock the tickets -> read answers, tombstones, uses -> decide one after another in memory -> write -> the caller commits

Claims that wait at the same time are taken together because a durable commit costs milliseconds and a claim some tenths of one; each
is decided as if it came alone, after those before it. Nothing is answered before its commit. What is read is read *after* the ticket
is locked: on PostgreSQL that needs READ COMMITTED, where each statement sees what was committed before it (in REPEATABLE READ the
second of two workers would wait for the lock and then count the uses of before).

The statements here are texts for the driver itself: it keeps them prepared, and SQLAlchemy's way through costs ten times the query.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeAlias

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from hub.errors import BadRequest, EpochPassed, HubError
from hub.services import attention, feed, reign
from hub.services.ledger import LedgerTicket, cap_of, insert_from_code, words_key
from hub.services.reign import Reign
from hub.tables import stamp
from sync.claim import ClaimMessage, answer_from_row, answer_to_row
from sync.operation import Mode
from tickets.admission import Denied, Granted, Passage, Reason, Use
from tickets.ids import DeviceId, OpId, TicketId
from tickets.ids import op_id as parse_op_id
from tickets.ids import ticket_id as parse_ticket_id
from tickets.life_cycle import TicketState

GROUP_MAX = 64
"""Claims in one transaction: more would keep the first waiting for the last."""

Result: TypeAlias = Granted | Denied | HubError

_TICKETS = "SELECT ticket, variant, uses, state, withdrawn FROM ticket WHERE ticket {keys} ORDER BY ticket {lock}"
_ANSWERS = "SELECT op, device, answer FROM claim_answer WHERE op {keys}"
_TOMBSTONES = 'SELECT "of" FROM release WHERE "of" {keys}'
_USES = (
    'SELECT ticket, op, passage, units, "window", at, gate, released, arrival FROM used WHERE ticket {keys}'
    " ORDER BY arrival, op"
)
_WORDS = "SELECT pg_advisory_xact_lock_shared(key) FROM unnest(%s::bigint[]) AS key"
_INSERT_USE = (
    'INSERT INTO used (op, ticket, passage, units, "window", at, gate, mode, epoch, released, device, arrival)'
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)"
)
_INSERT_ANSWER = "INSERT INTO claim_answer (op, device, at, answer) VALUES (?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Asked:
    """A claim and the device whose request it came in."""

    message: ClaimMessage
    device: DeviceId


@dataclass(frozen=True, slots=True)
class _Taken:
    """An unreleased use, as its row has it."""

    op: bytes
    passage: str
    units: int
    window: str
    at: str
    gate: str

    def as_use(self) -> Use:
        return Use(
            OpId(self.op), Passage(self.passage), self.units, self.window, datetime.fromisoformat(self.at), self.gate
        )


@dataclass(slots=True)
class _Book:
    """A ticket under its lock. `uses` in the order in which they reached an arbiter: their times are of many clocks and order nothing."""

    ticket: LedgerTicket | None = None
    uses: list[_Taken] = field(default_factory=list)
    arrival: int = 0


@dataclass(slots=True)
class _Group:
    """What was read for a group of claims, and what they come to."""

    reign: Reign
    now: datetime
    books: dict[bytes, _Book] = field(default_factory=dict)
    answers: dict[bytes, tuple[bytes, str]] = field(default_factory=dict)
    tombstones: set[bytes] = field(default_factory=set)
    unknown: dict[bytes, Reason] = field(default_factory=dict)
    """By op: why there is no row of its ticket."""
    new_uses: list[tuple[Any, ...]] = field(default_factory=list)
    new_answers: list[tuple[Any, ...]] = field(default_factory=list)


class _Driver:
    """The database under a SQLAlchemy connection, inside its transaction."""

    def __init__(self, connection: Connection) -> None:
        self._postgresql = connection.dialect.name == "postgresql"
        self._dialect = connection.dialect
        self._error: type[Exception] = connection.dialect.loaded_dbapi.Error
        self._cursor: Any = connection.connection.cursor()

    def rows(self, text: str, keys: Iterable[bytes]) -> list[Any]:
        wanted = list(dict.fromkeys(keys))
        if not wanted:
            return []
        with self._named(text):
            if self._postgresql:
                self._cursor.execute(_for_postgresql(text), (wanted,))
            else:
                while len(wanted) & (len(wanted) - 1):  # to a power of two, so that few texts are to be kept prepared
                    wanted.append(wanted[-1])
                self._cursor.execute(_for_sqlite(text, len(wanted)), wanted)
            found: list[Any] = self._cursor.fetchall()
        return found

    def lock_words(self, devices: Iterable[DeviceId]) -> None:
        """`ledger.lock_words` for several devices in one question, in one order for everybody."""
        if self._postgresql and (keys := sorted({words_key(device) for device in devices})):
            with self._named(_WORDS):
                self._cursor.execute(_WORDS, (keys,))

    def insert(self, text: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            with self._named(text):
                self._cursor.executemany(text.replace("?", "%s") if self._postgresql else text, rows)

    @contextmanager
    def _named(self, text: str) -> Iterator[None]:
        """What the driver raises comes out as SQLAlchemy would have said it: others tell a lost race from a lost database by that."""
        try:
            yield
        except self._error as error:
            raise DBAPIError.instance(
                text, None, error, self._error, hide_parameters=True, dialect=self._dialect
            ) from error

    def close(self) -> None:
        self._cursor.close()


@lru_cache(maxsize=64)
def _for_sqlite(text: str, count: int) -> str:
    return text.format(keys=f"IN ({', '.join('?' * count)})", lock="")


@lru_cache(maxsize=16)
def _for_postgresql(text: str) -> str:
    return text.format(keys="= ANY(%s)", lock="FOR UPDATE")


def claims(
    connection: Connection, asked: Sequence[Asked], *, me: DeviceId | None, hub_key: bytes, now: datetime
) -> list[Result]:
    """The arbiter's answer to each claim, in order; an error of its own for one that cannot be answered. A known op gets the same
    answer again. `me` is the venue node whose database this is, None for the hub. Valid once the caller has committed.

    Raises IntegrityError where another worker has answered one of these operations meanwhile: ask again.
    """
    group = _Group(reign.present(connection, me=me, hub_key=hub_key), now)
    driver = _Driver(connection)
    try:
        _read(connection, driver, group, asked)
        results = [_answered(connection, group, one) for one in asked]
        driver.insert(_INSERT_USE, group.new_uses)
        driver.insert(_INSERT_ANSWER, group.new_answers)
    finally:
        driver.close()
    if group.new_uses:
        feed.touch(connection, "used", [row[0] for row in group.new_uses])
    for one in asked:
        if one.message.epoch > group.reign.epoch:
            detail = f"a gate lives in epoch {one.message.epoch}, the newest known here is {group.reign.epoch}"
            attention.note_trouble(connection, device=one.device, kind="epoch", detail=detail, now=now)
    return results


def _read(connection: Connection, driver: _Driver, group: _Group, asked: Sequence[Asked]) -> None:
    """Locks first, those against releases and then in the order of the tickets' ids, so that two groups never wait for each other; then everything that is counted."""
    ruled = [one.message for one in asked if _ruled(group.reign, one.message)]
    tickets = sorted({bytes.fromhex(message.ticket) for message in ruled})
    group.books = {ticket: _Book() for ticket in tickets}
    driver.lock_words(one.device for one in asked if _ruled(group.reign, one.message))
    _lock(driver, group, tickets)
    ops = [bytes.fromhex(message.op) for message in ruled]
    _recall(driver, group, ops)
    group.tombstones = {bytes(row[0]) for row in driver.rows(_TOMBSTONES, ops)}
    if any(book.ticket is None for book in group.books.values()):
        _insert_unknown(connection, driver, group, asked)
        _recall(driver, group, ops)  # whoever inserted one of them first may have answered as well
    for ticket, op, passage, units, window, at, gate, released, arrival in driver.rows(_USES, tickets):
        book = group.books[bytes(ticket)]
        book.arrival = max(book.arrival, arrival)
        if not released:
            book.uses.append(_Taken(bytes(op), passage, units, window, at, gate))


def _recall(driver: _Driver, group: _Group, ops: Sequence[bytes]) -> None:
    group.answers = {bytes(op): (bytes(device), text) for op, device, text in driver.rows(_ANSWERS, ops)}


def _lock(driver: _Driver, group: _Group, tickets: Sequence[bytes]) -> None:
    for ticket, variant, uses, state, withdrawn in driver.rows(_TICKETS, tickets):
        found = LedgerTicket(TicketId(bytes(ticket)), variant, uses, TicketState(state), withdrawn)
        group.books[found.ticket].ticket = found


def _insert_unknown(connection: Connection, driver: _Driver, group: _Group, asked: Sequence[Asked]) -> None:
    """Rows of tickets that nobody has told of yet, from the codes that travel with their claims."""
    fresh = []
    for one in sorted(asked, key=lambda one: one.message.ticket):
        message, op = one.message, bytes.fromhex(one.message.op)
        book = group.books.get(bytes.fromhex(message.ticket))
        if book is None or book.ticket is not None or op in group.answers or op in group.tombstones:
            continue
        ticket = parse_ticket_id(message.ticket)
        if ticket in fresh:
            continue
        why: Reason | None = Reason.UNKNOWN
        if message.code is not None:
            why = insert_from_code(connection, ticket, message.code, device=one.device, now=group.now)
        if why is None or why is Reason.BLOCKED:
            fresh.append(ticket)
        else:
            group.unknown[op] = why
    _lock(driver, group, fresh)


def _ruled(reigns: Reign, message: ClaimMessage) -> bool:
    return reigns.rules and message.epoch == reigns.epoch


def _answered(connection: Connection, group: _Group, one: Asked) -> Result:
    message, op = one.message, parse_op_id(one.message.op)
    if not _ruled(group.reign, message):
        who = "another arbiter rules" if not group.reign.rules else "this arbiter rules"
        return EpochPassed(
            f"{who} in epoch {group.reign.epoch}, the gate lives in {message.epoch}", epoch=group.reign.epoch
        )
    known = group.answers.get(op)
    if known is not None:
        device, text = known
        if device != one.device:
            return BadRequest("this operation id is another device's")
        return _again(text, message.epoch)
    if message.kind is Passage.ENTRY and message.units < 1:
        return BadRequest("an entry takes at least one unit")
    answer = _decide(
        group, message, op, device=one.device, cap_in=lambda found: cap_of(connection, found, message.window)
    )
    text = json.dumps(answer_to_row(message.op, answer, epoch=message.epoch), separators=(",", ":"))
    group.answers[op] = (one.device, text)
    group.new_answers.append((op, one.device, stamp(group.now), text))
    return answer


def _decide(
    group: _Group, message: ClaimMessage, op: OpId, *, device: DeviceId, cap_in: Callable[[LedgerTicket], int]
) -> Granted | Denied:
    if op in group.tombstones:
        return Denied(Reason.NO_ANSWER)  # given up by its gate before it arrived
    ticket = parse_ticket_id(message.ticket)
    book = group.books[ticket]
    found = book.ticket
    if found is None:
        return Denied(group.unknown.get(op, Reason.UNKNOWN))
    here = [use for use in book.uses if use.window == message.window]
    cap = cap_in(found)
    spent = found.withdrawn_in(message.window) + sum(use.units for use in here)
    if any(use.op == op for use in book.uses):  # its admission was uploaded before its claim came
        return Granted(message.epoch, None if cap == 0 else max(0, cap - spent))
    if found.state is not TicketState.VALID:
        return Denied(Reason(found.state.value))
    refused = _against(message, book.uses, here, cap=cap, spent=spent)
    if refused is not None:
        return refused
    units = message.units if message.kind is Passage.ENTRY else 0
    taken = _Taken(op, message.kind.value, units, message.window, stamp(group.now), message.gate)
    book.uses.append(taken)
    book.arrival += 1
    row = (op, ticket, taken.passage, units, taken.window, taken.at, taken.gate)
    group.new_uses.append((*row, Mode.CONFIRMED.value, message.epoch, device, book.arrival))
    return Granted(message.epoch, None if cap == 0 else max(0, cap - spent - units))


def _against(
    message: ClaimMessage, all_uses: list[_Taken], here: list[_Taken], *, cap: int, spent: int
) -> Denied | None:
    """What stands in a claim's way: direction for re-entry and exit, the cap for entry.

    The direction is the last that arrived here. Each exit is good for one re-entry, counted, within its own window: gates upload
    late, and then the last to arrive is not the last that happened.
    """
    match message.kind:
        case Passage.EXIT:
            inside = bool(all_uses) and all_uses[-1].passage != Passage.EXIT
            return None if inside else Denied(Reason.NOT_INSIDE)
        case Passage.REENTRY:
            exits = sum(use.passage == Passage.EXIT for use in here)
            returned = sum(use.passage == Passage.REENTRY for use in here)
            outside = bool(here) and here[-1].passage == Passage.EXIT and exits > returned
            return None if outside else Denied(Reason.ALREADY_USED, all_uses[-1].as_use() if all_uses else None)
        case Passage.ENTRY:
            if cap and spent + message.units > cap:
                first = next((use.as_use() for use in here if use.units), None)
                return Denied(Reason.ALREADY_USED if cap == 1 else Reason.EXHAUSTED, first)
            return None


def _again(text: str, epoch: int) -> Granted | Denied:
    """What was answered before, in the words of the present reign: its arbiter has that use in its own ledger."""
    row = json.loads(text)
    return answer_from_row({**row, "epoch": epoch}, op=row["op"])
