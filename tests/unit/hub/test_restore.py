"""A hub put back from its backup, on both engines and by their real tools: noticed by itself, nothing doubles, nothing is handed out twice."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from hub import tables, witness
from hub.backup import backup
from hub.database import open_database
from hub.errors import HubError, NotFound
from hub.node import HubNode
from hub.services import feed, reign, restore, stock
from sync import arbiter, granted
from sync.afresh import begin_afresh
from sync.download import Downloader
from sync.errors import HubRefused
from sync.journal import operation
from sync.leasing import LeaseKeeper
from sync.operation import Incarnation
from sync.protocol import HUB, LeaseRequest, SlotWish, Telemetry
from sync.rejoin import holdings, rejoin
from sync.state import Role
from sync.upload import Uploader
from tests import hubkit
from tests.hubkit import Device, open_some_slots
from tests.support import postgres
from tickets.admission import Denied, Granted, Reason


def back_up(node: HubNode, folder: Path) -> Path:
    """With the tool that docs/operations/backup.md names for the engine."""
    url = node.engine.url
    if node.engine.dialect.name == "sqlite":
        copy = folder / "backup.db"
        backup(f"sqlite:///{folder / 'hub.db'}", copy, now=node.clock.now_utc())
        return copy
    copy = folder / "backup.dump"
    plain = postgres.server().plain(str(url.database))
    _run("pg_dump", "--format=custom", "--file", str(copy), plain)
    return copy


def put_back(node: HubNode, copy: Path, folder: Path) -> HubNode:
    """The hub on what the backup held, its key kept."""
    node.engine.dispose()
    if node.engine.dialect.name == "sqlite":
        back = folder / "restored.db"
        shutil.copy(copy, back)
        url = f"sqlite:///{back}"
    else:
        name = postgres.server().fresh(template="template0")
        _run("pg_restore", "--exit-on-error", "--no-owner", "--dbname", postgres.server().plain(name), str(copy))
        url = postgres.server().url(name)
    return HubNode(open_database(url), node.key, clock=node.clock, random_bytes=hubkit.seeded(77))


def _run(program: str, *arguments: str) -> None:
    done = subprocess.run([postgres.program(program), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def push(device: Device) -> None:
    uploader = Uploader(device.journal, device.state, device.hub, clock=device.clock)
    while uploader.step().operations:
        pass


def pull(device: Device) -> list[str]:
    told: list[str] = []
    downloader = Downloader(
        device.journal,
        device.state,
        device.identity,
        device.hub,
        clock=device.clock,
        told=lambda event, _: told.append(event),
    )
    downloader.open()
    while downloader.step(wait_s=0).more:
        pass
    downloader.close()
    return told


def keep(device: Device) -> LeaseKeeper:
    return LeaseKeeper(device.journal, device.hub, clock=device.clock)


def counts(node: HubNode) -> dict[str, int]:
    names = ("operation", "sales_order", "ticket", "payment", "used")
    with node.read() as connection:
        return {
            name: connection.execute(select(func.count()).select_from(tables.metadata.tables[name])).scalar_one()
            for name in names
        }


@pytest.fixture
def other(node: HubNode, tmp_path: Path, clock: hubkit.FixedClock) -> Device:
    return hubkit.make_device(node, tmp_path, role=Role.KIOSK, label="K3", clock=clock, random_bytes=hubkit.seeded(5))


def test_a_restored_hub_is_told_what_it_lost_and_hands_out_nothing_twice(
    node: HubNode, kiosk: Device, other: Device, gate: Device, tmp_path: Path
) -> None:
    open_some_slots(node, capacity=15)
    kiosk.append(kiosk.sale())
    for device in (kiosk, other, gate):
        push(device)
        pull(device)
    copy = back_up(node, tmp_path)

    keep(kiosk).step()  # 10 of 15 of each slot, and short ids, after the backup
    slot = next(iter(granted_slots(kiosk)))
    kiosk.append(kiosk.sale(slot=slot), kiosk.sale())
    push(kiosk)
    gate.append(gate.admission(kiosk.sold[0].ticket))
    push(gate)
    pull(gate)
    pull(kiosk)
    before, blocks = counts(node), short_blocks(kiosk)

    restored = put_back(node, copy, tmp_path)
    assert restored.restored is not None, "it notices by itself"
    assert counts(restored) != before
    for device in (kiosk, other, gate):
        device.hub.node = restored

    for device in (kiosk, other):  # nobody is lent anything, and each has to say first what it holds
        with pytest.raises(HubRefused) as caught:
            device.hub.lease(
                LeaseRequest(device.journal.incarnation, slots=(SlotWish(slot, more=10),), blocks=((6, 1),))
            )
        assert caught.value.error == "unreported"
    with pytest.raises(HubRefused):
        gate.hub.telemetry(Telemetry(at=gate.clock.now_utc(), software="x", unsent=0))
    assert rejoin(other.journal, other.hub) == 0
    waiting = other.hub.lease(
        LeaseRequest(other.journal.incarnation, slots=(SlotWish(slot, more=10),), blocks=((6, 1), (8, 1)))
    )
    assert [grant.quantity for grant in waiting.slots] == [0], "K2 has not said yet what it holds"
    assert waiting.blocks == ()
    with restored.read() as connection:
        assert restore.awaited(connection) == ("K2",)

    assert rejoin(kiosk.journal, kiosk.hub) == 2
    assert rejoin(gate.journal, gate.hub) == 1
    assert rejoin(kiosk.journal, kiosk.hub) == 0, "and again it is nothing new"
    assert counts(restored) == before
    for device in (kiosk, other, gate):
        assert "feed_gone" in pull(device)
        assert pull(device) == []

    lent = other.hub.lease(
        LeaseRequest(other.journal.incarnation, slots=(SlotWish(slot, more=10),), blocks=((6, 1), (8, 1)))
    )
    assert [grant.quantity for grant in lent.slots] == [5], "15 less the 10 that were lent after the backup"
    for block in lent.blocks:
        numbers = range(block.first, block.last + 1)
        assert not any(set(numbers) & set(mine) for mine in blocks[block.length]), "numbers that K2 has already"
    keep(kiosk).step()
    assert short_blocks(kiosk) == blocks
    with restored.read() as connection:
        row = connection.execute(select(tables.slot).where(tables.slot.c.slot == slot)).one()
        assert (row.leased, row.sold, row.free, row.capacity) == (14, 1, 0, 15)
        said = connection.scalars(select(tables.trouble.c.detail).where(tables.trouble.c.kind == "restored")).all()
    assert any("operations 1.3 to 4 were lost here" in line for line in said), said
    restored.engine.dispose()


def granted_slots(device: Device) -> list[str]:
    with device.journal.read() as connection:
        return [held.slot.slot for held in granted.slot_leases(connection)]


def short_blocks(device: Device) -> dict[int, tuple[range, ...]]:
    with device.journal.read() as connection:
        return {length: granted.short_blocks(connection, length) for length in (6, 8)}


def test_a_restored_arbiter_confirms_nothing_until_its_gates_are_back_and_then_in_an_epoch_of_its_own(
    node: HubNode, kiosk: Device, gate: Device, tmp_path: Path
) -> None:
    gate2 = hubkit.make_device(
        node, tmp_path, role=Role.GATE, label="B", clock=gate.clock, random_bytes=hubkit.seeded(9)
    )
    kiosk.append(kiosk.sale())
    for device in (kiosk, gate, gate2):
        push(device)
        pull(device)
    copy = back_up(node, tmp_path)
    ticket = kiosk.sold[0].ticket
    confirmed = gate.claim(ticket)
    assert isinstance(gate.hub.claim(confirmed, deadline_s=1), Granted)
    gate.append(gate.admission(ticket, op=confirmed.op, epoch=1))
    push(gate)

    restored = put_back(node, copy, tmp_path)
    for device in (kiosk, gate, gate2):
        device.hub.node = restored

    def refused(epoch: int) -> None:
        assert not restored.reign().rules, "so a gate's line counts as down, and it falls to its policy at once"
        with pytest.raises(HubRefused) as caught:
            gate2.hub.claim(dataclasses.replace(gate2.claim(ticket), epoch=epoch), deadline_s=1)
        assert caught.value.error == "epoch"

    refused(1)
    rejoin(kiosk.journal, kiosk.hub)
    rejoin(gate2.journal, gate2.hub)
    with restored.read() as connection:
        assert reign.awaited(connection) == (gate.identity.label,)
    refused(1)
    assert gate.hub.rejoin(holdings(gate.journal)) < gate.journal.acknowledged_seq()
    refused(1)  # it has said so, and what it let in is still to come
    rejoin(gate.journal, gate.hub)
    assert restored.reign() == reign.Reign(2, rules=True)
    with pytest.raises(HubRefused):
        gate2.hub.claim(gate2.claim(ticket), deadline_s=1)
    again = gate2.hub.claim(dataclasses.replace(gate2.claim(ticket), epoch=2), deadline_s=1)
    assert isinstance(again, Denied)
    assert again.reason is Reason.ALREADY_USED
    with restored.read() as connection:
        assert reign.record(connection)[0].by == reign.RESTORED
    restored.engine.dispose()


def test_a_restored_hub_learns_of_the_reigns_it_lost_and_believes_none_that_it_did_not_sign(
    node: HubNode, kiosk: Device, gate: Device, tmp_path: Path
) -> None:
    venue = hubkit.make_device(
        node, tmp_path, role=Role.VENUE, label="N1", clock=gate.clock, random_bytes=hubkit.seeded(9)
    )
    for device in (kiosk, gate):
        pull(device)
    copy = back_up(node, tmp_path)
    node.hand_over(None, urls=[], by="Sato")
    node.hand_over(None, urls=[], by="Sato")
    pull(gate)
    node.hand_over(venue.identity.device, urls=["http://node:1"], by="Sato")
    pull(kiosk)

    restored = put_back(node, copy, tmp_path)
    for device in (kiosk, gate):
        device.hub.node = restored
    forged = holdings(kiosk.journal)
    other_key = hubkit.Ed25519PrivateKey.from_private_bytes(bytes(32))
    named = arbiter.Arbiter(arbiter.EPOCH_MAX, None, (), None, gate.clock.now_utc())
    kiosk.hub.rejoin(dataclasses.replace(forged, arbiter=arbiter.signed(named, other_key)))
    kiosk.hub.rejoin(dataclasses.replace(forged, arbiter="nonsense"))
    assert restored.reign() == reign.Reign(1, rules=False)
    rejoin(gate.journal, gate.hub)
    assert restored.reign() == reign.Reign(4, rules=True), "above the third, which the gate knew"
    rejoin(kiosk.journal, kiosk.hub)  # the fourth was the node's: a number given twice counts for neither
    assert restored.reign() == reign.Reign(5, rules=True)
    rejoin(kiosk.journal, kiosk.hub)
    assert restored.reign() == reign.Reign(5, rules=True), "and once"
    restored.begin_again("another time")
    restored.give_up_on(gate.identity.label, by="Sato")
    assert restored.reign() == reign.Reign(6, rules=True)
    restored.begin_again("and another")
    assert not restored.reign().rules
    restored.revoke(gate.identity.device)
    assert restored.reign() == reign.Reign(7, rules=True)
    restored.engine.dispose()


def test_every_incarnation_of_a_kiosk_comes_back_and_its_leases_with_it(
    node: HubNode, kiosk: Device, other: Device, tmp_path: Path
) -> None:
    open_some_slots(node, capacity=10)
    kiosk.append(kiosk.sale())
    for device in (kiosk, other):
        push(device)
        pull(device)
    copy = back_up(node, tmp_path)
    keep(kiosk).step()
    slot = next(iter(granted_slots(kiosk)))
    kiosk.append(*[kiosk.sale(slot=slot) for _ in range(6)])
    push(kiosk)
    kiosk.journal.mark_forked("a disk was put back")
    assert begin_afresh(kiosk.state, kiosk.journal, clock=kiosk.clock, random_bytes=kiosk.random_bytes)
    kiosk.append(kiosk.sale())
    push(kiosk)
    keep(kiosk).step()
    before = counts(node)
    with node.read() as connection:
        stood = stock.story(connection, slot).stand

    restored = put_back(node, copy, tmp_path)
    for device in (kiosk, other):
        device.hub.node = restored
    assert counts(restored) != before
    rejoin(other.journal, other.hub)
    earlier = dataclasses.replace(holdings(kiosk.journal, incarnation=1), whole=False)
    kiosk.hub.rejoin(earlier)
    with restored.read() as connection:
        assert restore.awaited(connection) == ("K2",), "the first word is not all"
    assert rejoin(kiosk.journal, kiosk.hub) == 8
    assert counts(restored) == before
    with restored.read() as connection:
        assert restore.awaited(connection) == ()
        assert stock.story(connection, slot).stand == stood
    assert (stood.sold, stood.leased + stood.free) == (6, 4)
    assert rejoin(kiosk.journal, kiosk.hub) == 0
    restored.engine.dispose()


@pytest.mark.parametrize("by_upload", [True, False])
def test_a_kiosk_that_has_deleted_what_the_hub_lost_goes_on_and_names_the_hole(
    node: HubNode, kiosk: Device, tmp_path: Path, by_upload: bool
) -> None:
    kiosk.append(kiosk.sale())
    push(kiosk)
    copy = back_up(node, tmp_path)
    for _ in range(3):
        kiosk.append(kiosk.sale())
        push(kiosk)
    with kiosk.journal.write() as connection:  # as on a disk that is nearly full
        connection.execute(operation.delete().where(operation.c.seq == 3))
    kiosk.append(kiosk.sale())
    restored = put_back(node, copy, tmp_path)
    kiosk.hub.node = restored
    with pytest.raises(HubRefused) as caught:
        push(kiosk) if by_upload else rejoin(kiosk.journal, kiosk.hub)
    assert caught.value.error == "chain_gap"
    assert begin_afresh(kiosk.state, kiosk.journal, clock=kiosk.clock, random_bytes=kiosk.random_bytes)
    kiosk.append(kiosk.sale())
    rejoin(kiosk.journal, kiosk.hub)
    push(kiosk)
    assert kiosk.journal.unsent() == 0
    assert rejoin(kiosk.journal, kiosk.hub) == 0
    kiosk.journal.verify()
    assert counts(restored)["sales_order"] == 5, "six were sold, and one is nowhere any more"
    with restored.read() as connection:
        assert restore.awaited(connection) == ()
        births = connection.scalars(
            select(tables.operation.c.body).where(tables.operation.c.kind == Incarnation.KIND)
        ).all()
    assert any('"reason":"hole"' in body.replace(" ", "") for body in births), births
    restored.engine.dispose()


def test_a_kiosk_that_will_never_report_is_given_up_by_name_or_by_revoking_it(
    node: HubNode, kiosk: Device, other: Device
) -> None:
    open_some_slots(node)
    node.begin_again("a test")
    now = node.clock.now_utc()
    rejoin(other.journal, other.hub)
    with node.write() as connection:
        with pytest.raises(NotFound):
            restore.give_up_on(connection, "K9", by="Sato", now=now)
        assert restore.awaited(connection) == ("K2",)
    node.revoke(kiosk.identity.device)
    with node.write() as connection:
        assert restore.awaited(connection) == ()
    node.begin_again("another")
    with node.write() as connection:
        restore.give_up_on(connection, "K3", by="Sato", now=now)
        assert restore.awaited(connection) == ()
        details = connection.scalars(select(tables.trouble.c.detail)).all()
    assert any(line.startswith("Sato no longer waits") for line in details)


def test_more_lent_than_there_is_is_told(node: HubNode, kiosk: Device) -> None:
    open_some_slots(node, capacity=20)
    pull(kiosk)
    keep(kiosk).step()
    held = holdings(kiosk.journal)
    kiosk.hub.rejoin(
        dataclasses.replace(held, slots=tuple(dataclasses.replace(said, lent={HUB: 25}) for said in held.slots))
    )
    with node.read() as connection:
        assert "oversold" in connection.scalars(select(tables.trouble.c.kind)).all()


def test_the_witness_notices_a_file_that_was_simply_copied_back(tmp_path: Path, clock: hubkit.FixedClock) -> None:
    """No backup command, no mark: somebody kept hub.db and put it back."""
    key_file = tmp_path / "hub.db.key"
    url = hubkit.fresh_database(tmp_path)

    def opened() -> HubNode:
        node = HubNode(open_database(url), hubkit_key(), clock=clock, random_bytes=os.urandom)
        witness.watch(node, key_file)
        return node

    node = opened()
    assert node.restored is None
    node.engine.dispose()
    node = opened()
    assert node.restored is None, "a restart is no restore"
    node.engine.dispose()
    shutil.copy(tmp_path / "hub.db", tmp_path / "kept.db")
    node = opened()
    with node.write() as connection:
        feed.touch(connection, "ticket", [b"1234567890"])
        first = feed.epoch(connection)
    witness.keep(node)
    node.engine.dispose()
    shutil.copy(tmp_path / "kept.db", tmp_path / "hub.db")
    back = opened()
    assert back.restored == "this database is older than what this hub served last"
    with back.read() as connection:
        assert feed.epoch(connection) != first
    back.engine.dispose()
    for content in (None, "nonsense"):  # told in the log, and the other signs remain
        if content is not None:
            (tmp_path / "hub.db.key.witness").write_text(content)
        node = opened()
        assert node.restored is None
        node.engine.dispose()


def hubkit_key() -> hubkit.Ed25519PrivateKey:
    return hubkit.Ed25519PrivateKey.from_private_bytes(hubkit.seeded(1)(32))


def test_a_backup_is_whole_or_not_there(tmp_path: Path, clock: hubkit.FixedClock) -> None:
    node = hubkit.make_node(tmp_path, clock=clock, random_bytes=hubkit.seeded(1))
    url, copy = f"sqlite:///{tmp_path / 'hub.db'}", tmp_path / "copy.db"
    with node.write() as connection:  # a writer is at work meanwhile
        feed.touch(connection, "ticket", [b"x" * 10])
        assert backup(url, copy, now=clock.now_utc()) == copy.stat().st_size
    assert copy.stat().st_mode & 0o777 == 0o600, "it holds sales"
    with sqlite3.connect(copy) as held:
        assert held.execute("SELECT value FROM meta WHERE key = 'backup_copy'").fetchone()
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: backup(url, copy, now=clock.now_utc()), "is there already"),
        (lambda: backup(url, tmp_path / "no" / "where.db", now=clock.now_utc()), "could not be made"),
        (lambda: backup(f"sqlite:///{tmp_path / 'none.db'}", tmp_path / "a", now=clock.now_utc()), "no such file"),
        (lambda: backup("postgresql+psycopg://u:secret@h/d", tmp_path / "a", now=clock.now_utc()), "pg_dump"),
    ]
    for call, words in wrong:
        with pytest.raises(HubError, match=words) as caught:
            call()
        assert "secret" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir() if "copy" in path.name) == ["copy.db"]
    node.engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://hub:hush-hush@127.0.0.1:1/none",
        "postgresql://hub:hush-hush@127.0.0.1:1/none",
        "postgresql+psycopg://hub:hush-hush@127.0.0.1:no/none",
        "mysql://hub:hush-hush@127.0.0.1/none",
    ],
)
def test_no_error_shows_a_password(url: str) -> None:
    with pytest.raises(HubError) as caught:
        open_database(url)
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)
