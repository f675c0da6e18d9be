"""A kiosk, two gates and a hub over a line that loses, doubles, delays, reorders and breaks, under a seed.

The devices' sync steps and the hub's service functions are the real ones; only the line, the clock and the gate's lane are played.
At rest the hub's ledger is the union of the journals, the caches say what the hub says, and nothing counts twice.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from hub import tables
from hub.node import HubNode
from hub.services import ledger, reckoning
from sync import cache as cache_file
from sync import granted
from sync.cache import Cache
from sync.conflict import CountedUse, conflicts
from sync.download import Downloader
from sync.errors import HubRefused, HubUnreachable
from sync.journal import answer, open_journal, operation
from sync.leasing import LeaseKeeper
from sync.operation import Admission, Mode, Refusal, Release, ReleaseReason, Sale, from_body
from sync.protocol import ReleaseMessage, Status
from sync.state import Role
from sync.store import open_engine
from sync.upload import Uploader
from tests import hubkit
from tests.hubkit import Device, LocalHub
from tickets.admission import Denied, Granted, Passage
from tickets.clock import FixedClock
from tickets.ids import OpId, TicketId

SEEDS = range(30)
ROUNDS = 32
KEY_SEED = 11


class Line:
    """What is between one device and the hub. `calls` are copies of requests still on their way."""

    def __init__(self, hub: LocalHub, rng: random.Random, calls: list[Callable[[], object]]) -> None:
        self._hub, self._rng, self._calls = hub, rng, calls
        self.is_cut = False
        self.perfect = False

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._hub, name)

        def over_the_line(*args: Any, **more: Any) -> Any:
            if self.perfect:
                return call(*args, **more)
            if self.is_cut:
                raise HubUnreachable("cut")
            chance = self._rng.random()
            if chance < 0.10:
                raise HubUnreachable("the request was lost")
            if chance < 0.18:
                self._calls.append(lambda: call(*args, **more))
                raise HubUnreachable("the request is late")
            result = call(*args, **more)
            if chance < 0.28:
                raise HubUnreachable("the answer was lost")
            if chance < 0.38:
                self._calls.append(lambda: call(*args, **more))
            return result

        return over_the_line


class World:
    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.clock = FixedClock(hubkit.NOON)
        self.node = HubNode(
            open_engine(folder / "hub.db"),  # the template is migrated
            _hub_key(),
            clock=self.clock,
            random_bytes=self.rng.randbytes,
        )
        self.late: list[Callable[[], object]] = []
        self.delivered_late = 0
        self.devices: list[Device] = []
        self.lines: dict[str, Line] = {}
        self.downloaders: dict[str, Downloader] = {}
        self.keepers: dict[str, LeaseKeeper] = {}
        for name in ("kiosk-K2", "gate-A", "gate-B"):
            device = self._device(folder / name)
            line = Line(device.hub, self.rng, self.late)
            label = device.identity.label
            self.devices.append(device)
            self.lines[label] = line
            self.downloaders[label] = Downloader(
                device.journal,
                device.state,
                device.identity,
                line,
                clock=self.clock,
                rows_max=7,  # type: ignore[arg-type]
            )
            self.downloaders[label].open()
        self.kiosk, *self.gates = self.devices
        self.keepers["K2"] = LeaseKeeper(self.kiosk.journal, self.lines["K2"], clock=self.clock)  # type: ignore[arg-type]

    def _device(self, folder: Path) -> Device:
        state = hubkit.StateDir(folder)
        identity = state.identity()
        journal = open_journal(state, clock=self.clock, random_bytes=self.rng.randbytes)
        return Device(state, identity, journal, LocalHub(self.node, identity.device), self.clock, self.rng.randbytes)

    def play(self) -> None:
        for _ in range(ROUNDS):
            self.clock.now += timedelta(seconds=self.rng.random() * 20)
            self.clock.elapsed_s += 10
            for line in self.lines.values():
                if self.rng.random() < 0.1:
                    line.is_cut = not line.is_cut
            what = self.rng.random()
            if what < 0.25:
                self._sell()
            elif what < 0.6:
                self._scan(self.rng.choice(self.gates))
            else:
                self._carry(self.rng.choice(self.devices))
            while self.late and self.rng.random() < 0.3:
                self._deliver()

    def settle(self) -> None:
        """Mend every line, deliver what is still on its way in any order, and carry until nothing is left to carry."""
        while self.late:
            self._deliver()
        for line in self.lines.values():
            line.is_cut, line.perfect = False, True
        for device in self.devices:
            uploader = Uploader(device.journal, device.state, self.lines[device.identity.label], clock=self.clock)  # type: ignore[arg-type]
            while uploader.step().operations:
                pass
        for device in self.devices:
            while self.downloaders[device.identity.label].step(wait_s=0).more:
                pass

    def close(self) -> None:
        for downloader in self.downloaders.values():
            downloader.close()
        for device in self.devices:
            device.journal.engine.dispose()
        self.node.engine.dispose()

    def _deliver(self) -> None:
        call = self.late.pop(self.rng.randrange(len(self.late)))
        self.delivered_late += 1
        with contextlib.suppress(HubRefused):  # what it should have changed shows in the end state
            call()

    def _sell(self) -> None:
        uses = self.rng.choice([1, 1, 1, 2])
        self.kiosk.append(self.kiosk.sale(count=self.rng.randint(1, 3), uses=uses))

    def _scan(self, gate: Device) -> None:
        """As the gate does it: claim under an op id of its own, then exactly one operation under the same id."""
        if not self.kiosk.sold:
            return
        sold = self.rng.choice(self.kiosk.sold[-6:])
        op, line = gate.random_bytes(16).hex(), self.lines[gate.identity.label]
        code = self.kiosk.code_of(sold) if self.rng.random() < 0.8 else None
        now = self.clock.now_utc()
        try:
            got: Granted | Denied | None = line.claim(gate.claim(sold.ticket, op=op, code=code), deadline_s=0.15)
        except HubUnreachable:
            got = None
        match got:
            case Denied(reason=reason):
                gate.append(Refusal(op, now.isoformat(), sold.ticket, reason, gate.identity.label, "1"))
                return
            case None if self.rng.random() < 0.3:  # the product's policy is to refuse
                self._release(gate, op, ReleaseReason.ABANDONED)
                return
            case None:
                gate.append(gate.admission(sold.ticket, code=code, op=op))
            case Granted(epoch=epoch):
                gate.append(gate.admission(sold.ticket, code=code, op=op, mode=Mode.CONFIRMED, epoch=epoch))
        if self.rng.random() < 0.15:  # nobody went through
            self._release(gate, op, ReleaseReason.NOT_PASSED)

    def _release(self, gate: Device, of: str, reason: ReleaseReason) -> None:
        own, at = gate.random_bytes(16), self.clock.now_utc()
        gate.append(Release(own.hex(), at.isoformat(), of, reason, gate.identity.label))
        try:
            message = ReleaseMessage(OpId(own), OpId(bytes.fromhex(of)), reason, gate.identity.label, at)
            self.lines[gate.identity.label].release(message)
        except HubUnreachable:
            pass  # it goes up with the journal

    def _carry(self, device: Device) -> None:
        label = device.identity.label
        try:
            Uploader(device.journal, device.state, self.lines[label], clock=self.clock).step()  # type: ignore[arg-type]
            if label in self.keepers:
                self.keepers[label].step()
        except HubUnreachable:
            pass
        with contextlib.suppress(HubUnreachable):
            self.downloaders[label].step(wait_s=0)


def _hub_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(hubkit.seeded(KEY_SEED)(32))


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """Hub and devices, enrolled once, on a disk that need not sync: power loss is another test's subject."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder = Path(name) / "template"
        folder.mkdir()
        clock = FixedClock(hubkit.NOON)
        node = hubkit.make_node(folder, clock=clock, random_bytes=hubkit.seeded(KEY_SEED))
        hubkit.open_some_slots(node)
        for role, label, seed in ((Role.KIOSK, "K2", 2), (Role.GATE, "A", 3), (Role.GATE, "B", 4)):
            made = hubkit.make_device(
                node, folder, role=role, label=label, clock=clock, random_bytes=hubkit.seeded(seed)
            )
            made.journal.engine.dispose()
        node.engine.dispose()
        yield folder


@pytest.fixture
def world(template: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    folder = template.parent / f"seed-{request.param}"
    shutil.copytree(template, folder)
    world = World(folder, request.param)
    yield world
    world.close()
    shutil.rmtree(folder)


@pytest.mark.parametrize("world", SEEDS, indirect=True)
def test_at_rest_the_hub_is_the_union_of_the_journals(world: World) -> None:
    world.play()
    world.settle()
    journals = {device.identity.device: _bodies(device) for device in world.devices}
    with world.node.read() as connection:
        _every_operation_is_there_once(connection, journals)
        _every_sale_counts_once(connection, journals[world.kiosk.identity.device])
        _the_ledger_is_what_was_admitted(connection, [journals[gate.identity.device] for gate in world.gates])
        _leases_stay_within_stock(connection)
        hub_rows = _hub_rows(connection)
        hub_conflicts = ledger.all_conflicts(connection)
        assert hub_conflicts == _conflicts_anew(connection)
    for device in world.devices:
        assert device.journal.unsent() == 0
        device.journal.verify()
        assert _cache_rows(device) == hub_rows, device.identity.label
        with device.journal.read() as connection:
            assert not connection.execute(select(answer).where(answer.c.status == Status.REJECTED)).all()


def test_the_line_was_as_bad_as_it_should_be(template: Path) -> None:
    """Guards the simulation itself: over all seeds everything that can go wrong has gone wrong."""
    seen: Counter[str] = Counter()
    for seed in (0, 7, 19):
        folder = template.parent / f"guard-{seed}"
        shutil.copytree(template, folder)
        world = World(folder, seed)
        world.play()
        world.settle()
        seen["late"] += world.delivered_late
        with world.node.read() as connection:
            seen["conflicts"] += len(ledger.all_conflicts(connection))
            modes = connection.execute(select(tables.used.c.mode, func.count()).group_by(tables.used.c.mode)).all()
            seen.update({row[0]: row[1] for row in modes})
            seen["tombstones"] += connection.execute(select(func.count()).select_from(tables.release)).scalar_one()
            seen["refusals"] += connection.execute(select(func.count()).select_from(tables.refusal)).scalar_one()
        for device in world.devices:
            with device.journal.read() as connection:
                duplicates = select(func.count()).select_from(answer).where(answer.c.status == Status.DUPLICATE)
                seen["duplicates"] += connection.execute(duplicates).scalar_one()
        world.close()
        shutil.rmtree(folder)
    for what in ("late", "conflicts", "policy", "confirmed", "tombstones", "refusals", "duplicates"):
        assert seen[what] > 0, f"no {what} in this simulation: {seen}"


def _bodies(device: Device) -> list[str]:
    with device.journal.read() as connection:
        return list(connection.scalars(select(operation.c.body).order_by(operation.c.seq)))


def _every_operation_is_there_once(connection: Any, journals: dict[Any, list[str]]) -> None:
    rows = connection.execute(
        select(tables.operation).order_by(tables.operation.c.device, tables.operation.c.seq)
    ).all()
    for device, bodies in journals.items():
        assert [row.body for row in rows if row.device == device] == bodies
    assert len({row.op for row in rows}) == len(rows) == sum(map(len, journals.values()))


def _every_sale_counts_once(connection: Any, bodies: list[str]) -> None:
    sales = [what for what in map(from_body, bodies) if isinstance(what, Sale)]
    taken = connection.scalar(select(func.coalesce(func.sum(tables.payment.c.amount_minor), 0)))
    assert taken == sum(sale.total_minor for sale in sales)
    tickets = connection.execute(select(tables.ticket.c.ticket, tables.ticket.c.order)).all()
    assert {row.ticket.hex() for row in tickets} == {sold.ticket for sale in sales for sold in sale.tickets}
    assert all(row.order is not None for row in tickets)


def _the_ledger_is_what_was_admitted(connection: Any, journals: list[list[str]]) -> None:
    said = [from_body(body) for bodies in journals for body in bodies]
    released = {what.of for what in said if isinstance(what, Release)}
    admitted = {what.op for what in said if isinstance(what, Admission)} - released
    counted = connection.execute(select(tables.used).where(tables.used.c.released == 0)).all()
    assert {row.op.hex() for row in counted} == admitted
    confirmed = Counter(row.ticket for row in counted if row.mode == Mode.CONFIRMED for _ in range(row.units))
    caps = {row.ticket: row.uses for row in connection.execute(select(tables.ticket))}
    for ticket, units in confirmed.items():
        assert units <= caps[ticket], "more confirmed than allowed"


def _leases_stay_within_stock(connection: Any) -> None:
    for row in connection.execute(select(tables.slot)):
        stand = reckoning.reckon(connection, row)
        assert (row.leased, row.sold, row.free, row.at_risk) == (stand.leased, stand.sold, stand.free, stand.at_risk)
        assert stand.beyond == 0


def _conflicts_anew(connection: Any) -> tuple[Any, ...]:
    """The definition, over every ticket, without the shortcuts of the service."""
    found: list[Any] = []
    caps = {row.ticket: row.uses for row in connection.execute(select(tables.ticket))}
    rows = connection.execute(select(tables.used).where(tables.used.c.released == 0)).all()
    for ticket, cap in caps.items():
        uses = [
            CountedUse(OpId(row.op), TicketId(ticket), row.window, row.units, row.mode == Mode.CONFIRMED)
            for row in rows
            if row.ticket == ticket
        ]
        found.extend(conflicts(uses, cap=cap))
    return tuple(sorted(found, key=lambda item: (item.ticket, item.window, item.op)))


def _hub_rows(connection: Any) -> tuple[set[Any], set[Any]]:
    tickets = {
        (row.ticket, row.variant, row.uses, row.state, row.short_id)
        for row in connection.execute(select(tables.ticket))
    }
    uses = {
        (row.op, row.ticket, row.passage, row.units, row.at, row.released)
        for row in connection.execute(select(tables.used))
    }
    return tickets, uses


def _cache_rows(device: Device) -> tuple[set[Any], set[Any]]:
    with device.journal.read() as connection:
        number = granted.generation(connection)
    assert number is not None
    held = Cache.open(device.state.cache(number))
    with held.engine.begin() as connection:
        tickets = {
            (row.ticket, row.variant, row.uses, row.state, row.short_id)
            for row in connection.execute(select(cache_file.ticket))
        }
        uses = {
            (row.op, row.ticket, row.passage, row.units, row.at, row.released)
            for row in connection.execute(select(cache_file.used))
        }
    held.close()
    assert all(Passage(row[2]) for row in uses)
    return tickets, uses
