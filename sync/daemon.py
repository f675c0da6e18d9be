"""The process kaisatsu-sync: carries the journal to the hub, and what the hub says to cache and journal.

Three threads, so that a long poll never delays an upload and nothing waits for a report: *push* (operations, then leases), *pull* (the
feed) and *report* (telemetry, when nothing else waits). After an outage a device says first what it did and then hears what others did:
pull lets push go first, and report lets both. None of them needs the hub to be there, and nobody on the device needs this process in order to sell or to admit. It never appends an
operation of its own and never changes one.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError

from sync import discovery, granted, room, shut_out
from sync.afresh import begin_afresh
from sync.arbiter import Arbiter
from sync.backoff import Backoff
from sync.client import HttpHub
from sync.download import Downloader
from sync.enrol import SOFTWARE
from sync.errors import (
    HubKeyWrong,
    HubRefused,
    HubUnreachable,
    JournalBroken,
    MessageError,
    NewerFile,
    NotEnrolled,
    StoreFull,
)
from sync.journal import Journal, is_forked, open_for_grants, open_journal
from sync.leasing import LeaseKeeper
from sync.protocol import Telemetry
from sync.pruning import KEPT_DAYS, LOW_KEPT_DAYS, note_covered, prune
from sync.rejoin import rejoin
from sync.renewal import Renewal
from sync.room import Level
from sync.route import Origin, Route
from sync.service import notify
from sync.service.doorbell import Doorbell, ring
from sync.service.health import Board, Health, State
from sync.settings import Settings
from sync.state import Identity, Role, StateDir
from sync.upload import Uploader
from tickets.clock import Clock, SystemClock
from tickets.ids import RandomBytes

SYNC_BELL, GATE_BELL, KIOSK_BELL = "sync.bell", "gate.bell", "kiosk.bell"
HEALTH_PART = "hub"
UPLOADS_FIRST_S = 60.0
"""So long the feed waits at most for uploads that get through: a revocation must not wait for a backlog without end."""
LOOK_S = 1.0
HOUSE_EVERY_S = 30.0
"""A lost ring costs so much at most."""
REOPEN_S = 5.0
LAST_WORD_S = 3.0
"""A device that goes off gives back what it will not sell, if that is done within so long."""
FORK = "the hub holds other operations under its numbers: this disk was put back to an earlier time, or copied"
TLS_KEY = "tls_key"
"""What health says where something answers that does not hold the hub's TLS key."""
OFFLINE_WARNING_S = 60.0
NODE_PAUSE_S = 2.0
HUB_AWAY = "hub_away"
DIVERGED_WARNING_S = 3_600.0
"""So long a cache that differed from the hub is told, though it was healed at once: somebody should ask why."""

LAN_WAIT_S = 1.0
"""So long whoever is on the LAN has to say that he is the venue node."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Opened:
    """The journal as it is now. `sound` None: its chain does not hold, nothing is pushed. `grants` None: it cannot be read at all."""

    sound: Journal | None
    grants: Journal | None
    problem: str = ""


class JournalWatch:
    """Notices when the journal file becomes another one (the gate set a broken one aside), and opens what is there now."""

    def __init__(self, state: StateDir, *, clock: Clock, random_bytes: RandomBytes) -> None:
        self._state, self._clock, self._random_bytes = state, clock, random_bytes
        self._lock = threading.Lock()
        self._opened: Opened | None = None
        self._inode: int | None = None
        self._opened_s = 0.0

    def current(self) -> Opened:
        with self._lock:
            inode, now_s = self._file(), self._clock.monotonic_s()
            held = self._opened
            again = held is not None and held.problem != "" and now_s > self._opened_s + REOPEN_S
            if held is None or inode != self._inode or again:
                if held is not None and not held.problem and self._inode is not None:
                    log.warning("journal_replaced")
                fresh = self._open()
                if held is None or fresh.problem != held.problem:
                    (log.error if fresh.problem else log.info)("journal_opened", problem=fresh.problem)
                elif again and fresh.problem:
                    fresh = held  # as broken as before: keep the object that others compare with
                self._opened, self._inode, self._opened_s = fresh, self._file(), now_s
                return fresh
            return held

    def doubt(self) -> None:
        """Open it again at the next look, though the file is the same."""
        with self._lock:
            self._inode = None

    def _file(self) -> int | None:
        try:
            return os.stat(self._state.journal).st_ino  # noqa: PTH116 a StateDir path; only the inode is wanted
        except OSError:
            return None

    def _open(self) -> Opened:
        try:
            journal = open_journal(self._state, clock=self._clock, random_bytes=self._random_bytes)
        except NewerFile as error:
            return Opened(sound=None, grants=None, problem=str(error))
        except JournalBroken as error:
            return Opened(sound=None, grants=open_for_grants(self._state), problem=str(error))
        return Opened(sound=journal, grants=journal)


@dataclass(frozen=True, slots=True)
class News:
    """What this process knows of the line, for the health row. Replaced whole under a lock."""

    last_contact: datetime | None = None
    line: bool = False
    current_at: datetime | None = None
    unsent: int = 0
    rejected: int = 0
    conflicts: int = 0
    generation: int | None = None
    cache_rebuilt: int = 0
    diverged: int = 0
    diverged_at: datetime | None = None
    began_afresh: int = 0
    cache_problem: str = ""
    left_out: tuple[str, ...] = ()
    refused: str = ""
    journal: str = ""
    clock_offset_s: float = 0.0
    room: Level = Level.AMPLE
    unsent_hub: int = 0
    shut_out: bool = False


class UploadsFail(HubUnreachable):
    """The feed has not been asked for, because uploads do not get through: no word on whoever serves the feed."""


@dataclass(frozen=True, slots=True)
class Line:
    """A kept-alive line to one origin."""

    origin: Origin
    hub: HttpHub


class UploadsFirst:
    """Whether what this device did has been said, for the threads that let it go first. Not done: at the start, and from a failure on
    until the journal is drained again.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._done, self._rounds = False, 0

    def settled(self) -> None:
        """Nothing waits that could be sent now."""
        self._end(done=True)

    def failed(self) -> None:
        self._end(done=False)

    def _end(self, *, done: bool) -> None:
        with self._changed:
            self._done, self._rounds = done, self._rounds + 1
            self._changed.notify_all()

    def are_done(self) -> bool:
        with self._changed:
            return self._done

    def wait(self, *, timeout_s: float) -> bool:
        """Until the push thread is done, or has failed once more, or the time is over. Whether whoever waits may go on: not after a failure."""
        with self._changed:
            begun = self._rounds
            ended = self._changed.wait_for(lambda: self._done or self._rounds > begun, timeout_s)
            return self._done or not ended


@dataclass(slots=True)
class Shared:
    """What the threads share: settings that never change, the news, and the bells between them."""

    settings: Settings
    state: StateDir
    identity: Identity
    clock: Clock
    random_bytes: RandomBytes
    watch: JournalWatch
    route: Route
    stop: threading.Event = field(default_factory=threading.Event)
    pull_now: threading.Event = field(default_factory=threading.Event)
    rejoin_now: threading.Event = field(default_factory=threading.Event)
    report_now: threading.Event = field(default_factory=threading.Event)
    uploads: UploadsFirst = field(default_factory=UploadsFirst)
    news: News = field(default_factory=News)
    lock: threading.Lock = field(default_factory=threading.Lock)
    progress_s: dict[str, float] = field(default_factory=dict)
    contact_s: float | None = None
    """When the hub itself last answered any thread, by the steady clock, or a venue node that had just heard of it."""

    def tell(self, **changes: Any) -> News:
        with self.lock:
            self.news = replace(self.news, **changes)
            return self.news

    def add(
        self,
        *,
        rejected: int = 0,
        conflicts: int = 0,
        cache_rebuilt: int = 0,
        diverged: int = 0,
        began_afresh: int = 0,
    ) -> None:
        with self.lock:
            self.news = replace(
                self.news,
                rejected=self.news.rejected + rejected,
                conflicts=self.news.conflicts + conflicts,
                cache_rebuilt=self.news.cache_rebuilt + cache_rebuilt,
                diverged=self.news.diverged + diverged,
                began_afresh=self.news.began_afresh + began_afresh,
            )

    def reached(self, line: Line) -> None:
        self.route.reached(line.origin)
        if line.origin.node is None:
            self.contact_s = self.clock.monotonic_s()
        offset_s = round(line.hub.clock_offset_s, 3)
        self.tell(last_contact=self.clock.now_utc(), line=True, refused="", clock_offset_s=offset_s)

    def worked(self, who: str) -> None:
        self.progress_s[who] = self.clock.monotonic_s()

    def line(self, origin: Origin) -> Line:
        """A line of the calling thread's own: to the hub under its pins in force, to a venue node under the one that the hub stated.

        Raises ValueError for https without a pin, and http with one.
        """
        hub = HttpHub(
            origin.url,
            device=self.identity.device,
            key=self.state.identity_key(),
            clock=self.clock,
            random_bytes=self.random_bytes,
            tls=self.state.hub_pins(self.identity) if origin.node is None else origin.tls,
            connect_timeout_s=self.settings.connect_timeout_s,
            read_timeout_s=self.settings.read_timeout_s,
        )
        return Line(origin, hub)

    def ring(self, *names: str) -> None:
        for name in names:
            ring(self.settings.run_dir / name)


def push(shared: Shared, bell: Doorbell) -> None:
    """The push thread, until `stop`."""
    work, backoff = _Pushing(shared, shared.line(shared.route.current())), _backoff(shared)
    failing = False
    while not shared.stop.is_set():
        shared.worked("push")
        pause_s = LOOK_S
        if work.line.origin != shared.route.current():
            work.go_over(shared.route.current())
            backoff.succeeded()
        opened = work.open()
        if opened is None:
            continue
        if (left_s := work.not_before_s - shared.clock.monotonic_s()) > 0:
            _count_unsent(shared, opened)
            bell.wait(timeout_s=min(left_s, LOOK_S))  # the hub named a time: a new sale does not make it sooner
            continue
        try:
            sent = _push_all(shared, work)
            backoff.succeeded()
            shared.uploads.settled()
            if sent:
                shared.report_now.set()
            if failing:
                failing = False
                shared.pull_now.set()  # the line is back: the feed need not wait for its own pause to end
        except (HubUnreachable, HubRefused) as error:
            failing, pause_s = True, work.failed(error, backoff)
        except DBAPIError as error:  # a disk that is full, a file that went away: look again
            pause_s = backoff.failed()
            shared.uploads.settled()
            log.warning("journal_unusable", error=str(error.orig))
        _count_unsent(shared, opened)
        bell.wait(timeout_s=max(pause_s, 0.01))
    if work.keeper is not None:
        _give_back_at_the_end(work.keeper)


@dataclass(slots=True)
class _Pushing:
    """What the push thread holds: its line, and who sends from the journal that is open now. `remembered_s`: when the busiest day was last
    looked at.
    """

    shared: Shared
    line: Line
    opened: Opened | None = None
    uploader: Uploader | None = None
    keeper: LeaseKeeper | None = None
    renewal: Renewal | None = None
    remembered_s: float = float("-inf")
    not_before_s: float = float("-inf")
    """Whoever serves this device asked not to be called before."""

    def go_over(self, origin: Origin) -> None:
        self.line.hub.close()
        self.line = self.shared.line(origin)
        self.opened, self.not_before_s = None, float("-inf")

    def open(self) -> Opened | None:
        """The journal as it is now. None: look again, another incarnation has begun."""
        shared, now_open = self.shared, self.shared.watch.current()
        if now_open is self.opened:
            return now_open
        self.opened = now_open
        shared.tell(journal=now_open.problem)
        self.uploader = self.keeper = self.renewal = None
        sound = now_open.sound
        if sound is None:
            return None if _begin_afresh(shared) else now_open
        at_hub = self.line.origin.node is None
        self.uploader = Uploader(sound, shared.state, self.line.hub, clock=shared.clock, at_hub=at_hub)
        if shared.identity.role is Role.KIOSK:
            units = shared.settings.slot_units
            self.keeper = LeaseKeeper(sound, self.line.hub, clock=shared.clock, slot_units=units)
            self.renewal = Renewal(sound, shared.identity, self.line.hub, clock=shared.clock)
        return now_open

    def failed(self, error: HubUnreachable | HubRefused, backoff: Backoff) -> float:
        """What to do about it; so many seconds until the next try."""
        shared, pause_s = self.shared, _pause_s(self.shared, backoff, error)
        if isinstance(error, HubUnreachable):
            if error.retry_after_s is not None:
                self.not_before_s = shared.clock.monotonic_s() + pause_s
            shared.uploads.failed()
        else:
            shared.uploads.settled()  # there is nothing to wait for
        if isinstance(error, HubRefused) and error.error == "unreported":
            shared.rejoin_now.set()
            return 0.0
        _not_reached(shared, "push", error, self.line)
        if isinstance(error, HubRefused) and error.error == "chain_fork" and self.opened is not None:
            _mark_forked(shared, self.opened.sound)
            _begin_afresh(shared)
        return 0.0 if _elsewhere(shared, self.line.origin, error) else pause_s


def _give_back_at_the_end(keeper: LeaseKeeper) -> None:
    """This device goes off. Where its program was closed before, others may sell what it held; where the line is gone, nothing is given
    back that nobody would hear of.
    """
    try:
        if keeper.step(closing=True):
            log.info("leases_returned")
    except (HubUnreachable, HubRefused) as error:
        log.info("leases_not_returned", error=str(error))
    except DBAPIError as error:
        log.warning("journal_unusable", error=str(error.orig))


def _push_all(shared: Shared, work: _Pushing) -> bool:
    """Everything that waits: operations, what a restored hub must know, leases, the certificate. Whether any operation was answered."""
    keeper, line, opened = work.keeper, work.line, work.opened
    sound = None if opened is None else opened.sound
    if keeper is not None:
        keeper.end_old_blocks(shared.clock.now_utc())  # first: without a line nothing below is reached
    sent = work.uploader is not None and _push_operations(shared, work.uploader, line)
    try:
        if sound is not None and shared.rejoin_now.is_set():
            again = rejoin(sound, line.hub)
            shared.rejoin_now.clear()
            log.warning("rejoined", sent_again=again)
        if keeper is not None:
            _keep_leases(shared, work, keeper)
        if work.renewal is not None and work.renewal.step():
            log.info("certificate_renewed")
    except HubRefused as refused:
        # A venue node that has no line to its hub is no reason to leave it: selling goes on from what is held.
        if line.origin.node is None or refused.error != HUB_AWAY:
            raise
    return sent


def _push_operations(shared: Shared, uploader: Uploader, line: Line) -> bool:
    """Whether any operation was answered."""
    sent_any = False
    while not shared.stop.is_set():
        sent = uploader.step()
        if not sent.operations:
            break
        sent_any = True
        shared.worked("push")
        shared.reached(line)
        shared.add(rejected=sent.rejected, conflicts=sent.conflicts)
        log.info("sent", operations=sent.operations, rejected=sent.rejected, conflicts=sent.conflicts)
    return sent_any


def _keep_leases(shared: Shared, work: _Pushing, keeper: LeaseKeeper) -> None:
    """Raises HubRefused where a venue node has no line to its hub."""
    if shared.contact_s is not None:
        keeper.heard(shared.contact_s)  # whichever thread heard it: what is returned now somebody will sell
    while not shared.stop.is_set() and keeper.step():
        shared.reached(work.line)
        shared.worked("push")
        shared.ring(KIOSK_BELL)
        log.info("leases_renewed")
    if shared.clock.monotonic_s() > work.remembered_s + shared.settings.telemetry_s:
        keeper.remember_peak()
        work.remembered_s = shared.clock.monotonic_s()


def _mark_forked(shared: Shared, journal: Journal | None) -> None:
    """The hub contradicts this journal: the disk was put back to an earlier time. Said where every process of the device sees it:
    a gate goes on in a new incarnation, a kiosk stops selling. Nothing more is sent from this one.
    """
    if journal is None:
        return
    try:
        marked = journal.mark_forked(FORK)
    except DBAPIError as error:
        log.warning("journal_unusable", error=str(error.orig))
        return
    if marked:
        log.error("journal_forked", incarnation=journal.incarnation)
        shared.watch.doubt()
        shared.ring(GATE_BELL, KIOSK_BELL)


def _begin_afresh(shared: Shared) -> bool:
    """A kiosk goes on in a new incarnation of the same file: its sales are kept, its leases are not. A gate sees to its own journal.
    Whether it did; what stands in the way passes, and it is tried again when the journal is opened again.
    """
    if shared.identity.role is not Role.KIOSK or not is_forked(shared.state):
        return False
    journal = open_for_grants(shared.state)
    if journal is None:
        return False
    try:
        done = begin_afresh(shared.state, journal, clock=shared.clock, random_bytes=shared.random_bytes)
    except (DBAPIError, OSError) as error:
        log.warning("journal_unusable", error=type(error).__name__)
        return False
    finally:
        journal.engine.dispose()
    if done:
        shared.add(began_afresh=1)
        shared.watch.doubt()
        shared.ring(KIOSK_BELL)
    return done


def report(shared: Shared, board: Board) -> None:
    """The report thread, until `stop`: says how this device is, after uploads and every `telemetry_s`, and never before what it did. That a
    report does not get through is no error of the line: it is not tried again, the next one says more.
    """
    line, sequence = shared.line(shared.route.current()), 0
    while not shared.stop.is_set():
        shared.report_now.wait(shared.settings.telemetry_s)
        shared.report_now.clear()
        if shared.stop.is_set() or not shared.uploads.are_done():
            continue
        if line.origin != shared.route.current():
            line.hub.close()
            line = shared.line(shared.route.current())
        sequence += 1
        try:
            line.hub.telemetry(_telemetry(shared, board, sequence))
            shared.reached(line)
        except (HubUnreachable, HubRefused) as error:
            log.warning("not_reported", error=str(error))
            if isinstance(error, HubRefused) and error.error == "unreported":
                shared.rejoin_now.set()
                shared.ring(SYNC_BELL)
            elif isinstance(error, HubKeyWrong):
                _expect(shared, line)


def _telemetry(shared: Shared, board: Board, sequence: int) -> Telemetry:
    parts = [part for part in board.parts() if part["part"] != HEALTH_PART]
    news = shared.news
    if news.diverged_at is not None:  # the one thing of the line that the office has to know
        facts = {"diverged": news.diverged, "rebuilt": news.cache_rebuilt}
        at = news.diverged_at.isoformat()
        parts.append({"part": "cache", "state": State.WARNING.value, "at": at, "stops": "", "facts": facts})
    now = shared.clock.now_utc()
    return Telemetry(now, SOFTWARE, unsent=news.unsent, parts=tuple(parts), sequence=sequence)


def _count_unsent(shared: Shared, opened: Opened) -> None:
    if opened.grants is not None:
        try:
            held = opened.grants.acknowledged_seq() - opened.grants.hub_seq()
            shared.tell(unsent=opened.grants.unsent(), unsent_hub=held)
        except DBAPIError as error:
            log.warning("journal_unusable", error=str(error.orig))


def pull(shared: Shared) -> None:
    """The pull thread, until `stop`."""
    work = _Pulling(shared, shared.line(shared.route.current()), alone_s=shared.clock.monotonic_s() + UPLOADS_FIRST_S)
    backoff, failing = _backoff(shared), False
    while not shared.stop.is_set():
        shared.worked("pull")
        pause_s = 0.0
        try:
            if work.once():
                backoff.succeeded()
                if failing:
                    failing = False
                    shared.ring(SYNC_BELL)  # the line is back: wake the push thread
            else:
                pause_s = LOOK_S
        except StoreFull:
            pause_s = backoff.failed()  # told where it was found; the line is as it was
        except (HubUnreachable, HubRefused, MessageError) as error:
            failing, pause_s = True, _pause_s(shared, backoff, error)
            _not_reached(shared, "pull", error, work.line)
            if isinstance(error, HubRefused) and error.error == "revoked":
                work.shut_out()
            elif not isinstance(error, UploadsFail) and _elsewhere(shared, work.line.origin, error):
                pause_s = 0.01
                shared.ring(SYNC_BELL)  # what was sent there only may have to be sent again
        except DBAPIError as error:  # the journal was in somebody's hands for too long, or is being set aside
            work.opened, pause_s = None, max(0.2, backoff.failed())
            log.warning("journal_unusable", error=str(error.orig))
        if pause_s:
            shared.pull_now.wait(pause_s)
            shared.pull_now.clear()
    work.close()


@dataclass(slots=True)
class _Pulling:
    """What the pull thread holds: its line, and the downloader of the journal that is open now."""

    shared: Shared
    line: Line
    opened: Opened | None = None
    downloader: Downloader | None = None
    alone_s: float = 0.0
    """Until then the feed waits for uploads."""
    kept_s: float = float("-inf")
    """When the house was last kept."""

    def once(self) -> bool:
        """One page from whoever serves this device now. False where there is no journal to put it in."""
        shared, now_open = self.shared, self.shared.watch.current()
        if now_open is not self.opened:
            self.close()
            _learn(shared, now_open)
            self.opened, self.downloader = now_open, _downloader(shared, now_open, self.line)
        if self.line.origin != shared.route.current():
            self._go_over(shared.route.current())
        if self.downloader is None:
            return False
        if shared.clock.monotonic_s() - self.kept_s > HOUSE_EVERY_S:
            self.kept_s = shared.clock.monotonic_s()
            _keep_house(shared, self.downloader, now_open.sound)
        self._uploads_first()
        if _pull_once(shared, self.downloader, self.line):
            _learn(shared, now_open)
        _look_for_node(shared, self.downloader)
        return True

    def _uploads_first(self) -> None:
        """Raises UploadsFail."""
        shared = self.shared
        if not shared.uploads.are_done() and shared.clock.monotonic_s() < self.alone_s:
            shared.ring(SYNC_BELL)
            if not shared.uploads.wait(timeout_s=UPLOADS_FIRST_S):
                raise UploadsFail("uploads do not get through")
        self.alone_s = shared.clock.monotonic_s() + UPLOADS_FIRST_S

    def _go_over(self, origin: Origin) -> None:
        self.line.hub.close()
        self.line = self.shared.line(origin)
        log.info("route", to="hub" if origin.node is None else "node")
        if self.downloader is not None:
            self.downloader.use(self.line.hub, node=origin.node)

    def shut_out(self) -> None:
        if self.opened is not None and _shut_out(self.shared, self.opened, self.downloader):
            self.opened = self.downloader = None

    def close(self) -> None:
        if self.downloader is not None:
            self.downloader.close()
        self.downloader = None


def _backoff(shared: Shared) -> Backoff:
    return Backoff(shared.random_bytes, bound_s_max=shared.settings.backoff_s_max)


def _pause_s(shared: Shared, backoff: Backoff, error: Exception) -> float:
    """A venue with a node has somebody near to ask: it waits for no long pause to end, but for the time that it was told to wait."""
    pause_s = backoff.failed(error)
    told = getattr(error, "retry_after_s", None) is not None
    return min(pause_s, NODE_PAUSE_S) if shared.route.node_named and not told else pause_s


def _find_on_the_lan(statement: Arbiter) -> tuple[str, ...]:
    try:
        return discovery.find(statement, wait_s=LAN_WAIT_S)
    except (discovery.LanSilent, ImportError) as error:
        log.info("node_not_looked_for", why=str(error))
        return ()


def _elsewhere(shared: Shared, origin: Origin, error: Exception) -> bool:
    """Whether to go on with another origin at once. A node that refuses as such (it is behind, or has not heard of this device) is as good
    as none; what it refuses in the hub's name is the hub's no.
    """
    if isinstance(error, HubRefused):
        not_ready = origin.node is not None and error.error in ("behind", "device_unknown", "not_found")
        return not_ready and shared.route.failed(origin, not_ready=True)
    if getattr(error, "retry_after_s", None) is not None:
        return False  # who says when to come again is there
    return shared.route.failed(origin)


def _learn(shared: Shared, opened: Opened) -> None:
    """Who is the venue's node, by the newest statement that came here."""
    if opened.grants is not None:
        with opened.grants.read() as connection:
            shared.route.learn(granted.arbiter(connection, shared.identity.hub_key))


def _look_for_node(shared: Shared, downloader: Downloader) -> None:
    """Whether the venue node is back, when it is time to look."""
    origin = shared.route.probe()
    if origin is None or origin.node is None:
        return
    line = shared.line(origin)
    try:
        ready = downloader.is_ready(line.hub, node=origin.node)
    finally:
        line.hub.close()
    if shared.route.probed(ready=ready):
        log.info("node_is_back")
        shared.ring(SYNC_BELL)


def _shut_out(shared: Shared, opened: Opened, downloader: Downloader | None) -> bool:
    """The hub has shut this device out: what it knows of guests goes. True when it did so now."""
    if shared.news.shut_out or opened.grants is None:
        return False
    if downloader is not None:
        downloader.close()
    files = shut_out.wipe(opened.grants, shared.state, shared.identity, clock=shared.clock)
    shared.tell(shut_out=True, generation=None)
    shared.ring(GATE_BELL, KIOSK_BELL)
    log.error("shut_out", files_removed=files)
    return True


def _downloader(shared: Shared, opened: Opened, line: Line) -> Downloader | None:
    if opened.grants is None:
        return None

    def told(event: str, detail: str) -> None:
        log.warning(event, detail=detail)
        match event:
            case "cache_broken":
                shared.tell(cache_problem=detail)
                shared.add(cache_rebuilt=1)
            case "diverged":
                shared.tell(diverged_at=shared.clock.now_utc())
                shared.add(diverged=1)
            case "feed_gone":  # the hub may have been restored: it wants to know what this device holds
                shared.rejoin_now.set()
                shared.ring(SYNC_BELL)

    downloader = Downloader(
        opened.grants,
        shared.state,
        shared.identity,
        line.hub,
        clock=shared.clock,
        rows_max=shared.settings.page_rows,
        told=told,
        worked=lambda: shared.worked("pull"),
    )
    downloader.use(line.hub, node=line.origin.node)
    downloader.open()
    shared.tell(generation=downloader.generation, shut_out=shut_out.is_shut_out(opened.grants))
    return downloader


def _keep_house(shared: Shared, downloader: Downloader, journal: Journal | None) -> None:
    """See how much room there is, keep the reserve, and let go of what nobody needs any more. Does without the hub."""
    folder = shared.state.path
    level = room.level(folder)
    room.keep_reserve(folder)
    if level is not shared.news.room:
        (log.info if level is Level.AMPLE else log.warning)("disk_room", level=level, free_mib=room.free_mib(folder))
    shared.tell(room=level)
    if journal is None:
        return
    note_covered(journal, downloader.cursors())
    kept_days = KEPT_DAYS if level is Level.AMPLE else LOW_KEPT_DAYS
    gone = 0
    while not shared.stop.is_set():
        shared.worked("pull")
        done = prune(journal, now=shared.clock.now_utc(), kept_days=kept_days)
        gone += done.operations
        if not done.more:
            break
    if gone:
        log.info("pruned", operations=gone, kept_days=kept_days)


def _pull_once(shared: Shared, downloader: Downloader, line: Line) -> bool:
    """One page. Whether anything was granted."""
    if downloader.looks_cut():
        downloader.give_up_current("the file is shorter than it says, or gone")
    until_probe_s = shared.route.next_probe_s()
    wait_s = shared.settings.wait_s if until_probe_s is None else min(shared.settings.wait_s, until_probe_s + 0.01)
    pulled = downloader.step(wait_s=wait_s)
    shared.reached(line)
    if pulled.hub_there:
        shared.contact_s = shared.clock.monotonic_s()
    if shared.news.shut_out and downloader.let_in():
        shared.tell(shut_out=False)
    if pulled.settled:
        shared.add(conflicts=pulled.settled)
        log.warning("hub_said_otherwise", operations=pulled.settled)
    if not pulled.more:
        shared.tell(current_at=shared.clock.now_utc(), cache_problem="")
    if pulled.left_out:
        shared.tell(left_out=pulled.left_out)
        log.error("left_out", what=pulled.left_out)
    if pulled.switched:
        log.info("generation", number=downloader.generation)
    shared.tell(generation=downloader.generation)
    if pulled.changed:
        shared.ring(GATE_BELL, KIOSK_BELL)
    if pulled.granted and shared.identity.role is Role.KIOSK:
        shared.ring(SYNC_BELL)  # new slots may want a lease
    return bool(pulled.granted)


def _not_reached(shared: Shared, who: str, error: Exception, line: Line) -> None:
    word = (error.error or str(error.status)) if isinstance(error, HubRefused) else ""
    if isinstance(error, HubUnreachable | HubKeyWrong):
        shared.tell(line=False)
    if isinstance(error, HubKeyWrong):
        word = TLS_KEY
        _expect(shared, line)
    before = shared.news.refused
    if word:
        shared.tell(refused=word)
    if word != before or not word:
        log.warning("not_reached", thread=who, error=str(error))


def _expect(shared: Shared, line: Line) -> None:
    """Another thread may have heard of a new key of the hub's meanwhile. A node's is stated with its address."""
    if line.origin.node is None:
        line.hub.expect(shared.state.hub_pins(shared.identity))


def health(shared: Shared, *, now: datetime) -> Health:
    """What this process says of the hub. Being offline is no error: it is a warning once the data has some age."""
    news = shared.news
    age_s = None if news.current_at is None else max(0.0, (now - news.current_at).total_seconds())
    state, stops = State.OK, ""
    if (
        age_s is None
        or age_s > OFFLINE_WARNING_S + shared.settings.wait_s
        or news.cache_problem
        or news.left_out
        or _apart(news, now)
        or news.began_afresh
    ):
        state = State.WARNING
    if shared.route.node_down or shared.route.pin_missing or news.room is not Level.AMPLE:
        state = State.WARNING
    if news.refused:
        state, stops = State.ERROR, "sync"
    if news.journal:
        state, stops = State.ERROR, "journal"
    return Health(
        part=HEALTH_PART,
        state=state,
        at=now,
        stops=stops,
        facts={
            "last_contact": None if news.last_contact is None else news.last_contact.isoformat(),
            "line": news.line,
            "age_s": None if age_s is None else round(age_s, 1),
            "unsent": news.unsent,
            "rejected": news.rejected,
            "conflicts": news.conflicts,
            "generation": news.generation,
            "cache_rebuilt": news.cache_rebuilt,
            "diverged": news.diverged,
            "cache_problem": news.cache_problem,
            "began_afresh": news.began_afresh,
            "left_out": list(news.left_out),
            "refused": news.refused,
            "journal": news.journal,
            "clock_offset_s": news.clock_offset_s,
            "route": _route_in_words(shared),
            "unsent_hub": news.unsent_hub,
            "shut_out": news.shut_out,
            "room": news.room,
        },
    )


def _route_in_words(shared: Shared) -> str:
    if not shared.route.node_named:
        return "venue node not used (its TLS pin): at the hub" if shared.route.pin_missing else "hub"
    return "venue node down: at the hub" if shared.route.node_down else "venue node"


def _apart(news: News, now: datetime) -> bool:
    return news.diverged_at is not None and (now - news.diverged_at).total_seconds() < DIVERGED_WARNING_S


def run(settings: Settings) -> int:
    """The process: starts the threads, publishes health once a second, ends on SIGTERM. Raises NotEnrolled."""
    state, clock = StateDir(settings.state_dir), SystemClock()
    identity = state.identity()
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    shared = Shared(
        settings=settings,
        state=state,
        identity=identity,
        clock=clock,
        random_bytes=os.urandom,
        watch=JournalWatch(state, clock=clock, random_bytes=os.urandom),
        route=Route(
            Origin(None, identity.hub_url),
            clock=clock,
            random_bytes=os.urandom,
            device=identity.device,
            node_url=settings.node_url,
            find=_find_on_the_lan,
        ),
    )
    try:
        shared.line(shared.route.hub).hub.close()
    except ValueError as error:
        raise NotEnrolled(f"{identity.hub_url}: {error}; enrol this device again") from error
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: shared.stop.set())
    board = Board(settings.run_dir / "health.db")
    with Doorbell(settings.run_dir / SYNC_BELL) as bell:
        failed = threading.Event()
        threads: tuple[tuple[str, Callable[[], None]], ...] = (
            ("push", lambda: push(shared, bell)),
            ("pull", lambda: pull(shared)),
            ("report", lambda: report(shared, board)),
        )
        started = [
            threading.Thread(target=_guarded, args=(name, work, failed, shared), name=name, daemon=True)
            for name, work in threads
        ]
        for thread in started:
            thread.start()
        notify.ready("carrying")
        log.info("started", role=identity.role, label=identity.label)
        patience_s = (
            settings.wait_s
            + settings.read_timeout_s
            + settings.connect_timeout_s
            + settings.backoff_s_max
            + UPLOADS_FIRST_S
            + 30
        )
        while not shared.stop.is_set():
            board.publish(health(shared, now=clock.now_utc()))
            oldest_s = min(shared.progress_s.values(), default=0.0)
            if len(shared.progress_s) == 2 and clock.monotonic_s() - oldest_s < patience_s:
                notify.alive()
            shared.stop.wait(LOOK_S)
        notify.stopping()
        log.info("stopping")
        shared.ring(SYNC_BELL)
        started[0].join(LAST_WORD_S)
    board.close()
    return 1 if failed.is_set() else 0


def _guarded(name: str, work: Callable[[], None], failed: threading.Event, shared: Shared) -> None:
    """The top of a thread: a bug ends the process, so that systemd starts it afresh."""
    try:
        work()
    except Exception:
        log.exception("thread_ended", thread=name)
        failed.set()
        shared.stop.set()
