"""The venue of the claims bench: an arbiter as processes of its own, gates as processes of their own, and a line between them that can
be cut in three ways. The processes are forked from one that has imported everything, so that killing one costs milliseconds.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import multiprocessing
import multiprocessing.context
import os
import shutil
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog

from hub.command import make_link
from hub.database import open_database
from hub.node import HubNode, load_key
from hub.services import venue
from sync.client import HttpHub
from sync.enrol import enrol
from sync.journal import open_journal
from sync.state import Role, StateDir
from sync.upload import Uploader
from tests.hubkit import VENUE, Device, LocalHub
from tickets.clock import SystemClock

TLS = "tls" in inspect.signature(HttpHub.__init__).parameters
"""Whether a device can pin a TLS key: then everything here runs over TLS."""
STRICT = 95
"""The variant of a product that no gate lets in without the arbiter's word."""
_PRELOADED = ["benchmarks._claims_venue", "benchmarks._claims_gate", "hub.web.app", "uvicorn", "uvloop", "httptools"]

processes: Any = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(_PRELOADED)


def quiet() -> None:
    logging.disable(logging.CRITICAL)  # requests that end in the middle are what this bench is made of
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(50), logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )


def line(url: str, pin: bytes | None, state: StateDir, *, deadline_s: float | None = None) -> HttpHub:
    limits = {} if deadline_s is None else {"connect_timeout_s": deadline_s, "read_timeout_s": deadline_s}
    pinned: dict[str, Any] = {} if pin is None else {"tls": pin}
    return HttpHub(
        url,
        device=state.identity().device,
        key=state.identity_key(),
        clock=SystemClock(),
        random_bytes=os.urandom,
        **limits,
        **pinned,
    )


def catalogue() -> dict[str, Any]:
    """The made-up venue, and beside it the same admission under *refuse*."""
    admission = next(row for row in VENUE["products"] if row["product"] == "admission")
    strict = {**admission, "product": "strict", "offline": "refuse"}
    return {
        **VENUE,
        "gates": [{**row, "products": [*row["products"], "strict"]} for row in VENUE["gates"]],
        "products": [*VENUE["products"], strict],
        "variants": [*VENUE["variants"], {"number": STRICT, "product": "strict", "price": 1800}],
    }


def serve(database: str, key_file: Path, listener: socket.socket, certificate: Path | None, mutant: str) -> None:
    """One arbiter process, until it is killed. `mutant` MODULE:FUNCTION breaks its node first: for the test of this bench."""
    import uvicorn

    from hub.web.app import create_app

    quiet()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    node = HubNode(
        open_database(database),
        load_key(key_file, random_bytes=os.urandom),
        clock=SystemClock(),
        random_bytes=os.urandom,
    )
    if mutant:
        module, name = mutant.split(":")
        getattr(importlib.import_module(module), name)(node)
    config = uvicorn.Config(
        create_app(node),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        ssl_certfile=None if certificate is None else str(certificate),
    )
    uvicorn.Server(config).run(sockets=[listener])


@dataclass
class Arbiter:
    """`workers` processes on one listening socket, which outlives them all."""

    database: str
    key_file: Path
    certificate: Path | None
    workers: int = 1
    mutant: str = ""
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0), backlog=512))
    running: list[Any] = field(default_factory=list)

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    def start(self) -> None:
        while len(self.running) < self.workers:
            arguments = (self.database, self.key_file, self.listener, self.certificate, self.mutant)
            process = processes.Process(target=serve, args=arguments, daemon=True)
            process.start()
            self.running.append(process)

    def kill(self, number: int) -> None:
        """One of them by SIGKILL, started before where none was there."""
        self.start()
        process = self.running.pop(number % len(self.running))
        os.kill(process.pid, signal.SIGKILL)
        process.join()

    def stop(self) -> None:
        for process in self.running:
            process.kill()
            process.join()
        self.running.clear()
        self.listener.close()


class Cut(StrEnum):
    """What a line does to what goes through it."""

    WHOLE = "whole"
    CUT = "cut"  # everything is reset, nothing can be opened
    BLACKHOLE = "blackhole"  # opens, and carries nothing either way
    HALF = "half"  # the claim arrives, its answer does not


class Wire:
    """A TCP line to a port, that a test can do things to. Runs on the loop of `Wires`."""

    def __init__(self, port: int, loop: asyncio.AbstractEventLoop) -> None:
        self._target, self._loop = port, loop
        self._cut = Cut.WHOLE
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def listen(self) -> None:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._server = server

    def be(self, cut: Cut) -> None:
        self._loop.call_soon_threadsafe(self._be, cut)

    def _be(self, cut: Cut) -> None:
        swallowed, self._cut = self._cut in (Cut.BLACKHOLE, Cut.HALF), cut
        if cut is Cut.CUT or swallowed:  # what swallowed bytes can never go on where it was
            for writer in self._open:
                writer.transport.abort()
            self._open.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut is Cut.CUT:
            writer.transport.abort()
            return
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            ends = (writer, far_writer)
            self._open.update(ends)
            await asyncio.gather(
                self._pump(reader, far_writer, (Cut.WHOLE, Cut.HALF)), self._pump(far_reader, writer, (Cut.WHOLE,))
            )
            self._open.difference_update(ends)
            for end in ends:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, carried: Sequence[Cut]) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if self._cut in carried:
                    writer.write(data)
                    await writer.drain()
        writer.transport.abort()


class Wires:
    """A thread that carries all lines."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wires", daemon=True)
        self._thread.start()

    def to(self, port: int) -> Wire:
        wire = Wire(port, self._loop)
        asyncio.run_coroutine_threadsafe(wire.listen(), self._loop).result(10)
        return wire

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)


@dataclass
class Venue:
    """A hub's database with its catalogue, a kiosk that has a key, and gates; nothing runs yet."""

    folder: Path
    database: str
    node: HubNode
    kiosk: Device
    gates: list[StateDir]
    certificate: Path | None
    pin: bytes | None

    def arbiter(self, *, workers: int = 1, mutant: str = "") -> Arbiter:
        return Arbiter(self.database, self.folder / "hub.key", self.certificate, workers, mutant)

    def url(self, port: int) -> str:
        return f"{'http' if self.pin is None else 'https'}://127.0.0.1:{port}"


def venue_in(folder: Path, database: str, *, gates: int) -> Venue:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    clock = SystemClock()
    key = load_key(folder / "hub.key", random_bytes=os.urandom)
    node = HubNode(open_database(database), key, clock=clock, random_bytes=os.urandom)
    with node.write() as connection:
        venue.publish_catalogue(connection, catalogue(), now=clock.now_utc())

    def enrolled(role: Role, label: str, gate: str | None) -> StateDir:
        link = make_link(node, role=role, label=label, gate=gate, base_url="http://127.0.0.1:1")
        state = StateDir(folder / label)
        enrol(link, state, clock=clock, random_bytes=os.urandom, hub=LocalHub(node))
        return state

    state = enrolled(Role.KIOSK, "K1", None)
    identity = state.identity()
    journal = open_journal(state, clock=clock, random_bytes=os.urandom)
    kiosk = Device(state, identity, journal, LocalHub(node, identity.device), clock, os.urandom)  # type: ignore[arg-type]
    certificate, pin = _tls(folder) if TLS else (None, None)
    states = [enrolled(Role.GATE, f"G{number}", "A") for number in range(gates)]
    return Venue(folder, database, node, kiosk, states, certificate, pin)


def sold(venue_of: Venue, *, count: int, uses: int, variant: int = 1, known: bool = True) -> list[tuple[str, str]]:
    """(ticket, code) of so many fresh tickets, told to the hub or not."""
    kiosk, made = venue_of.kiosk, []
    for first in range(0, count, 50):
        sale = kiosk.sale(count=min(50, count - first), uses=uses, variant=variant)
        made += [(ticket.ticket, kiosk.code_of(ticket)) for ticket in sale.tickets]
        if known:
            kiosk.append(sale)
    while known and Uploader(kiosk.journal, kiosk.state, kiosk.hub, clock=kiosk.clock).step().operations:
        pass
    return made


def _tls(folder: Path) -> tuple[Path, bytes]:
    """A key and certificate as a hub makes them, and the pin that devices are given."""
    import hashlib
    from datetime import UTC, datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kaisatsu")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2099, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    path = folder / "tls.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    )
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(path)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return path, hashlib.sha256(public).digest()
