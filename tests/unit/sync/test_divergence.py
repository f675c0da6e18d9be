"""A cache that is not what the hub has is found, told and healed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, update

from hub.node import HubNode
from sync import balance
from sync import cache as cache_file
from sync.cache import Cache
from sync.download import Downloader
from sync.errors import MessageError
from sync.protocol import Page
from sync.upload import Uploader
from tests.hubkit import Device, LocalHub
from tickets.clock import FixedClock
from tickets.ids import TicketId


def sell(kiosk: Device, count: int = 5) -> None:
    kiosk.append(kiosk.sale(count=count))
    Uploader(kiosk.journal, kiosk.state, kiosk.hub, clock=kiosk.clock).step()


class Puller:
    def __init__(self, device: Device, hub: LocalHub | None = None) -> None:
        self.told: list[tuple[str, str]] = []
        self.device = device
        self.downloader = Downloader(
            device.journal,
            device.state,
            device.identity,
            hub or device.hub,
            clock=device.clock,
            told=lambda event, detail: self.told.append((event, detail)),
        )
        self.downloader.open()

    def drain(self) -> None:
        while self.downloader.step(wait_s=0).more:
            pass

    def cache(self) -> Cache:
        assert self.downloader.generation is not None
        return Cache.create(self.device.state.cache(self.downloader.generation))

    def states(self, tickets: list[str]) -> list[str]:
        held = self.cache()
        with held.engine.begin() as connection:
            rows = [cache_file.find(connection, TicketId(bytes.fromhex(ticket))) for ticket in tickets]
        held.close()
        return ["-" if row is None else row.state.value for row in rows]


class Dropping(LocalHub):
    """Loses one ticket out of the next page, as a bug would."""

    drop: str | None = None

    def changes(self, cursor: str | None, *, wait_s: float, rows_max: int) -> Page:
        page = super().changes(cursor, wait_s=wait_s, rows_max=rows_max)
        row: dict[str, Any] = page.to_row()
        for part in row["tables"]:
            if part["table"] == "ticket" and self.drop is not None:
                kept = [item for item in part["rows"] if item[0] != self.drop]
                if len(kept) < len(part["rows"]):
                    part["rows"], self.drop = kept, None
        import json

        return Page.from_json(json.dumps(row))


def test_a_change_that_was_dropped_on_the_way_is_found_in_the_same_cycle_and_healed(
    kiosk: Device, gate: Device, node: HubNode
) -> None:
    sell(kiosk)
    hub = Dropping(node, gate.identity.device)
    puller = Puller(gate, hub)
    puller.drain()
    victim = kiosk.sold[2].ticket
    node.cancel_ticket(TicketId(bytes.fromhex(victim)), by="office", reason="x")
    hub.drop = victim
    puller.downloader.step(wait_s=0)
    assert [event for event, _ in puller.told] == ["diverged"]
    assert puller.states([victim]) == ["valid"], "the one in force is read until the next is whole"
    puller.drain()
    assert puller.downloader.generation == 2
    assert puller.states([victim]) == ["cancelled"]
    assert puller.downloader.diverged == 1
    puller.drain()
    assert len(puller.told) == 1


def test_a_row_changed_behind_the_daemons_back_is_found_by_counting_anew(kiosk: Device, gate: Device) -> None:
    sell(kiosk)
    puller = Puller(gate)
    puller.drain()
    victim = kiosk.sold[0].ticket
    held = puller.cache()
    with held.engine.begin() as connection:
        changed = update(cache_file.ticket).where(cache_file.ticket.c.ticket == bytes.fromhex(victim))
        connection.execute(changed.values(uses=99))
    held.close()
    puller.downloader._part = int(victim[:2], 16)  # all 256 come round, one a cycle
    for _ in range(3):
        puller.drain()
    assert [event for event, _ in puller.told] == ["diverged"]
    assert puller.downloader.generation == 2
    assert puller.states([victim]) == ["valid"]


@pytest.mark.parametrize(("step_s", "within"), [(10.0, 12), (25.0, 5), (1.0, 120)])
def test_an_idle_device_has_counted_every_row_anew_within_two_minutes(
    kiosk: Device, gate: Device, clock: FixedClock, step_s: float, within: int
) -> None:
    """Wherever the changed row lies, and however long a poll is held."""
    sell(kiosk)
    puller = Puller(gate)
    puller.drain()
    victim = kiosk.sold[0].ticket
    held = puller.cache()
    with held.engine.begin() as connection:
        changed = update(cache_file.ticket).where(cache_file.ticket.c.ticket == bytes.fromhex(victim))
        connection.execute(changed.values(uses=99))
    held.close()
    puller.downloader._part = (int(victim[:2], 16) + 1) % balance.PARTS  # its turn is the last of all
    for _ in range(within):
        clock.elapsed_s += step_s
        puller.drain()
    assert [event for event, _ in puller.told] == ["diverged"]


def test_counting_anew_never_keeps_a_busy_device_from_its_next_page(
    kiosk: Device, gate: Device, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million tickets on a slow machine: each part takes 30 ms of the clock."""
    counted: list[int] = []
    real = cache_file.recount

    def slowly(connection: Connection, part: int) -> bool:
        counted.append(part)
        clock.elapsed_s += 0.03
        return real(connection, part)

    monkeypatch.setattr(cache_file, "recount", slowly)
    puller = Puller(gate)
    puller.drain()
    clock.elapsed_s += 3600
    counted.clear()
    sell(kiosk)
    puller.drain()
    assert len(counted) == 2, "60 ms where something came"
    counted.clear()
    puller.drain()
    assert len(counted) == 17, "half a second where nothing did, though all 256 are due"


def test_what_differs_again_is_told_but_not_built_without_end(kiosk: Device, gate: Device, node: HubNode) -> None:
    class Wrong(LocalHub):
        def changes(self, cursor: str | None, *, wait_s: float, rows_max: int) -> Page:
            page = super().changes(cursor, wait_s=wait_s, rows_max=rows_max)
            return Page(page.cursor, page.more, page.tables, page.at, "0123456789abcdef", page.schema)

    sell(kiosk)
    puller = Puller(gate, Wrong(node, gate.identity.device))
    for _ in range(6):
        puller.drain()
    assert puller.downloader.rebuilt == 1
    assert {event for event, _ in puller.told} == {"diverged"}
    assert puller.states([kiosk.sold[0].ticket]) == ["valid"]


def test_a_cache_from_before_is_counted_part_by_part_and_then_compared(kiosk: Device, gate: Device) -> None:
    sell(kiosk)
    puller = Puller(gate)
    puller.drain()
    held = puller.cache()
    with held.engine.begin() as connection:
        connection.execute(cache_file.balance.delete())
    for _ in range(balance.PARTS // 16):
        with held.engine.begin() as connection:
            assert cache_file.checksum(connection) is None
        puller.drain()
    with held.engine.begin() as connection:
        assert cache_file.checksum(connection) is not None
    held.close()
    puller.drain()
    assert puller.told == []


def test_a_device_of_today_reads_a_hub_of_the_schema_before(kiosk: Device, gate: Device, node: HubNode) -> None:
    class Older(LocalHub):
        """Pages as they were: without a checksum, without saying their schema."""

        def changes(self, cursor: str | None, *, wait_s: float, rows_max: int) -> Page:
            import json

            row = super().changes(cursor, wait_s=wait_s, rows_max=rows_max).to_row()
            del row["schema"]
            return Page.from_json(json.dumps(row))

    sell(kiosk)
    hub = Older(node, gate.identity.device)
    hub.schema = 1
    puller = Puller(gate, hub)
    puller.drain()
    assert puller.states([sold.ticket for sold in kiosk.sold]) == ["valid"] * 5
    puller.downloader.close()
    sell(kiosk, 1)
    updated = Puller(gate)
    updated.drain()
    assert updated.downloader.generation == 1, "the hub was updated: the cache goes on"
    assert updated.states([kiosk.sold[-1].ticket]) == ["valid"]
    assert updated.told == []


def test_a_schema_of_the_future_is_no_page(gate: Device, node: HubNode) -> None:
    class Future(LocalHub):
        def changes(self, cursor: str | None, *, wait_s: float, rows_max: int) -> Page:
            page = super().changes(cursor, wait_s=wait_s, rows_max=rows_max)
            return Page(page.cursor, page.more, page.tables, page.at, None, 3)

    with pytest.raises(MessageError, match="schema 3"):
        Puller(gate, Future(node, gate.identity.device)).drain()


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_however_a_cache_came_about_its_sums_are_those_of_its_rows(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    rng = random.Random(seed)
    held = Cache.create(Path(tmp_path_factory.mktemp("cache")) / "cache-1.db")
    keys = [rng.randbytes(10).hex() for _ in range(12)]
    columns = [column.name for column in cache_file.ticket.c]
    for _ in range(rng.randrange(1, 8)):
        rows = [
            [
                key,
                rng.randrange(9),
                rng.randrange(3),
                "valid",
                0,
                rng.randrange(2**40),
                "ja",
                f"{rng.randrange(10**6):06d}",
                rng.randrange(3),
            ]
            for key in rng.sample(keys, rng.randrange(6))
        ]
        gone = rng.sample(keys, rng.randrange(3))
        with held.engine.begin() as connection:
            cache_file.apply(connection, "ticket", columns=columns, rows=rows, deletes=gone)
    with held.engine.begin() as connection:
        before = cache_file.checksum(connection)
        connection.execute(cache_file.balance.delete())
        for part in range(balance.PARTS):
            cache_file.recount(connection, part)
        assert cache_file.checksum(connection) == before
    held.close()
