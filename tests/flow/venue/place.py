"""A whole venue of real processes: a hub, a venue node, a kiosk and two gates, with lines between them that can be cut."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sqlalchemy import select

from hub import arbiter_command, tables
from hub.command import make_link
from hub.node import HubNode, load_key
from sync import cache as cache_file
from sync.cache import Cache
from sync.claim import ClaimMessage
from sync.client import HttpHub
from sync.enrol import enrol
from sync.errors import CacheBroken
from sync.journal import Journal, open_journal
from sync.operation import Admission, Mode
from sync.service.doorbell import ring
from sync.state import Role, StateDir
from sync.store import open_engine
from tests import hubkit
from tests.flow.sync.processes import ROOT, DeviceProcess, HubProcess, Line, line_of, until
from tests.flow.sync.test_daemon import generation
from tickets.admission import Denied, Granted, Passage
from tickets.clock import FixedClock, SystemClock
from tickets.ids import TicketId


class NodeProcess:
    """The venue node: `hub serve --venue`, as its unit starts it."""

    def __init__(self, folder: Path, link: str | None, *, port: int = 0, secured: bool = False) -> None:
        self.state = StateDir(folder / "state")
        folder.mkdir(parents=True, exist_ok=True)
        if link is not None:
            self.identity = enrol(link, self.state, clock=SystemClock(), random_bytes=os.urandom)
        self.log_file = folder / "node.log"
        self.port, self.secured = port, secured
        self.pin: bytes | None = None
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "hub", "serve", "--venue", str(self.state.path)]
        command += ["--tls"] if self.secured else []
        with self.log_file.open("a") as log:
            self.process = subprocess.Popen(
                [*command, "--listen", f"127.0.0.1:{self.port}"],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        said = line_of(self.process)
        self.port = int(said["url"].rsplit(":", 1)[1])
        self.pin = bytes.fromhex(said["tls"]) if self.secured else None

    def stop(self, *, kill: bool = False) -> None:
        if self.process is None:
            return
        (self.process.kill if kill else self.process.terminate)()
        self.process.wait(timeout=10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None


class Place:
    def __init__(self, folder: Path, *, secured: bool = False) -> None:
        self.folder = folder
        self.hub = HubProcess(folder)
        self.hub_line = Line(self.hub.port)
        links = self.hub.seed(self.hub_line.url)["links"]
        path = Path(self.hub.database.removeprefix("sqlite:///"))
        self.hub_key = load_key(path.with_name(path.name + ".key"), random_bytes=os.urandom)
        self.at_hub = HubNode(open_engine(path), self.hub_key, clock=SystemClock(), random_bytes=os.urandom)
        self.kiosk = DeviceProcess(folder / "kiosk", links["kiosk"], telemetry_s=2.0, wait_s=10.0)
        self.gate_a = DeviceProcess(folder / "gate-a", links["gate"], telemetry_s=2.0, wait_s=10.0)
        self.gate_b = DeviceProcess(folder / "gate-b", self.link(Role.GATE, "B"), telemetry_s=2.0, wait_s=10.0)
        self.node = NodeProcess(folder / "node", self.link(Role.VENUE, "V1"), secured=secured)
        self.node.start()
        self.node_line = Line(self.node.port)
        self.epoch = 0
        self.state_arbiter(self.node, self.node_line)
        self.kiosk_hands = seller(self.kiosk)
        self.hands = {device.identity.label: seller(device) for device in (self.gate_a, self.gate_b)}

    @property
    def devices(self) -> tuple[DeviceProcess, ...]:
        return self.kiosk, self.gate_a, self.gate_b

    def link(self, role: Role, label: str) -> str:
        gate = label if role is Role.GATE else None
        return make_link(self.at_hub, role=role, label=label, gate=gate, base_url=self.hub_line.url)

    def state_arbiter(self, node: NodeProcess | None, line: Line | None) -> None:
        """What a person does at the hub: name the arbiter, in a reign of its own."""
        pin = None if node is None else node.pin
        urls = () if line is None else (line.url if pin is None else line.url.replace("http:", "https:"),)
        said = arbiter_command.name(
            database_url=self.hub.database,
            node="hub" if node is None else node.identity.label,
            urls=urls,
            tls=None if pin is None else pin.hex(),
            by="a tester",
        )
        self.epoch = said["epoch"]

    def start(self) -> None:
        for device in self.devices:
            device.start()
        for device in self.devices:
            until(lambda device=device: device.health().get("route") == "venue node", why=f"{device.log()[-2000:]}")
            until(lambda device=device: generation(device.state) is not None)
        until(lambda: self.kiosk_hands.journal.unsent() == 0)

    def close(self) -> None:
        for device in self.devices:
            if device.process is not None:
                device.stop(kill=True)
        self.node.stop(kill=True)
        self.node_line.close()
        self.hub_line.close()
        self.hub.stop()

    # what the other processes of the devices do

    def sell(self, *, count: int = 1, slot: str | None = None) -> list[Any]:
        """A sale at the kiosk, journalled and rung. Its tickets."""
        before = len(self.kiosk_hands.sold)
        self.kiosk_hands.append(self.kiosk_hands.sale(count=count, slot=slot))
        ring(self.kiosk.run_dir / "sync.bell")
        return self.kiosk_hands.sold[before:]

    def claim(self, gate: str, ticket: Any, *, at: Line | None = None, code: bool = True) -> Granted | Denied:
        """A scan at a gate that the arbiter decides: claim, and on yes the admission in the gate's journal."""
        device = self.gate_a if gate == "A" else self.gate_b
        url = (at or self.node_line).url
        line = HttpHub(
            url if self.node.pin is None else url.replace("http:", "https:"),
            tls=self.node.pin,
            device=device.identity.device,
            key=device.state.identity_key(),
            clock=SystemClock(),
            random_bytes=os.urandom,
        )
        asked = ClaimMessage(
            op=os.urandom(16).hex(),
            kind=Passage.ENTRY,
            ticket=ticket.ticket,
            code=self.kiosk_hands.code_of(ticket) if code else None,
            units=1,
            window="",
            gate=gate,
            epoch=self.epoch,
        )
        answer = line.claim(asked, deadline_s=3)
        line.close()
        if isinstance(answer, Granted):
            self.admit(gate, ticket, op=asked.op, mode=Mode.CONFIRMED, epoch=self.epoch)
        return answer

    def admit(self, gate: str, ticket: Any, **changes: Any) -> Admission:
        device, hands = (self.gate_a if gate == "A" else self.gate_b), self.hands[gate]
        what = hands.admission(ticket.ticket, code=self.kiosk_hands.code_of(ticket), gate=gate, **changes)
        hands.append(what)
        ring(device.run_dir / "sync.bell")
        return what

    # what can be seen

    def cached_uses(self, device: DeviceProcess, ticket: Any) -> tuple[cache_file.CachedUse, ...]:
        return self._cached(device, lambda connection: cache_file.uses(connection, _id(ticket))) or ()

    def cached(self, device: DeviceProcess, ticket: Any) -> cache_file.CachedTicket | None:
        return self._cached(device, lambda connection: cache_file.find(connection, _id(ticket)))

    def _cached(self, device: DeviceProcess, read: Any) -> Any:
        number = generation(device.state)
        if number is None:
            return None
        try:
            held = Cache.open(device.state.cache(number))
        except CacheBroken:
            return None
        try:
            with held.engine.begin() as connection:
                return read(connection)
        finally:
            held.close()

    def hub_rows(self, table: Any, *where: Any) -> list[Any]:
        with self.at_hub.read() as connection:
            return list(connection.execute(select(table).where(*where)))

    def everything_is_up(self) -> bool:
        """Every operation of every device is at the hub, in order and to the letter."""
        for device, hands in (
            (self.kiosk, self.kiosk_hands),
            *zip((self.gate_a, self.gate_b), self.hands.values(), strict=True),
        ):
            rows = self.hub_rows(tables.operation, tables.operation.c.device == device.identity.device)
            there = [row.body for row in sorted(rows, key=lambda row: (row.incarnation, row.seq))]
            if there != bodies(hands.journal):
                return False
        return True


def _id(ticket: Any) -> TicketId:
    return TicketId(bytes.fromhex(ticket.ticket))


def bodies(journal: Journal) -> list[str]:
    from sync.journal import operation

    with journal.read() as connection:
        return list(connection.scalars(select(operation.c.body).order_by(operation.c.seq)))


def seller(device: DeviceProcess) -> hubkit.Device:
    clock = FixedClock(SystemClock().now_utc())
    journal = open_journal(device.state, clock=clock, random_bytes=os.urandom)
    return hubkit.Device(device.state, device.identity, journal, None, clock, os.urandom)  # type: ignore[arg-type]


def timed(what: Any, *, timeout_s: float = 15.0, why: str = "") -> float:
    began = time.monotonic()
    until(what, timeout_s=timeout_s, why=why)
    return time.monotonic() - began
