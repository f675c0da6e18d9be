"""A request recorded and brought to another worker, byte for byte: it changes nothing, whatever the call."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
from sqlalchemy import select

from hub import tables
from hub.database import is_postgresql, open_database
from hub.node import HubNode
from hub.web import chores
from hub.web.app import create_app
from sync import hop, protocol
from sync.nonce import answer_to
from sync.operation import ReleaseReason
from sync.protocol import LeaseRequest, ReleaseMessage, SlotWish, Telemetry, segment_to_row
from tests.hubkit import Device, open_some_slots, seeded
from tickets.clock import FixedClock

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

BASE = "http://hub.test"


def everything(node: HubNode) -> dict[str, list[Any]]:
    with node.read() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table)).all()))
            for table in tables.metadata.sorted_tables
            if table.name
            not in ("telemetry", "meta", "feed_digest", "feed_time")  # the last three: chores that run beside
        }


@pytest.fixture(autouse=True)
def _no_chores(monkeypatch: pytest.MonkeyPatch) -> None:
    """They keep the feed short whenever they come to it, replay or not."""

    async def rest(_: HubNode) -> None:
        return None

    monkeypatch.setattr(chores, "run", rest)


def test_a_replay_at_another_worker_changes_nothing(
    node: HubNode, kiosk: Device, gate: Device, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chores, "run", _idle)  # the hub's own housekeeping writes too, whenever it likes
    open_some_slots(node)
    with node.read() as connection:
        slot = str(connection.scalar(select(tables.slot.c.slot)))
    other = HubNode(_again(node), node.key, clock=clock, random_bytes=seeded(77))
    kiosk.append(kiosk.sale(count=2))
    segment = kiosk.journal.next_segment(kiosk.state)
    assert segment is not None
    ticket = kiosk.sold[0].ticket
    claim = gate.claim(ticket)
    release = ReleaseMessage(
        gate.random_bytes(16), bytes.fromhex(claim.op), ReleaseReason.NOT_PASSED, "A", clock.now_utc()
    )  # type: ignore[arg-type]
    calls: list[tuple[Device, str, str, Any]] = [
        (kiosk, "POST", protocol.OPERATIONS, segment_to_row(segment)),
        (gate, "POST", protocol.CLAIM, json.loads(claim.to_json())),
        (gate, "POST", protocol.RELEASE, release.to_row()),
        (kiosk, "POST", protocol.LEASE, LeaseRequest(1, (SlotWish(slot, more=3),), ((6, 1),)).to_row()),
        (kiosk, "POST", protocol.TELEMETRY, Telemetry(clock.now_utc(), "test", 0).to_row()),
        (gate, "GET", protocol.CHANGES, None),
    ]
    with TestClient(create_app(node), base_url=BASE) as one, TestClient(create_app(other), base_url=BASE) as two:
        for device, method, path, row in calls:
            body = b"" if row is None else json.dumps(row).encode()
            message = hop.Message(method, BASE + path)
            nonce = answer_to(node.nonces.current(clock.now_utc()), device.random_bytes(12))
            hop.sign(
                message,
                body,
                device=device.identity.device,
                key=device.state.identity_key(),
                now=clock.now_utc(),
                nonce=nonce,
            )
            first = one.request(method, path, content=body, headers=message.headers)
            assert first.status_code == 200, (path, first.text)
            held = everything(node)
            again = two.request(method, path, content=body, headers=message.headers)
            assert again.status_code == 200, (path, again.text)
            assert everything(node) == held, path
            if path == protocol.CLAIM:
                assert again.json() == first.json()
            refused = one.request(method, path, content=body, headers=message.headers)
            assert (refused.status_code, refused.json()["error"]) == (401, "replayed")
    other.engine.dispose()


def _again(node: HubNode) -> Any:
    """The same database through an engine of its own, as another process has it."""
    if is_postgresql(node.engine):
        return open_database(node.engine.url.render_as_string(hide_password=False))
    with node.engine.connect() as connection:  # its engine has a creator in the place of an address
        file = connection.exec_driver_sql("PRAGMA database_list").all()[0][2]
    return open_database(f"sqlite:///{file}")


async def _idle(_: HubNode) -> None:
    return None
