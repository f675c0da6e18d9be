"""The process kaisatsu-sync: carries the journal to the hub, and what the hub says to cache and journal.

Two threads, so that a long poll never delays an upload: *push* (operations, then leases, then telemetry) and *pull* (the feed).
Neither needs the hub to be there, and nobody on the device needs this process in order to sell or to admit. It never appends an
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

from sync.backoff import Backoff
from sync.client import HttpHub
from sync.download import Downloader
from sync.enrol import SOFTWARE
from sync.errors import HubRefused, HubUnreachable, JournalBroken, MessageError
from sync.journal import Journal, open_for_grants, open_journal
from sync.leasing import LeaseKeeper
from sync.protocol import Telemetry
from sync.renewal import Renewal
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
LOOK_S = 1.0
"""A lost ring costs so much at most."""
REOPEN_S = 5.0
FORK = "the hub holds other operations under its numbers: this disk was put back to an earlier time, or copied"
OFFLINE_WARNING_S = 60.0

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
    cache_problem: str = ""
    left_out: tuple[str, ...] = ()
    refused: str = ""
    journal: str = ""
    clock_offset_s: float = 0.0


@dataclass(slots=True)
class Shared:
    """What the threads share: settings that never change, the news, and the bells between them."""

    settings: Settings
    state: StateDir
    identity: Identity
    clock: Clock
    random_bytes: RandomBytes
    watch: JournalWatch
    stop: threading.Event = field(default_factory=threading.Event)
    pull_now: threading.Event = field(default_factory=threading.Event)
    news: News = field(default_factory=News)
    lock: threading.Lock = field(default_factory=threading.Lock)
    progress_s: dict[str, float] = field(default_factory=dict)

    def tell(self, **changes: Any) -> News:
        with self.lock:
            self.news = replace(self.news, **changes)
            return self.news

    def add(self, *, rejected: int = 0, conflicts: int = 0, cache_rebuilt: int = 0) -> None:
        with self.lock:
            self.news = replace(
                self.news,
                rejected=self.news.rejected + rejected,
                conflicts=self.news.conflicts + conflicts,
                cache_rebuilt=self.news.cache_rebuilt + cache_rebuilt,
            )

    def reached(self, hub: HttpHub) -> None:
        self.tell(last_contact=self.clock.now_utc(), line=True, refused="", clock_offset_s=round(hub.clock_offset_s, 3))

    def worked(self, who: str) -> None:
        self.progress_s[who] = self.clock.monotonic_s()

    def hub(self) -> HttpHub:
        return HttpHub(
            self.identity.hub_url,
            device=self.identity.device,
            key=self.state.identity_key(),
            clock=self.clock,
            random_bytes=self.random_bytes,
            connect_timeout_s=self.settings.connect_timeout_s,
            read_timeout_s=self.settings.read_timeout_s,
        )

    def ring(self, *names: str) -> None:
        for name in names:
            ring(self.settings.run_dir / name)


def push(shared: Shared, bell: Doorbell, board: Board) -> None:
    """The push thread, until `stop`."""
    hub, backoff = shared.hub(), Backoff(shared.random_bytes, bound_s_max=shared.settings.backoff_s_max)
    opened: Opened | None = None
    uploader: Uploader | None = None
    keeper: LeaseKeeper | None = None
    renewal: Renewal | None = None
    told_s = float("-inf")
    failing = False
    while not shared.stop.is_set():
        shared.worked("push")
        pause_s = LOOK_S
        now_open = shared.watch.current()
        if now_open is not opened:
            opened = now_open
            shared.tell(journal=opened.problem)
            uploader = keeper = renewal = None
            if opened.sound is not None:
                uploader = Uploader(opened.sound, shared.state, hub, clock=shared.clock)
                if shared.identity.role is Role.KIOSK:
                    keeper = LeaseKeeper(opened.sound, hub, clock=shared.clock, slot_units=shared.settings.slot_units)
                    renewal = Renewal(opened.sound, shared.identity, hub, clock=shared.clock)
        try:
            sent = _push_all(shared, uploader, keeper, renewal, hub)
            now_s = shared.clock.monotonic_s()
            if sent or now_s > told_s + shared.settings.telemetry_s:
                hub.telemetry(_telemetry(shared, board))
                shared.reached(hub)
                told_s = now_s
                _heard(keeper)
            backoff.succeeded()
            if failing:
                failing = False
                shared.pull_now.set()  # the line is back: the feed need not wait for its own pause to end
        except (HubUnreachable, HubRefused) as error:
            failing, pause_s = True, backoff.failed()
            _not_reached(shared, "push", error)
            if isinstance(error, HubRefused) and error.error == "chain_fork":
                _mark_forked(shared, opened.sound)
        except DBAPIError as error:  # a disk that is full, a file that went away: look again
            pause_s = backoff.failed()
            log.warning("journal_unusable", error=str(error.orig))
        _count_unsent(shared, opened)
        bell.wait(timeout_s=max(pause_s, 0.01))
    if keeper is not None:
        _give_back_at_the_end(keeper)


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


def _push_all(
    shared: Shared, uploader: Uploader | None, keeper: LeaseKeeper | None, renewal: Renewal | None, hub: HttpHub
) -> bool:
    """Everything that waits: operations before leases. Whether any operation was answered."""
    sent_any = False
    if keeper is not None:
        keeper.end_old_blocks(shared.clock.now_utc())  # first: without a line nothing below is reached
    while uploader is not None and not shared.stop.is_set():
        sent = uploader.step()
        if not sent.operations:
            break
        sent_any = True
        shared.worked("push")
        shared.reached(hub)
        shared.add(rejected=sent.rejected, conflicts=sent.conflicts)
        log.info("sent", operations=sent.operations, rejected=sent.rejected, conflicts=sent.conflicts)
    if keeper is not None and sent_any:
        keeper.heard()
    while keeper is not None and not shared.stop.is_set() and keeper.step():
        shared.reached(hub)
        shared.worked("push")
        shared.ring(KIOSK_BELL)
        log.info("leases_renewed")
    if renewal is not None and renewal.step():
        log.info("certificate_renewed")
    return sent_any


def _heard(keeper: LeaseKeeper | None) -> None:
    if keeper is not None:
        keeper.heard()
        keeper.remember_peak()


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


def _telemetry(shared: Shared, board: Board) -> Telemetry:
    parts = tuple(part for part in board.parts() if part["part"] != HEALTH_PART)
    return Telemetry(at=shared.clock.now_utc(), software=SOFTWARE, unsent=shared.news.unsent, parts=parts)


def _count_unsent(shared: Shared, opened: Opened) -> None:
    if opened.grants is not None:
        try:
            shared.tell(unsent=opened.grants.unsent())
        except DBAPIError as error:
            log.warning("journal_unusable", error=str(error.orig))


def pull(shared: Shared) -> None:
    """The pull thread, until `stop`."""
    hub, backoff = shared.hub(), Backoff(shared.random_bytes, bound_s_max=shared.settings.backoff_s_max)
    opened: Opened | None = None
    downloader: Downloader | None = None
    failing = False
    while not shared.stop.is_set():
        shared.worked("pull")
        pause_s = 0.0
        now_open = shared.watch.current()
        try:
            if now_open is not opened:
                if downloader is not None:
                    downloader.close()
                opened, downloader = now_open, _downloader(shared, now_open, hub)
            if downloader is None:
                pause_s = LOOK_S
            else:
                _pull_once(shared, downloader, hub)
                backoff.succeeded()
                if failing:
                    failing = False
                    shared.ring(SYNC_BELL)  # the line is back: wake the push thread
        except (HubUnreachable, HubRefused, MessageError) as error:
            failing, pause_s = True, backoff.failed()
            _not_reached(shared, "pull", error)
        except DBAPIError as error:  # the journal was in somebody's hands for too long, or is being set aside
            opened, pause_s = None, max(0.2, backoff.failed())
            log.warning("journal_unusable", error=str(error.orig))
        if pause_s:
            shared.pull_now.wait(pause_s)
            shared.pull_now.clear()
    if downloader is not None:
        downloader.close()


def _downloader(shared: Shared, opened: Opened, hub: HttpHub) -> Downloader | None:
    if opened.grants is None:
        return None

    def told(event: str, detail: str) -> None:
        log.warning(event, detail=detail)
        if event == "cache_broken":
            shared.tell(cache_problem=detail)
            shared.add(cache_rebuilt=1)

    downloader = Downloader(
        opened.grants,
        shared.state,
        shared.identity,
        hub,
        clock=shared.clock,
        rows_max=shared.settings.page_rows,
        told=told,
    )
    downloader.open()
    shared.tell(generation=downloader.generation)
    return downloader


def _pull_once(shared: Shared, downloader: Downloader, hub: HttpHub) -> None:
    if downloader.looks_cut():
        downloader.give_up_current("the file is shorter than it says, or gone")
    pulled = downloader.step(wait_s=shared.settings.wait_s)
    shared.reached(hub)
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


def _not_reached(shared: Shared, who: str, error: Exception) -> None:
    word = (error.error or str(error.status)) if isinstance(error, HubRefused) else ""
    if isinstance(error, HubUnreachable):
        shared.tell(line=False)
    before = shared.news.refused
    if isinstance(error, HubRefused):
        shared.tell(refused=word)
    if word != before or not word:
        log.warning("not_reached", thread=who, error=str(error))


def health(shared: Shared, *, now: datetime) -> Health:
    """What this process says of the hub. Being offline is no error: it is a warning once the data has some age."""
    news = shared.news
    age_s = None if news.current_at is None else max(0.0, (now - news.current_at).total_seconds())
    state, stops = State.OK, ""
    if age_s is None or age_s > OFFLINE_WARNING_S + shared.settings.wait_s or news.cache_problem or news.left_out:
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
            "cache_problem": news.cache_problem,
            "left_out": list(news.left_out),
            "refused": news.refused,
            "journal": news.journal,
            "clock_offset_s": news.clock_offset_s,
        },
    )


def run(settings: Settings) -> int:
    """The process: starts both threads, publishes health once a second, ends on SIGTERM. Raises NotEnrolled."""
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
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: shared.stop.set())
    board = Board(settings.run_dir / "health.db")
    with Doorbell(settings.run_dir / SYNC_BELL) as bell:
        failed = threading.Event()
        for name, work in (("push", lambda: push(shared, bell, board)), ("pull", lambda: pull(shared))):
            threading.Thread(target=_guarded, args=(name, work, failed, shared), name=name, daemon=True).start()
        notify.ready("carrying")
        log.info("started", role=identity.role, label=identity.label)
        patience_s = (
            settings.wait_s + settings.read_timeout_s + settings.connect_timeout_s + settings.backoff_s_max + 30
        )
        while not shared.stop.is_set():
            board.publish(health(shared, now=clock.now_utc()))
            oldest_s = min(shared.progress_s.values(), default=0.0)
            if len(shared.progress_s) == 2 and clock.monotonic_s() - oldest_s < patience_s:
                notify.alive()
            shared.stop.wait(LOOK_S)
        notify.stopping()
        log.info("stopping")
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
