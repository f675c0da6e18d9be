"""Today at a glance: what the office's first page shows, read in one transaction."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from hub.services import devices, ledger, venue
from hub.services.devices import KnownDevice
from hub.tables import doubt, order, order_line, owed, payment, refusal, stamp, telemetry, ticket, trouble, used
from sync.conflict import Conflict
from tickets.catalogue import Catalogue
from tickets.ids import TicketId

ROWS_MAX = 200
BEGUN_S = 300.0
"""A payment lasts 90 s at most; one that began longer ago and was never heard of again is for a person."""
"""A page lists the newest so many; the totals count all."""


@dataclass(frozen=True, slots=True)
class SaleRow:
    order: bytes
    number: str
    at: datetime
    device: str
    lines: tuple[tuple[int, int], ...]
    total_minor: int
    currency: str
    state: str
    tender: str
    tickets: tuple[tuple[TicketId, str, str], ...]


@dataclass(frozen=True, slots=True)
class ScanRow:
    """An admission (`reason` None), or a refusal with its short number."""

    at: datetime
    gate: str
    ticket: TicketId | None
    variant: int | None
    short_id: str
    passage: str
    units: int
    reason: str | None
    number: str
    confirmed: bool
    released: bool


@dataclass(frozen=True, slots=True)
class DeviceRow:
    device: KnownDevice
    heard_at: datetime | None
    unsent: int | None
    parts: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Today:
    """Money is in minor units per currency; `people` the units admitted, released ones left out."""

    catalogue: Catalogue | None
    now: datetime
    gross: dict[str, int]
    sales_count: int
    by_tender: dict[str, int]
    tickets_sold: int
    people: int
    refused: int
    by_gate: dict[str, int]
    sales: tuple[SaleRow, ...]
    scans: tuple[ScanRow, ...]
    devices: tuple[DeviceRow, ...]
    conflicts: tuple[tuple[Conflict, str, str], ...]
    doubts: tuple[Any, ...]
    owed: tuple[Any, ...]
    troubles: tuple[Any, ...]

    @property
    def needs_attention(self) -> int:
        return len(self.conflicts) + len(self.doubts) + len(self.owed) + len(self.troubles)


def today(connection: Connection, *, now: datetime) -> Today:
    """The business day that `now` belongs to."""
    catalogue = venue.find_catalogue(connection)
    if catalogue is None:
        start, end = stamp(now.replace(hour=0, minute=0, second=0, microsecond=0)), "9999"
    else:
        day = catalogue.venue.day
        start, end = stamp(day.starts(day.of(now))), stamp(day.ends(day.of(now)))
    within = order.c.at.between(start, end)
    money = connection.execute(
        select(order.c.currency, payment.c.tender, func.sum(payment.c.amount_minor))
        .join(order, order.c.order == payment.c.order)
        .where(within)
        .group_by(order.c.currency, payment.c.tender)
    ).all()
    gross: Counter[str] = Counter()
    by_tender: Counter[str] = Counter()
    for currency, tender, amount in money:
        gross[currency] += int(amount)
        by_tender[tender] += int(amount)
    gates = connection.execute(
        select(used.c.gate, func.sum(used.c.units))
        .where(used.c.at.between(start, end), used.c.released == 0)
        .group_by(used.c.gate)
    ).all()
    sold = select(func.count()).select_from(ticket).join(order, order.c.order == ticket.c.order)
    return Today(
        catalogue=catalogue,
        now=now,
        gross=dict(gross),
        sales_count=int(connection.scalar(select(func.count()).select_from(order).where(within)) or 0),
        by_tender=dict(by_tender),
        tickets_sold=int(connection.scalar(sold.where(within, order.c.state == "paid")) or 0),
        people=sum(int(units) for _, units in gates),
        refused=int(
            connection.scalar(select(func.count()).select_from(refusal).where(refusal.c.at.between(start, end))) or 0
        ),
        by_gate={gate: int(units) for gate, units in gates},
        sales=_sales(connection, within),
        scans=_scans(connection, start, end),
        devices=_devices(connection),
        conflicts=_conflicts(connection),
        doubts=_open_doubts(connection, now=now),
        owed=tuple(connection.execute(select(owed).order_by(owed.c.at.desc()).limit(50))),
        troubles=tuple(connection.execute(select(trouble).order_by(trouble.c.number.desc()).limit(50))),
    )


_LINES = select(order_line.c.order, order_line.c.variant, order_line.c.count.label("quantity")).order_by(
    order_line.c.line
)


def _sales(connection: Connection, within: Any) -> tuple[SaleRow, ...]:
    labels = {item.device: item.label for item in devices.all_devices(connection)}
    rows = connection.execute(select(order).where(within).order_by(order.c.at.desc()).limit(ROWS_MAX)).all()
    ids = [row.order for row in rows]
    lines: dict[bytes, list[tuple[int, int]]] = {}
    for line in connection.execute(_LINES.where(order_line.c.order.in_(ids))):
        lines.setdefault(line.order, []).append((line.variant, line.quantity))
    charges = select(payment.c.order, payment.c.tender).where(payment.c.order.in_(ids), payment.c.kind == "charge")
    tenders = {charge.order: charge.tender for charge in connection.execute(charges)}
    made: dict[bytes, list[tuple[TicketId, str, str]]] = {}
    query = select(ticket.c.order, ticket.c.ticket, ticket.c.short_id, ticket.c.state).where(ticket.c.order.in_(ids))
    for row in connection.execute(query.order_by(ticket.c.line, ticket.c.book, ticket.c.part, ticket.c.short_id)):
        made.setdefault(row.order, []).append((TicketId(row.ticket), row.short_id, row.state))
    return tuple(
        SaleRow(
            order=row.order,
            number=row.number,
            at=datetime.fromisoformat(row.at),
            device=labels.get(row.device, "?"),
            lines=tuple(lines.get(row.order, [])),
            total_minor=row.total_minor,
            currency=row.currency,
            state=row.state,
            tender=tenders.get(row.order, ""),
            tickets=tuple(made.get(row.order, [])),
        )
        for row in rows
    )


def _scans(connection: Connection, start: str, end: str) -> tuple[ScanRow, ...]:
    admitted = connection.execute(
        select(used, ticket.c.variant, ticket.c.short_id)
        .outerjoin(ticket, ticket.c.ticket == used.c.ticket)
        .where(used.c.at.between(start, end))
        .order_by(used.c.at.desc())
        .limit(ROWS_MAX)
    ).all()
    refused = connection.execute(
        select(refusal, ticket.c.variant, ticket.c.short_id)
        .outerjoin(ticket, ticket.c.ticket == refusal.c.ticket)
        .where(refusal.c.at.between(start, end))
        .order_by(refusal.c.at.desc())
        .limit(ROWS_MAX)
    ).all()
    rows = [
        ScanRow(
            at=datetime.fromisoformat(row.at),
            gate=row.gate,
            ticket=TicketId(row.ticket),
            variant=row.variant,
            short_id=row.short_id or "",
            passage=row.passage,
            units=row.units,
            reason=None,
            number="",
            confirmed=row.mode == "confirmed",
            released=bool(row.released),
        )
        for row in admitted
    ] + [
        ScanRow(
            at=datetime.fromisoformat(row.at),
            gate=row.gate,
            ticket=None if row.ticket is None else TicketId(row.ticket),
            variant=row.variant,
            short_id=row.short_id or "",
            passage="",
            units=0,
            reason=row.reason,
            number=row.number,
            confirmed=True,
            released=False,
        )
        for row in refused
    ]
    return tuple(sorted(rows, key=lambda row: row.at, reverse=True)[:ROWS_MAX])


def _devices(connection: Connection) -> tuple[DeviceRow, ...]:
    said = {row.device: row for row in connection.execute(select(telemetry))}
    result = []
    for known in devices.all_devices(connection):
        row = said.get(known.device)
        body = {} if row is None else json.loads(row.body)
        result.append(
            DeviceRow(
                device=known,
                heard_at=None if row is None else datetime.fromisoformat(row.received_at),
                unsent=body.get("unsent"),
                parts=tuple(body.get("parts", ())),
            )
        )
    return tuple(result)


def _conflicts(connection: Connection) -> tuple[tuple[Conflict, str, str], ...]:
    """(conflict, short id, gate)"""
    found = ledger.all_conflicts(connection)[:50]
    result = []
    for item in found:
        short_id = connection.scalar(select(ticket.c.short_id).where(ticket.c.ticket == item.ticket)) or ""
        gate = connection.scalar(select(used.c.gate).where(used.c.op == item.op)) or ""
        result.append((item, short_id, gate))
    return tuple(result)


def _open_doubts(connection: Connection, *, now: datetime) -> tuple[Any, ...]:
    """The latest word on each attempt, where it is not yet settled; a word of a later version is nothing settled.

    A payment that has only begun is settled by its sale too, and is nobody's business while a guest may still stand there.
    """
    settled, sold = doubt.alias(), payment.alias()
    is_settled = select(settled.c.op).where(
        settled.c.attempt == doubt.c.attempt,
        settled.c.device == doubt.c.device,
        settled.c.state.in_(("paid", "not_paid")),
    )
    is_sold = select(sold.c.op).where(sold.c.attempt == doubt.c.attempt)
    before = stamp(now - timedelta(seconds=BEGUN_S))
    is_young = (doubt.c.state == "begun") & ((doubt.c.at > before) | is_sold.exists())
    latest: dict[tuple[bytes, str], Any] = {}
    for row in connection.execute(
        select(doubt).where(~is_settled.exists(), ~is_young).order_by(doubt.c.at, doubt.c.op)
    ):
        latest[row.device, row.attempt] = row
    return tuple(latest.values())
