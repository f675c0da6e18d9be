from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from hub import tables
from hub.node import HubNode
from hub.services import feed, venue
from sync import cache as cache_file
from sync import granted
from sync.cache import Cache
from sync.download import Downloader
from sync.errors import HubUnreachable, MessageError
from sync.protocol import Page
from sync.upload import Uploader
from tests.hubkit import VENUE, Device, LocalHub, open_some_slots
from tickets.ids import Kid, TicketId
from tickets.life_cycle import TicketState


@dataclasses.dataclass
class Pulling:
    device: Device
    downloader: Downloader
    told: list[tuple[str, str]]

    def drain(self) -> int:
        steps = 1
        while self.downloader.step(wait_s=0).more:
            steps += 1
            assert steps < 1000
        return steps

    @property
    def generation(self) -> int | None:
        with self.device.journal.read() as connection:
            return granted.generation(connection)

    def ticket(self, ticket: str) -> cache_file.CachedTicket | None:
        """As a gate reads it."""
        assert self.generation is not None
        held = Cache.open(self.device.state.cache(self.generation))
        with held.engine.begin() as connection:
            found = cache_file.find(connection, TicketId(bytes.fromhex(ticket)))
        held.close()
        return found


def pulling(device: Device, *, hub: LocalHub | None = None, rows_max: int = 3) -> Pulling:
    told: list[tuple[str, str]] = []
    downloader = Downloader(
        device.journal,
        device.state,
        device.identity,
        hub or device.hub,
        clock=device.clock,
        rows_max=rows_max,
        told=lambda event, detail: told.append((event, detail)),
    )
    downloader.open()
    return Pulling(device, downloader, told)


def sell(kiosk: Device, count: int = 5) -> None:
    kiosk.append(kiosk.sale(count=count))
    Uploader(kiosk.journal, kiosk.state, kiosk.hub, clock=kiosk.clock).step()


def cut_in_half(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def test_the_first_generation_is_in_force_only_when_it_is_whole(kiosk: Device, gate: Device) -> None:
    sell(kiosk)
    pull = pulling(gate)
    pulled = pull.downloader.step(wait_s=0)
    assert pulled.more
    assert pull.generation is None
    pull.drain()
    assert pull.generation == 1
    assert all(pull.ticket(sold.ticket) for sold in kiosk.sold)
    with gate.journal.read() as connection:
        catalogue = granted.catalogue(connection)
        assert catalogue is not None
        assert catalogue.venue.name["ja"] == "しおさい海浜公園"
        assert kiosk.identity.kid is not None
        assert (
            granted.key(connection, Kid(kiosk.identity.kid)).public
            == kiosk.state.selling_key().public_key().public_bytes_raw()
        )  # type: ignore[union-attr]
        assert granted.slot_leases(connection) == ()


def test_changes_reach_the_same_file_and_a_restart_goes_on_from_there(
    kiosk: Device, gate: Device, node: HubNode
) -> None:
    sell(kiosk, 1)
    pull = pulling(gate)
    pull.drain()
    node.cancel_ticket(TicketId(bytes.fromhex(kiosk.sold[0].ticket)), by="office", reason="雨")
    pull.downloader.close()
    again = pulling(gate)
    assert again.downloader.step(wait_s=0).rows == 1
    assert again.ticket(kiosk.sold[0].ticket).state is TicketState.CANCELLED  # type: ignore[union-attr]
    assert again.generation == 1


def test_an_unfinished_generation_is_begun_again(kiosk: Device, gate: Device) -> None:
    sell(kiosk)
    pull = pulling(gate)
    pull.downloader.step(wait_s=0)
    pull.downloader.close()
    assert gate.state.cache(1).exists()
    again = pulling(gate)
    again.drain()
    assert again.generation == 1
    assert all(again.ticket(sold.ticket) for sold in kiosk.sold)


@pytest.mark.parametrize("running", [True, False], ids=["while_running", "at_start"])
def test_a_cache_cut_in_half_is_rebuilt_and_told(kiosk: Device, gate: Device, running: bool) -> None:
    for _ in range(30):
        sell(kiosk, 50)
    pull = pulling(gate, rows_max=1000)
    pull.drain()
    path = gate.state.cache(1)
    if running:
        assert not pull.downloader.looks_cut()
        cut_in_half(path)
        assert pull.downloader.looks_cut()
        pull.downloader.give_up_current("cut")
    else:
        pull.downloader.close()
        cut_in_half(path)
        pull = pulling(gate, rows_max=1000)
    assert [event for event, _ in pull.told] == ["cache_broken"]
    assert pull.downloader.rebuilt == 1
    pull.drain()
    assert pull.generation == 2
    assert all(pull.ticket(sold.ticket) for sold in kiosk.sold)
    assert not pull.downloader.looks_cut()


def test_until_the_next_is_whole_the_last_good_one_is_read(kiosk: Device, gate: Device, node: HubNode) -> None:
    sell(kiosk, 50)
    pull = pulling(gate, rows_max=1000)
    pull.drain()
    with node.write() as connection:
        connection.execute(update(tables.meta).where(tables.meta.c.key == feed.FEED_EPOCH).values(value="another"))
    assert pull.downloader.step(wait_s=0).more
    assert pull.generation == 1
    pull.drain()
    assert pull.generation == 2
    assert gate.state.cache(1).exists(), "the last good one stays"
    pull.downloader.close()
    gate.state.cache(2).write_bytes(b"no database")

    class Absent(LocalHub):
        def changes(self, cursor: str | None, *, wait_s: float, rows_max: int) -> Page:
            raise HubUnreachable("absent")

    offline = pulling(gate, hub=Absent(node, gate.identity.device))
    assert offline.generation == 1, "an older truth is better than none"
    assert offline.ticket(kiosk.sold[0].ticket)
    with pytest.raises(HubUnreachable):
        offline.downloader.step(wait_s=0)
    offline.downloader.close()
    online = pulling(gate)
    online.drain()
    assert online.ticket(kiosk.sold[0].ticket)


def test_a_feed_that_forgot_a_slot_takes_it_away_but_never_a_key(kiosk: Device, node: HubNode) -> None:
    open_some_slots(node)
    pull = pulling(kiosk)
    pull.drain()
    with kiosk.journal.read() as connection:
        first, second = granted.slot_leases(connection)
    with node.write() as connection:
        connection.execute(delete(tables.slot).where(tables.slot.c.slot == first.slot.slot))
        connection.execute(delete(tables.change))
        connection.execute(delete(tables.selling_key))
        feed.touch(connection, "slot", [second.slot.slot])
        connection.execute(update(tables.meta).where(tables.meta.c.key == feed.FEED_EPOCH).values(value="another"))
    pull.drain()
    with kiosk.journal.read() as connection:
        assert [held.slot.slot for held in granted.slot_leases(connection)] == [second.slot.slot]
        assert kiosk.identity.kid is not None
        assert granted.key(connection, Kid(kiosk.identity.kid)) is not None


def test_a_key_that_the_hub_did_not_certify_is_not_put_in_force(kiosk: Device, gate: Device, node: HubNode) -> None:
    with node.write() as connection:
        connection.execute(update(tables.selling_key).values(signature=b"\0" * 64))
    pull = pulling(gate, rows_max=100)
    pulled = pull.downloader.step(wait_s=0)
    assert len(pulled.left_out) == 1
    assert "did not sign" in pulled.left_out[0]
    with gate.journal.read() as connection:
        assert granted.keys(connection) == {}
    assert pull.generation == 1, "one bad row does not stop the feed"


def test_a_catalogue_that_cannot_be_used_leaves_the_last_one_in_force(gate: Device, node: HubNode) -> None:
    pull = pulling(gate)
    pull.drain()
    with node.write() as connection:
        connection.execute(update(tables.document).values(text="{}"))
        feed.touch(connection, "document", [venue.CATALOGUE])
    assert pull.downloader.step(wait_s=0).left_out
    with gate.journal.read() as connection:
        assert granted.catalogue(connection) is not None


def test_a_revoked_key_says_since_when(kiosk: Device, gate: Device, node: HubNode) -> None:
    pull = pulling(gate)
    pull.drain()
    node.revoke(kiosk.identity.device)
    pull.drain()
    with gate.journal.read() as connection:
        assert granted.key(connection, Kid(kiosk.identity.kid)).revoked_at == int(gate.clock.now_utc().timestamp())  # type: ignore[arg-type,union-attr]


@pytest.mark.parametrize(
    "change",
    [
        lambda part: (
            dataclasses.replace(
                part,
                columns=tuple(name for name in part.columns if name != "signature"),
                rows=tuple(row[:2] + row[3:] for row in part.rows),
            )
            if part.table == "key"
            else part
        ),
        lambda part: (
            dataclasses.replace(part, rows=tuple(("xyz", *row[1:]) for row in part.rows))
            if part.table == "ticket"
            else part
        ),
    ],
    ids=["no signature", "ticket id is no hex"],
)
def test_a_page_that_makes_no_sense_changes_nothing_and_can_be_asked_for_again(
    kiosk: Device, gate: Device, node: HubNode, change: object
) -> None:
    sell(kiosk, 2)

    class Strange(LocalHub):
        def changes(self, cursor: str | None, *, wait_s: float, rows_max: int) -> Page:
            page = super().changes(cursor, wait_s=wait_s, rows_max=rows_max)
            return dataclasses.replace(page, tables=tuple(change(part) for part in page.tables))  # type: ignore[operator]

    pull = pulling(gate, hub=Strange(node, gate.identity.device), rows_max=100)
    for _ in range(2):
        with pytest.raises(MessageError):
            pull.downloader.step(wait_s=0)
    assert pull.generation is None
    pull.downloader.close()
    assert VENUE
    good = pulling(gate)
    good.drain()
    assert good.generation == 1


def test_tables_of_a_later_version_are_ignored(kiosk: Device, gate: Device, node: HubNode) -> None:
    from sync.protocol import TableRows

    class Newer(LocalHub):
        def changes(self, cursor: str | None, *, wait_s: float, rows_max: int) -> Page:
            page = super().changes(cursor, wait_s=wait_s, rows_max=rows_max)
            return dataclasses.replace(page, tables=(*page.tables, TableRows("weather", ("day",), (("sunny",),))))

    sell(kiosk, 1)
    pull = pulling(gate, hub=Newer(node, gate.identity.device))
    pull.drain()
    assert pull.ticket(kiosk.sold[0].ticket)
