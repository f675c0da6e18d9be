"""What every device has: a machine, its line, and a sync process as the daemon runs it, step by step."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.exc import DBAPIError

from sync import granted
from sync.daemon.shared import FORK, HUB_AWAY
from sync.daemon.watch import JournalWatch, Opened
from sync.download import Downloader
from sync.errors import CacheBroken, HubRefused, HubUnreachable
from sync.leasing import LeaseKeeper
from sync.pruning import note_covered, prune
from sync.rejoin import rejoin
from sync.route import Origin, Route
from sync.state import Role, StateDir
from sync.upload import Uploader
from tests.simulation.outside import Line, Server
from tests.simulation.world import Machine, Process, seeded

ROWS_MAX = 9
PUSHES_MAX = 3
HOUSE = 0.2
"""So often a pull keeps house first, which a daemon does every minute or so."""


class Site:
    """One enrolled device: its machine and who it may ask."""

    def __init__(self, machine: Machine, servers: list[Server], cut: set[tuple[bytes, str]]) -> None:
        self.machine, self.world = machine, machine.world
        self.identity = self.state.identity()
        self.label = self.identity.label
        self._servers, self._cut = servers, cut
        self.sync = SyncProcess(self)

    @property
    def state(self) -> StateDir:
        return StateDir(self.machine.folder)

    def line(self, node: str | None = None) -> Line:
        """To the hub, or to the venue node with this device id in hex."""
        return Line(self.world, self.identity.device, [who for who in self._servers if who.node_id == node], self._cut)

    def everyone_starts(self) -> None:
        for process in self.machine.processes:
            process.start()


class SyncProcess(Process):
    """The sync daemon's two threads, a step at a time: the same objects, in the same order, with the same answers to failure."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.machine, f"{site.label}.sync")
        self._site = site
        self._opened: Opened | None = None
        self._uploader: Uploader | None = None
        self._keeper: LeaseKeeper | None = None
        self._downloader: Downloader | None = None
        self._rejoin_wanted = False

    def _start(self) -> None:
        clock, random_bytes = self.machine.clock, seeded(self.world)
        self._route = Route(Origin(None, "http://hub.test"), clock=clock, random_bytes=random_bytes)
        self._origin = self._route.current()
        self._watch = JournalWatch(self._site.state, clock=clock, random_bytes=random_bytes)
        self._take_up(self._watch.current())

    def _stop(self) -> None:
        if self._downloader is not None:
            self._downloader.close()
        if self._opened is not None and self._opened.grants is not None:
            self._opened.grants.engine.dispose()
        self._opened = self._uploader = self._keeper = self._downloader = None

    def _take_up(self, opened: Opened) -> None:
        self._stop()
        site, clock, node = self._site, self.machine.clock, self._origin.node
        self._opened = opened
        self._learn()
        if opened.sound is not None:
            self._uploader = Uploader(
                opened.sound,
                site.state,
                site.line(node),  # type: ignore[arg-type]
                clock=clock,
                at_hub=node is None,
            )
            if site.identity.role is Role.KIOSK:
                self._keeper = LeaseKeeper(opened.sound, site.line(node), clock=clock, slot_units=6)  # type: ignore[arg-type]
        if opened.grants is not None:
            self._downloader = Downloader(
                opened.grants,
                site.state,
                site.identity,
                site.line(node),  # type: ignore[arg-type]
                clock=clock,
                rows_max=200 if self.world.perfect else ROWS_MAX,
                told=self._told,
            )
            self._downloader.use(site.line(node), node=node)  # type: ignore[arg-type]
            self._downloader.open()

    def _learn(self) -> None:
        """Who is the venue's node, by the newest statement that came here."""
        if self._opened is not None and self._opened.grants is not None:
            with self._opened.grants.read() as connection:
                self._route.learn(granted.arbiter(connection, self._site.identity.hub_key))

    def _look_for_node(self) -> None:
        origin = self._route.probe()
        if origin is None or origin.node is None or self._downloader is None:
            return
        ready = self._downloader.is_ready(self._site.line(origin.node), node=origin.node)  # type: ignore[arg-type]
        if self._route.probed(ready=ready):
            self.world.seen["node_is_back"] += 1

    def _elsewhere(self, error: HubUnreachable | HubRefused) -> None:
        origin = self._origin
        if isinstance(error, HubRefused):
            if origin.node is not None and error.error in ("behind", "device_unknown", "not_found"):
                self._route.failed(origin, not_ready=True)
        elif self._route.failed(origin):
            self.world.seen["went_round"] += 1

    def _told(self, event: str, _detail: str) -> None:
        self.world.seen[event] += 1
        self._rejoin_wanted |= event == "feed_gone"

    def step(self) -> bool | None:
        """Push, then pull, each failing for itself. Whether anything moved."""
        return self.world.run(self, self._step)

    def _step(self) -> bool:
        opened = self._watch.current()
        if opened is not self._opened or self._origin != self._route.current():
            self._origin = self._route.current()
            self._take_up(opened)
        moved = self._failing(self._push)
        return self._failing(self._pull) or moved

    def _failing(self, what: Callable[[], bool]) -> bool:
        try:
            return what()
        except HubUnreachable as silent:
            self._elsewhere(silent)
            return False
        except HubRefused as refused:
            self._elsewhere(refused)
            self.world.note(f"refused: {refused}")
            self.world.seen[f"refused_{refused.error}"] += 1
            if refused.error == "unreported":
                self._rejoin_wanted = True
                return True
            if refused.error == "chain_fork" and self._opened is not None and self._opened.sound is not None:
                self._opened.sound.mark_forked(FORK)
                self._watch.doubt()
            return False
        except DBAPIError as error:
            self.world.note(f"journal unusable: {error.orig}")
            self.world.seen["journal_unusable"] += 1
            self._watch.doubt()
            return False

    def _push(self) -> bool:
        moved = False
        if self._keeper is not None:
            self._keeper.end_old_blocks(self.machine.clock.now_utc())
        for _ in range(PUSHES_MAX):
            if self._uploader is None:
                break
            sent = self._uploader.step()
            if not sent.operations:
                break
            moved = True
            self._heard()
            self.world.note(f"sent {sent}")
        try:
            if self._rejoin_wanted and self._opened is not None and self._opened.sound is not None:
                rejoin(self._opened.sound, self._site.line(self._origin.node))  # type: ignore[arg-type]
                self._rejoin_wanted = False
                moved = True
            if self._keeper is not None:
                moved = self._keeper.step() or moved
        except HubRefused as refused:
            if self._origin.node is None or refused.error != HUB_AWAY:
                raise
        return moved

    def _heard(self) -> None:
        """Whichever thread heard of the hub: what is returned now somebody will sell."""
        if self._keeper is not None:
            self._keeper.heard()

    def _keep_house(self) -> None:
        assert self._downloader is not None
        if self._opened is not None and self._opened.sound is not None:
            note_covered(self._opened.sound, self._downloader.cursors())
            self.world.seen["pruned"] += prune(self._opened.sound, now=self.machine.clock.now_utc()).operations

    def _pull(self) -> bool:
        if self._downloader is None:
            return False
        if self.world.chance.random() < HOUSE:
            self._keep_house()
        try:
            pulled = self._downloader.step(wait_s=0)
            self._heard()
            self._route.reached(self._origin)
            if pulled.changed:
                self._learn()
            self._look_for_node()
        except CacheBroken as error:
            raise AssertionError("a cache of its own making is whole") from error
        return pulled.changed or pulled.more
