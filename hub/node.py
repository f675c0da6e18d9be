"""One running hub: its database, key, clock and who was heard of lately. Each call of the protocol is one transaction here.

No HTTP: the web shell and the simulation call the same methods.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine

from hub.database import one_moment, reading, run
from hub.errors import ChainFork, ChainGap, HubError, NotAllowed
from hub.senders import Senders
from hub.services import (
    attention,
    balance,
    devices,
    feed,
    housekeeping,
    ledger,
    relay,
    reports,
    resolve,
    restore,
    stock,
    tickets,
    uploads,
)
from hub.services.devices import KnownDevice
from sync import hop
from sync.chain import Segment
from sync.claim import ClaimMessage
from sync.nonce import Nonces
from sync.protocol import (
    CURSOR_SCHEMA,
    SCOPE,
    Acknowledged,
    Answer,
    EnrolRequest,
    Head,
    LeaseAnswer,
    LeaseRequest,
    OnBehalf,
    Page,
    Rejoin,
    ReleaseMessage,
    SignedText,
    Telemetry,
)
from sync.state import Role, write_durably
from tickets.admission import Denied, Granted
from tickets.clock import Clock
from tickets.ids import DeviceId, OpId, RandomBytes, TicketId

_T = TypeVar("_T")


class HubNode:
    """Methods may be called from any thread. `on_change` is called after each commit that the feed may have grown by."""

    asks_upstream = False
    """Whether some calls are answered by another hub, and may take as long as its line."""

    def __init__(self, engine: Engine, key: Ed25519PrivateKey, *, clock: Clock, random_bytes: RandomBytes) -> None:
        self.engine, self.key = engine, key
        self.clock, self.random_bytes = clock, random_bytes
        self.public = key.public_key().public_bytes_raw()
        self.nonces = Nonces(key)
        self.senders = Senders(self.read, clock=clock)
        self.on_change: Callable[[], None] = lambda: None
        self._contacts: dict[DeviceId, datetime] = {}
        self._lock = threading.Lock()
        # SQLite has one writer, and whoever finds it busy sleeps and looks again: segments wait in a line instead.
        self._turn: AbstractContextManager[Any] = threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()
        self._sums = balance.Memo()
        self.tombstone_days = housekeeping.TOMBSTONE_DAYS
        self.chores = housekeeping.Kept()
        self.restored: str | None = None
        """Why this hub believes that its database was put back from a backup, if it does."""
        self.witness_file: Path | None = None
        """Where `hub.witness` writes how far this database has come; None for a hub without a file of its own."""
        self._wrote, self._marked = 1, 0
        self.begin(None)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One durable transaction; whoever waits for the feed is woken after it. For commands and single rows: it is not tried again."""
        with self.engine.begin() as connection:
            yield connection
        self._wrote += 1
        self.on_change()

    def transact(self, work: Callable[[Connection], _T]) -> _T:
        """Like `write`, and begun again where concurrent writers got in the way (hub.database.run): for the protocol's calls, which
        mean the same however often they are made.
        """
        done = run(self.engine, work)
        self._wrote += 1
        self.on_change()
        return done

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with reading(self.engine) as connection:
            yield connection

    def begin(self, seen: restore.Witness | None) -> None:
        """Look whether the database was put back (hub.services.restore); `seen` is the witness outside of it."""
        now = self.clock.now_utc()
        why = run(
            self.engine,
            lambda connection: restore.begin(connection, random_bytes=self.random_bytes, now=now, witness=seen),
        )
        self.restored = why or self.restored

    def begin_again(self, why: str) -> None:
        """Somebody says that the database was put back."""
        now = self.clock.now_utc()
        self.transact(lambda connection: restore.begin_again(connection, why, random_bytes=self.random_bytes, now=now))

    def witness(self) -> restore.Witness | None:
        """What is to be written outside of the database; None where nothing happened since the last."""
        wrote = self._wrote
        if wrote == self._marked:
            return None
        made = run(self.engine, restore.move_mark)
        self._marked = wrote
        return made

    def housekeep(self, *, walk: bool = True) -> housekeeping.Kept:
        """One short step of the hub's chores. Raises DBAPIError."""
        now = self.clock.now_utc()
        with self._turn, one_moment(self.engine) as connection:
            kept = housekeeping.step(connection, now=now, tombstone_days=self.tombstone_days, walk=walk)
        self.chores = self.chores if kept.busy else kept
        if kept.repaired:
            self.on_change()
        return kept

    def rejoin(self, held: Rejoin, *, sender: KnownDevice, carried: OnBehalf | None = None) -> int:
        owner, now = self._subject(sender, carried), self.clock.now_utc()
        return self.transact(lambda connection: restore.rejoin(connection, held, who=owner.device, now=now))

    def admit(self, claimed: hop.Claimed, sender: KnownDevice | None, *, revoked_too: bool = False) -> KnownDevice:
        """The device that signed this request, `sender` being what is known of the one that says so. Touches no database.

        Raises HopError; revoked devices are refused like unknown ones, by their own word, unless the call is one that takes what they
        still have to say (`revoked_too`).
        """
        if sender is None:
            raise hop.HopError("device_unknown", "no such device here")
        assert sender.device == claimed.device
        hop.check(claimed, sender.identity)
        now = self.clock.now_utc()
        self.nonces.spend(claimed.device, claimed.nonce, now=now)
        if sender.revoked and not revoked_too:
            raise hop.HopError("revoked", "this device was shut out at the hub")
        self._heard_of(claimed.device)
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
        return self.transact(
            lambda connection: devices.enrol(
                connection, request, key=self.key, now=self.clock.now_utc(), random_bytes=self.random_bytes
            )
        )

    def changes(
        self,
        cursor: str | None,
        *,
        rows_max: int,
        scope: str = SCOPE,
        schema: int = CURSOR_SCHEMA,
        sender: KnownDevice | None = None,
        seen: str | None = None,
        acknowledged: Acknowledged | None = None,
    ) -> Page:
        """The next page of a scope. What `sender` has `seen` of the hub's feed and knows `acknowledged` there matters to a venue node alone.

        Raises HopError where the sender was shut out since it asked.
        """
        _ = seen, acknowledged
        now = self.clock.now_utc()
        with self.read() as connection:
            self.still_in(connection, sender)
            return feed.page(
                connection,
                cursor,
                rows_max=rows_max,
                now=now,
                scope=scope,
                schema=schema,
                checksum=lambda same: balance.at(same, self._sums),
            )

    def still_in(self, connection: Connection, sender: KnownDevice | None) -> None:
        """A long poll outlives its authentication. Raises HopError for a sender that was shut out meanwhile."""
        if sender is not None:
            now_known = devices.find(connection, sender.device)
            if now_known is None or now_known.revoked:
                raise hop.HopError("revoked", "this device was shut out at the hub")

    def operations(
        self, segment: Segment, *, sender: KnownDevice, carried: OnBehalf | None = None
    ) -> tuple[Answer, ...]:
        """A segment from its device, or through the venue node that took it in: verified once, with the key of the device that wrote it.

        Raises ChainGap and the like; a fork is put on record first.
        """
        owner = self._subject(sender, carried)
        if segment.device != owner.device:
            raise NotAllowed("a device sends its own operations")
        now, given = self.clock.now_utc(), uploads.read(segment, sender=owner)
        try:
            with self._turn:
                answers = self.transact(lambda connection: uploads.receive(connection, given, sender=owner, now=now))
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
        now = self.clock.now_utc()
        return self.transact(lambda connection: ledger.claim(connection, message, device=sender.device, now=now))

    def release(self, message: ReleaseMessage, *, sender: KnownDevice) -> None:
        self.transact(lambda connection: ledger.give_back(connection, message, device=sender.device))

    def lease(self, wanted: LeaseRequest, *, sender: KnownDevice, carried: OnBehalf | None = None) -> LeaseAnswer:
        owner, now = self._subject(sender, carried), self.clock.now_utc()
        if owner.role is not Role.KIOSK or owner.revoked:
            raise NotAllowed("only a kiosk holds leases")

        def lend(connection: Connection) -> LeaseAnswer:
            restore.must_have_reported(connection, owner.device)
            return stock.lend(connection, wanted, device=owner.device, now=now)

        return self.transact(lend)

    def telemetry(self, telemetry: Telemetry, *, sender: KnownDevice, carried: OnBehalf | None = None) -> None:
        owner = self._subject(sender, carried)
        self._heard_of(owner.device)

        def keep(connection: Connection) -> None:
            restore.must_have_reported(connection, owner.device)
            reports.keep(connection, telemetry, device=owner.device, now=self.clock.now_utc())

        run(self.engine, keep)  # nobody follows it, so nobody is woken

    def _subject(self, sender: KnownDevice, carried: OnBehalf | None) -> KnownDevice:
        """Whose message this is. Raises NotAllowed, NotFound."""
        if carried is None:
            return sender
        with self.read() as connection:
            return relay.subject(connection, sender, carried)

    def settle_operation(self, op: OpId, *, by: str, because: str) -> None:
        with self.write() as connection:
            resolve.settle(connection, op, by=by, because=because, now=self.clock.now_utc())

    def retry_operation(self, op: OpId, *, by: str) -> Answer:
        with self.write() as connection:
            return resolve.retry(connection, op, by=by, now=self.clock.now_utc())

    def cancel_ticket(self, ticket_id: TicketId, *, by: str, reason: str) -> None:
        with self.write() as connection:
            tickets.cancel_ticket(connection, ticket_id, by=by, reason=reason, now=self.clock.now_utc())

    def revoke(self, device_id: DeviceId) -> None:
        with self.write() as connection:
            devices.revoke(connection, device_id, now=self.clock.now_utc())
        self.senders.forget(device_id)


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
