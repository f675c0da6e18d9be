"""A release and the claim or admission that it is of, at two connections of one PostgreSQL: whichever is first, the use is given back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from hub import tables
from hub.node import HubNode
from hub.services import arbiter, ledger, uploads
from hub.services.arbiter import Asked
from sync.chain import ZERO_HASH, cut
from sync.operation import Release, ReleaseReason, to_body
from sync.protocol import ReleaseMessage
from sync.state import Role
from sync.upload import Uploader
from tests import hubkit
from tests.hubkit import Device
from tests.support import postgres
from tickets.admission import Granted
from tickets.clock import FixedClock
from tickets.ids import OpId

Work = Callable[[Connection], object]
OP = "5c" * 16


class Place:
    def __init__(self, folder: Path) -> None:
        self.clock = FixedClock(hubkit.NOON)
        made = {"clock": self.clock, "random_bytes": hubkit.seeded(1)}
        self.node: HubNode = hubkit.make_node(folder, engine="postgresql", **made)  # type: ignore[arg-type]
        kiosk, self.gate, self.other = (
            hubkit.make_device(self.node, folder, role=role, label=label, **made)  # type: ignore[arg-type]
            for role, label in ((Role.KIOSK, "K2"), (Role.GATE, "A"), (Role.GATE, "B"))
        )
        sale = kiosk.sale(count=2)
        kiosk.append(sale)
        Uploader(kiosk.journal, kiosk.state, kiosk.hub, clock=self.clock).step()
        self.ticket = sale.tickets[0].ticket

    def claim(self, connection: Connection, gate: Device | None = None, op: str = OP) -> object:
        gate = gate or self.gate
        asked = [Asked(gate.claim(self.ticket, op=op), gate.identity.device)]
        (answer,) = arbiter.claims(connection, asked, me=None, hub_key=self.node.hub_key, now=self.clock.now_utc())
        return answer

    def admission(self, connection: Connection) -> object:
        return self._segment(connection, to_body(self.gate.admission(self.ticket, op=OP)))

    def one_admission(self, connection: Connection) -> object:
        """As a person tries a rejected one again."""
        what = self.gate.admission(self.ticket, op=OP)
        return ledger.admit(connection, what, device=self.gate.identity.device, now=self.clock.now_utc())

    def release(self, connection: Connection) -> None:
        said = ReleaseMessage(OpId(b"r" * 16), OpId(bytes.fromhex(OP)), ReleaseReason.ABANDONED, "A", hubkit.NOON)
        ledger.give_back(connection, said, device=self.gate.identity.device)

    def sent_release(self, connection: Connection) -> object:
        what = Release("7e" * 16, hubkit.NOON.isoformat(), OP, ReleaseReason.UNDONE, "A")
        return self._segment(connection, to_body(what), incarnation=2)

    def _segment(self, connection: Connection, body: str, *, incarnation: int = 1) -> object:
        gate = self.gate.known
        made = cut(
            device=gate.device,
            incarnation=incarnation,
            first=1,
            before=ZERO_HASH,
            bodies=(body,),
            key=self.gate.state.identity_key(),
        )
        given = uploads.read(made, sender=gate)
        return uploads.receive(connection, given, sender=gate, now=self.clock.now_utc())

    def at_once(self, first: Work, second: Work) -> None:
        """The second comes while the first is not committed yet."""

        def late() -> None:
            with self.node.engine.begin() as connection:
                second(connection)

        thread = threading.Thread(target=late)
        with self.node.engine.begin() as connection:
            first(connection)
            thread.start()
            postgres.until_waiting(str(self.node.engine.url.database), thread)
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.node.engine.dispose()


@pytest.mark.parametrize("back", ["release", "sent_release"])
@pytest.mark.parametrize("use", ["claim", "admission", "one_admission"])
@pytest.mark.parametrize("release_first", [False, True])
def test_a_use_that_is_given_back_at_the_same_moment_is_given_back(
    place: Place, use: str, back: str, release_first: bool
) -> None:
    pair: list[Work] = [getattr(place, use), getattr(place, back)]
    place.at_once(*(reversed(pair) if release_first else pair))
    with place.node.read() as connection:
        counted = connection.scalars(select(tables.used.c.op).where(tables.used.c.released == 0)).all()
        assert connection.scalars(select(tables.release.c.of)).all() == [bytes.fromhex(OP)]
    assert counted == []
    with place.node.write() as connection:
        assert isinstance(place.claim(connection, op="5d" * 16), Granted), "the guest comes again"


def test_another_devices_claim_waits_for_no_release(place: Place) -> None:
    with place.node.engine.begin() as first, place.node.engine.begin() as second:
        place.release(first)
        assert isinstance(place.claim(second, place.other), Granted)
