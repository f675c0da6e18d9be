"""The pull thread: the feed into cache and grants, the house kept beside it, and where the venue node is looked for."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from sqlalchemy.exc import DBAPIError

from sync import granted, room, shut_out
from sync.daemon.shared import (
    GATE_BELL,
    KIOSK_BELL,
    LOOK_S,
    SYNC_BELL,
    UPLOADS_FIRST_S,
    Line,
    Shared,
    UploadsFail,
    backoff_of,
    elsewhere,
    not_reached,
    pause_s_after,
)
from sync.daemon.watch import Opened
from sync.download import Downloader
from sync.errors import (
    HubRefused,
    HubUnreachable,
    MessageError,
    StoreFull,
)
from sync.journal import Journal
from sync.pruning import KEPT_DAYS, LOW_KEPT_DAYS, note_covered, prune
from sync.room import Level
from sync.route import Origin
from sync.state import Role

HOUSE_EVERY_S = 30.0
log = structlog.get_logger()


def pull(shared: Shared) -> None:
    """The pull thread, until `stop`."""
    work = _Pulling(shared, shared.line(shared.route.current()), alone_s=shared.clock.monotonic_s() + UPLOADS_FIRST_S)
    backoff, failing = backoff_of(shared), False
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
            failing, pause_s = True, pause_s_after(shared, backoff, error)
            not_reached(shared, "pull", error, work.line)
            if isinstance(error, HubRefused) and error.error == "revoked":
                work.shut_out()
            elif not isinstance(error, UploadsFail) and elsewhere(shared, work.line.origin, error):
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
