"""A venue node over the hub of the other tests, in this process; every message between them goes through its JSON form."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert

from hub import tables
from hub.node import HubNode
from hub.services import feed
from hub.venue.node import VenueNode
from sync import arbiter
from sync.arbiter import Arbiter
from sync.chain import Segment
from sync.download import Downloader
from sync.errors import HubUnreachable
from sync.protocol import (
    Acknowledged,
    Answers,
    CertificateAnswer,
    Head,
    LeaseAnswer,
    LeaseRequest,
    OnBehalf,
    Page,
    Rejoin,
    Telemetry,
    answers_from_json,
    answers_to_row,
    heads_from_json,
    heads_to_row,
    on_behalf,
    segment_from_json,
    segment_to_row,
)
from sync.state import Role
from sync.upload import Uploader
from tests import hubkit
from tests.hubkit import Device, LocalHub, make_device, seeded
from tickets.clock import FixedClock
from tickets.ids import DeviceId


class LocalUpstream(LocalHub):
    """`hub.venue.upstream.Upstream` on a hub in this process. `cut` is the line between them."""

    cut = False

    def _call(self, what: Callable[[], Any]) -> Any:
        if self.cut:
            raise HubUnreachable("cut")
        return super()._call(what)

    def changes(
        self,
        cursor: str | None,
        *,
        wait_s: float,
        rows_max: int,
        seen: str | None = None,
        acknowledged: Acknowledged | None = None,
    ) -> Page:
        return super().changes(cursor, wait_s=wait_s, rows_max=rows_max)

    def relay(self, segment: Segment, *, received_at: datetime) -> Answers:
        text = json.dumps(segment_to_row(segment) | {"relayed": OnBehalf(segment.device, received_at).to_row()})
        answers = self._call(
            lambda: self.node.operations(segment_from_json(text), sender=self._sender(), carried=on_behalf(text))
        )
        return answers_from_json(json.dumps(answers_to_row(answers)))

    def heads(self, device: DeviceId) -> tuple[Head, ...]:
        return heads_from_json(json.dumps(heads_to_row(self._call(lambda: self.node.heads(device)))))

    def lease_for(self, device: DeviceId, wanted: LeaseRequest, *, at: datetime) -> LeaseAnswer:
        carried = OnBehalf(device, at)
        return self._call(lambda: self.node.lease(wanted, sender=self._sender(), carried=carried))  # type: ignore[no-any-return]

    def rejoin_for(self, device: DeviceId, held: Rejoin, *, at: datetime) -> int:
        carried = OnBehalf(device, at)
        return self._call(lambda: self.node.rejoin(held, sender=self._sender(), carried=carried))  # type: ignore[no-any-return]

    def certificate_for(self, device: DeviceId, *, at: datetime) -> CertificateAnswer:
        carried = OnBehalf(device, at)
        return self._call(lambda: self.node.certificate(sender=self._sender(), carried=carried))  # type: ignore[no-any-return]

    def telemetry_for(self, device: DeviceId, telemetry: Telemetry, *, at: datetime) -> None:
        self._call(lambda: self.node.telemetry(telemetry, sender=self._sender(), carried=OnBehalf(device, at)))


@dataclass
class Venue:
    """A node and its line to the hub."""

    hub: HubNode
    node: VenueNode
    line: LocalUpstream

    def pull(self) -> int:
        rows = 0
        while True:
            pulled = self.node.pull(self.line, wait_s=0, rows_max=1000)
            rows += pulled.rows
            if not pulled.more:
                return rows

    def push(self) -> int:
        done = 0
        while step := self.node.push(self.line):
            done += step
        return done

    def of(self, device: Device) -> LocalHub:
        """The device's line to the node."""
        return LocalHub(self.node, device.identity.device)

    def send(self, device: Device, *, to: LocalHub | None = None) -> None:
        target = to or self.of(device)
        at_hub = not isinstance(target.node, VenueNode)
        sender = Uploader(device.journal, device.state, target, clock=device.clock, at_hub=at_hub)
        while sender.step().operations:
            pass

    def downloader(self, device: Device) -> Downloader:
        made = Downloader(device.journal, device.state, device.identity, device.hub, clock=device.clock)
        made.use(self.of(device), node=self.node.identity.device.hex())
        made.open()
        return made


def state_arbiter(hub: HubNode, *, epoch: int, node: DeviceId | None) -> None:
    said = arbiter.signed(Arbiter(epoch, node, ("http://node.test",), None, hub.clock.now_utc()), hub.key)
    with hub.write() as connection:
        connection.execute(delete(tables.document).where(tables.document.c.name == arbiter.DOCUMENT))
        row = {"name": arbiter.DOCUMENT, "text": said, "at": tables.stamp(hub.clock.now_utc())}
        connection.execute(insert(tables.document), row)
        feed.touch(connection, "document", [arbiter.DOCUMENT])


def make_venue(hub: HubNode, folder: Path, *, clock: FixedClock, label: str = "V1", seed: int = 77) -> Venue:
    random_bytes = seeded(seed)
    who = make_device(hub, folder, role=Role.VENUE, label=label, clock=clock, random_bytes=random_bytes)
    (folder / f"{label}.db").write_bytes(hubkit._migrated())
    from hub.database import open_database

    line = LocalUpstream(hub, who.identity.device)
    node = VenueNode(
        open_database(f"sqlite:///{folder / f'{label}.db'}"),
        who.identity,
        who.state.identity_key(),
        upstream=line,
        clock=clock,
        random_bytes=random_bytes,
    )
    return Venue(hub, node, line)


@pytest.fixture
def venue(node: HubNode, kiosk: Device, gate: Device, gate_b: Device, tmp_path: Path, clock: FixedClock) -> Venue:
    """A node that has taken in the hub's feed, and rules."""
    _ = kiosk, gate, gate_b
    made = make_venue(node, tmp_path, clock=clock)
    state_arbiter(node, epoch=1, node=made.node.identity.device)
    made.pull()
    return made
