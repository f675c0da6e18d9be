"""What one gate's claim took is in the other gates' caches within a second: real hub, real sync daemons."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sync import cache, granted
from sync.claim import ClaimMessage
from sync.client import HttpHub
from sync.journal import open_for_grants
from tests.flow.sync.processes import DeviceProcess, HubProcess, until
from tickets.admission import Granted, Passage
from tickets.clock import SystemClock
from tickets.code import TicketCode, sign
from tickets.ids import Kid, TicketId

pytestmark = pytest.mark.flow


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    hub = HubProcess(tmp_path)
    yield hub
    hub.stop()


def held(device: DeviceProcess) -> cache.Cache | None:
    journal = open_for_grants(device.state)
    if journal is None:
        return None
    with journal.read() as connection:
        number = granted.generation(connection)
    journal.engine.dispose()
    return None if number is None else cache.Cache.open(device.state.cache(number))


def test_a_claim_is_told_to_the_other_gates_within_a_second(hub: HubProcess, tmp_path: Path) -> None:
    links, again = hub.seed()["links"], hub.seed()["links"]
    kiosk = DeviceProcess(tmp_path / "kiosk", links["kiosk"])
    one, two = DeviceProcess(tmp_path / "one", links["gate"]), DeviceProcess(tmp_path / "two", again["gate"])
    two.start()
    try:
        theirs = until(lambda: held(two) if two.state.journal.exists() else None, why="no cache came")
        line = HttpHub(
            hub.url,
            device=one.identity.device,
            key=one.state.identity_key(),
            clock=SystemClock(),
            random_bytes=os.urandom,
        )
        taken = []
        for _ in range(5):
            now, kid = int(datetime.now(UTC).timestamp()), kiosk.identity.kid
            assert kid is not None
            code = TicketCode(Kid(kid), TicketId(os.urandom(10)), 1, 1, 0, now - 3600, now + 3600)
            op, ticket = os.urandom(16), code.ticket_id
            text = sign(code, kiosk.state.selling_key())
            claim = ClaimMessage(op.hex(), Passage.ENTRY, ticket.hex(), text, 1, "", "A", 1)
            assert isinstance(line.claim(claim, deadline_s=5), Granted)
            started = time.monotonic()

            def told(op: bytes = op, ticket: TicketId = ticket) -> bool:
                with theirs.engine.begin() as connection:
                    return any(use.use.op == op for use in cache.uses(connection, ticket))

            until(told, why="the other gate was never told")
            taken.append(time.monotonic() - started)
        assert statistics.median(taken) < 1.0, taken
        line.close()
        theirs.close()
    finally:
        two.stop(kill=True)
