"""What the hub granted this device, kept in the journal because a device must go on with it when the cache is gone:
the catalogue, the keys of selling kiosks, leases of stock and of short ids, and which cache generation to read.

Written by the sync daemon alone, but for what the sale engine takes of it (`short_id_taken`, `stock_taken`), wants of it (`lease_wish`)
and whether it sells (`selling`); read by everyone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
    bindparam,
    func,
    select,
)

from sync.arbiter import DOCUMENT, Arbiter, check
from sync.errors import MessageError
from sync.protocol import SlotWish
from sync.schema import Owned
from tickets.catalogue import Catalogue, Slot, parse
from tickets.ids import Kid

metadata = MetaData()

document = Table(
    "granted_document",
    metadata,
    Column("name", Text, primary_key=True),
    Column("text", Text, nullable=False),
    Column("at", Text, nullable=False),
)
issuer_key = Table(
    "granted_key",
    metadata,
    Column("kid", LargeBinary, primary_key=True),
    Column("public", LargeBinary, nullable=False),
    Column("certificate", Text, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("not_before", Integer, nullable=False),
    Column("expires", Integer, nullable=False),
    Column("revoked_at", Integer),
)
lease = Table(
    "granted_lease",
    metadata,
    Column("slot", Text, primary_key=True),
    Column("product", Text, nullable=False),
    Column("starts_at", Text, nullable=False),
    Column("ends_at", Text, nullable=False),
    Column("capacity", Integer, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("free", Integer, nullable=False),
    Column("at", Text, nullable=False),
)
"""`quantity`: what is lent and not returned, of all lenders together: so many this device may have sold over the lease's whole life."""
lent = Table(
    "granted_lent",
    metadata,
    Column("incarnation", Integer, primary_key=True),
    Column("slot", Text, primary_key=True),
    Column("lender", Text, primary_key=True),
    Column("lent", Integer, nullable=False),
    Column("returned", Integer, nullable=False),
    Column("told", Integer, nullable=False),
    Column("back", Integer, nullable=False),
)
"""Totals by lender (the hub, or a venue node), which only grow. `returned` is written before it is said, so that nothing is sold that has
been given back; `told` is what the lender has acknowledged of it; `back`: so many a person wants back.
"""
lent_before = Table(
    "granted_lent_before",
    metadata,
    Column("incarnation", Integer, primary_key=True),
    Column("slot", Text, primary_key=True),
    Column("lender", Text, primary_key=True),
    Column("lent", Integer, nullable=False),
    Column("returned", Integer, nullable=False),
)
"""The totals of incarnations that are over (sync.afresh): nothing is sold of them, and a hub that was restored has to hear of them."""
EARLIER = ""
"""Under this lender, and incarnation 0, stands what earlier incarnations of this very file sold (sync.afresh). Their leases are over, but
the kiosk's own count holds their sales: a lease of this incarnation counts from there on. Said to nobody.
"""
slot_wanted = Table(
    "granted_slot_wanted",
    metadata,
    Column("slot", Text, primary_key=True),
    Column("units", Integer, nullable=False),
)
"""Elsewhere a guest waits for so many units of the slot, or its capacity was lowered by so many below what is out."""
lease_wish = Table(
    "lease_wish",
    metadata,
    Column("slot", Text, primary_key=True),
    Column("quantity", Integer, nullable=False),
    Column("at", Text, nullable=False),
)
"""A guest stands here and wants more than the lease has: the `quantity` that would do. Written by the sale engine."""
selling = Table(
    "selling",
    metadata,
    Column("one", Integer, primary_key=True),
    Column("is_open", Integer, nullable=False),
    Column("at", Text, nullable=False),
)
"""Whether the kiosk's program sells; it says so when it starts and when it is told to stop, not when it is killed."""


class Taken(StrEnum):
    """What became of a part of a lease: held for a guest who is choosing, sold, or given back."""

    HELD = "held"
    SOLD = "sold"
    RELEASED = "released"


stock_taken = Table(
    "stock_taken",
    metadata,
    Column("order", Text, primary_key=True),
    Column("slot", Text, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("boot", Text, nullable=False),
    Column("at", Text, nullable=False),
)
Index("stock_taken_by_slot", stock_taken.c.slot)
"""What the sale engine took of its leases, in the transaction of each sale. It stands here because what is held is never returned."""
short_block = Table(
    "granted_short_block",
    metadata,
    Column("length", Integer, primary_key=True),
    Column("first", Integer, primary_key=True),
    Column("last", Integer, nullable=False),
    Column("until", Text),
    Column("over", Integer, nullable=False, server_default="0"),
)
"""`until`: when the hub may begin to think of lending the block to others; null: never. `over`: that time has come."""
short_id_taken = Table(
    "short_id_taken",
    metadata,
    Column("length", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("order", Text, nullable=False),
)
"""Which numbers of the blocks are gone, and for which order: written by the sale engine alone, in the transaction that gives them
out. It stands here because the sync daemon counts what is left.
"""
NOBODY = ""
"""The order of a number that was given back: free for the next one."""

OWNED = Owned("granted", metadata)

CATALOGUE = "catalogue"
GENERATION = "cache_generation"
SHORT_ID_PEAK = "short_id_peak"
SHUT_OUT = "shut_out"
OWN_DOCUMENTS = frozenset({GENERATION, SHORT_ID_PEAK, SHUT_OUT})
"""Notes of this device among the documents."""

_DOCUMENT = select(document.c.text, document.c.at).where(document.c.name == bindparam("name"))
_STOCK_TAKEN = (
    select(stock_taken.c.slot, func.sum(stock_taken.c.count).label("units"))
    .where(stock_taken.c.state != Taken.RELEASED)
    .group_by(stock_taken.c.slot)
)
_TAKEN = select(func.count()).where(
    short_id_taken.c.length == bindparam("length"),
    short_id_taken.c.number.between(bindparam("first"), bindparam("last")),
    short_id_taken.c.order != NOBODY,
)
_KEY = select(issuer_key).where(issuer_key.c.kid == bindparam("kid"))


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A selling key as the hub certified it; `revoked_at` in seconds since 1970, None while it is good. The sync daemon has
    verified the certificate under the hub's pinned key before it wrote the row; text and signature are kept, so that whoever
    relies on the rest of it (products) reads what was signed.
    """

    kid: Kid
    public: bytes
    certificate: str
    signature: bytes
    not_before: int
    expires: int
    revoked_at: int | None


@dataclass(frozen=True, slots=True)
class SlotLease:
    """`quantity` is what this device may sell of the slot without asking, over the lease's whole life; what it sold already is
    counted from its own rows. `free` is what was left at the hub, at `at`.
    """

    slot: Slot
    quantity: int
    free: int
    at: datetime


@dataclass(frozen=True, slots=True)
class LentRow:
    """See the table `lent`."""

    slot: str
    lender: str
    lent: int
    returned: int
    told: int
    back: int


def lent_rows(connection: Connection, incarnation: int) -> list[LentRow]:
    """What each lender lent to this incarnation of the journal, by slot and lender."""
    rows = connection.execute(
        select(lent).where(lent.c.incarnation == incarnation).order_by(lent.c.slot, lent.c.lender)
    )
    return [LentRow(row.slot, row.lender, row.lent, row.returned, row.told, row.back) for row in rows]


def ended_rows(connection: Connection, incarnation: int) -> list[LentRow]:
    """The same of an incarnation that is over."""
    rows = connection.execute(
        select(lent_before)
        .where(lent_before.c.incarnation == incarnation)
        .order_by(lent_before.c.slot, lent_before.c.lender)
    )
    return [LentRow(row.slot, row.lender, row.lent, row.returned, row.returned, 0) for row in rows]


def totals(rows: Iterable[LentRow], slot: str) -> SlotWish:
    """What is said of one slot: its totals by lender, and no wish."""
    mine = [row for row in rows if row.slot == slot]
    return SlotWish(
        slot, lent={row.lender: row.lent for row in mine}, returned={row.lender: row.returned for row in mine}
    )


def catalogue(connection: Connection) -> Catalogue | None:
    """The catalogue, or None before the first contact with the hub. Raises CatalogueError for a document that cannot be used."""
    row = connection.execute(_DOCUMENT, {"name": CATALOGUE}).first()
    return None if row is None else parse(row.text)


def catalogue_text(connection: Connection) -> tuple[str, datetime] | None:
    row = connection.execute(_DOCUMENT, {"name": CATALOGUE}).first()
    return None if row is None else (row.text, datetime.fromisoformat(row.at))


def arbiter(connection: Connection, hub_key: bytes) -> Arbiter | None:
    """Who is the arbiter, by the newest statement this device has seen under the hub's key; None before the first."""
    row = connection.execute(_DOCUMENT, {"name": DOCUMENT}).first()
    if row is None:
        return None
    try:
        return check(row.text, hub_key)
    except MessageError:
        return None


def arbiter_text(connection: Connection) -> str:
    """The statement as the hub signed it, for the hub to look at; empty before the first."""
    row = connection.execute(_DOCUMENT, {"name": DOCUMENT}).first()
    return "" if row is None else str(row.text)


def generation(connection: Connection) -> int | None:
    """The number of the cache file to read; None before the first is complete."""
    row = connection.execute(_DOCUMENT, {"name": GENERATION}).first()
    return None if row is None else int(row.text)


def generation_since(connection: Connection) -> datetime | None:
    """Since when that file is the one to read."""
    row = connection.execute(_DOCUMENT, {"name": GENERATION}).first()
    return None if row is None else datetime.fromisoformat(row.at)


def key(connection: Connection, kid: Kid) -> IssuerKey | None:
    row = connection.execute(_KEY, {"kid": kid}).first()
    if row is None:
        return None
    return _issuer_key(row)


def keys(connection: Connection) -> Mapping[Kid, IssuerKey]:
    return {Kid(row.kid): _issuer_key(row) for row in connection.execute(select(issuer_key))}


def _issuer_key(row: Row[Any]) -> IssuerKey:
    return IssuerKey(
        kid=Kid(row.kid),
        public=row.public,
        certificate=row.certificate,
        signature=row.signature,
        not_before=row.not_before,
        expires=row.expires,
        revoked_at=row.revoked_at,
    )


def slot_leases(connection: Connection) -> tuple[SlotLease, ...]:
    """All leases, soonest slot first."""
    return tuple(
        SlotLease(
            slot=Slot(
                slot=row.slot,
                product=row.product,
                starts_at=datetime.fromisoformat(row.starts_at),
                ends_at=datetime.fromisoformat(row.ends_at),
                capacity=row.capacity,
            ),
            quantity=row.quantity,
            free=row.free,
            at=datetime.fromisoformat(row.at),
        )
        for row in connection.execute(select(lease).order_by(lease.c.starts_at, lease.c.slot))
    )


def stock_taken_by_slot(connection: Connection) -> dict[str, int]:
    """How many units of each slot the sale engine holds for guests or has sold."""
    return {row.slot: int(row.units) for row in connection.execute(_STOCK_TAKEN)}


def closed_since(connection: Connection) -> datetime | None:
    """Since when the kiosk's program has stopped selling; None while it sells, or never said."""
    row = connection.execute(select(selling)).first()
    return None if row is None or row.is_open else datetime.fromisoformat(row.at)


def short_blocks(connection: Connection, length: int) -> tuple[range, ...]:
    """The numbers this kiosk may print as short ids of six, or (length 8, before the check digit) of nine digits. Blocks whose time is
    over are not among them.
    """
    rows = connection.execute(
        select(short_block).where(short_block.c.length == length, short_block.c.over == 0).order_by(short_block.c.first)
    )
    return tuple(range(row.first, row.last + 1) for row in rows)


def short_ids_left(connection: Connection, length: int) -> int:
    """How many numbers this kiosk may still give out: those of its blocks that no order has."""
    return sum(
        len(block)
        - int(connection.execute(_TAKEN, {"length": length, "first": block.start, "last": block.stop - 1}).scalar_one())
        for block in short_blocks(connection, length)
    )
