"""Taking the hub's feed into the node's own tables. What counts is checked under the hub's key; what cannot be checked is left out.

Both ends add facts. A use is united by its id and a release is never taken back; a ticket that was reversed here stays so until the
hub has had the reversal. Every row that came is touched in the node's own feed, changed or not: that is how a device which stands at
some place of the hub's feed can go on in the node's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection, Table, delete, insert, select, update

from hub.errors import VenueMissing
from hub.services import feed
from hub.services.venue import CATALOGUE
from hub.tables import device, document, order, revised_answer, selling_key, slot, ticket, used
from hub.venue.tables import relay_segment
from sync import arbiter, certificate
from sync.errors import MessageError
from sync.operation import Mode
from sync.protocol import ENROLLED_CONTEXT, Enrolled, Page, TableRows
from tickets.catalogue import CatalogueError, parse
from tickets.life_cycle import TicketState

_CHUNK = 500
_RENEWED = (
    "variant",
    "uses",
    "not_before",
    "expires",
    "language",
    "short_id",
    "slot",
    "book",
    "part",
    "parts",
    "withdrawn",
)


def take(connection: Connection, page: Page, *, hub_key: bytes) -> list[str]:
    """Lay a page of the node's scope over the tables, in the caller's transaction. What was left out, and why. Raises MessageError for
    rows that cannot be read.
    """
    wrong: list[str] = []
    by_name = {part.table: part for part in page.tables}
    try:
        for name in (
            "document",
            "device",
            "key",
            "slot",
            "answer",
            "ticket",
            "used",
        ):  # what is leaned upon comes first
            if name not in by_name:
                continue
            part = by_name[name]
            match name:
                case "document":
                    wrong += _documents(connection, part, hub_key)
                case "device":
                    wrong += _devices(connection, part, hub_key)
                case "key":
                    wrong += _keys(connection, part, hub_key)
                case "slot":
                    _slots(connection, part)
                case "answer":
                    _answers(connection, part)
                case "ticket":
                    _tickets(connection, part)
                case _:
                    _used(connection, part)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise MessageError(f"a page whose rows cannot be read: {error!r}") from error
    return wrong


def _documents(connection: Connection, part: TableRows, hub_key: bytes) -> list[str]:
    wrong, taken = [], []
    for row in part.as_mappings():
        name, text = str(row["name"]), str(row["text"])
        try:
            if name == CATALOGUE:
                parse(text)
            elif name == arbiter.DOCUMENT and _older(connection, arbiter.check(text, hub_key).epoch, hub_key):
                continue
        except (CatalogueError, MessageError, VenueMissing) as error:
            wrong.append(f"document {name}: {error}")
            continue
        _put(connection, document, "name", {"name": name, "text": text, "at": str(row["at"])})
        taken.append(name)
    feed.touch(connection, "document", taken)
    return wrong


def _older(connection: Connection, epoch: int, hub_key: bytes) -> bool:
    """Whether a newer statement of the arbiter is here already: a restored hub may come with an old one."""
    text = connection.scalar(select(document.c.text).where(document.c.name == arbiter.DOCUMENT))
    return text is not None and arbiter.check(text, hub_key).epoch > epoch


def _devices(connection: Connection, part: TableRows, hub_key: bytes) -> list[str]:
    """Who a device is stands in the text that the hub signed at its enrolment; only `revoked_at` is beside it."""
    wrong = []
    for row in part.as_mappings():
        if row["enrolled"] is None:
            wrong.append(f"device {row['device']}: the hub has no signed word on it")
            continue
        try:
            signature = bytes.fromhex(row["enrolled_signature"])
            Ed25519PublicKey.from_public_bytes(hub_key).verify(signature, ENROLLED_CONTEXT + row["enrolled"].encode())
            held = Enrolled.from_text(row["enrolled"])
            if held.device.hex() != row["device"]:
                raise MessageError("the word on another device")
        except (InvalidSignature, MessageError, ValueError) as error:
            wrong.append(f"device {row['device']}: {error or 'not signed by the hub'}")
            continue
        values = {
            "device": held.device,
            "role": held.role,
            "label": held.label,
            "gate": held.gate,
            "identity": held.identity,
            "enrolled_at": held.at.isoformat(),
            "revoked_at": row["revoked_at"],
            "enrolled": row["enrolled"],
            "enrolled_signature": signature,
        }
        _put(connection, device, "device", values)
    return wrong


def _keys(connection: Connection, part: TableRows, hub_key: bytes) -> list[str]:
    wrong, taken = [], []
    for row in part.as_mappings():
        signature = bytes.fromhex(row["signature"])
        try:
            held = certificate.check(row["certificate"], signature, hub_key)
            if held.kid.hex() != row["kid"]:
                raise MessageError("a certificate of another key")
        except MessageError as error:
            wrong.append(f"key {row['kid']}: {error}")
            continue
        values = {
            "kid": held.kid,
            "device": bytes.fromhex(held.device),
            "public": held.public,
            "certificate": row["certificate"],
            "signature": signature,
            "revoked_at": None if row["revoked_at"] is None else int(row["revoked_at"]),
        }
        _put(connection, selling_key, "kid", values)
        taken.append(held.kid)
    feed.touch(connection, "key", taken)
    return wrong


def _slots(connection: Connection, part: TableRows) -> None:
    """What is lent and sold is reckoned by `hub.services.reckoning`; here it is nothing, because the hub lends, and this node passes on.
    So a device reads of the node what the hub has left, and no more.
    """
    for row in part.as_mappings():
        values = {name: row[name] for name in ("slot", "product", "starts_at", "ends_at", "capacity")}
        values |= {"state": row["state"], "wanted": int(row["wanted"]), "upstream_free": int(row["free"])}
        known = connection.scalar(select(slot.c.slot).where(slot.c.slot == row["slot"]))
        own = {} if known is not None else {"leased": 0, "borrowed": 0}
        _put(connection, slot, "slot", values | own)
    if part.deletes:
        connection.execute(delete(slot).where(slot.c.slot.in_(part.deletes)))
    feed.touch(connection, "slot", [str(row["slot"]) for row in part.as_mappings()] + list(part.deletes))


def _answers(connection: Connection, part: TableRows) -> None:
    """What people ruled at the hub on operations that were refused: for the devices, as it came."""
    ops = []
    for row in part.as_mappings():
        op = bytes.fromhex(row["op"])
        _put(connection, revised_answer, "op", {"op": op} | {name: row[name] for name in ("status", "reason", "at")})
        ops.append(op)
    gone = _remove(connection, revised_answer, revised_answer.c.op, part.deletes)
    feed.touch(connection, "answer", [*ops, *gone])


def _tickets(connection: Connection, part: TableRows) -> None:
    rows = {bytes.fromhex(row["ticket"]): row for row in part.as_mappings()}
    known = _known(connection, ticket.c.ticket, [ticket.c.state, ticket.c.order], list(rows))
    fresh = []
    for ticket_id, row in rows.items():
        values = {name: row[name] for name in _RENEWED if name in row} | {
            "kid": bytes.fromhex(row["kid"]),
            "state": TicketState(row["state"]).value,
            "withdrawn": int(row.get("withdrawn", 0)),  # a hub of the version before says nothing of it
        }
        held = known.get(ticket_id)
        if held is None:
            fresh.append({"ticket": ticket_id, "order": None, "line": None, **values})
            continue
        if held.state != TicketState.VALID and values["state"] == TicketState.VALID and _not_up(connection, held.order):
            values["state"] = held.state
        connection.execute(update(ticket).where(ticket.c.ticket == ticket_id).values(values))
    if fresh:
        connection.execute(insert(ticket), fresh)
    gone = _remove(connection, ticket, ticket.c.ticket, part.deletes)
    feed.touch(connection, "ticket", [*rows, *gone])


def _not_up(connection: Connection, order_id: bytes | None) -> bool:
    """Whether the kiosk that sold this has something here that the hub has not had yet."""
    if order_id is None:
        return False
    seller = connection.scalar(select(order.c.device).where(order.c.order == order_id))
    waiting = select(relay_segment.c.first).where(
        relay_segment.c.device == seller, relay_segment.c.relayed_at.is_(None)
    )
    return connection.execute(waiting.limit(1)).first() is not None


def _used(connection: Connection, part: TableRows) -> None:
    rows = {bytes.fromhex(row["op"]): row for row in part.as_mappings()}
    known = _known(connection, used.c.op, [used.c.released, used.c.attention, used.c.mode, used.c.epoch], list(rows))
    fresh = []
    arrivals: dict[bytes, int] = {}
    for op, row in rows.items():
        held = known.get(op)
        if held is not None:
            mode, epoch = _on_whose_word((held.mode, held.epoch), (str(row["mode"]), row["epoch"]))
            values = {
                "released": max(int(held.released), int(row["released"])),
                "attention": held.attention or row["attention"],
                "mode": mode,
                "epoch": epoch,
            }
            if tuple(values.values()) != (held.released, held.attention, held.mode, held.epoch):
                connection.execute(update(used).where(used.c.op == op).values(values))
            continue
        fresh.append(
            {
                "op": op,
                "ticket": bytes.fromhex(row["ticket"]),
                "device": bytes.fromhex(row["device"]),
                **{name: row[name] for name in ("passage", "units", "window", "mode", "epoch", "at", "gate")},
                "released": int(row["released"]),
                "attention": row["attention"],
            }
        )
    if fresh:
        arrivals = _last_arrivals(connection, {row["ticket"] for row in fresh})
        for row in fresh:
            arrivals[row["ticket"]] = row["arrival"] = arrivals.get(row["ticket"], 0) + 1
        connection.execute(insert(used), fresh)
    gone = _remove(connection, used, used.c.op, part.deletes)
    feed.touch(connection, "used", [*rows, *gone])


def _on_whose_word(here: tuple[str, int | None], there: tuple[str, int | None]) -> tuple[str, int | None]:
    """(mode, epoch) of a use that both know. A claim makes it confirmed, and only its gate's own admission can turn that into policy, once
    and for good: so whoever has policy has had the admission, and of two that agree the later reign answered last.
    """
    if here[0] != there[0]:
        return here if here[0] == Mode.POLICY else there
    known = [epoch for epoch in (here[1], there[1]) if epoch is not None]
    return here[0], max(known, default=None)


def _last_arrivals(connection: Connection, tickets: Iterable[bytes]) -> dict[bytes, int]:
    last: dict[bytes, int] = {}
    wanted = list(tickets)
    for start in range(0, len(wanted), _CHUNK):
        part = wanted[start : start + _CHUNK]
        for row in connection.execute(select(used.c.ticket, used.c.arrival).where(used.c.ticket.in_(part))):
            last[row.ticket] = max(last.get(row.ticket, 0), row.arrival)
    return last


def _known(connection: Connection, key: Any, columns: Sequence[Any], wanted: Sequence[bytes]) -> dict[bytes, Any]:
    found: dict[bytes, Any] = {}
    for start in range(0, len(wanted), _CHUNK):
        query = select(key, *columns).where(key.in_(wanted[start : start + _CHUNK]))
        found |= {row[0]: row for row in connection.execute(query)}
    return found


def _remove(connection: Connection, table: Table, key: Any, deletes: Sequence[str]) -> list[bytes]:
    gone = [bytes.fromhex(text) for text in deletes]
    for start in range(0, len(gone), _CHUNK):
        connection.execute(delete(table).where(key.in_(gone[start : start + _CHUNK])))
    return gone


def _put(connection: Connection, table: Table, key: str, values: dict[str, Any]) -> None:
    here = table.c[key] == values[key]
    if connection.scalar(select(table.c[key]).where(here)) is None:
        connection.execute(insert(table), values)
    else:
        connection.execute(update(table).where(here).values({k: v for k, v in values.items() if k != key}))
