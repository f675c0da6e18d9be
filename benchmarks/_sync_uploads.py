"""Uploads as the hub takes them: signed segments through HTTP, their effects applied when they are answered.

The hub is its own process over a database on this disk (SQLite with FULL syncs; PostgreSQL with its default ones). What devices send is
made and signed before the clock runs; then eight gates, one connection each, send segments of 500 admissions of tickets that the hub
knows, and eight kiosks send sales of three tickets, as many as go into 256 KiB. The client shares the machine's cores. Every answer is read, and
the rows are counted in the database afterwards: a figure without them would be one of requests.

`backlog_1800_at_50ms_rtt_s` is a device's own Uploader with its journal, behind a proxy that holds back each direction by 25 ms.
"""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import func, select

from hub.node import HubNode
from hub.opening import open_node
from hub.services import venue
from hub.services.rows import insert_rows
from hub.tables import order, ticket, used
from sync import hop
from sync.chain import SEGMENT_BYTES_MAX, SEGMENT_OPERATIONS_MAX, ZERO_HASH, Segment, cut
from sync.client import NONCE_HEADER, HttpHub
from sync.operation import Incarnation, to_body
from sync.protocol import OPERATIONS, segment_to_row
from sync.state import Role
from sync.upload import Uploader
from tests.hubkit import VENUE, Device, make_device
from tests.support.delay import DelayingProxy
from tickets.clock import SystemClock

DEVICES = 8
TICKETS_A_SALE = 3
BACKLOG = 1_800
RTT_S = 0.050


@dataclass(frozen=True, slots=True)
class Size:
    admissions: int
    sales: int


FULL, QUICK = Size(admissions=80_000, sales=4_000), Size(admissions=4_000, sales=240)


def run(*, quick: bool) -> Iterator[dict[str, Any]]:
    """The figures of uploads, each {"figure", "value", "unit"}."""
    size = QUICK if quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        place = _Place(Path(folder), f"sqlite:///{folder}/hub.db")
        yield from place.measure(size, "sqlite")
        yield {"figure": "backlog_1800_at_50ms_rtt_s", "value": place.backlog(), "unit": "s"}
    from tests.support import postgres

    with tempfile.TemporaryDirectory() as folder:
        place = _Place(Path(folder), postgres.fresh_url())
        yield from place.measure(size, "postgresql")


class _Place:
    """A hub's database with devices enrolled in it."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self._folder, self._url = folder, database_url
        self._clock, self._random_bytes = SystemClock(), random.Random(1).randbytes
        node = open_node(database_url, key_file=folder / "hub.key")
        with node.write() as connection:
            venue.publish_catalogue(connection, VENUE, now=self._clock.now_utc())
        names = tuple(venue_gates(node))
        self._gates = [self._device(node, Role.GATE, names[number % len(names)], number) for number in range(DEVICES)]
        self._kiosks = [self._device(node, Role.KIOSK, f"K{number}", number) for number in range(DEVICES)]
        self._node = node

    def _device(self, node: HubNode, role: Role, label: str, number: int) -> Device:
        folder = self._folder / f"{role}-{number}"
        folder.mkdir()
        clock: Any = self._clock
        return make_device(node, folder, role=role, label=label, clock=clock, random_bytes=self._random_bytes)

    def measure(self, size: Size, engine: str) -> Iterator[dict[str, Any]]:
        sales = [_Sender(kiosk, _sales(kiosk, size.sales // DEVICES)) for kiosk in self._kiosks]
        with _serving(self._url, self._folder / "hub.key") as url:
            took_s = _send_all(sales, url)
        sold = self._count(order)
        assert sold == size.sales // DEVICES * DEVICES, sold
        name = "sales_per_s" if engine == "sqlite" else f"sales_per_s_{engine}"
        yield {"figure": name, "value": sold / took_s, "unit": "1/s"}
        ids = self._sell(size.admissions // DEVICES * DEVICES)
        share = len(ids) // DEVICES
        gates = [
            _Sender(gate, _admissions(gate, ids[number * share : (number + 1) * share]))
            for number, gate in enumerate(self._gates)
        ]
        with _serving(self._url, self._folder / "hub.key") as url:
            took_s = _send_all(gates, url)
        admitted = self._count(used)
        assert admitted == len(ids), admitted
        yield {"figure": f"admissions_per_s_{engine}", "value": admitted / took_s, "unit": "1/s"}

    def backlog(self) -> float:
        """Seconds from the first step of an Uploader with BACKLOG admissions until all are acknowledged in its journal."""
        ids = self._sell(BACKLOG)
        gate = self._gates[0]
        fresh = self._device(self._node, Role.GATE, gate.identity.label, 99)
        fresh.append(*(fresh.admission(text) for text in ids))
        with (
            _serving(self._url, self._folder / "hub.key") as url,
            DelayingProxy(urlsplit(url).port or 0, delay_s=RTT_S / 2) as port,
        ):
            hub = HttpHub(
                f"http://127.0.0.1:{port}",
                device=fresh.identity.device,
                key=fresh.state.identity_key(),
                clock=self._clock,
                random_bytes=self._random_bytes,
            )
            uploader = Uploader(fresh.journal, fresh.state, hub, clock=self._clock)
            started_s = time.perf_counter()
            answered = 0
            while (sent := uploader.step()).operations:
                answered += sent.operations
            took_s = time.perf_counter() - started_s
            hub.close()
        assert answered == BACKLOG + 1, answered  # and the journal's first
        assert fresh.journal.unsent() == 0
        return took_s

    def _sell(self, count: int) -> list[str]:
        """Tickets that the hub knows, put there by hand: what is measured is their use."""
        kiosk, now_s = self._kiosks[0], int(self._clock.now_utc().timestamp())
        ids = [self._random_bytes(10) for _ in range(count)]
        rows = [
            {
                "ticket": ticket_id,
                "order": b"\0" * 10,
                "line": 0,
                "kid": kiosk.identity.kid,
                "variant": 1,
                "uses": 1,
                "state": "valid",
                "not_before": now_s - 3_600,
                "expires": now_s + 36_000,
                "language": "ja",
                "short_id": f"{number % 1_000_000:06d}",
                "part": 1,
                "parts": 1,
            }
            for number, ticket_id in enumerate(ids)
        ]
        with self._node.write() as connection:
            for start in range(0, len(rows), 5_000):
                insert_rows(connection, ticket, rows[start : start + 5_000])
        return [ticket_id.hex() for ticket_id in ids]

    def _count(self, table: Any) -> int:
        with self._node.read() as connection:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def venue_gates(node: HubNode) -> tuple[str, ...]:
    with node.read() as connection:
        return tuple(venue.catalogue(connection).gates)


def _sales(kiosk: Device, count: int) -> list[str]:
    return [to_body(kiosk.sale(count=TICKETS_A_SALE)) for _ in range(count)]


def _admissions(gate: Device, ids: list[str]) -> list[str]:
    return [to_body(gate.admission(text)) for text in ids]


class _Sender:
    """One device's segments, cut and signed; its requests are signed when the hub's address is known."""

    def __init__(self, device: Device, bodies: list[str]) -> None:
        self._device = device
        self._bodies = [json.dumps(segment_to_row(one), separators=(",", ":")).encode() for one in _cut(device, bodies)]
        self._requests: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[bytes] = []

    def sign(self, url: str, hub_nonce: str) -> None:
        for body in self._bodies:
            message = hop.Message("POST", url + OPERATIONS, {"Content-Type": "application/json"})
            hop.sign(
                message,
                body,
                device=self._device.identity.device,
                key=self._device.state.identity_key(),
                now=datetime.now(UTC),
                nonce=f"{hub_nonce}.{self._device.random_bytes(12).hex()}",
            )
            self._requests.append((dict(message.headers), body))

    def send(self, url: str) -> None:
        parts = urlsplit(url)
        line = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        for headers, body in self._requests:
            line.request("POST", OPERATIONS, body=body, headers=headers)
            answer = line.getresponse()
            content = answer.read()
            assert answer.status == 200, content
            self.answers.append(content)
        line.close()

    def check(self) -> None:
        for content in self.answers:
            assert all(row["status"] == "accepted" for row in json.loads(content)["answers"]), content[:300]


def _cut(device: Device, bodies: list[str]) -> Iterator[Segment]:
    """As the journal cuts them, but all at once. The first operation is the incarnation's own."""
    birth = Incarnation(device.random_bytes(16).hex(), device.clock.now_utc().isoformat(), "enrolled", None)
    waiting, first, before = [to_body(birth), *bodies], 1, ZERO_HASH
    while waiting:
        count, size = 0, 0
        for body in waiting[:SEGMENT_OPERATIONS_MAX]:
            size += len(body.encode())
            if count and size > SEGMENT_BYTES_MAX:
                break
            count += 1
        one = cut(
            device=device.identity.device,
            incarnation=1,
            first=first,
            before=before,
            bodies=tuple(waiting[:count]),
            key=device.state.identity_key(),
        )
        waiting, first, before = waiting[count:], one.last + 1, one.head
        yield one


def _send_all(senders: list[_Sender], url: str) -> float:
    with urllib.request.urlopen(f"{url}/v1/openapi.json") as any_answer:
        hub_nonce = any_answer.headers[NONCE_HEADER]
    for sender in senders:
        sender.sign(url, hub_nonce)
    failed: list[BaseException] = []

    def send(sender: _Sender) -> None:
        try:
            sender.send(url)
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=send, args=(sender,)) for sender in senders]
    started_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_s = time.perf_counter() - started_s
    if failed:
        raise failed[0]
    for sender in senders:
        sender.check()
    return took_s


@contextmanager
def _serving(database_url: str, key_file: Path) -> Iterator[str]:
    """The hub as a process of its own; its address."""
    command = [sys.executable, "-m", "hub", "serve", "--database", database_url, "--key-file", str(key_file)]
    process = subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


if __name__ == "__main__":
    for figure in run(quick="--quick" in sys.argv[1:]):
        print(json.dumps(figure), flush=True)
