"""What the hub granted this device, kept in the journal because a device must go on with it when the cache is gone:
the catalogue, the keys of selling kiosks, leases of stock and of short ids, and which cache generation to read.

Written by the sync daemon alone, but for `short_id_taken`; read by everyone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Integer, LargeBinary, MetaData, Row, Table, Text, bindparam, func, select

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
sold_before = Table(
    "granted_sold_before",
    metadata,
    Column("slot", Text, primary_key=True),
    Column("quantity", Integer, nullable=False),
)
"""Sold under earlier incarnations of this very file (sync.afresh). Their leases are over, but the kiosk's count holds their sales: a lease
of this incarnation counts from there on.
"""
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

CATALOGUE = "catalogue"
GENERATION = "cache_generation"

_DOCUMENT = select(document.c.text, document.c.at).where(document.c.name == bindparam("name"))
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


def catalogue(connection: Connection) -> Catalogue | None:
    """The catalogue, or None before the first contact with the hub. Raises CatalogueError for a document that cannot be used."""
    row = connection.execute(_DOCUMENT, {"name": CATALOGUE}).first()
    return None if row is None else parse(row.text)


def catalogue_text(connection: Connection) -> tuple[str, datetime] | None:
    row = connection.execute(_DOCUMENT, {"name": CATALOGUE}).first()
    return None if row is None else (row.text, datetime.fromisoformat(row.at))


def generation(connection: Connection) -> int | None:
    """The number of the cache file to read; None before the first is complete."""
    row = connection.execute(_DOCUMENT, {"name": GENERATION}).first()
    return None if row is None else int(row.text)


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
