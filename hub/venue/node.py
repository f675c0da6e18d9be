"""One running venue node: a hub to the devices of its venue, and a device to its hub.

Everything is served from its own tables, with the hub's code; what only the hub may say is asked there or refused. It decides on
claims only while the hub's newest statement names it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine, delete, insert, select

from hub import tables
from hub.errors import ChainFork, ChainGap, CursorGone, EpochPassed, NotAllowed, Unreported
from hub.node import HubNode
from hub.services import attention, feed, reign, restore, uploads
from hub.services.arbiter import Asked, Result
from hub.services.devices import KnownDevice
from hub.services.reign import Reign
from hub.venue import follow, relay, standing
from hub.venue.errors import Behind, HubAway
from hub.venue.upstream import Upstream
from sync import tls
from sync.arbiter import Arbiter
from sync.chain import Segment
from sync.errors import HubRefused, HubUnreachable, MessageError
from sync.protocol import (
    Acknowledged,
    Answer,
    Answers,
    CertificateAnswer,
    Cursor,
    EnrolRequest,
    Head,
    LeaseAnswer,
    LeaseRequest,
    OnBehalf,
    Page,
    Rejoin,
    Relayed,
    SignedText,
    Telemetry,
)
from sync.state import Identity
from tickets.clock import Clock
from tickets.ids import DeviceId, RandomBytes
from tickets.ids import device_id as parse_device_id

_T = TypeVar("_T")

log = structlog.get_logger()

STUCK_S = 30.0
"""A chain that the hub will not take is tried again so often."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What one page of the hub's feed did."""

    rows: int
    more: bool
    left_out: tuple[str, ...] = ()
    restored: bool = False


class VenueNode(HubNode):
    """Methods may be called from any thread; `pull` from one, `push` from one. `upstream` is for calls in a device's name. The database is a
    SQLite file: places in this node's own feed are plain numbers (hub.venue.standing).
    """

    asks_upstream = True

    def __init__(
        self,
        engine: Engine,
        identity: Identity,
        key: Any,
        *,
        upstream: Upstream,
        clock: Clock,
        random_bytes: RandomBytes,
    ) -> None:
        self.shut_out = False
        """The hub has shut this node out: it rules no more. What it holds still goes to the hub."""
        self.put_back = False
        """This database was put back: what it granted since is unknown to it. It confirms nothing until the hub names it in a new epoch."""
        super().__init__(
            engine, key, clock=clock, random_bytes=random_bytes, device=identity.device, hub_key=identity.hub_key
        )
        self.public = identity.hub_key
        self.identity = identity
        self.upstream = upstream
        self.on_pins: Callable[[str], None] = lambda _: None
        """Gets the hub's newest statement about its TLS keys, unchecked."""
        self.tls_pin: bytes | None = None
        """SHA-256 of the TLS key that this node serves with: what the arbiter's statement has to name."""
        self.to_relay = threading.Event()
        self.hub_heard_at: datetime | None = None
        self.hub_there = True
        """Whether the hub answered when it was last asked. While it did not, nobody is made to wait for it."""
        self._stuck: dict[tuple[DeviceId, int], tuple[str, float]] = {}
        self._gaps: dict[tuple[DeviceId, int], int] = {}
        self._told: dict[bytes, str] = {}
        self._upstream_lock = threading.Lock()
        with self.write() as connection:
            standing.vouch_first(connection, put_back=self.restored is not None)
        self._look_at_ledger()

    def begin(self, seen: restore.Witness | None) -> None:
        super().begin(seen)
        self._look_at_ledger()

    def begin_again(self, why: str) -> None:
        super().begin_again(why)
        self._look_at_ledger()

    def _look_at_ledger(self) -> None:
        with self.read() as connection:
            self.put_back = not standing.vouches(connection)

    # what devices call

    def enrol(self, request: EnrolRequest) -> SignedText:  # noqa: ARG002 the hub's signature of it
        raise NotAllowed("a venue node enrols nobody; use the hub's own address")

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
        """The next page of this node's feed, with what it knows of the hub. Raises Behind for a device that has `seen` more of the hub."""
        if seen is not None and standing.is_behind(connection, seen):
            raise Behind("this node has less of the hub than you")
        if cursor is None and seen is not None:
            cursor = self._goes_on(connection, seen, scope=scope, schema=feed.served_schema(schema))
        # No checksum: what was made here is not the hub's yet, and what a device has from the hub may not be here.
        now = self.clock.now_utc()
        page = feed.page(connection, cursor, rows_max=rows_max, now=now, scope=scope, schema=schema)
        held: Acknowledged | None = None
        answers: tuple[Answer, ...] = ()
        if device is not None and acknowledged is not None:
            held, answers = relay.acknowledged(connection, device, acknowledged)
        hub = standing.shown(connection, scope=scope)
        return replace(page, relay=Relayed(hub, held, answers, self.hub_heard_at))

    def _goes_on(self, connection: Connection, seen: str, *, scope: str, schema: int) -> str:
        """This feed's cursor for a device that stands at `seen` in the hub's. Raises CursorGone where deletions that it may have missed are
        forgotten here: then it begins anew.
        """
        start = standing.start_for(connection, seen)
        if start == 0 and feed.cursor_floor(connection) > feed.START:
            raise CursorGone("what was deleted since then is forgotten; start again without a cursor")
        return Cursor(feed.epoch(connection), start, scope=scope, schema=schema).encode()

    def operations(
        self,
        segment: Segment,
        *,
        sender: KnownDevice,
        carried: OnBehalf | None = None,
        said: tuple[uploads.Said, ...] | None = None,
    ) -> Answers:
        """A segment of a device: verified, applied here at once, and kept for the hub, in one transaction."""
        if carried is not None or segment.device != sender.device:
            raise NotAllowed("a device sends its own operations")
        where = (segment.device, segment.incarnation)
        stuck = self._stuck.get(where)
        if stuck is not None and stuck[0] == ChainFork.error:
            raise ChainFork("the hub holds other operations under these numbers")
        missing = self._gaps.get(where)
        if missing is not None and segment.first > missing + 1:
            raise ChainGap(f"the hub misses operations from {missing + 1} on", known_seq=missing)
        now, given = self.clock.now_utc(), uploads.read(segment, sender=sender, said=said)
        try:
            answers = self._receive(given, sender=sender, now=now)
        except (ChainGap, ChainFork) as error:
            if not self._adopt(sender.device):
                self._note(sender.device, error, now=now)
                raise
            try:
                answers = self._receive(given, sender=sender, now=now)
            except (ChainGap, ChainFork) as again:
                self._note(sender.device, again, now=now)
                raise
        self._gaps.pop(where, None)
        self.to_relay.set()
        return answers

    def _receive(self, given: uploads.Read, *, sender: KnownDevice, now: datetime) -> Answers:
        def work(connection: Connection) -> Answers:
            position = feed.position(connection)
            relay.fill(connection, given, sender=sender, now=now)
            answers = uploads.receive(connection, given, sender=sender, now=now)
            relay.keep(connection, given.segment, position=position, now=now)
            return Answers.of(answers, cursor=feed.cursor_after_mine(connection))

        return self.transact(work)

    def _note(self, device: DeviceId, error: ChainGap | ChainFork, *, now: datetime) -> None:
        with self.write() as connection:
            attention.note_trouble(connection, device=device, kind=error.error, detail=str(error), now=now)

    def _adopt(self, device: DeviceId) -> bool:
        """Ask the hub how far it has this device's chains. False where there is no line, or it knows no more than this node."""
        if not self.hub_there:
            return False
        try:
            with self._upstream_lock:
                heads = self.upstream.heads(device)
        except (HubUnreachable, HubRefused):
            return False
        with self.write() as connection:
            return relay.adopt(connection, device, heads)

    def heads(self, device_id: DeviceId) -> tuple[Head, ...]:
        _ = device_id
        raise NotAllowed("ask the hub")

    def claims(self, asked: Sequence[Asked]) -> Sequence[Result]:
        """As the hub's, under the statement that names this node; one that was shut out, or whose database was put back, answers none."""
        if self.shut_out:
            why = "this node is not the venue's arbiter any more"
        elif self.put_back:
            why = "this node's database was put back; the hub must name it in a new epoch"
        else:
            return super().claims(asked)
        epoch = self.reign().epoch
        return [EpochPassed(why, epoch=epoch) for _ in asked]

    def reign(self) -> Reign:
        found = super().reign()
        return replace(found, rules=found.rules and not (self.shut_out or self.put_back))

    def hand_over(
        self,
        node: DeviceId | None,  # noqa: ARG002 the hub's to say, all of it
        *,
        urls: Sequence[str],  # noqa: ARG002
        tls: bytes | None = None,  # noqa: ARG002
        by: str,  # noqa: ARG002
        after: int = 0,  # noqa: ARG002
    ) -> Arbiter:
        raise NotAllowed("the hub names the arbiter")

    def lend(self, wanted: LeaseRequest, *, sender: KnownDevice, carried: OnBehalf | None = None) -> LeaseAnswer:
        """Stock and digits are lent by the hub alone; the node asks there in the kiosk's name. Raises HubAway while there is no line."""
        if carried is not None:
            raise NotAllowed("a node asks the hub")
        return self._asked_there(lambda: self.upstream.lease_for(sender.device, wanted, at=self.clock.now_utc()))

    def certificate(self, *, sender: KnownDevice, carried: OnBehalf | None = None) -> CertificateAnswer:
        """Only the hub's key certifies. Raises HubAway while there is no line."""
        if carried is not None:
            raise NotAllowed("a node asks the hub")
        return self._asked_there(lambda: self.upstream.certificate_for(sender.device, at=self.clock.now_utc()))

    def _asked_there(self, call: Callable[[], _T]) -> _T:
        if not self.hub_there:
            raise HubAway("this is the hub's, and it cannot be reached")
        try:
            with self._upstream_lock:  # one kept-alive line for these rare calls
                return call()
        except HubUnreachable as error:
            raise HubAway("this is the hub's, and it cannot be reached") from error
        except HubRefused as error:
            if error.error == Unreported.error:
                raise Unreported(str(error)) from error
            raise NotAllowed(str(error)) from error

    def rejoin(self, held: Rejoin, *, sender: KnownDevice, carried: OnBehalf | None = None) -> int:
        """The hub was restored, and a device says what it holds: handed on, for the hub alone lends. What the hub lost of its operations
        goes up from here where it is stored here; else the device is told from where to send. Raises HubAway while there is no line.
        """
        if carried is not None:
            raise NotAllowed("a device speaks for itself here")
        if not self.hub_there:
            raise HubAway("the hub must hear of this, and it cannot be reached")
        try:
            with self._upstream_lock:
                known = self.upstream.rejoin_for(sender.device, held, at=self.clock.now_utc())
        except HubUnreachable as error:
            raise HubAway("the hub must hear of this, and it cannot be reached") from error
        except HubRefused as error:
            raise NotAllowed(str(error)) from error

        def take(connection: Connection) -> int:
            if held.whole:
                connection.execute(delete(tables.unreported).where(tables.unreported.c.device == sender.device))
            chain = (sender.device, held.incarnation)
            if known < held.acknowledged and relay.reaches(connection, *chain, after=known, until=held.acknowledged):
                relay.go_back(connection, *chain, known_seq=known)
                return held.acknowledged
            return known

        done = self.transact(take)
        self.to_relay.set()
        return done

    # what the node's own threads call

    def pull(self, hub: Upstream, *, wait_s: float, rows_max: int) -> Pulled:
        """Ask the hub for its next page and take it in. Raises HubUnreachable, HubRefused, MessageError."""
        with self.read() as connection:
            before = standing.cursor(connection)
        try:
            page = hub.changes(before, wait_s=wait_s, rows_max=rows_max)
        except HubUnreachable:
            self.hub_there = False
            raise
        except HubRefused as refused:
            if refused.status != 410:
                raise
            with self.write() as connection:
                standing.forget(connection)
            log.warning("feed_gone", detail=str(refused))
            return Pulled(0, more=True)
        self.hub_heard_at, self.hub_there = self.clock.now_utc(), True
        if page.cursor == before and not page.tables:
            if self.put_back and not page.more:
                self._heard_all()
            return Pulled(0, more=page.more)
        with self.write() as connection:
            left_out = follow.take(connection, page, hub_key=self.public)
            restored = standing.move(connection, page.cursor)
            if restored:
                relay.ask_all_again(connection)
        if self.put_back and not page.more:
            self._heard_all()
        self._after(page)
        if restored:
            self.to_relay.set()
        rows = sum(len(part.rows) + len(part.deletes) for part in page.tables)
        return Pulled(rows, page.more, tuple(left_out), restored)

    def _heard_all(self) -> None:
        """This node has all that the hub said up to now, and so the newest statement: the next epoch after it is one made knowingly."""
        with self.write() as connection:
            epoch = reign.present(connection, me=self.device, hub_key=self.hub_key).epoch
            self.put_back = not standing.vouch_after(connection, epoch)
        log.warning("put_back", rules_again=not self.put_back, epoch=epoch)

    def _after(self, page: Page) -> None:
        """What is kept beside the tables: who was shut out holds at once, and the hub's TLS keys go where its lines find them."""
        for part in page.tables:
            for row in part.as_mappings():
                if part.table == "device":
                    with contextlib.suppress(ValueError, TypeError):  # a row that was left out as none
                        self.senders.forget(parse_device_id(row["device"]))
                elif part.table == "document" and row["name"] == tls.DOCUMENT:
                    self.on_pins(str(row["text"]))

    def push(self, hub: Upstream) -> int:
        """Hand on the next segment of each chain. How many operations the hub answered. Raises HubUnreachable."""
        with self.read() as connection:
            waiting = relay.waiting(connection)
        done = 0
        for item in waiting:
            where = (item.device, item.incarnation)
            stuck = self._stuck.get(where)
            if stuck is not None and self.clock.monotonic_s() < stuck[1]:
                continue
            done += self._push_one(hub, item, where)
        return done

    def _push_one(self, hub: Upstream, item: relay.Waiting, where: tuple[DeviceId, int]) -> int:
        with self.read() as connection:
            segment = relay.load(connection, item)
        try:
            answers = hub.relay(segment, received_at=item.received_at)
        except HubRefused as refused:
            earlier = self._refused(segment, where, refused)
            return 0 if earlier is None else self._push_one(hub, earlier, where)
        if len(answers) != len(segment.bodies):
            raise HubUnreachable(f"{len(answers)} answers to {len(segment.bodies)} operations")
        self.hub_heard_at, self.hub_there = self.clock.now_utc(), True
        self._stuck.pop(where, None)
        with self.write() as connection:  # devices wait for the news
            relay.answered(connection, segment, answers, now=self.clock.now_utc())
        return len(answers)

    def _refused(self, segment: Segment, where: tuple[DeviceId, int], refused: HubRefused) -> relay.Waiting | None:
        """The earlier segment from which to go on, where the hub misses something that is here; else the chain stands still and is told."""
        if refused.error == ChainGap.error and refused.known_seq is not None and refused.known_seq + 1 < segment.first:
            with self.write() as connection:
                if relay.go_back(connection, segment.device, segment.incarnation, known_seq=refused.known_seq):
                    return relay.first_waiting(connection, segment.device, segment.incarnation)
            self._gaps[where] = refused.known_seq  # the device still has it, and is asked for it when it comes next
        first_time = where not in self._stuck
        self._stuck[where] = (refused.error, self.clock.monotonic_s() + STUCK_S)
        if first_time:
            log.error("relay_stuck", error=refused.error, first=segment.first)
            with self.write() as connection:
                attention.note_trouble(
                    connection,
                    device=segment.device,
                    kind="relay",
                    detail=f"the hub does not take {segment.incarnation}.{segment.first}: {refused}",
                    now=self.clock.now_utc(),
                )
        return None

    def push_telemetry(self, hub: Upstream) -> None:
        """Hand on what devices said of themselves since. Raises HubUnreachable."""
        with self.read() as connection:
            rows = connection.execute(select(tables.telemetry)).all()
        for row in rows:
            if self._told.get(row.device) == row.received_at:
                continue
            try:
                message = Telemetry.from_json(row.body)
                hub.telemetry_for(DeviceId(row.device), message, at=datetime.fromisoformat(row.received_at))
            except (HubRefused, MessageError) as error:
                log.warning("telemetry_not_relayed", error=str(error))
                if isinstance(error, HubRefused) and error.error == Unreported.error:
                    self._ask_what_it_holds(DeviceId(row.device))
                    continue
            self._told[row.device] = row.received_at

    def _ask_what_it_holds(self, device: DeviceId) -> None:
        """The hub was restored and waits for this device's word: its next report here is answered `unreported`, as the hub would."""
        with self.write() as connection:
            asked = select(tables.unreported.c.device).where(tables.unreported.c.device == device)
            if connection.execute(asked).first() is None:
                connection.execute(insert(tables.unreported), {"device": device})

    def bring_forward(self) -> None:
        """Tell again of what was granted here long ago and that no gate has uploaded (hub.venue.standing)."""
        with self.read() as connection:
            keys = standing.far_back(connection)
        if keys:
            with self.write() as connection:
                feed.touch(connection, "used", keys)

    def waiting(self) -> int:
        """How many operations are here that the hub has not answered."""
        with self.read() as connection:
            return relay.count_waiting(connection)
