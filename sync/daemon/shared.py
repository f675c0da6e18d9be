"""What the daemon's threads share: settings that never change, the news they tell each other, and who is spoken with."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import structlog

from sync.backoff import Backoff
from sync.client import HttpHub
from sync.daemon.watch import JournalWatch
from sync.errors import (
    HubKeyWrong,
    HubRefused,
    HubUnreachable,
)
from sync.room import Level
from sync.route import Origin, Route
from sync.service.doorbell import ring
from sync.settings import Settings
from sync.state import Identity, StateDir
from tickets.clock import Clock
from tickets.ids import RandomBytes

SYNC_BELL, GATE_BELL, KIOSK_BELL = "sync.bell", "gate.bell", "kiosk.bell"
HEALTH_PART = "hub"
UPLOADS_FIRST_S = 60.0
"""So long the feed waits at most for uploads that get through: a revocation must not wait for a backlog without end."""
LOOK_S = 1.0
"""A lost ring costs so much at most."""
FORK = "the hub holds other operations under its numbers: this disk was put back to an earlier time, or copied"
TLS_KEY = "tls_key"
"""What health says where something answers that does not hold the hub's TLS key."""
NODE_PAUSE_S = 2.0
HUB_AWAY = "hub_away"


log = structlog.get_logger()


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


def backoff_of(shared: Shared) -> Backoff:
    return Backoff(shared.random_bytes, bound_s_max=shared.settings.backoff_s_max)


def pause_s_after(shared: Shared, backoff: Backoff, error: Exception) -> float:
    """A venue with a node has somebody near to ask: it waits for no long pause to end, but for the time that it was told to wait."""
    pause_s = backoff.failed(error)
    told = getattr(error, "retry_after_s", None) is not None
    return min(pause_s, NODE_PAUSE_S) if shared.route.node_named and not told else pause_s


def elsewhere(shared: Shared, origin: Origin, error: Exception) -> bool:
    """Whether to go on with another origin at once. A node that refuses as such (it is behind, or has not heard of this device) is as good
    as none; what it refuses in the hub's name is the hub's no.
    """
    if isinstance(error, HubRefused):
        not_ready = origin.node is not None and error.error in ("behind", "device_unknown", "not_found")
        return not_ready and shared.route.failed(origin, not_ready=True)
    if getattr(error, "retry_after_s", None) is not None:
        return False  # who says when to come again is there
    return shared.route.failed(origin)


def not_reached(shared: Shared, who: str, error: Exception, line: Line) -> None:
    word = (error.error or str(error.status)) if isinstance(error, HubRefused) else ""
    if isinstance(error, HubUnreachable | HubKeyWrong):
        shared.tell(line=False)
    if isinstance(error, HubKeyWrong):
        word = TLS_KEY
        expect_keys(shared, line)
    before = shared.news.refused
    if word:
        shared.tell(refused=word)
    if word != before or not word:
        log.warning("not_reached", thread=who, error=str(error))


def expect_keys(shared: Shared, line: Line) -> None:
    """Another thread may have heard of a new key of the hub's meanwhile. A node's is stated with its address."""
    if line.origin.node is None:
        line.hub.expect(shared.state.hub_pins(shared.identity))
