"""A snapshot from a real hub into a real state directory, cut, killed and forged on the way."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard
from sqlalchemy import insert

from hub import tables
from hub.node import HubNode
from hub.services import balance, feed
from hub.services import snapshot as snapshots
from hub.services.snapshot import Built
from sync import bootstrap, granted, snapshot
from sync import cache as cache_file
from sync.bootstrap import Bootstrap, Fetched
from sync.cache import Cache
from sync.client import SnapshotBody
from sync.download import Downloader
from sync.errors import CacheBroken, HubRefused, HubUnreachable, MessageError, StoreFull
from sync.protocol import Cursor
from sync.snapshot import Manifest, SignedManifest
from tests.hubkit import Device, LocalHub, open_some_slots
from tickets.ids import TicketId

TICKETS = 600
SCOPE = "gate"


@pytest.fixture(autouse=True)
def _few_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "ROWS_MIN", 100)


@pytest.fixture
def built(node: HubNode) -> Built:
    """A hub with a few thousand tickets, each fifth used, and a snapshot of them."""
    open_some_slots(node)
    fill(node, TICKETS)
    made = build(node)
    assert made is not None
    return made


def fill(node: HubNode, count: int, *, seed: int = 7) -> list[bytes]:
    rng = random.Random(seed)
    ids = [rng.randbytes(10) for _ in range(count)]
    with node.write() as connection:
        connection.execute(insert(tables.ticket), [ticket_row(key, number) for number, key in enumerate(ids)])
        feed.touch(connection, "ticket", ids)
        used = [use_row(rng.randbytes(16), key) for key in ids[::5]]
        connection.execute(insert(tables.used), used)
        feed.touch(connection, "used", [row["op"] for row in used])
    return ids


def ticket_row(key: bytes, number: int) -> dict[str, object]:
    return {
        "ticket": key,
        "order": None,
        "line": None,
        "kid": b"\0\0\0\7",
        "variant": number % 4,
        "uses": 1,
        "state": "valid",
        "not_before": 1_700_000_000,
        "expires": 1_900_000_000,
        "language": "ja",
        "short_id": f"{number % 1_000_000:06d}",
        "slot": None,
        "book": None,
        "part": 1,
        "parts": 1,
    }


def use_row(op: bytes, ticket: bytes) -> dict[str, object]:
    return {
        "op": op,
        "ticket": ticket,
        "passage": "entry",
        "units": 1,
        "window": "",
        "at": "2026-11-23T03:00:00.000+00:00",
        "gate": "A",
        "mode": "policy",
        "epoch": None,
        "released": 0,
        "device": b"\1" * 16,
        "attention": None,
        "arrival": 0,
    }


def build(node: HubNode) -> Built | None:
    """All scopes; the one of gates is returned."""
    assert node.shelf is not None
    if snapshots.build(node.engine, node.shelf, node.key, now=node.clock.now_utc()) is None:
        return None
    return node.shelf.current(node.public, scope=SCOPE)


def downloader(device: Device, *, hub: LocalHub | None = None, told: list[tuple[str, str]] | None = None) -> Downloader:
    made = Downloader(
        device.journal,
        device.state,
        device.identity,
        hub or device.hub,
        clock=device.clock,
        told=lambda event, detail: None if told is None else told.append((event, detail)),
    )
    made.open()
    return made


def rows_of(path: Path) -> dict[str, list[tuple[object, ...]]]:
    db = sqlite3.connect(path)
    found = {name: sorted(db.execute(f"SELECT * FROM {name}")) for name in ("ticket", "used")}
    db.close()
    return found


class Cutting(LocalHub):
    """A line that breaks after so many bytes of a snapshot, each time."""

    def __init__(self, hub: LocalHub, bytes_a_time: Iterator[int]) -> None:
        super().__init__(hub.node, hub.device)
        self.bytes_a_time = bytes_a_time
        self.starts: list[int] = []

    @contextmanager
    def snapshot_file(self, manifest: Manifest, *, start: int) -> Iterator[SnapshotBody]:
        self.starts.append(start)
        left = next(self.bytes_a_time)

        def some(chunks: Iterator[bytes]) -> Iterator[bytes]:
            nonlocal left
            for chunk in chunks:
                yield chunk[:left]
                left -= len(chunk)
                if left <= 0:
                    raise HubUnreachable("cut")

        with super().snapshot_file(manifest, start=start) as body:
            yield SnapshotBody(body.began, some(body.chunks))


def test_a_device_begins_with_the_snapshot_and_goes_on_with_deltas(node: HubNode, kiosk: Device, built: Built) -> None:
    after = fill(node, 3, seed=8)
    pull = downloader(kiosk)
    first = pull.step(wait_s=0)
    assert first.switched
    assert first.rows == TICKETS + TICKETS // 5
    while pull.step(wait_s=0).more:
        pass
    with kiosk.journal.read() as connection:
        assert granted.generation(connection) == 1
        assert granted.catalogue(connection) is not None
        assert len(granted.keys(connection)) == 1
        assert len(granted.slot_leases(connection)) == 2
    held = Cache.open(kiosk.state.cache(1))
    with held.engine.begin() as connection:
        assert cache_file.cursor(connection) == _tip(node, scope="kiosk")
        assert all(cache_file.find(connection, TicketId(key)) is not None for key in after)
    held.close()
    pull.close()
    assert not list(kiosk.state.path.glob("snapshot.*"))
    _ = built


def _tip(node: HubNode, *, scope: str) -> str:
    with node.read() as connection:
        return feed.cursor_here(connection, scope=scope)


def test_a_snapshot_holds_what_paging_would_have_brought(gate: Device, gate_b: Device, built: Built) -> None:
    by_file, by_page = downloader(gate), downloader(gate_b)
    by_page._begin_paging()
    for pull in (by_file, by_page):
        while pull.step(wait_s=0).more:
            pass
        pull.close()
    assert rows_of(gate.state.cache(1)) == rows_of(gate_b.state.cache(1))
    assert len(rows_of(gate.state.cache(1))["ticket"]) == TICKETS
    _ = built


def test_a_small_venue_is_paged(node: HubNode, gate: Device) -> None:
    fill(node, 20)
    pull = downloader(gate)
    while pull.step(wait_s=0).more:
        pass
    pull.close()
    assert len(rows_of(gate.state.cache(1))["ticket"]) == 20


def test_a_hub_that_never_finishes_building_is_paged_in_the_end(node: HubNode, gate: Device) -> None:
    fill(node, TICKETS)
    pull = downloader(gate)
    steps = 0
    while pull.step(wait_s=0).more:
        steps += 1
        assert steps < 100
    pull.close()
    assert len(rows_of(gate.state.cache(1))["ticket"]) == TICKETS


def test_a_download_cut_again_and_again_goes_on_where_it_was(gate: Device, built: Built) -> None:
    size = built.manifest.size
    line = Cutting(gate.hub, iter([1, 0, 999, 1000, 1001, size // 3, *[1 << 30] * 3]))
    pull = downloader(gate, hub=line)
    cuts = 0
    while True:
        try:
            if pull.step(wait_s=0).switched:
                break
        except HubUnreachable:
            cuts += 1
            pull.close()
            pull = downloader(gate, hub=line)  # as after kill -9: nothing is known but what is on disk
    pull.close()
    assert cuts == 6
    assert line.starts[:3] == [0, 1, 1]
    assert sorted(line.starts) == line.starts
    assert len(rows_of(gate.state.cache(1))["ticket"]) == TICKETS


def test_a_new_snapshot_at_the_hub_starts_a_download_over(node: HubNode, gate: Device, built: Built) -> None:
    line = Cutting(gate.hub, iter([5000, 1 << 30, 1 << 30]))
    pull = downloader(gate, hub=line)
    with pytest.raises(HubUnreachable):
        pull.step(wait_s=0)
    for seed in (11, 12):
        fill(node, 10, seed=seed)
        build(node)
    assert node.snapshot_file(built.manifest.sha256, scope=SCOPE) is None
    with pytest.raises(HubUnreachable):
        pull.step(wait_s=0)
    assert pull.step(wait_s=0).switched
    pull.close()
    assert line.starts == [5000, 0] or line.starts == [0, 5000, 0]
    assert len(rows_of(gate.state.cache(1))["ticket"]) == TICKETS + 20


def test_a_part_that_rotted_on_disk_is_begun_afresh(gate: Device, built: Built) -> None:
    line = Cutting(gate.hub, iter([9000, *[1 << 30] * 3]))
    pull = downloader(gate, hub=line)
    with pytest.raises(HubUnreachable):
        pull.step(wait_s=0)
    part = gate.state.path / bootstrap.PART
    raw = bytearray(part.read_bytes())
    raw[6000] ^= 1
    part.write_bytes(raw)
    fetch = Bootstrap(
        gate.state, line, hub_key=gate.identity.hub_key, worked=lambda: None, told=lambda event, detail: None
    )
    with pytest.raises(CacheBroken):
        fetch.fetch(wait_s=0)
    assert not part.exists()
    assert isinstance(fetch.fetch(wait_s=0), Fetched)
    pull.close()
    _ = built


def test_a_manifest_of_somebody_else_is_refused(node: HubNode, gate: Device, built: Built) -> None:
    forged = SignedManifest(built.signed.text.replace('"tickets":600', '"tickets":601'), built.signed.signature)

    class Forging(LocalHub):
        def snapshot(self, *, wait_s: float) -> SignedManifest:
            return forged

    pull = downloader(gate, hub=Forging(node, gate.hub.device))
    with pytest.raises(MessageError, match="not signed"):
        pull.step(wait_s=0)
    assert pull.generation is None
    assert not list(gate.state.path.glob("cache-*.db"))


def test_a_disk_without_room_keeps_the_old_generation_and_says_so(gate: Device, built: Built) -> None:
    told: list[tuple[str, str]] = []
    pull = downloader(gate, told=told)
    pull._bootstrap._free_bytes = lambda folder: 1 << 20
    for _ in range(2):
        with pytest.raises(StoreFull, match="MiB free"):
            pull.step(wait_s=0)
    assert [event for event, _ in told] == ["store_full"]
    assert not (gate.state.path / bootstrap.PART).exists()
    pull._bootstrap._free_bytes = lambda folder: 1 << 40
    assert pull.step(wait_s=0).switched
    pull.close()
    _ = built


def _content(built: Built, node: HubNode, tmp_path: Path) -> Path:
    packed = node.snapshot_file(built.manifest.sha256, scope=SCOPE)
    assert packed is not None
    plain = tmp_path / "content.db"
    plain.write_bytes(zstandard.ZstdDecompressor().decompress(packed.read_bytes()))
    return plain


def sql(*statements: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        db = sqlite3.connect(path)
        for statement in statements:
            db.execute(statement)
        db.commit()
        db.close()

    return change


def in_bytes(change: Callable[[bytearray], bytearray]) -> Callable[[Path], None]:
    return lambda path: (path.write_bytes(change(bytearray(path.read_bytes()))), None)[1]


def flipped(raw: bytearray) -> bytearray:
    page = int.from_bytes(raw[16:18], "big")
    raw[page : page + 8] = b"\xff" * 8
    return raw


HOSTILE: dict[str, Callable[[Path], None]] = {
    "another table": sql("CREATE TABLE more (x)"),
    "a trigger": sql("CREATE TRIGGER t AFTER INSERT ON used BEGIN DELETE FROM used; END"),
    "a view": sql("CREATE VIEW v AS SELECT * FROM ticket"),
    "a table that became a view": sql("DROP TABLE used", "CREATE VIEW used AS SELECT 1 AS op"),
    "an index is missing": sql("DROP INDEX used_by_ticket"),
    "a table is missing": sql("DROP TABLE used"),
    "another schema": sql("UPDATE meta SET value = '99' WHERE key = 'schema'"),
    "another cursor": sql("UPDATE meta SET value = 'x' WHERE key = 'cursor'"),
    "a log beside it": sql("PRAGMA journal_mode=WAL"),
    "cut short": in_bytes(lambda raw: raw[:-4096]),
    "no database": in_bytes(lambda raw: bytearray(random.Random(1).randbytes(len(raw)))),
    "empty": in_bytes(lambda raw: bytearray()),
    "a broken page": in_bytes(flipped),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_exactly_a_cache_never_becomes_a_generation(
    name: str, node: HubNode, gate: Device, built: Built, tmp_path: Path
) -> None:
    """Even when the hub's own key has signed for it: a hub may be broken into, or be of another version."""
    content = _content(built, node, tmp_path)
    HOSTILE[name](content)
    told = take_in(content, node, gate, built)
    assert told == ["snapshot_broken"]


def publish(content: Path, node: HubNode, built: Built, **lies: int) -> None:
    """Put `content` on the shelf under the hub's key."""
    assert node.shelf is not None
    raw = content.read_bytes()
    packed = zstandard.ZstdCompressor(level=1).compress(raw)
    manifest = dataclasses.replace(
        built.manifest,
        size=len(packed),
        sha256=hashlib.sha256(packed).hexdigest(),
        content_size=len(raw),
        content_sha256=hashlib.sha256(raw).hexdigest(),
    )
    manifest = dataclasses.replace(manifest, url=snapshot.file_path(manifest.sha256), **lies)
    (node.shelf.room(SCOPE) / snapshots.PACKED).write_bytes(packed)
    node.shelf.publish(manifest, node.key)


def take_in(content: Path, node: HubNode, gate: Device, built: Built, **lies: int) -> list[str]:
    """Publish `content` and let a device try it. What it told; it must have paged instead."""
    publish(content, node, built, **lies)
    told: list[tuple[str, str]] = []
    pull = downloader(gate, told=told)
    while pull.step(wait_s=0).more:
        pass
    pull.close()
    with gate.journal.read() as connection:
        number = granted.generation(connection)
    assert number is not None
    db = sqlite3.connect(gate.state.cache(number))
    names = {row[0] for row in db.execute("SELECT name FROM sqlite_schema")}
    db.close()
    assert names == {row[1] for row in snapshot.expected_schema()}
    assert len(rows_of(gate.state.cache(number))["ticket"]) == TICKETS
    assert not list(gate.state.path.glob("snapshot.*"))
    return [event for event, _ in told]


def test_a_bomb_is_noticed_before_it_fills_the_disk(
    node: HubNode, gate: Device, built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = tmp_path / "bomb"
    with bomb.open("wb") as file:
        file.truncate(300 << 20)  # packs to a few kilobytes
    written: list[int] = []
    real = bootstrap._Intake.feed

    def feed_and_measure(self: bootstrap._Intake, chunk: bytes) -> None:
        try:
            real(self, chunk)
        finally:
            written.append(self._content.tell())

    monkeypatch.setattr(bootstrap._Intake, "feed", feed_and_measure)
    assert take_in(bomb, node, gate, built, content_size=4096) == ["snapshot_broken"]
    assert max(written) <= 4096


def test_the_last_generation_stays_until_the_new_one_has_served_a_day(
    node: HubNode, gate: Device, built: Built
) -> None:
    pull = downloader(gate)
    while pull.step(wait_s=0).more:
        pass
    pull._begin_next()
    while pull.step(wait_s=0).more:
        pass
    assert pull.generation == 2
    assert gate.state.cache(1).exists()
    gate.clock.elapsed_s += 86_000
    pull.step(wait_s=0)
    assert gate.state.cache(1).exists()
    gate.clock.elapsed_s += 500
    pull.step(wait_s=0)
    assert not gate.state.cache(1).exists()
    assert gate.state.cache(2).exists()
    pull.close()
    _ = node, built


def test_a_snapshot_that_the_feed_no_longer_follows_is_not_fetched_for_ever(
    node: HubNode, gate: Device, built: Built
) -> None:
    stale = dataclasses.replace(built.manifest)

    class Forgetful(LocalHub):
        def changes(self, cursor: str | None, *, wait_s: float, rows_max: int):  # type: ignore[no-untyped-def]
            if cursor == stale.cursor:
                from sync.errors import HubRefused

                raise HubRefused("gone", status=410, error="cursor_gone")
            return super().changes(cursor, wait_s=wait_s, rows_max=rows_max)

    pull = downloader(gate, hub=Forgetful(node, gate.hub.device))
    steps = 0
    while pull.step(wait_s=0).more:
        steps += 1
        assert steps < 50
    pull.close()
    assert len(rows_of(gate.state.cache(pull.generation or 0))["ticket"]) == TICKETS


def generation_of(device: Device) -> Cache:
    with device.journal.read() as connection:
        number = granted.generation(connection)
    assert number is not None
    return Cache.open(device.state.cache(number))


def test_a_snapshot_comes_to_what_the_hub_comes_to_from_its_first_moment(
    node: HubNode, gate: Device, kiosk: Device, built: Built
) -> None:
    with node.read() as at_hub:
        expected = balance.at(at_hub)
    for device in (gate, kiosk):
        told: list[tuple[str, str]] = []
        pull = downloader(device, told=told)
        assert pull.step(wait_s=0).switched
        held = generation_of(device)
        with held.engine.begin() as connection:
            assert cache_file.uncounted(connection) == 0
            assert cache_file.checksum(connection) == expected
            assert all(cache_file.recount(connection, part) for part in range(256))
        fill(node, 5, seed=9 + len(device.identity.label))
        while pull.step(wait_s=0).more:
            pass
        with held.engine.begin() as connection, node.read() as at_hub:
            assert cache_file.checksum(connection) == balance.at(at_hub)
        held.close()
        pull.close()
        assert told == []
    _ = built


def test_a_snapshot_that_is_not_what_the_hub_has_heals_by_pages(node: HubNode, gate: Device, built: Built) -> None:
    """Signed by the hub, whole, with sums that fit its rows, and wrong: a use is missing."""
    content = gate.state.path.parent / "content.db"
    packed = node.snapshot_file(built.manifest.sha256, scope=SCOPE)
    assert packed is not None
    content.write_bytes(zstandard.ZstdDecompressor().decompress(packed.read_bytes(), max_output_size=1 << 26))
    lost = Cache.create(content)
    with lost.engine.begin() as connection:
        op = connection.exec_driver_sql("SELECT hex(op) FROM used LIMIT 1").scalar_one()
        cache_file.apply(connection, "used", columns=["op"], rows=[], deletes=[op])
    raw = lost.engine.raw_connection()
    raw.cursor().execute("PRAGMA journal_mode=DELETE")
    raw.close()
    lost.close()
    publish(content, node, built)
    told: list[tuple[str, str]] = []
    pull = downloader(gate, told=told)
    generations = []
    for _ in range(8):
        pull.step(wait_s=0)
        generations.append(pull.generation)
    pull.close()
    assert [event for event, _ in told] == ["diverged"]
    assert (generations[0], generations[-1]) == (1, 2)
    assert len(rows_of(gate.state.cache(1))["used"]) == TICKETS // 5 - 1
    assert len(rows_of(gate.state.cache(2))["used"]) == TICKETS // 5


def test_a_gate_is_given_no_slots_and_no_other_scope_s_file(
    node: HubNode, gate: Device, kiosk: Device, built: Built
) -> None:
    assert node.shelf is not None
    venue = node.shelf.current(node.public, scope="kiosk")
    assert venue is not None
    assert venue.manifest.sha256 != built.manifest.sha256
    assert Cursor.decode(built.manifest.cursor).scope == "gate"
    assert node.snapshot_file(venue.manifest.sha256, scope="gate") is None
    with pytest.raises(HubRefused), gate.hub.snapshot_file(venue.manifest, start=0):
        pass
    with kiosk.hub.snapshot_file(venue.manifest, start=0) as body:
        assert len(b"".join(body.chunks)) == venue.manifest.size
    for manifest, scope, slots in ((built.manifest, "gate", False), (venue.manifest, "kiosk", True)):
        packed = node.snapshot_file(manifest.sha256, scope=scope)
        assert packed is not None
        content = gate.state.path.parent / f"{scope}.db"
        content.write_bytes(zstandard.ZstdDecompressor().decompress(packed.read_bytes(), max_output_size=1 << 26))
        page = snapshot.check_content(content, manifest)
        assert page is not None
        assert ("slot" in {part.table for part in page.tables}) == slots


def test_a_cache_of_the_release_before_is_brought_up_and_counted_by_and_by(gate: Device) -> None:
    path = gate.state.cache(7)
    old = Cache.create(path)
    with old.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE balance")
        connection.exec_driver_sql("ALTER TABLE ticket DROP COLUMN withdrawn")
        connection.exec_driver_sql("ALTER TABLE used DROP COLUMN mode")
        connection.exec_driver_sql("ALTER TABLE used DROP COLUMN arrival")
        connection.exec_driver_sql(
            "INSERT INTO ticket VALUES (x'00112233445566778899', 1, 1, 'valid', 0, 4000000000, 'ja', '000001')"
        )
        connection.exec_driver_sql("UPDATE meta SET value = '1' WHERE key = 'schema'")
    old.close()
    with pytest.raises(CacheBroken):
        Cache.open(path)
    again = Cache.create(path)
    with again.engine.begin() as connection:
        assert cache_file.checksum(connection) is None
        assert cache_file.uncounted(connection) == 512
        assert all(cache_file.recount(connection, part) for part in range(256))
        assert cache_file.checksum(connection) not in (None, 0)
        assert cache_file.find(connection, TicketId(bytes.fromhex("00112233445566778899"))) is not None
        schema = connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'schema'").scalar_one()
    again.close()
    assert schema == str(cache_file.SCHEMA)
