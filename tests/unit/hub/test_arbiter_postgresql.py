"""Two workers on one PostgreSQL: of the last use exactly one gets it, and nobody waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from hub import tables
from hub.database import open_database
from hub.node import HubNode
from hub.services import ledger, venue
from hub.services.arbiter import Asked
from sync.state import Role
from sync.upload import Uploader
from tests import hubkit
from tests.support import postgres
from tickets.admission import Denied, Granted, Reason
from tickets.clock import FixedClock


@pytest.fixture(scope="module")
def url() -> str:
    return postgres.fresh_url()


@pytest.fixture
def workers(url: str) -> Iterator[list[HubNode]]:
    clock, key = FixedClock(hubkit.NOON), Ed25519PrivateKey.from_private_bytes(b"h" * 32)
    made = [HubNode(open_database(url), key, clock=clock, random_bytes=hubkit.seeded(n)) for n in range(3)]
    with made[0].write() as connection:
        venue.publish_catalogue(connection, hubkit.VENUE, now=clock.now_utc())
    yield made
    for node in made:
        node.engine.dispose()


def test_workers_take_no_use_twice_and_lock_in_one_order(workers: list[HubNode], tmp_path: Path) -> None:
    clock = FixedClock(hubkit.NOON)
    kiosk, *gates = (
        hubkit.make_device(workers[0], tmp_path, role=role, label=label, clock=clock, random_bytes=hubkit.seeded(seed))
        for seed, (role, label) in enumerate(
            ((Role.KIOSK, "K2"), (Role.GATE, "A"), (Role.GATE, "B"), (Role.GATE, "shop")), 20
        )
    )
    kiosk.append(kiosk.sale(count=6, uses=4))
    while Uploader(kiosk.journal, kiosk.state, kiosk.hub, clock=clock).step().operations:
        pass
    kiosk.append(kiosk.sale(count=4, uses=4))  # these the hub has only by their codes
    sold = kiosk.sold
    results: list[Any] = []
    begin = threading.Barrier(3)

    def work(number: int) -> None:
        gate, node = gates[number], workers[number]
        for turn in range(5):
            order = sold if (turn + number) % 2 else sold[::-1]
            group = [Asked(gate.claim(one.ticket, code=kiosk.code_of(one)), gate.identity.device) for one in order]
            begin.wait(30)
            results.extend(node.claims(group))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3 * 5 * 10
    assert sum(isinstance(one, Granted) for one in results) == 10 * 4
    assert {one.reason for one in results if isinstance(one, Denied)} == {Reason.EXHAUSTED}
    with workers[0].read() as connection:
        assert ledger.all_conflicts(connection) == ()
        rows = connection.execute(select(tables.used.c.ticket, tables.used.c.arrival)).all()
    assert sorted(rows) == sorted((bytes.fromhex(one.ticket), turn) for one in sold for turn in range(1, 5))


def test_the_same_operation_at_two_workers_is_answered_alike(workers: list[HubNode], tmp_path: Path) -> None:
    clock = FixedClock(hubkit.NOON)
    kiosk = hubkit.make_device(
        workers[0], tmp_path, role=Role.KIOSK, label="K3", clock=clock, random_bytes=hubkit.seeded(30)
    )
    gate = hubkit.make_device(
        workers[0], tmp_path, role=Role.GATE, label="B", clock=clock, random_bytes=hubkit.seeded(31)
    )
    for _ in range(10):
        kiosk.append(kiosk.sale(uses=1))
        code = kiosk.code_of(kiosk.sold[-1])
        message = gate.claim(kiosk.sold[-1].ticket, code=code)
        found: list[Any] = []
        begin = threading.Barrier(3)

        def ask(node: HubNode, message: Any = message, begin: threading.Barrier = begin, found: Any = found) -> None:
            begin.wait(30)
            found.append(node.claim(message, sender=gate.known))

        threads = [threading.Thread(target=ask, args=(node,)) for node in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [Granted(1, 0)] * 3
