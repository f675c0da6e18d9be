"""How soon a new gate stands: building a snapshot of a million tickets, and from a ready one to the first scan its store decides.

Everything real but the ids: a hub process over HTTP, signed requests, the sync daemon's own downloader, the gate's own store. What is
prepared before the clock runs is the hub's data, the built snapshot, and an enrolled device. The throttled figure goes through a
proxy that lets 100 Mbit/s pass. One ticket in ten has a use.
"""

from __future__ import annotations

import os
import random
import resource
import secrets
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from hub import tables
from hub.command import make_link
from hub.node import HubNode
from hub.opening import open_node
from hub.services import snapshot as snapshots
from hub.services import venue
from scanner.gate.store import Store
from sync.client import HttpHub
from sync.download import Downloader
from sync.enrol import enrol
from sync.journal import open_journal
from sync.state import Role, StateDir
from tickets.admission import NoTicket
from tickets.clock import SystemClock

TICKETS = 1_000_000
TICKETS_QUICK = 20_000
BYTES_A_SECOND = 100_000_000 // 8
_BATCH = 20_000
DIGITS = "731902"


def run(*, quick: bool, database_url: str | None = None) -> Iterator[dict[str, Any]]:
    """Figures of one run. `database_url` None: SQLite in a temporary directory."""
    tickets = TICKETS_QUICK if quick else TICKETS
    with tempfile.TemporaryDirectory(prefix="kaisatsu-bench-") as name:
        folder = Path(name)
        url = database_url or f"sqlite:///{folder / 'hub.db'}"
        node = open_node(url, key_file=folder / "hub.key")
        _fill(node, tickets)
        yield {"figure": "snapshot_tickets", "value": tickets, "unit": "count"}
        assert node.shelf is not None
        began_s, began_cpu_s = time.perf_counter(), _children_cpu_s()
        built = snapshots.build_aside(url, node.shelf, node.key, now=node.clock.now_utc())
        took_s = time.perf_counter() - began_s
        assert built is not None
        yield {"figure": "snapshot_build_cpu_s", "value": _children_cpu_s() - began_cpu_s, "unit": "s"}
        yield {"figure": "snapshot_build_1m_s", "value": took_s, "unit": "s"}
        yield {"figure": "snapshot_packed_mb", "value": built.manifest.size / 1e6, "unit": "MB"}
        yield {"figure": "snapshot_content_mb", "value": built.manifest.content_size / 1e6, "unit": "MB"}
        with _serving(url, folder / "hub.key") as port:
            direct = _bootstrap_s(node, folder / "a", hub_port=port, port=port)
            yield {"figure": "bootstrap_1m_s", "value": direct, "unit": "s"}
            with _throttled(port) as slow:
                yield {
                    "figure": "bootstrap_1m_100mbit_s",
                    "value": _bootstrap_s(node, folder / "b", hub_port=port, port=slow),
                    "unit": "s",
                }
        node.engine.dispose()


def _children_cpu_s() -> float:
    """Processor time of processes that have ended: what a build costs whatever else the machine does."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _fill(node: HubNode, count: int) -> None:
    """Tickets as sales would have left them, but put down at once."""
    rng = random.Random(1)
    document = venue_document()
    now_s = int(datetime.now(UTC).timestamp())
    with node.write() as connection:
        venue.publish_catalogue(connection, document, now=node.clock.now_utc())
        for start in range(0, count, _BATCH):
            ids = [rng.randbytes(10) for _ in range(min(_BATCH, count - start))]
            connection.execute(
                insert(tables.ticket),
                [
                    {
                        "ticket": key,
                        "kid": b"\0\0\0\1",
                        "variant": number % 8,
                        "uses": 1,
                        "state": "valid",
                        "not_before": now_s - 3600,
                        "expires": now_s + 86_400 * (number % 60 + 1),
                        "language": "ja",
                        "short_id": DIGITS if start + number == count // 2 else f"{rng.randrange(10**9):09d}",
                        "part": 1,
                        "parts": 1,
                    }
                    for number, key in enumerate(ids)
                ],
            )
            uses = [
                {
                    "op": rng.randbytes(16),
                    "ticket": key,
                    "passage": "entry",
                    "units": 1,
                    "window": "",
                    "at": "2026-11-20T03:00:00.000+00:00",
                    "gate": "A",
                    "mode": "policy",
                    "released": 0,
                    "device": b"\1" * 16,
                    "arrival": 0,
                }
                for key in ids[::10]
            ]
            connection.execute(insert(tables.used), uses)
            changed = [{"table": "ticket", "key": key.hex()} for key in ids]
            changed += [{"table": "used", "key": row["op"].hex()} for row in uses]
            connection.execute(insert(tables.change), changed)


def venue_document() -> Any:
    import json

    return json.loads((Path(__file__).parents[1] / "hub" / "demo_venue.json").read_text(encoding="utf-8"))


def _bootstrap_s(node: HubNode, folder: Path, *, hub_port: int, port: int) -> float:
    """From the first question about a snapshot to a ticket found by the gate's store, in seconds."""
    state, clock = StateDir(folder), SystemClock()
    link = make_link(node, role=Role.GATE, label=f"G{port}", gate="A", base_url=f"http://127.0.0.1:{hub_port}")
    identity = enrol(link, state, clock=clock, random_bytes=secrets.token_bytes)
    journal = open_journal(state, clock=clock, random_bytes=secrets.token_bytes)
    hub = HttpHub(
        f"http://127.0.0.1:{port}",
        device=identity.device,
        key=state.identity_key(),
        clock=clock,
        random_bytes=secrets.token_bytes,
    )
    store = Store(state, journal)
    began_s = time.perf_counter()
    pull = Downloader(journal, state, identity, hub, clock=clock)
    pull.open()
    assert pull.step(wait_s=0).switched, "the snapshot was not taken"
    store.refresh()
    seen = store.look(DIGITS, source="digits", at=clock.now_utc())
    took_s = time.perf_counter() - began_s
    assert not isinstance(seen.facts, NoTicket), "the gate does not know the ticket"
    assert seen.row_known
    pull.close()
    store.close()
    journal.engine.dispose()
    hub.close()
    return took_s


@contextmanager
def _serving(url: str, key_file: Path) -> Iterator[int]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "hub",
            "serve",
            "--database",
            url,
            "--key-file",
            str(key_file),
            "--listen",
            "127.0.0.1:0",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    try:
        import json

        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["url"].rpartition(":")[2])
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextmanager
def _throttled(port: int) -> Iterator[int]:
    """A proxy that lets BYTES_A_SECOND pass towards the device."""

    class Passing(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", port)) as far:
                threading.Thread(target=_pump, args=(self.request, far), daemon=True).start()
                _pump(far, self.request, bytes_a_second=BYTES_A_SECOND)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Passing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def _pump(source: socket.socket, target: socket.socket, *, bytes_a_second: int | None = None) -> None:
    began_s, sent = time.monotonic(), 0
    try:
        while block := source.recv(65_536):
            target.sendall(block)
            sent += len(block)
            if bytes_a_second is not None:
                if time.monotonic() - began_s > 0.5 + sent / bytes_a_second:
                    began_s, sent = time.monotonic(), 0  # the line was idle: no credit is saved up
                ahead_s = sent / bytes_a_second - (time.monotonic() - began_s)
                if ahead_s > 0:
                    time.sleep(ahead_s)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


if __name__ == "__main__":
    import json

    for row in run(quick="--quick" in sys.argv, database_url=os.environ.get("KAISATSU_BENCH_DATABASE")):
        print(json.dumps({"bench": "sync", **row}), flush=True)
