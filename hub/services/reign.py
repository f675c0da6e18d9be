"""Who rules over the venue's tickets, as this database knows it: the hub's statement, and the record of who handed the rule over.

Only the hub itself makes statements; a venue node has those that it pulled. Whoever claims to rule looks here inside the very
transaction in which it answers, so that an arbiter which has learnt of its successor answers nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, delete, insert, select, update

from hub.errors import BadRequest, NotFound
from hub.services import feed
from hub.tables import device, document, meta, reign, stamp, unreported
from sync import arbiter
from sync.arbiter import DOCUMENT, EPOCH_MAX, URLS_MAX, Arbiter
from sync.claim import EPOCH_FIRST
from sync.errors import MessageError
from sync.state import Role
from tickets.ids import DeviceId

THE_HUB = "hub"
RESTORED = "hub, restored"
"""Who named the arbiter, on record, where a restored hub began a reign of its own."""
BY_CHARS_MAX = 64
_TEXT = select(document.c.text).where(document.c.name == DOCUMENT)
SUSPENDED = "reign_suspended"
"""In `meta` while a restored hub confirms nothing."""
_SUSPENDED = select(meta.c.value).where(meta.c.key == SUSPENDED)


@dataclass(frozen=True, slots=True)
class Reign:
    """`epoch` of the newest statement known here, 0 for none. `rules`: it names the one who asks, who may confirm."""

    epoch: int
    rules: bool


@dataclass(frozen=True, slots=True)
class Handover:
    """A row of the record: since when who rules, and who said so."""

    epoch: int
    node: DeviceId | None
    by: str
    at: str


@lru_cache(maxsize=8)
def _checked(text: str, hub_key: bytes) -> Arbiter | None:
    try:
        return arbiter.check(text, hub_key)
    except MessageError:
        return None


def statement(connection: Connection, hub_key: bytes) -> Arbiter | None:
    """The statement in force; None where there is none that the hub signed."""
    text = connection.scalar(_TEXT)
    return None if text is None else _checked(text, hub_key)


def present(connection: Connection, *, me: DeviceId | None, hub_key: bytes) -> Reign:
    """Whether `me` (a venue node's id, None for the hub) rules, and in which epoch. A restored hub does not before `take_up`."""
    found = statement(connection, hub_key)
    if found is None:
        return Reign(0, rules=False)
    if me is None and found.node is None and connection.scalar(_SUSPENDED) is not None:
        return Reign(found.epoch, rules=False)
    return Reign(found.epoch, rules=found.node == me)


def suspend(connection: Connection) -> None:
    """This hub's ledger was put back: what it confirmed since the backup its gates know, and it does not. It confirms nothing, and signs no
    epoch (which may have been another's), until `take_up`.
    """
    feed.put(connection, SUSPENDED, "1")


def hear(connection: Connection, said: str, key: Ed25519PrivateKey, *, by: str, now: datetime) -> None:
    """A device shows the newest statement that it knows, signed by this hub before its database was put back: what the hub said then holds.
    A node that it named rules; where it named the hub itself, or the epoch was given twice, another epoch begins. What the hub did not
    sign is passed over: nobody else can raise an epoch.
    """
    public = key.public_key().public_bytes_raw()
    found, shown = statement(connection, public), _checked(said, public)
    if found is None or shown is None or shown.epoch < found.epoch or shown == found:
        return
    if shown.epoch > found.epoch:
        _put(connection, shown, said, by=by)
        if shown.node is not None or connection.scalar(_SUSPENDED) is not None:
            return
        found = shown
    _next(connection, found, key, now=now)


def awaited(connection: Connection) -> tuple[str, ...]:
    """Labels of the gates that a restored hub waits for before it confirms again: they have not said yet all that they let in."""
    query = (
        select(device.c.label)
        .join(unreported, unreported.c.device == device.c.device)
        .where(device.c.role == Role.GATE, device.c.revoked_at.is_(None))
        .order_by(device.c.label)
    )
    return tuple(connection.scalars(query))


def take_up(connection: Connection, key: Ed25519PrivateKey, *, now: datetime) -> bool:
    """A restored hub rules again, once every gate has reported or was given up: in an epoch above its own and all that it was shown, so
    that no answer of before counts beside one of now. Nothing where it is not suspended, or still waits. Whether it did.
    """
    if connection.scalar(_SUSPENDED) is None or awaited(connection):
        return False
    connection.execute(delete(meta).where(meta.c.key == SUSPENDED))
    found = statement(connection, key.public_key().public_bytes_raw())
    if found is not None and found.node is None:
        _next(connection, found, key, now=now)
    return True


def _next(connection: Connection, found: Arbiter, key: Ed25519PrivateKey, *, now: datetime) -> None:
    """The same arbiter in another epoch."""
    if found.epoch >= EPOCH_MAX:
        raise BadRequest(f"an epoch is at most {EPOCH_MAX}")
    _publish(connection, replace(found, epoch=found.epoch + 1, at=now), key, by=RESTORED)


def begin(connection: Connection, key: Ed25519PrivateKey, *, now: datetime) -> None:
    """A new hub rules itself, in the first epoch, at the address under which its devices were enrolled."""
    if connection.scalar(_TEXT) is None:
        first = Arbiter(EPOCH_FIRST, None, (), None, now)
        _publish(connection, first, key, by=THE_HUB)


def hand_over(
    connection: Connection,
    *,
    node: DeviceId | None,
    urls: Sequence[str],
    tls: bytes | None,
    by: str,
    key: Ed25519PrivateKey,
    now: datetime,
    after: int = 0,
) -> Arbiter:
    """Name another arbiter (a venue node, or None: the hub), in the next epoch. `after`: an epoch that devices are known to have seen,
    for a hub that was restored from a backup. `urls` empty only for the hub: then devices ask where they were enrolled.

    Raises NotFound for a node that is none, BadRequest for addresses or a name that cannot be.
    """
    by = " ".join(by.split())
    if not 1 <= len(by) <= BY_CHARS_MAX or not by.isprintable():
        raise BadRequest(f"who does it is named with 1 to {BY_CHARS_MAX} characters")
    if node is not None:
        row = connection.execute(select(device.c.role, device.c.revoked_at).where(device.c.device == node)).first()
        if row is None or row.role != Role.VENUE or row.revoked_at is not None:
            raise NotFound("no such venue node")
        if not urls:
            raise BadRequest("a venue node is named with the address at which devices reach it")
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise BadRequest(f"'{url}' is no address, such as https://192.168.1.10:8443")
        if tls is not None and parts.scheme != "https":
            raise BadRequest(f"'{url}': with a TLS key only https is allowed")
    if len(urls) > URLS_MAX:
        raise BadRequest(f"at most {URLS_MAX} addresses")
    before = statement(connection, key.public_key().public_bytes_raw())
    epoch = max(after, EPOCH_FIRST - 1 if before is None else before.epoch) + 1
    if epoch > EPOCH_MAX:
        raise BadRequest(f"an epoch is at most {EPOCH_MAX}")
    named = Arbiter(epoch, node, tuple(url.rstrip("/") for url in urls), tls, now)
    _publish(connection, named, key, by=by)
    return named


def record(connection: Connection) -> tuple[Handover, ...]:
    """Every handing over, newest first."""
    rows = connection.execute(select(reign).order_by(reign.c.epoch.desc()))
    return tuple(Handover(row.epoch, None if row.node is None else DeviceId(row.node), row.by, row.at) for row in rows)


def _publish(connection: Connection, named: Arbiter, key: Ed25519PrivateKey, *, by: str) -> None:
    _put(connection, named, arbiter.signed(named, key), by=by)


def _put(connection: Connection, named: Arbiter, text: str, *, by: str) -> None:
    at = stamp(named.at)
    if connection.scalar(_TEXT) is None:
        connection.execute(insert(document), {"name": DOCUMENT, "text": text, "at": at})
    else:
        connection.execute(update(document).where(document.c.name == DOCUMENT).values(text=text, at=at))
    row = {"epoch": named.epoch, "node": named.node, "statement": text, "by": by, "at": at}
    connection.execute(insert(reign), row)
    feed.touch(connection, "document", [DOCUMENT])
