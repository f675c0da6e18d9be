"""Writes what the hub granted into the journal: catalogue, keys, slots, leases, short ids, and which cache generation to read.

Nothing that cannot be checked is put in force: a key without a certificate under the pinned hub key, or a catalogue that does not
parse, is left out and named; what was in force before stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from sync import arbiter, certificate, granted, journal
from sync.arbiter import Arbiter
from sync.errors import MessageError
from sync.protocol import BlockGrant, LeaseAnswer, Page, TableRows
from sync.state import Identity, Role
from tickets.catalogue import CatalogueError, parse
from tickets.ids import op_id as parse_op_id

TABLES = ("document", "key", "slot", "answer")
"""Tables of the feed that go into the journal; `ticket` and `used` go into the cache, others are of a later version."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What a page put in force: how many rows changed, what was left out and why, and the keys seen, by table."""

    changed: int = 0
    left_out: tuple[str, ...] = ()
    seen: Mapping[str, frozenset[str]] = field(default_factory=dict)


def has_grants(page: Page) -> bool:
    return any(part.table in TABLES for part in page.tables)


def apply(connection: Connection, page: Page, identity: Identity) -> Applied:
    """Lay the granted rows of a page over the journal, in the caller's transaction. Raises MessageError for rows of another shape."""
    changed, left_out = 0, []
    seen: dict[str, frozenset[str]] = {}
    at = page.at.isoformat()
    try:
        for part in page.tables:
            match part.table:
                case "document":
                    wrong = _documents(connection, part, identity.hub_key)
                case "key":
                    wrong = _keys(connection, part, identity.hub_key)
                case "slot":
                    wrong = _slots(connection, part, at=at) if identity.role is Role.KIOSK else []
                case "answer":
                    wrong = _answers(connection, part)
                case _:
                    continue
            left_out.extend(wrong)
            changed += len(part.rows) + len(part.deletes) - len(wrong)
            name = {"document": "name", "key": "kid", "slot": "slot", "answer": "op"}[part.table]
            seen[part.table] = frozenset(str(row[name]) for row in part.as_mappings())
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise MessageError(f"a page whose rows cannot be read: {error!r}") from error
    return Applied(changed=changed, left_out=tuple(left_out), seen=seen)


OWN_DOCUMENTS = (granted.GENERATION, "shut_out")
"""Names that this device writes itself."""


def _documents(connection: Connection, part: TableRows, hub_key: bytes) -> list[str]:
    wrong = []
    for row in part.as_mappings():
        if row["name"] in OWN_DOCUMENTS:
            wrong.append(f"document {row['name']}: not the hub's to say")
            continue
        if row["name"] == arbiter.DOCUMENT:
            try:
                stated = arbiter.check(str(row["text"]), hub_key)
            except MessageError as error:
                wrong.append(f"document {arbiter.DOCUMENT}: {error}")
                continue
            held = statement(connection, hub_key)
            if held is not None and held.epoch > stated.epoch:
                continue  # a restored hub, or a node that was away for long: the newer reign stays
        if row["name"] == granted.CATALOGUE:
            try:
                parse(row["text"])
            except CatalogueError as error:
                wrong.append(str(error))
                continue
        put_document(connection, str(row["name"]), str(row["text"]), at=str(row["at"]))
    return wrong


def put_document(connection: Connection, name: str, text: str, *, at: str) -> None:
    """A document in force from here on; the hub's word, or what the sync daemon itself tells the others."""
    statement = upsert(granted.document).values(name=name, text=text, at=at)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"text": statement.excluded.text, "at": statement.excluded.at}
        )
    )


def statement(connection: Connection, hub_key: bytes) -> Arbiter | None:
    """The newest statement of the hub about the venue's arbiter that came here; None before the first."""
    text = connection.scalar(select(granted.document.c.text).where(granted.document.c.name == arbiter.DOCUMENT))
    if text is None:
        return None
    try:
        return arbiter.check(text, hub_key)
    except MessageError:
        return None


def _keys(connection: Connection, part: TableRows, hub_key: bytes) -> list[str]:
    wrong = []
    for row in part.as_mappings():
        signature = bytes.fromhex(row["signature"])
        try:
            held = certificate.check(row["certificate"], signature, hub_key)
            if held.kid.hex() != row["kid"]:
                raise MessageError("a certificate of another key")
        except MessageError as error:
            wrong.append(f"key {row['kid']}: {error}")
            continue
        revoked = row["revoked_at"]
        values = {
            "kid": held.kid,
            "public": held.public,
            "certificate": row["certificate"],
            "signature": signature,
            "not_before": held.not_before,
            "expires": held.expires,
            "revoked_at": None if revoked is None else int(revoked),
        }
        statement = upsert(granted.issuer_key).values(values)
        changed = {name: statement.excluded[name] for name in values if name != "kid"}
        connection.execute(statement.on_conflict_do_update(index_elements=["kid"], set_=changed))
    # A key is never taken away, only revoked: tickets that it signed are out there.
    return wrong


def _slots(connection: Connection, part: TableRows, *, at: str) -> list[str]:
    """Slots as the hub has them. What this kiosk holds of one (`quantity`) is the lease's to say, not the feed's."""
    for row in part.as_mappings():
        values = {
            "slot": str(row["slot"]),
            "product": str(row["product"]),
            "starts_at": datetime.fromisoformat(row["starts_at"]).isoformat(),
            "ends_at": datetime.fromisoformat(row["ends_at"]).isoformat(),
            "capacity": int(row["capacity"]),
            "free": int(row["free"]),
            "at": at,
        }
        statement = upsert(granted.lease).values(quantity=0, **values)
        changed = {name: statement.excluded[name] for name in values if name != "slot"}
        connection.execute(statement.on_conflict_do_update(index_elements=["slot"], set_=changed))
    if part.deletes:
        connection.execute(delete(granted.lease).where(granted.lease.c.slot.in_(part.deletes)))
    return []


def _answers(connection: Connection, part: TableRows) -> list[str]:
    """What the hub makes of a rejected operation since it was tried again there. Only operations of this journal are of any interest."""
    for row in part.as_mappings():
        op = parse_op_id(row["op"])
        if connection.scalar(select(journal.operation.c.op).where(journal.operation.c.op == op)) is None:
            continue
        values = {"op": op, "status": str(row["status"]), "reason": str(row["reason"]), "at": str(row["at"])}
        statement = upsert(journal.answer).values(values)
        changed = {name: statement.excluded[name] for name in values if name != "op"}
        connection.execute(statement.on_conflict_do_update(index_elements=["op"], set_=changed))
    return []


def end_leases(connection: Connection, sold: Mapping[str, int]) -> None:
    """Nothing of any lease or block may be sold any more. `sold`: units by slot that were sold from them, as far as is known here."""
    connection.execute(delete(granted.sold_before))
    rows = [{"slot": slot, "quantity": count} for slot, count in sold.items() if count > 0]
    if rows:
        connection.execute(insert(granted.sold_before), rows)
    connection.execute(update(granted.lease).values(quantity=_sold_before(granted.lease.c.slot)))
    connection.execute(update(granted.short_block).values(over=1))


def _sold_before(slot: ColumnElement[str]) -> ColumnElement[int]:
    before = granted.sold_before
    return func.coalesce(select(before.c.quantity).where(before.c.slot == slot).scalar_subquery(), 0)


def apply_lease(connection: Connection, answer: LeaseAnswer) -> None:
    """Put an answer about leases in force. A lease never shrinks by an answer that came late."""
    at = answer.at.isoformat()
    for grant in answer.slots:
        quantity = grant.quantity + _sold_before(granted.lease.c.slot)
        connection.execute(
            update(granted.lease)
            .where(granted.lease.c.slot == grant.slot, granted.lease.c.quantity <= quantity)
            .values(quantity=quantity, free=grant.free, at=at)
        )
    for block in answer.blocks:
        _put_block(connection, block, at=answer.at)


def _put_block(connection: Connection, block: BlockGrant, *, at: datetime) -> None:
    """A block as the hub has it. One that comes with a later end was lent to this kiosk anew: what it once took of it is free again.
    One that this kiosk left too early, by a clock that was wrong, is taken up where it was left.
    """
    table = granted.short_block
    here = (table.c.length == block.length, table.c.first == block.first)
    known = connection.execute(select(table.c.until).where(*here)).first()
    until = None if block.until is None else block.until.isoformat()
    if known is None:
        row = {"length": block.length, "first": block.first, "last": block.last, "until": until}
        connection.execute(upsert(table).values(row))
        return
    if block.until is None:
        return
    before = None if known.until is None else datetime.fromisoformat(known.until)
    if before is not None and block.until < before:
        return  # an answer that came late
    if before is not None and block.until > before:
        taken = granted.short_id_taken
        connection.execute(
            delete(taken).where(taken.c.length == block.length, taken.c.number.between(block.first, block.last))
        )
    connection.execute(update(table).where(*here).values(until=until, over=int(block.until <= at)))


def switch_generation(connection: Connection, number: int, *, at: str) -> None:
    """From now on everyone reads this cache file."""
    put_document(connection, granted.GENERATION, str(number), at=at)


def forget_unseen(connection: Connection, seen: Mapping[str, Iterable[str]]) -> None:
    """After the whole feed was read anew: drop slots that it did not name. Keys and documents are never taken away."""
    known = set(connection.scalars(select(granted.lease.c.slot)))
    gone = known - set(seen.get("slot", ()))
    if gone:
        connection.execute(delete(granted.lease).where(granted.lease.c.slot.in_(gone)))
