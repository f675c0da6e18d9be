"""One running hub: its database, key, clock and who was heard of lately. Each call of the protocol is one transaction here.

No HTTP: the web shell and the simulation call the same methods.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine, delete, insert

from hub import tables
from hub.errors import ChainFork, ChainGap, HubError, NotAllowed
from hub.services import attention, devices, feed, ledger, relay, stock, tickets, uploads
from hub.services.devices import KnownDevice
from sync import hop
from sync.chain import Segment
from sync.claim import ClaimMessage
from sync.protocol import (
    SCOPE,
    Acknowledged,
    Answer,
    EnrolRequest,
    Head,
    LeaseAnswer,
    LeaseRequest,
    OnBehalf,
    Page,
    ReleaseMessage,
    SignedText,
    Telemetry,
)
from sync.state import Role, write_durably
from sync.store import reading
from tickets.admission import Denied, Granted
from tickets.clock import Clock
from tickets.ids import DeviceId, RandomBytes, TicketId


class HubNode:
    """Methods may be called from any thread. `on_change` is called after each commit that the feed may have grown by."""

    def __init__(self, engine: Engine, key: Ed25519PrivateKey, *, clock: Clock, random_bytes: RandomBytes) -> None:
        self.engine, self.key = engine, key
        self.clock, self.random_bytes = clock, random_bytes
        self.public = key.public_key().public_bytes_raw()
        self.nonces = hop.NonceMemory(began=clock.now_utc())
        self.on_change: Callable[[], None] = lambda: None
        self._contacts: dict[DeviceId, datetime] = {}
        self._lock = threading.Lock()
        with self.write() as connection:
            feed.begin_epoch(connection, random_bytes)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One durable transaction; whoever waits for the feed is woken after it."""
        with self.engine.begin() as connection:
            yield connection
        self.on_change()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with reading(self.engine) as connection:
            yield connection

    def authenticate(self, message: hop.Message, body: bytes, *, revoked_too: bool = False) -> KnownDevice:
        """The device that signed this request. Raises HopError; revoked devices are refused like unknown ones, by their own word, unless
        the call is one that takes what they still have to say (`revoked_too`).
        """
        with self.read() as connection:
            found: list[KnownDevice] = []

            def find_key(device_id: DeviceId) -> bytes | None:
                known = devices.find(connection, device_id)
                if known is None:
                    return None
                found.append(known)
                return known.identity

            device_id = hop.verify(message, body, find_key=find_key, nonces=self.nonces, now=self.clock.now_utc())
        sender = found[0]
        assert sender.device == device_id
        if sender.revoked and not revoked_too:
            raise hop.HopError("revoked", "this device was shut out at the hub")
        self._heard_of(device_id)
        return sender

    def _heard_of(self, device_id: DeviceId) -> None:
        with self._lock:
            self._contacts[device_id] = self.clock.now_utc()

    def look(self) -> int:
        """The newest change's number: proof that the database answers."""
        with self.read() as connection:
            return feed.position(connection)

    def last_contact(self, device_id: DeviceId) -> datetime | None:
        """When this device was last heard of since the hub started."""
        with self._lock:
            return self._contacts.get(device_id)

    def enrol(self, request: EnrolRequest) -> SignedText:
        with self.write() as connection:
            return devices.enrol(
                connection, request, key=self.key, now=self.clock.now_utc(), random_bytes=self.random_bytes
            )

    def changes(
        self,
        cursor: str | None,
        *,
        rows_max: int,
        sender: KnownDevice | None = None,
        seen: str | None = None,
        acknowledged: Acknowledged | None = None,
    ) -> Page:
        """The next page for `sender`. What it has `seen` of the hub's feed and knows `acknowledged` there matters to a venue node alone.

        Raises HopError where the sender was shut out since it asked.
        """
        _ = seen, acknowledged
        with self.read() as connection:
            self.still_in(connection, sender)
            scope = SCOPE if sender is None else feed.scope_of(sender.role)
            return feed.page(connection, cursor, rows_max=rows_max, now=self.clock.now_utc(), scope=scope)

    def still_in(self, connection: Connection, sender: KnownDevice | None) -> None:
        """A long poll outlives its authentication. Raises HopError for a sender that was shut out meanwhile."""
        if sender is not None:
            now_known = devices.find(connection, sender.device)
            if now_known is None or now_known.revoked:
                raise hop.HopError("revoked", "this device was shut out at the hub")

    def operations(
        self, segment: Segment, *, sender: KnownDevice, carried: OnBehalf | None = None
    ) -> tuple[Answer, ...]:
        """A segment from its device, or through the venue node that took it in. Raises ChainGap and the like; a fork is put on record
        first.
        """
        now = self.clock.now_utc()
        try:
            with self.write() as connection:
                owner = relay.subject(connection, sender, carried)
                if segment.device != owner.device:
                    raise NotAllowed("a device sends its own operations")
                answers = uploads.receive(connection, segment, sender=owner, now=now)
        except (ChainFork, ChainGap) as error:
            with self.write() as connection:
                attention.note_trouble(connection, device=segment.device, kind=error.error, detail=str(error), now=now)
            raise
        self._heard_of(segment.device)
        return answers

    def heads(self, device_id: DeviceId) -> tuple[Head, ...]:
        with self.read() as connection:
            return relay.heads(connection, device_id)

    def claim(self, message: ClaimMessage, *, sender: KnownDevice) -> Granted | Denied:
        with self.write() as connection:
            return ledger.claim(connection, message, device=sender.device, now=self.clock.now_utc())

    def release(self, message: ReleaseMessage, *, sender: KnownDevice) -> None:
        with self.write() as connection:
            ledger.give_back(connection, message, device=sender.device)

    def lease(self, wanted: LeaseRequest, *, sender: KnownDevice, carried: OnBehalf | None = None) -> LeaseAnswer:
        with self.write() as connection:
            owner = relay.subject(connection, sender, carried)
            if owner.role is not Role.KIOSK or owner.revoked:
                raise NotAllowed("only a kiosk holds leases")
            return stock.lend(connection, wanted, device=owner.device, now=self.clock.now_utc())

    def telemetry(self, telemetry: Telemetry, *, sender: KnownDevice, carried: OnBehalf | None = None) -> None:
        with self.read() as connection:
            owner = relay.subject(connection, sender, carried)
        self._heard_of(owner.device)
        row = {
            "device": owner.device,
            "at": tables.stamp(telemetry.at),
            "received_at": tables.stamp(self.clock.now_utc()),
            "body": json.dumps(telemetry.to_row(), ensure_ascii=False),
        }
        with self.engine.begin() as connection:  # nobody follows it, so nobody is woken
            connection.execute(delete(tables.telemetry).where(tables.telemetry.c.device == owner.device))
            connection.execute(insert(tables.telemetry), row)

    def cancel_ticket(self, ticket_id: TicketId, *, by: str, reason: str) -> None:
        with self.write() as connection:
            tickets.cancel_ticket(connection, ticket_id, by=by, reason=reason, now=self.clock.now_utc())

    def revoke(self, device_id: DeviceId) -> None:
        with self.write() as connection:
            devices.revoke(connection, device_id, now=self.clock.now_utc())


def load_key(path: Path, *, random_bytes: RandomBytes) -> Ed25519PrivateKey:
    """The hub's signing key, made on first use. Every device pins its public half, so it must outlive the database's backups.

    Raises HubError for a file that holds no key.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        fresh = random_bytes(32)
        path.parent.mkdir(parents=True, exist_ok=True)
        candidate = path.with_name(f".{path.name}.{os.getpid()}")
        write_durably(candidate, fresh, mode=0o600)
        try:
            os.link(candidate, path)  # fails where another process was first: then its key is the key
        except FileExistsError:
            pass
        finally:
            candidate.unlink(missing_ok=True)
        raw = path.read_bytes()
    try:
        return Ed25519PrivateKey.from_private_bytes(raw)
    except ValueError as error:
        raise HubError(f"{path}: not a hub key (32 bytes are expected)") from error
