"""What a journal that was put away leaves to the one after it: nothing that can still be read is lost.

Copied are the grants that can be checked, the numbers given out, and the uses this gate knows of, so that a ticket it has admitted
stays used here. Chained again, under their own op ids and word for word, are the operations that the hub has not answered, so that
the hub and every other gate come to know of them: it answers `duplicate` to those it had after all. What was edited, or is gone, is
written again from the gate's own row of the scan. What was answered is never chained twice.

All of it happens in one transaction that also notes how far it came: a power cut in between is made good at the next start.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Table, bindparam, func, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import DBAPIError

from scanner.gate import tables
from scanner.gate.answer import taken_of_row
from sync import certificate, granted, grants
from sync.arbiter import DOCUMENT
from sync.chain import ZERO_HASH, operation_hash
from sync.errors import MessageError
from sync.journal import Journal, anchor, answer, last_set_aside, meta, operation, set_aside_file
from sync.operation import (
    Admission,
    Incarnation,
    Mode,
    Operation,
    Refusal,
    Release,
    ReleaseReason,
    UnknownKind,
    from_body,
    op_of,
    to_body,
)
from sync.state import StateDir
from sync.store import open_engine, reading
from tickets.admission import Passage, Reason, VerdictKind
from tickets.ids import OP_ID_BYTES, DeviceId, OpId, RandomBytes

ROWS_AT_ONCE = 1000
CARRIED = "gate_carried"
"""The key in `meta` of the number of the last file that was carried over into this journal."""

_META = select(meta.c.value).where(meta.c.key == bindparam("key"))
_CHAINED = select(operation.c.op).where(operation.c.op == bindparam("op"))
_RELEASED = update(tables.pending).where(tables.pending.c.op == bindparam("key")).values(released=1)

Row = Mapping[str, Any]
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Carried:
    """How many uses came along, and how many operations were chained again."""

    uses: int = 0
    operations: int = 0


@dataclass(slots=True)
class _Left:
    """What the files leave, newest first: an operation is taken from the newest file that has it, an answered one from none."""

    answered: set[bytes] = field(default_factory=set)
    again: dict[bytes, Operation | str] = field(default_factory=dict)
    """By op id: the text as it stood, or an operation to be written anew."""


def carry_over(state: StateDir, journal: Journal, *, random_bytes: RandomBytes, once_more: bool = False) -> Carried:
    """Bring over what the put away journals of `state` hold and `journal` has not taken in yet. Raises DBAPIError where that cannot be
    written; what cannot be read is told, and stays where it is.

    `once_more`: the last one too, whether or not it was brought over before: this process may have written to it since.
    """
    newest = last_set_aside(state)
    with journal.read() as connection:
        done = _carried(connection)
    if once_more:
        done = min(done, newest - 1)
    if newest <= done:
        return Carried()
    hub_key = state.identity().hub_key
    left, uses, number = _Left(), 0, newest
    with journal.write() as target:
        while number > done:
            file = set_aside_file(state, number)
            old = open_engine(file, read_only=True)
            try:
                with reading(old) as source:
                    done = max(done, _carried(source))
                    uses += _carry(source, target, left, journal.device, hub_key=hub_key, random_bytes=random_bytes)
            except DBAPIError as error:
                _log.error("journal_unreadable", file=file.name, why=str(error.orig))
            finally:
                old.dispose()
            number -= 1
        operations = _chain_again(target, journal, left)
        statement = upsert(meta).values(key=CARRIED, value=str(newest))
        target.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": str(newest)}))
    _log.warning("carried_over", files=newest, uses=uses, operations=operations)
    return Carried(uses, operations)


def _carried(connection: Connection) -> int:
    """The number of the last file that was carried over into this journal; 0 for none, or where nobody can say."""
    try:
        return int(connection.scalar(_META, {"key": CARRIED}) or 0)
    except (DBAPIError, ValueError):
        return 0


def _carry(
    source: Connection, target: Connection, left: _Left, device: DeviceId, *, hub_key: bytes, random_bytes: RandomBytes
) -> int:
    """One file: copy what is copied, and note what is to be chained again. Returns how many uses came along."""
    documents, keys = granted.document, granted.issuer_key
    kept = _rows(source, documents)
    for row in kept:
        if row["name"] == DOCUMENT:  # an older arbiter than the one that was believed must not be believed again
            grants.put_arbiter(target, str(row["text"]), hub_key, at=str(row["at"]))
    others = [row for row in kept if row["name"] != DOCUMENT]
    _insert(target, upsert(documents).on_conflict_do_nothing(), others)
    vouched = [row for row in _rows(source, keys) if _vouched(row, hub_key)]
    _insert(target, upsert(keys).on_conflict_do_nothing(), vouched)
    number = upsert(tables.scan_number)
    higher = func.max(tables.scan_number.c.last, number.excluded.last)
    number = number.on_conflict_do_update(index_elements=["day"], set_={"last": higher})
    _insert(target, number, _rows(source, tables.scan_number))
    scans = [row for row in _rows(source, tables.pending) if _usable(row)]
    scan = upsert(tables.pending)
    settled = {column.name: scan.excluded[column.name] for column in tables.pending.c if column.name != "op"}
    scan = scan.on_conflict_do_update(index_elements=["op"], set_=settled, where=tables.pending.c.chained == 0)
    _insert(target, scan, scans)
    _insert(target, _RELEASED, [{"key": row["op"]} for row in scans if row["released"]])
    answers = _rows(source, answer)
    left.answered.update(row["op"] for row in answers)
    _insert(target, upsert(answer).on_conflict_do_nothing(), answers)
    _note(left, source, device, {row["op"]: row for row in scans}, random_bytes)
    return len(scans)


def _note(
    left: _Left, source: Connection, device: DeviceId, scans: Mapping[bytes, Row], random_bytes: RandomBytes
) -> None:
    """Which operations of this file the hub has not answered, and in what words they go on."""
    reached = {row["incarnation"]: row["seq"] for row in _rows(source, anchor)}
    rows = sorted(_rows(source, operation), key=lambda row: (row["incarnation"], row["seq"]))
    hashes = {(row["incarnation"], row["seq"]): row["hash"] for row in rows}
    given_back = set()
    for row in rows:
        what = _read(row)
        if isinstance(what, Release):
            given_back.add(bytes.fromhex(what.of))
        if row["seq"] <= reached.get(row["incarnation"], 0):
            left.answered.add(row["op"])
        before = ZERO_HASH if row["seq"] == 1 else hashes.get((row["incarnation"], row["seq"] - 1))
        said = _said(row, what, scans.get(row["op"]), sound=what is not None and _fits(row, device, before))
        if said is not None:
            left.again.setdefault(row["op"], said)
    for op, scan in scans.items():  # what is not even a row any more
        if scan["chained"]:
            left.again.setdefault(op, _written_anew(scan))
    native = {row["op"] for row in rows}  # a scan of an earlier file brought its release with it, or had it answered
    for op, scan in scans.items():
        if scan["released"] and op in native and op not in given_back:
            fresh = OpId(random_bytes(OP_ID_BYTES))
            left.again[fresh] = _release_anew(scan, fresh)


def _said(row: Row, what: Operation | UnknownKind | None, scan: Row | None, *, sound: bool) -> Operation | str | None:
    """What goes on of a row: its text, or, where that does not fit its chain, what the gate's own row of the scan says."""
    if isinstance(what, Incarnation):
        return None
    if not sound and scan is not None and scan["chained"]:
        return _written_anew(scan)
    if what is None:
        _log.error("operation_unreadable", number=f"{row['incarnation']}.{row['seq']}")
        return None
    if not sound:  # nothing here knows better; the file that was put away shows that it does not fit
        _log.warning("operation_unproven", number=f"{row['incarnation']}.{row['seq']}", kind=row["kind"])
    body: str = row["body"]
    return body


def _chain_again(target: Connection, journal: Journal, left: _Left) -> int:
    chained = 0
    for op, said in left.again.items():
        what = from_body(said) if isinstance(said, str) else said
        if op in left.answered or target.scalar(_CHAINED, {"op": op}) is not None:
            continue
        kind = what.kind if isinstance(what, UnknownKind) else what.KIND
        journal.append_body(target, OpId(op), kind, said if isinstance(said, str) else to_body(said))
        chained += 1
    return chained


def _read(row: Row) -> Operation | UnknownKind | None:
    """The operation of a row, None where its text is none or names another."""
    with suppress(MessageError):
        what = from_body(row["body"])
        return what if op_of(what) == row["op"] else None
    return None


def _fits(row: Row, device: DeviceId, before: bytes | None) -> bool:
    """Whether a row is the one that was appended after `before`."""
    return before is not None and row["hash"] == operation_hash(
        device, row["incarnation"], row["seq"], before, row["body"]
    )


def _written_anew(scan: Row) -> Operation:
    """The one operation that a settled scan has left, from the gate's own row: word for word what was chained then."""
    reason = None if scan["reason"] is None else Reason(scan["reason"])
    if scan["verdict"] == VerdictKind.REFUSE:
        return Refusal(
            op=scan["op"].hex(),
            at=scan["at"],
            ticket=scan["ticket"].hex(),
            reason=reason or Reason.NO_ANSWER,
            gate=scan["gate"],
            number=scan["number"] or "",
        )
    return Admission(
        op=scan["op"].hex(),
        at=scan["at"],
        ticket=scan["ticket"].hex(),
        code=None if scan["row_known"] else scan["code"],
        passage=Passage(scan["passage"]),
        units=scan["units"],
        window=scan["window"],
        gate=scan["gate"],
        mode=Mode(scan["mode"]),
        epoch=scan["epoch"],
        attention=reason,
        interrupted=bool(scan["interrupted"]),
    )


def _release_anew(scan: Row, op: OpId) -> Release:
    """A use was given back and nothing that can be read says so any more. A second release of one use changes nothing."""
    silent = scan["reason"] in (Reason.NO_ANSWER, Reason.DATA_OLD)
    return Release(
        op=op.hex(),
        at=scan["settled_at"] or scan["at"],
        of=scan["op"].hex(),
        reason=ReleaseReason.ABANDONED if silent else ReleaseReason.UNDONE,
        gate=scan["gate"],
    )


def _rows(source: Connection, table: Table) -> list[Row]:
    """Every row that can be read: up to a damaged page from the front, and down to it from the end."""
    keys = list(table.primary_key)
    found: dict[tuple[Any, ...], Row] = {}
    for backwards in (False, True):
        order = [key.desc() if backwards else key for key in keys]
        try:
            for row in source.execute(select(table).order_by(*order)).mappings():
                found.setdefault(tuple(row[key.name] for key in keys), dict(row))
            break
        except DBAPIError as error:
            _log.error("table_unreadable", table=table.name, backwards=backwards, why=str(error.orig))
    return list(found.values())


def _insert(target: Connection, statement: Any, rows: list[Any]) -> None:
    for first in range(0, len(rows), ROWS_AT_ONCE):
        target.execute(statement, rows[first : first + ROWS_AT_ONCE])


def _usable(row: Row) -> bool:
    """Whether the gate can go on with a scan of a damaged journal: one it could not read would stop its ticket at each scan."""
    try:
        taken_of_row(row)
        datetime.fromisoformat(row["settled_at"] or row["at"])
        if row["chained"]:
            to_body(_written_anew(row))
    except (ValueError, TypeError, AttributeError) as error:
        _log.error("scan_unusable", why=str(error))
        return False
    return True


def _vouched(row: Row, hub_key: bytes) -> bool:
    """Whether the hub signed this very key: a damaged journal is no place to learn keys from."""
    try:
        found = certificate.check(row["certificate"], row["signature"], hub_key)
    except (MessageError, AttributeError, TypeError):
        return False
    return bool(found.kid == row["kid"] and found.public == row["public"])
