"""One running hub: its database, key, clock and who was heard of lately. Each call of the protocol is one transaction here.

No HTTP: the web shell and the simulation call the same methods.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from hub.claim_desk import ClaimDesk
from hub.database import is_race, one_moment, reading, run
from hub.errors import BadRequest, Busy, ChainFork, ChainGap, HubError, NotAllowed
from hub.senders import Senders
from hub.services import (
    arbiter,
    attention,
    balance,
    certificates,
    devices,
    feed,
    housekeeping,
    ledger,
    reign,
    relay,
    reports,
    resolve,
    restore,
    stock,
    sublending,
    tickets,
    uploads,
)
from hub.services import snapshot as snapshots
from hub.services.arbiter import Asked, Result
from hub.services.devices import KnownDevice
from hub.services.reign import Reign
from hub.turn import Turn
from sync import hop
from sync.arbiter import Arbiter
from sync.chain import Segment
from sync.claim import ClaimMessage
from sync.nonce import VENUE_SHARE, Nonces
from sync.protocol import (
    CURSOR_SCHEMA,
    HUB,
    NODE_SCOPE,
    SCOPE,
    Acknowledged,
    Answer,
    Answers,
    CertificateAnswer,
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
from sync.snapshot import NoSnapshot, SignedManifest
from sync.state import Role, write_durably
from tickets.admission import Denied, Granted
from tickets.clock import Clock
from tickets.ids import OP_ID_BYTES, DeviceId, OpId, RandomBytes, TicketId

_T = TypeVar("_T")

log = structlog.get_logger()

_OF_ONE_CLAIM = (DBAPIError, ValueError, TypeError, LookupError, ArithmeticError)
"""What one claim's content may raise, here or in a driver; the others of its group are answered all the same."""


class HubNode:
    """Methods may be called from any thread. `on_change` is called after each commit that the feed may have grown by."""

    asks_upstream = False
    """Whether some calls are answered by another hub, and may take as long as its line."""

    def __init__(
        self,
        engine: Engine,
        key: Ed25519PrivateKey,
        *,
        clock: Clock,
        random_bytes: RandomBytes,
        shelf: snapshots.Shelf | None = None,
        device: DeviceId | None = None,
        hub_key: bytes | None = None,
    ) -> None:
        """`shelf`: where snapshots stand, None for a hub that builds none. `device` and `hub_key` of a venue node: who it is, and the key
        under which it believes the hub. None: this is the hub.
        """
        self.engine, self.key = engine, key
        self.clock, self.random_bytes = clock, random_bytes
        self.public = key.public_key().public_bytes_raw()
        self.device, self.hub_key = device, hub_key or self.public
        self.nonces = Nonces(key)
        self.senders = Senders(self.read, clock=clock)
        self.shelf = shelf
        self.on_change: Callable[[], None] = lambda: None
        self.lender = HUB
        self.borrower: sublending.Borrower | None = None
        """A venue node's own lease at its hub; its name as a lender is its device id then."""
        self._contacts: dict[DeviceId, datetime] = {}
        self._lock = threading.Lock()
        self._desk: ClaimDesk | None = None
        self._turn = Turn(one_at_a_time=engine.dialect.name == "sqlite")
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
        with self._turn.take(), self.engine.begin() as connection:
            yield connection
        self._changed()

    def transact(self, work: Callable[[Connection], _T]) -> _T:
        """Like `write`, and begun again where concurrent writers got in the way (hub.database.run): for the protocol's calls, which
        mean the same however often they are made.
        """
        done = self._run(work)
        self._changed()
        return done

    def _run(self, work: Callable[[Connection], _T], *, first: bool = False) -> _T:
        with self._turn.take(first=first):
            return run(self.engine, work)

    def _changed(self) -> None:
        self._wrote += 1
        self.on_change()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with reading(self.engine) as connection:
            yield connection

    def begin(self, seen: restore.Witness | None) -> None:
        """Look whether the database was put back (hub.services.restore); `seen` is the witness outside of it. A new hub names itself the
        arbiter.
        """
        now = self.clock.now_utc()

        def look(connection: Connection) -> str | None:
            why = restore.begin(connection, random_bytes=self.random_bytes, now=now, witness=seen)
            if self.device is None:
                reign.begin(connection, self.key, now=now)
            self._take_up(connection, now=now)
            return why

        self.restored = self._run(look) or self.restored

    def begin_again(self, why: str) -> None:
        """Somebody says that the database was put back."""
        now = self.clock.now_utc()

        def again(connection: Connection) -> None:
            restore.begin_again(connection, why, random_bytes=self.random_bytes, now=now)
            self._take_up(connection, now=now)

        self.transact(again)

    def _take_up(self, connection: Connection, *, now: datetime) -> None:
        """A restored hub that waits for nobody any more rules again. No node's to say."""
        if self.device is None:
            reign.take_up(connection, self.key, now=now)

    def give_up_on(self, label: str, *, by: str) -> None:
        """A person says that a device will never report what it holds. Raises NotFound."""
        now = self.clock.now_utc()
        with self.write() as connection:
            restore.give_up_on(connection, label, by=by, now=now)
            self._take_up(connection, now=now)

    def witness(self) -> restore.Witness | None:
        """What is to be written outside of the database; None where nothing happened since the last."""
        wrote = self._wrote
        if wrote == self._marked:
            return None
        made = self._run(restore.move_mark)
        self._marked = wrote
        return made

    def housekeep(self, *, walk: bool = True) -> housekeeping.Kept:
        """One short step of the hub's chores. Raises DBAPIError."""
        now = self.clock.now_utc()
        with self._turn.take(), one_moment(self.engine) as connection:
            kept = housekeeping.step(connection, now=now, tombstone_days=self.tombstone_days, walk=walk)
        self.chores = self.chores if kept.busy else kept
        if kept.repaired:
            self.on_change()
        return kept

    def rejoin(self, held: Rejoin, *, sender: KnownDevice, carried: OnBehalf | None = None) -> int:
        owner, now = self._subject(sender, carried), self.clock.now_utc()

        def take(connection: Connection) -> int:
            if self.device is None:
                reign.hear(connection, held.arbiter, self.key, by=owner.label, now=now)
            known = restore.rejoin(connection, held, who=owner.device, now=now, lender=self.lender)
            self._take_up(connection, now=now)
            return known

        return self.transact(take)

    def admit(
        self,
        claimed: hop.Claimed,
        sender: KnownDevice | None,
        *,
        revoked_too: bool = False,
        allowed: Callable[[KnownDevice], None] = lambda _: None,
    ) -> KnownDevice:
        """The device that signed this request, `sender` being what is known of the one that says so. Touches no database.

        Raises HopError; revoked devices are refused like unknown ones, by their own word, unless the call is one that takes what they
        still have to say (`revoked_too`). `allowed` raises for one that calls too often. Nothing is remembered of a call that is refused:
        who is shut out, or calls without end, fills no memory that the others need; and a request that is replayed costs its device
        nothing.
        """
        if sender is None:
            raise hop.HopError("device_unknown", "no such device here")
        assert sender.device == claimed.device
        hop.check(claimed, sender.identity)
        if sender.revoked and not revoked_too:
            raise hop.HopError("revoked", "this device was shut out at the hub")
        now = self.clock.now_utc()
        self.nonces.look(claimed.device, claimed.nonce, now=now)
        allowed(sender)
        share = VENUE_SHARE if sender.role is Role.VENUE else 1
        self.nonces.spend(claimed.device, claimed.nonce, now=now, share=share)
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
        asking = () if sender is None else (sender.device,)
        page, shut_out = self.changes_for(
            asking, cursor, rows_max=rows_max, scope=scope, schema=schema, seen=seen, acknowledged=acknowledged
        )
        if shut_out:
            raise hop.HopError("revoked", "this device was shut out at the hub")
        return page

    def changes_for(
        self,
        asking: Sequence[DeviceId],
        cursor: str | None,
        *,
        rows_max: int,
        scope: str,
        schema: int,
        seen: str | None = None,
        acknowledged: Acknowledged | None = None,
    ) -> tuple[Page, frozenset[DeviceId]]:
        """One page for several devices that ask the same, and which of them were shut out since: a long poll outlives its authentication.
        One that says what it has `seen` or knows `acknowledged` asks a venue node alone.
        """
        with self.read() as connection:
            shut_out = devices.shut_out(connection, asking)
            device = asking[0] if len(asking) == 1 else None
            return self._page(connection, cursor, rows_max, scope, schema, device, seen, acknowledged), shut_out

    def _page(
        self,
        connection: Connection,
        cursor: str | None,
        rows_max: int,
        scope: str,
        schema: int,
        device: DeviceId | None,
        seen: str | None,
        acknowledged: Acknowledged | None,
    ) -> Page:
        _ = device, seen, acknowledged
        return feed.page(
            connection,
            cursor,
            rows_max=rows_max,
            now=self.clock.now_utc(),
            scope=scope,
            schema=schema,
            checksum=lambda same: balance.at(same, self._sums),
        )

    def snapshot(self, *, scope: str = SCOPE) -> SignedManifest | NoSnapshot:
        """The newest snapshot of what a scope holds, or why there is none. Never builds one."""
        if self.shelf is None or scope == NODE_SCOPE:
            return NoSnapshot.FEW  # a node takes the feed as it is: it has to touch every row
        current = self.shelf.current(self.public, scope=scope)
        with self.read() as connection:
            return snapshots.answer(connection, current)

    def snapshot_file(self, sha256: str, *, scope: str = SCOPE) -> Path | None:
        """The packed file of that digest, if it is one of this scope's."""
        return None if self.shelf is None or scope == NODE_SCOPE else self.shelf.file(sha256, scope=scope)

    def build_snapshot(self, database_url: str) -> snapshots.Built | None:
        """Build them in a process aside where they are due; the whole venue's. Raises HubError."""
        if self.shelf is None:
            return None
        now = self.clock.now_utc()
        held = [self.shelf.current(self.public, scope=scope) for scope in snapshots.KEPT_SCOPES]
        with self.read() as connection:
            if not snapshots.is_wanted(connection, None if None in held else held[0], now=now):
                return None
        return snapshots.build_aside(database_url, self.shelf, self.key, now=now)

    def operations(
        self,
        segment: Segment,
        *,
        sender: KnownDevice,
        carried: OnBehalf | None = None,
        said: tuple[uploads.Said, ...] | None = None,
    ) -> Answers:
        """A segment from its device, or through the venue node that took it in: verified once, with the key of the device that wrote it.

        Raises ChainGap and the like; a fork is put on record first.
        """
        owner = self._subject(sender, carried)
        if segment.device != owner.device:
            raise NotAllowed("a device sends its own operations")
        now, given = self.clock.now_utc(), uploads.read(segment, sender=owner, said=said)
        try:
            answers = self.transact(lambda connection: self._received(connection, given, sender=owner, now=now))
        except (ChainFork, ChainGap) as error:
            with self.write() as connection:
                attention.note_trouble(connection, device=segment.device, kind=error.error, detail=str(error), now=now)
            raise
        self._heard_of(segment.device)
        return answers

    def heads(self, device_id: DeviceId) -> tuple[Head, ...]:
        with self.read() as connection:
            return relay.heads(connection, device_id)

    def _received(self, connection: Connection, given: uploads.Read, *, sender: KnownDevice, now: datetime) -> Answers:
        answers = uploads.receive(connection, given, sender=sender, now=now)
        return Answers.of(answers, cursor=feed.cursor_after_mine(connection))

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
        now = self.clock.now_utc()

        def answered(some: Sequence[Asked]) -> Callable[[Connection], Sequence[Result]]:
            return lambda connection: arbiter.claims(connection, some, me=self.device, hub_key=self.hub_key, now=now)

        try:
            with self._turn.take(first=True), self.engine.begin() as connection:
                results = answered(asked)(connection)
        except _OF_ONE_CLAIM as error:
            if _is_away(error):
                raise
            results = [self._alone(answered([one])) for one in asked]
        self._changed()
        return results

    def _alone(self, answered: Callable[[Connection], Sequence[Result]]) -> Result:
        """The result of one claim that stands in nobody's way: what is wrong with it is its own. Raises what says that the database is away."""
        try:
            (result,) = self._run(answered, first=True)
        except _OF_ONE_CLAIM as error:
            if _is_away(error):
                raise
            if isinstance(error, DBAPIError) and is_race(error):
                return Busy("others were in the way; try again")
            log.error("claim", error=type(error).__name__)  # noqa: TRY400  its message names what a ticket is
            return BadRequest("this claim cannot be kept")
        return result

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
        self.transact(lambda connection: ledger.give_back(connection, message, device=sender.device))

    def lease(self, wanted: LeaseRequest, *, sender: KnownDevice, carried: OnBehalf | None = None) -> LeaseAnswer:
        """Lend what there is; a venue node that runs short asks its hub first. Raises NotAllowed, Unreported."""
        self.borrow(wanted, sender=sender)
        return self.lend(wanted, sender=sender, carried=carried)

    def borrow(self, wanted: LeaseRequest, *, sender: KnownDevice) -> None:
        """A venue node's question at its hub before it lends; nothing at a hub. It may take as long as the hub does, so whoever serves many
        gives it no place in the line to the database. Raises NotAllowed, Unreported.
        """
        if wanted.members and sender.role is not Role.VENUE:
            raise NotAllowed("only a venue node lends on")
        if self.borrower is None:
            return
        with self.read() as connection:
            restore.must_have_reported(connection, sender.device)
        self.borrower.top_up(self, wanted, device=sender.device)

    def lend(self, wanted: LeaseRequest, *, sender: KnownDevice, carried: OnBehalf | None = None) -> LeaseAnswer:
        """Lend what is here, also to a kiosk in whose name its venue node asks. Raises NotAllowed, Unreported."""
        owner, now = self._subject(sender, carried), self.clock.now_utc()
        if carried is not None and (owner.role is not Role.KIOSK or owner.revoked):
            raise NotAllowed("only a kiosk holds leases")
        if wanted.members and owner.role is not Role.VENUE:
            raise NotAllowed("only a venue node lends on")

        def lend(connection: Connection) -> LeaseAnswer:
            restore.must_have_reported(connection, owner.device)
            return stock.lend(connection, wanted, device=owner.device, now=now, lender=self.lender)

        return self.transact(lend)

    def certificate(self, *, sender: KnownDevice, carried: OnBehalf | None = None) -> CertificateAnswer:
        """The sender's selling key, certified anew where the present certificate comes to its end. Raises NotAllowed, NotFound."""
        owner, now = self._subject(sender, carried), self.clock.now_utc()
        if owner.role is not Role.KIOSK or owner.revoked:
            raise NotAllowed("only a kiosk sells")
        return self.transact(lambda connection: certificates.renew(connection, owner.device, key=self.key, now=now))

    def telemetry(self, telemetry: Telemetry, *, sender: KnownDevice, carried: OnBehalf | None = None) -> None:
        owner = self._subject(sender, carried)
        self._heard_of(owner.device)

        def keep(connection: Connection) -> None:
            restore.must_have_reported(connection, owner.device)
            reports.keep(connection, telemetry, device=owner.device, now=self.clock.now_utc())

        self._run(keep)  # nobody follows it, so nobody is woken

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
        op, now = OpId(self.random_bytes(OP_ID_BYTES)), self.clock.now_utc()

        def cancel(connection: Connection) -> None:
            mine = reign.present(connection, me=self.device, hub_key=self.hub_key)
            epoch = mine.epoch if mine.rules else None
            tickets.cancel_ticket(connection, op, ticket_id, by=by, reason=reason, epoch=epoch, now=now)

        self.transact(cancel)

    def revoke(self, device_id: DeviceId) -> None:
        with self.write() as connection:
            devices.revoke(connection, device_id, now=self.clock.now_utc())
            self._take_up(connection, now=self.clock.now_utc())
        self.senders.forget(device_id)


def _is_away(error: Exception) -> bool:
    """Whether it is the database's line, lock or disk that failed: then the next claim fares no better."""
    if not isinstance(error, DBAPIError) or is_race(error):
        return False
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)


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
