"""The change feed: nothing is missed under concurrent PostgreSQL transactions, and a device that is 10 000 tickets behind catches up.

`feed_missed` of `feed_transactions`: eight writers commit transactions of one to four rows after delays of their own while two real
readers of the feed (`HubNode.changes`) follow. `naive_missed`: what a reader that goes by numbers alone passed over for ever on the same
rows. `delta_10k_ms`: a hub process on SQLite over HTTP; from the request of the first page until all rows lie in the device's cache,
checksum compared. Middle of several runs.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert, select, update

from benchmarks.figures import percentile
from hub import tables
from hub.database import open_database
from hub.node import HubNode
from hub.services import feed
from sync.client import HttpHub
from sync.download import Downloader
from sync.journal import open_journal
from tests.flow.sync.processes import DeviceProcess, HubProcess
from tests.support import postgres
from tickets.clock import SystemClock

WRITERS = 8
DELAY_S_MAX = 0.006
BEHIND = 10_000
TICKETS, TICKETS_QUICK = 100_000, 20_000


def run(*, quick: bool) -> Iterator[dict[str, Any]]:
    yield from _gap(2_000 if quick else 20_000)
    yield from _delta(TICKETS_QUICK if quick else TICKETS, runs=3 if quick else 7)


class _Writers:
    """Eight threads, each with its own connection and dice."""

    def __init__(self, node: HubNode, transactions: int) -> None:
        self._node, self._each = node, transactions // WRITERS
        self.written: set[str] = set()
        self.transactions = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._write, args=(seed,)) for seed in range(WRITERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def are_at_it(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _write(self, seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(self._each):
            ops = [dice.randbytes(16) for _ in range(dice.randint(1, 4))]
            with self._node.engine.begin() as connection:
                for op in ops:
                    connection.execute(insert(tables.used), _used(op))
                    feed.touch(connection, "used", [op])
                time.sleep(dice.random() ** 3 * DELAY_S_MAX)
            with self._lock:
                self.written.update(op.hex() for op in ops)
                self.transactions += 1


def _used(op: bytes) -> dict[str, Any]:
    return {
        "op": op,
        "ticket": op[:10],
        "passage": "entry",
        "units": 1,
        "window": "",
        "at": "2026-11-23T03:00:00.000+00:00",
        "gate": "A",
        "mode": "policy",
        "released": 0,
        "device": op,
    }


def _gap(transactions: int) -> Iterator[dict[str, Any]]:
    node = HubNode(
        open_database(postgres.fresh_url()),
        Ed25519PrivateKey.generate(),
        clock=SystemClock(),
        random_bytes=os.urandom,
    )
    writers = _Writers(node, transactions)
    ended = threading.Event()
    seen: list[set[str]] = [set(), set()]
    naive: set[str] = set()

    def follow(found: set[str], rows_max: int) -> None:
        cursor: str | None = None
        last = False
        while True:
            page = node.changes(cursor, rows_max=rows_max, scope="gate")
            found.update(row[0] for part in page.tables for row in part.rows)
            cursor = page.cursor
            if page.more:
                continue
            if last:
                return
            last = ended.is_set()
            time.sleep(0.002)

    def follow_numbers() -> None:
        seq, last = 0, False
        while True:
            with node.read() as connection:
                query = select(tables.change.c.seq, tables.change.c.key).where(tables.change.c.seq > seq)
                rows = connection.execute(query.order_by(tables.change.c.seq)).all()
            naive.update(row.key for row in rows)
            seq = rows[-1].seq if rows else seq
            if last:
                return
            last = ended.is_set()
            time.sleep(0.002)

    readers = [
        threading.Thread(target=follow, args=(seen[0], 1_000)),
        threading.Thread(target=follow, args=(seen[1], 7)),
        threading.Thread(target=follow_numbers),
    ]
    began_s = time.monotonic()
    writers.start()
    for reader in readers:
        reader.start()
    while writers.are_at_it:
        time.sleep(0.5)
        node.housekeep()  # compaction and sums run beside it, as in a hub
    took_s = time.monotonic() - began_s
    ended.set()
    for reader in readers:
        reader.join()
    node.engine.dispose()
    missed = max(len(writers.written - found) for found in seen)
    yield {"figure": "feed_transactions", "value": writers.transactions, "rows": len(writers.written)}
    yield {"figure": "feed_missed", "value": missed}
    yield {"figure": "naive_missed", "value": len(writers.written - naive)}
    yield {"figure": "feed_transactions_per_s", "value": round(writers.transactions / took_s)}


def _delta(count: int, *, runs: int) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hub = HubProcess(folder)
        try:
            with contextlib.redirect_stdout(
                io.StringIO()
            ):  # its line holds a password and tokens; here are figures alone
                links = hub.seed()["links"]
            device = DeviceProcess(folder / "gate", links["gate"])
            engine = open_database(hub.database)
            ids = [os.urandom(10) for _ in range(count)]
            with engine.begin() as connection:
                connection.execute(insert(tables.ticket), [_ticket(each, number) for number, each in enumerate(ids)])
                feed.touch(connection, "ticket", ids)
            puller = _puller(device)
            while puller.step(wait_s=0).more:
                pass
            took_ms = []
            for number in range(runs):
                behind = random.Random(number).sample(ids, BEHIND)
                state = "cancelled" if number % 2 == 0 else "valid"
                with engine.begin() as connection:
                    for start in range(0, BEHIND, 500):
                        part = behind[start : start + 500]
                        connection.execute(
                            update(tables.ticket).where(tables.ticket.c.ticket.in_(part)).values(state=state)
                        )
                    feed.touch(connection, "ticket", behind)
                began_s, rows, more = time.monotonic(), 0, True
                while more:
                    pulled = puller.step(wait_s=0)
                    rows, more = rows + pulled.rows, pulled.more
                took_ms.append((time.monotonic() - began_s) * 1000)
                assert rows == BEHIND, rows
            assert puller.diverged == 0
            puller.close()
            engine.dispose()
        finally:
            hub.stop()
    yield {
        "figure": "delta_10k_ms",
        "value": round(percentile(took_ms, 0.5), 1),
        "slowest": round(max(took_ms), 1),
        "tickets": count,
    }


def _ticket(ticket: bytes, number: int) -> dict[str, Any]:
    return {
        "ticket": ticket,
        "kid": b"\0\0\0\1",
        "variant": 1,
        "uses": 1,
        "state": "valid",
        "not_before": 1_700_000_000,
        "expires": 1_900_000_000,
        "language": "ja",
        "short_id": f"{number % 1_000_000:06d}",
        "part": 1,
        "parts": 1,
    }


def _puller(device: DeviceProcess) -> Downloader:
    clock = SystemClock()
    hub = HttpHub(
        device.identity.hub_url,
        device=device.identity.device,
        key=device.state.identity_key(),
        clock=clock,
        random_bytes=os.urandom,
        connect_timeout_s=5,
        read_timeout_s=60,
    )
    journal = open_journal(device.state, clock=clock, random_bytes=os.urandom)
    made = Downloader(journal, device.state, device.identity, hub, clock=clock, rows_max=BEHIND)
    made.open()
    return made
