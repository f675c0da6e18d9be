"""One running hub: its database, key, clock and who was heard of lately. Each call of the protocol is one transaction here.

No HTTP: the web shell and the simulation call the same methods.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine, delete, insert
from sqlalchemy.exc import DBAPIError, IntegrityError

from hub import tables
from hub.claim_desk import ClaimDesk
from hub.errors import ChainFork, ChainGap, HubError, NotAllowed
from hub.services import arbiter, attention, devices, feed, ledger, reign, stock, tickets, uploads
from hub.services.arbiter import Asked, Result
from hub.services.devices import KnownDevice
from hub.services.reign import Reign
from sync import hop
from sync.arbiter import Arbiter
from sync.chain import Segment
from sync.claim import ClaimMessage
from sync.protocol import (
    Answer,
    EnrolRequest,
    LeaseAnswer,
    LeaseRequest,
    Page,
    ReleaseMessage,
    SignedText,
    Telemetry,
)
from sync.state import write_durably
from sync.store import reading
from tickets.admission import Denied, Granted
from tickets.clock import Clock
from tickets.ids import OP_ID_BYTES, DeviceId, OpId, RandomBytes, TicketId

CLAIM_ATTEMPTS_MAX = 4
_PASSING_STATES = {"40001", "40P01"}
"""PostgreSQL: serialization_failure and deadlock_detected (its manual, appendix A)."""


class HubNode:
    """Methods may be called from any thread. `on_change` is called after each commit that the feed may have grown by."""

    def __init__(
        self,
        engine: Engine,
        key: Ed25519PrivateKey,
        *,
        clock: Clock,
        random_bytes: RandomBytes,
        device: DeviceId | None = None,
        hub_key: bytes | None = None,
    ) -> None:
        """`device` and `hub_key` of a venue node: who it is, and the key under which it believes the hub. None: this is the hub."""
        self.engine, self.key = engine, key
        self.clock, self.random_bytes = clock, random_bytes
        self.public = key.public_key().public_bytes_raw()
        self.device, self.hub_key = device, hub_key or self.public
        self.nonces = hop.NonceMemory(began=clock.now_utc())
        self.on_change: Callable[[], None] = lambda: None
        self._contacts: dict[DeviceId, datetime] = {}
        self._lock = threading.Lock()
        self._desk: ClaimDesk | None = None
        # SQLite has one writer. Threads of this process wait for their turn here, where a wake-up is at once, and not in its busy
        # handler, which sleeps for longer and longer.
        self._turn = threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()
        with self.write() as connection:
            feed.begin_epoch(connection, random_bytes)
            if device is None:
                reign.begin(connection, key, now=clock.now_utc())

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One durable transaction; whoever waits for the feed is woken after it."""
        with self._turn, self.engine.begin() as connection:
            yield connection
        self.on_change()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with reading(self.engine) as connection:
            yield connection

    def authenticate(self, message: hop.Message, body: bytes) -> KnownDevice:
        """The device that signed this request. Raises HopError; revoked devices are refused like unknown ones, by their own word."""
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
        if sender.revoked:
            raise hop.HopError("revoked", "this device was shut out at the hub")
        with self._lock:
            self._contacts[device_id] = self.clock.now_utc()
        return sender

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

    def changes(self, cursor: str | None, *, rows_max: int) -> Page:
        with self.read() as connection:
            return feed.page(connection, cursor, rows_max=rows_max, now=self.clock.now_utc())

    def operations(self, segment: Segment, *, sender: KnownDevice) -> tuple[Answer, ...]:
        """A segment from its device. Raises ChainGap and the like; a fork is put on record first."""
        if segment.device != sender.device:
            raise NotAllowed("a device sends its own operations")
        now = self.clock.now_utc()
        try:
            with self.write() as connection:
                return uploads.receive(connection, segment, sender=sender, now=now)
        except (ChainFork, ChainGap) as error:
            with self.write() as connection:
                attention.note_trouble(connection, device=sender.device, kind=error.error, detail=str(error), now=now)
            raise

    def claim(self, message: ClaimMessage, *, sender: KnownDevice) -> Granted | Denied:
        """The answer to one claim, durable. Raises EpochPassed, BadRequest."""
        (result,) = self.claims([Asked(message, sender.device)])
        if isinstance(result, HubError):
            raise result
        return result

    def claim_soon(self, message: ClaimMessage, *, sender: KnownDevice) -> Future[Granted | Denied]:
        """The same, together with others that wait; for a server with many gates. Raises Busy; the future what `claim` raises."""
        with self._lock:
            self._desk = self._desk or ClaimDesk(self.claims)
        return self._desk.ask(Asked(message, sender.device))

    def claims(self, asked: Sequence[Asked]) -> Sequence[Result]:
        """A result for each claim, all in one durable transaction; where another worker was in the way, each in its own."""
        try:
            return self._claims(asked)
        except DBAPIError as error:
            if not _in_the_way(error):
                raise
        results: list[Result] = []
        for one in asked:
            for attempt in range(CLAIM_ATTEMPTS_MAX):
                try:
                    results.extend(self._claims([one]))
                    break
                except DBAPIError as error:
                    if attempt == CLAIM_ATTEMPTS_MAX - 1 or not _in_the_way(error):
                        raise
        return results

    def _claims(self, asked: Sequence[Asked]) -> Sequence[Result]:
        now = self.clock.now_utc()
        with self._turn, self.engine.connect() as fresh:
            connection = fresh
            if (
                self.engine.dialect.name == "postgresql"
            ):  # see hub.services.arbiter: what is counted is read after the lock
                connection = fresh.execution_options(isolation_level="READ COMMITTED")
            with connection.begin():
                results = arbiter.claims(connection, asked, me=self.device, hub_key=self.hub_key, now=now)
        self.on_change()
        return results

    def close_desk(self) -> None:
        """Answer the claims that wait and take no more by `claim_soon` until the next one."""
        with self._lock:
            desk, self._desk = self._desk, None
        if desk is not None:
            desk.close()

    def reign(self) -> Reign:
        """The newest reign known here, and whether it is this node's."""
        with self.read() as connection:
            return reign.present(connection, me=self.device, hub_key=self.hub_key)

    def hand_over(
        self, node: DeviceId | None, *, urls: Sequence[str], tls: bytes | None = None, by: str, after: int = 0
    ) -> Arbiter:
        """Name another arbiter; the hub's to do, by a person. Raises NotFound, BadRequest."""
        with self.write() as connection:
            return reign.hand_over(
                connection, node=node, urls=urls, tls=tls, by=by, key=self.key, now=self.clock.now_utc(), after=after
            )

    def release(self, message: ReleaseMessage, *, sender: KnownDevice) -> None:
        with self.write() as connection:
            ledger.give_back(connection, message, device=sender.device)

    def lease(self, wanted: LeaseRequest, *, sender: KnownDevice) -> LeaseAnswer:
        with self.write() as connection:
            return stock.lend(connection, wanted, device=sender.device, now=self.clock.now_utc())

    def telemetry(self, telemetry: Telemetry, *, sender: KnownDevice) -> None:
        row = {
            "device": sender.device,
            "at": tables.stamp(telemetry.at),
            "received_at": tables.stamp(self.clock.now_utc()),
            "body": json.dumps(telemetry.to_row(), ensure_ascii=False),
        }
        with self.engine.begin() as connection:  # nobody follows it, so nobody is woken
            connection.execute(delete(tables.telemetry).where(tables.telemetry.c.device == sender.device))
            connection.execute(insert(tables.telemetry), row)

    def cancel_ticket(self, ticket_id: TicketId, *, by: str, reason: str) -> None:
        with self.write() as connection:
            mine = reign.present(connection, me=self.device, hub_key=self.hub_key)
            epoch = mine.epoch if mine.rules else None
            op = OpId(self.random_bytes(OP_ID_BYTES))
            now = self.clock.now_utc()
            tickets.cancel_ticket(connection, op, ticket_id, by=by, reason=reason, epoch=epoch, now=now)

    def revoke(self, device_id: DeviceId) -> None:
        with self.write() as connection:
            devices.revoke(connection, device_id, now=self.clock.now_utc())


def _in_the_way(error: DBAPIError) -> bool:
    """Whether another transaction did the same at the same time, so that trying again settles it."""
    return isinstance(error, IntegrityError) or getattr(error.orig, "sqlstate", None) in _PASSING_STATES


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
