"""The venue of the simulation: two kiosks, two gates, a hub and, in some seeds, venue nodes, made once and copied for each seed."""

from __future__ import annotations

import contextlib
import logging
import random
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from unittest import mock

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scanner.gate import lane as gate_lane
from sync.state import Role
from tests import hubkit
from tests.simulation import invariants
from tests.simulation.device import Site
from tests.simulation.gate import LaneProcess
from tests.simulation.kiosk import EngineProcess, SpoolProcess, patches
from tests.simulation.node import DATABASE, NodeProcess
from tests.simulation.outside import Server, deliver_late
from tests.simulation.server import ServerProcess
from tests.simulation.witness import Witness
from tests.simulation.world import Machine, World
from tests.support.gate_device import catalogue_document
from tickets.clock import FixedClock

STEPS = 105
MORNING = 14
"""Steps before the first guests come to a gate: there is little to scan yet."""
KEY_SEED = 11
KIOSKS, GATES = ("K2", "K3"), ("A", "B")
NODES = ("V1", "V2")
NODES_EVERY = 4
"""In one seed of so many the venue has nodes."""
CAPACITY = 14
AT_REST_MAX = 60
QUIET_ROUNDS = 3
"""Devices that stand at the hub look for their node a few times before they go back to it."""
SETTLED_KEPT = timedelta(minutes=8)
"""A gate lets go of its settled scans after two days; these days here last three quarters of an hour."""


@dataclass
class Outcome:
    """What a seed came to. `violations` is empty, or the house has broken a promise."""

    seed: int
    violations: list[str]
    admissions: int
    sales: int
    seen: Counter[str]
    trace: list[str] = field(default_factory=list)


class Venue:
    """Everything that is in one world."""

    def __init__(self, world: World, folder: Path, *, with_nodes: bool) -> None:
        self.world = world
        self.witness = Witness()
        self.cut: set[tuple[bytes, str]] = set()
        """(device, server): lines that are cut."""
        key = Ed25519PrivateKey.from_private_bytes(hubkit.seeded(KEY_SEED)(32))
        self.hub = ServerProcess(Machine(world, "hub", folder / "hub"), "hub", key, self.witness)
        servers: list[Server] = [self.hub]
        self.nodes: list[NodeProcess] = []
        if with_nodes:
            self.nodes = [
                NodeProcess(Machine(world, name, folder / name), self.hub, self.cut, self.witness) for name in NODES
            ]
            servers += self.nodes
        self.kiosks = [Site(Machine(world, name, folder / name), servers, self.cut) for name in KIOSKS]
        self.gates = [Site(Machine(world, name, folder / name), servers, self.cut) for name in GATES]
        self.sites = [*self.kiosks, *self.gates]
        self.lanes = [LaneProcess(site, self.witness) for site in self.gates]
        self.sales = [EngineProcess(site, self.witness) for site in self.kiosks]
        self.spools = [
            SpoolProcess(site, sale, self.witness) for site, sale in zip(self.kiosks, self.sales, strict=True)
        ]
        self._earlier: dict[str, dict[str, bytes]] = {}
        for machine in world.machines:
            machine.clock.offset_s = world.chance.choice((0, 0, 0, 0, -40, 70, -400, 3600 * 2))
            machine.clock.drift = world.chance.uniform(-2e-4, 2e-4)
        self.hub.machine.clock.offset_s = 0
        if self.nodes:
            world.actions += [self._errand, self._errand]
        world.actions += [
            self._scan,
            self._scan,
            self._scan,
            self._sync,
            self._sync,
            self._sell,
            self._print,
            self._late,
        ]

    # --- what may happen

    def play(self) -> None:
        world, chance = self.world, self.world.chance
        rare = (
            (0.50, self._cut),
            (0.08, self._jump),
            (0.10, self._cancel),
            (0.10, self.hub.back_up),
            (0.03, self.hub.put_back),
            (0.08, self._keep_disk),
            (0.03, self._put_disk_back),
            (0.02, self._revoke),
            (0.06, lambda: chance.choice(world.machines).lose_power()),
            (0.12, self._close_a_kiosk),
        )
        if self.nodes:
            rare += ((0.25, self._hand_over), (0.04, self._replace_node))

        def something_rare() -> None:
            _one_of(chance, rare)()

        everyday = (
            (0.32, self._scan),
            (0.26, self._sync),
            (0.12, self._sell),
            (0.14, self._print),
            (0.04, self._late),
            (0.05, self._mend),
            (0.07, something_rare),
        )
        if self.nodes:
            everyday += ((0.20, self._errand),)
            self.hub.hand_over(self.nodes[0].identity.device, self.nodes[0].name)
        for step in range(STEPS):
            world.wait(chance.expovariate(1 / 25))
            for process in world.processes:
                if not process.up and chance.random() < 0.25:
                    process.start()
            if step < MORNING and chance.random() < 0.6:
                self._sell()
                self._print()
                continue
            _one_of(chance, everyday)()

    def settle(self) -> None:
        """Every line mended, every machine on, what is on its way delivered: carry until nothing is left to carry."""
        world = self.world
        world.perfect = True
        self.cut.clear()
        self.hub.start()
        for node in self.nodes:
            node.start()
        while world.late:
            deliver_late(world)
        for site in self.sites:
            site.everyone_starts()
        for sale, spool in zip(self.sales, self.spools, strict=True):
            sale.settle()
            while spool.step():
                pass
            sale.settle()
        quiet_rounds = 0
        for _ in range(AT_REST_MAX):
            for lane in self.lanes:
                lane.finish()
                lane.mend()
            moved = [site.sync.step() for site in self.sites] + [node.errand() for node in self.nodes]
            quiet_rounds = 0 if any(moved) else quiet_rounds + 1
            if quiet_rounds > (QUIET_ROUNDS if self.nodes else 0):
                break
            world.wait(40)
        for lane in self.lanes:
            lane.mend()

    # --- one thing each

    def _scan(self) -> None:
        chance, papers = self.world.chance, list(self.witness.papers.values())
        lane = chance.choice(self.lanes)
        if chance.random() < 0.03:
            lane.scan(None)
        if not papers:
            return
        paper = chance.choice(papers[-6:]) if chance.random() < 0.85 else chance.choice(papers)
        if chance.random() < 0.25:  # a copy of it is held up at another gate in the same moment
            other = chance.choice([one for one in self.lanes if one is not lane])
            self.world.rival = lambda: other.scan(paper)
        lane.scan(paper)
        self.world.rival = None

    def _sync(self) -> None:
        self.world.chance.choice(self.sites).sync.step()

    def _sell(self) -> None:
        sale = self.world.chance.choice(self.sales)
        sale.step()
        if self.world.happens(0.07) and not sale.busy:
            sale.machine.lose_power()  # the worst moment: paid, and nothing printed yet

    def _print(self) -> None:
        spool = self.world.chance.choice(self.spools)
        for _ in range(self.world.chance.randrange(1, 8)):
            spool.step()

    def _late(self) -> None:
        deliver_late(self.world)

    def _mend(self) -> None:
        self.world.chance.choice(self.lanes).mend()

    def _cut(self) -> None:
        """A line falls, or is mended; sometimes all of them at once."""
        chance = self.world.chance
        lines = [(site.identity.device, self.hub.name) for site in self.sites]
        if self.nodes and chance.random() < 0.5:  # the LAN, or the node's own line
            lines = [(site.identity.device, node.name) for site in self.sites for node in self.nodes]
            lines = lines if chance.random() < 0.5 else [(node.identity.device, self.hub.name) for node in self.nodes]
        chosen = lines if chance.random() < 0.25 else [chance.choice(lines)]
        if chosen[0] in self.cut:
            self.cut.difference_update(chosen)
        else:
            self.cut.update(chosen)
            self.world.seen["partitions"] += 1
        self.world.note(f"{len(self.cut)} lines are cut")

    def _jump(self) -> None:
        clock = self.world.chance.choice(self.sites).machine.clock
        clock.offset_s = self.world.chance.choice((0.0, 0.0, -86_400.0, 600.0, -3600.0, 7200.0, 86_400.0 * 400))
        self.world.seen["clock_jumps"] += 1
        self.world.note(f"a clock jumps to {clock.offset_s:+.0f} s")

    def _cancel(self) -> None:
        self.hub.cancel_some_ticket()

    def _keep_disk(self) -> None:
        site = self.world.chance.choice(self.gates)
        self._earlier[site.label] = site.machine.copy_disk()

    def _put_disk_back(self) -> None:
        site = self.world.chance.choice(self.gates)
        files = self._earlier.pop(site.label, None)
        if files is None or any(process.busy for process in site.machine.processes):
            return
        self.witness.forgets(site.label, since=files, now=site.machine.copy_disk())
        site.machine.put_back(files)
        self.world.seen["disk_put_back"] += 1
        self.world.note(f"the disk of {site.label} is as it was earlier")

    def _close_a_kiosk(self) -> None:
        """Its program ends, and what it held is returned while its device is still on."""
        chance, number = self.world.chance, self.world.chance.randrange(len(self.sales))
        self.sales[number].close()
        for _ in range(chance.randrange(4)):
            self.world.wait(chance.uniform(5, 40))
            self.kiosks[number].sync.step()

    def _errand(self) -> None:
        self.world.chance.choice(self.nodes).errand()

    def _hand_over(self) -> None:
        """A person names the arbiter: a node, or the hub again."""
        there = [node for node in self.nodes if not node.gone]
        node = self.world.chance.choice([None, *there, *there])
        self.hub.hand_over(None if node is None else node.identity.device, "the hub" if node is None else node.name)

    def _replace_node(self) -> None:
        """The first node is lost with its disk, and the second one named in its place."""
        lost, fresh = self.nodes
        if lost.busy or lost.gone or fresh.gone:
            return
        lost.die()
        lost.gone = True
        self.world.seen["nodes_lost"] += 1
        self.world.note(f"{lost.name} is lost")
        self.hub.hand_over(fresh.identity.device, fresh.name)

    def _revoke(self) -> None:
        site = self.kiosks[-1]
        if site.label not in self.witness.shut_out:
            self.hub.revoke(site.identity.device, site.label)


def _one_of(chance: random.Random, weighted: Sequence[tuple[float, Callable[[], None]]]) -> Callable[[], None]:
    return chance.choices([what for _, what in weighted], [weight for weight, _ in weighted])[0]


@contextlib.contextmanager
def template() -> Iterator[Path]:
    """Hub and devices, enrolled and in their first sync, in memory: each seed copies it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None, prefix="venue-") as name:
        folder = Path(name) / "template"
        (folder / "hub").mkdir(parents=True)
        clock = FixedClock(hubkit.NOON - timedelta(minutes=10))
        node = hubkit.make_node(folder / "hub", clock=clock, random_bytes=hubkit.seeded(KEY_SEED))
        from hub.services import venue

        with node.write() as connection:
            venue.publish_catalogue(connection, _catalogue(), now=clock.now_utc())
        hubkit.open_some_slots(node, capacity=CAPACITY)
        made = [(Role.KIOSK, label) for label in KIOSKS] + [(Role.GATE, label) for label in GATES]
        made += [(Role.VENUE, label) for label in NODES]
        for seed, (role, label) in enumerate(made, start=2):
            device = hubkit.make_device(
                node, folder, role=role, label=label, clock=clock, random_bytes=hubkit.seeded(seed)
            )
            device.journal.engine.dispose()
            device.state.path.rename(folder / label)
            if role is Role.VENUE:
                hubkit.fresh_database(folder / label, name=DATABASE)
        node.engine.dispose()
        _first_sync(folder)
        yield folder


def _first_sync(folder: Path) -> None:
    """Everyone has heard from the hub once, and holds leases."""
    quiet()
    world = World(0, hubkit.NOON - timedelta(minutes=9), perfect=True)
    with world.opened():
        venue = Venue(world, folder, with_nodes=True)
        for machine in world.machines:
            machine.clock.offset_s = machine.clock.drift = 0
        venue.hub.start()
        for _ in range(4):
            for site in venue.sites:
                site.sync.start()
                site.sync.step()
            for node in venue.nodes:
                node.start()
                node.errand()
            world.wait(1)


def _catalogue() -> dict[str, object]:
    """The demo venue with a product for each rule; both gates take all but goods."""
    document = catalogue_document()
    takes = next(gate["products"] for gate in document["gates"] if gate["gate"] == "A")
    for gate in document["gates"]:
        if gate["gate"] == "B":
            gate["products"] = list(takes)
    return document


def run(
    seed: int,
    made: Path,
    *,
    traced: bool = False,
    mutant: Callable[[], contextlib.AbstractContextManager[None]] | None = None,
) -> Outcome:
    """One seed: a day, then rest, then every promise asked for. The same seed does the same, call by call."""
    quiet()
    folder = made.parent / f"seed-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made, folder)
    world = World(seed, hubkit.NOON, traced=traced)
    violations: list[str] = []
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder.parent / f"seed-{seed}", ignore_errors=True)
        stack.enter_context(world.opened())
        for patch in patches(world):
            stack.enter_context(patch)
        stack.enter_context(mock.patch.object(gate_lane, "SETTLED_KEPT", SETTLED_KEPT))
        if mutant is not None:
            stack.enter_context(mutant())
        venue = Venue(world, folder, with_nodes=seed % NODES_EVERY == NODES_EVERY - 1)
        try:
            for process in world.processes:
                process.start()
            venue.play()
            venue.settle()
            violations = invariants.broken(venue)
            world.seen["returned"] += venue.hub.returned()
        except Exception as error:  # noqa: BLE001 the top of a run: whatever no rule explains is a violation
            last = traceback.extract_tb(error.__traceback__)[-1]
            violations = [f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {str(error)[:300]}"]
            if traced:
                world.trace.append(traceback.format_exc())
        violations += venue.witness.seen_wrong
    return Outcome(
        seed=seed,
        violations=violations,
        admissions=len(venue.witness.greens),
        sales=world.seen["sales"],
        seen=world.seen,
        trace=world.trace,
    )


def quiet() -> None:
    """The real code's own log says what the seeds are full of."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
