"""Writes what the hub granted into the journal: catalogue, keys, slots, leases, short ids, and which cache generation to read.

Nothing that cannot be checked is put in force: a key without a certificate under the pinned hub key, or a catalogue that does not
parse, is left out and named; what was in force before stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from sync import arbiter, certificate, granted, journal
from sync.arbiter import DOCUMENT
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


def _documents(connection: Connection, part: TableRows, hub_key: bytes) -> list[str]:
    wrong = []
    for row in part.as_mappings():
        if row["name"] in granted.OWN_DOCUMENTS:
            wrong.append(f"document {row['name']}: not the hub's to say")
            continue
        if row["name"] == DOCUMENT:
            why = put_arbiter(connection, str(row["text"]), hub_key, at=str(row["at"]))
            wrong.extend([why] if why else [])
            continue
        if row["name"] == granted.CATALOGUE:
            try:
                parse(row["text"])
            except CatalogueError as error:
                wrong.append(str(error))
                continue
        put_document(connection, str(row["name"]), str(row["text"]), at=str(row["at"]))
    return wrong


def put_arbiter(connection: Connection, text: str, hub_key: bytes, *, at: str) -> str:
    """Keep a statement of who is the arbiter, unless a newer one is kept already: a device believes the newest it has ever seen.

    Why it was left out, empty where it was kept or is the one that is kept. An older one is no fault of whoever passed it on, but
    from the hub it means that the hub was put back to an earlier time.
    """
    try:
        said = arbiter.check(text, hub_key)
    except MessageError as error:
        return f"document {DOCUMENT}: {error}"
    held = granted.arbiter(connection, hub_key)
    if held is not None and held.epoch >= said.epoch:
        return "" if held == said else f"document {DOCUMENT}: epoch {said.epoch}, {held.epoch} is in force"
    put_document(connection, DOCUMENT, text, at=at)
    return ""


def put_document(connection: Connection, name: str, text: str, *, at: str) -> None:
    """A document in force from here on; the hub's word, or what the sync daemon itself tells the others."""
    statement = upsert(granted.document).values(name=name, text=text, at=at)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"text": statement.excluded.text, "at": statement.excluded.at}
        )
    )


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


def put_certificate(connection: Connection, checked: certificate.Certificate, text: str, signature: bytes) -> None:
    """A new certificate for a key that is in force; the caller has checked it."""
    changed = {
        "certificate": text,
        "signature": signature,
        "not_before": checked.not_before,
        "expires": checked.expires,
    }
    connection.execute(update(granted.issuer_key).where(granted.issuer_key.c.kid == checked.kid).values(changed))


def _slots(connection: Connection, part: TableRows, *, at: str) -> list[str]:
    """Slots as the hub has them. What this kiosk holds of one (`quantity`) is the lease's to say, not the feed's. A cancelled slot is
    gone: nothing of it is sold any more.
    """
    gone = list(part.deletes)
    for row in part.as_mappings():
        if row.get("state", "open") != "open":
            gone.append(str(row["slot"]))
            continue
        values = {
            "slot": str(row["slot"]),
            "product": str(row["product"]),
            "starts_at": datetime.fromisoformat(row["starts_at"]).isoformat(),
            "ends_at": datetime.fromisoformat(row["ends_at"]).isoformat(),
            "capacity": int(row["capacity"]),
            "free": int(row["free"]),
            "at": at,
        }
        held = _net(connection, str(row["slot"]))
        statement = upsert(granted.lease).values(quantity=held, **values)
        changed = {name: statement.excluded[name] for name in values if name != "slot"}
        connection.execute(statement.on_conflict_do_update(index_elements=["slot"], set_=changed))
        _put_wanted(connection, str(row["slot"]), int(row.get("wanted", 0)))
    if gone:
        connection.execute(delete(granted.lease).where(granted.lease.c.slot.in_(gone)))
        connection.execute(delete(granted.slot_wanted).where(granted.slot_wanted.c.slot.in_(gone)))
    return []


def _put_wanted(connection: Connection, slot: str, units: int) -> None:
    table = granted.slot_wanted
    if units <= 0:
        connection.execute(delete(table).where(table.c.slot == slot))
        return
    statement = upsert(table).values(slot=slot, units=units)
    connection.execute(statement.on_conflict_do_update(index_elements=["slot"], set_={"units": units}))


def _net(connection: Connection, slot: str) -> int:
    """What is lent and not returned, of all lenders, and what was sold of leases that are over."""
    total = select(func.coalesce(func.sum(granted.lent.c.lent - granted.lent.c.returned), 0))
    return int(connection.scalar(total.where(granted.lent.c.slot == slot)) or 0)


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
    """A new incarnation begins in this file: nothing of any lease or block may be sold any more. `sold`: units by slot of the sales that
    stay under earlier incarnations; what is sold or chained again from now on is of leases that the hub has still to give.
    """
    over = select(*(granted.lent.c[column.name] for column in granted.lent_before.columns))
    over = over.where(granted.lent.c.lender != granted.EARLIER)
    connection.execute(upsert(granted.lent_before).from_select([*granted.lent_before.columns.keys()], over))
    connection.execute(delete(granted.lent))
    rows = [
        {"incarnation": 0, "slot": slot, "lender": granted.EARLIER, "lent": units, "returned": 0, "told": 0, "back": 0}
        for slot, units in sold.items()
        if units > 0
    ]
    if rows:
        connection.execute(insert(granted.lent), rows)
    for slot in connection.scalars(select(granted.lease.c.slot)).all():
        connection.execute(
            update(granted.lease).where(granted.lease.c.slot == slot).values(quantity=_net(connection, slot))
        )
    connection.execute(update(granted.short_block).values(over=1))


def apply_lease(connection: Connection, answer: LeaseAnswer, *, incarnation: int) -> None:
    """Put an answer about leases in force. A lease never shrinks by an answer, however late; it shrinks by what is returned."""
    at = answer.at.isoformat()
    table = granted.lent
    for grant in answer.slots:
        key = {"incarnation": incarnation, "slot": grant.slot, "lender": answer.lender}
        fresh = upsert(table).values(lent=grant.quantity, returned=grant.returned, told=grant.returned, back=0, **key)
        connection.execute(fresh.on_conflict_do_nothing())
        here = [table.c[name] == value for name, value in key.items()]
        connection.execute(
            update(table)
            .where(*here)
            .values(
                lent=func.max(table.c.lent, grant.quantity),
                told=func.max(table.c.told, grant.returned),
                back=grant.back,
            )
        )
        mine = granted.lease.c.slot == grant.slot
        connection.execute(update(granted.lease).where(mine).values(quantity=_net(connection, grant.slot)))
        newer = update(granted.lease).where(mine, granted.lease.c.at <= at)
        connection.execute(newer.values(free=grant.free, at=at))
    for block in answer.blocks:
        _put_block(connection, block, at=answer.at)


def give_back(connection: Connection, slot: str, units: int, *, incarnation: int, lender: str) -> None:
    """Return units of a lease, before it is said to anyone: from this transaction on they are not this device's to sell. The caller has
    made sure, in this transaction, that they are neither sold nor held, and that this lender lent them.
    """
    table = granted.lent
    here = (table.c.incarnation == incarnation, table.c.slot == slot, table.c.lender == lender)
    connection.execute(update(table).where(*here).values(returned=table.c.returned + units))
    left = connection.execute(select(table.c.lent - table.c.returned).where(*here)).scalar_one()
    assert left >= 0, "no more is returned than was lent"
    mine = granted.lease.c.slot == slot
    connection.execute(update(granted.lease).where(mine).values(quantity=_net(connection, slot)))


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


def remember(connection: Connection, name: str, text: str, *, at: datetime) -> None:
    """Keep a note of this device's own beside the documents. The hub's documents have other names."""
    put_document(connection, name, text, at=at.isoformat())


def switch_generation(connection: Connection, number: int, *, at: str) -> None:
    """From now on everyone reads this cache file."""
    put_document(connection, granted.GENERATION, str(number), at=at)


def forget_unseen(connection: Connection, seen: Mapping[str, Iterable[str]]) -> None:
    """After the whole feed was read anew: drop slots that it did not name. Keys and documents are never taken away."""
    known = set(connection.scalars(select(granted.lease.c.slot)))
    gone = known - set(seen.get("slot", ()))
    if gone:
        connection.execute(delete(granted.lease).where(granted.lease.c.slot.in_(gone)))
