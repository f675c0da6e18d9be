"""The sync daemon and the hub as processes, with a real line between them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from hub import tables
from hub.backup import backup
from hub.database import open_database
from hub.node import HubNode, load_key
from sync import cache as cache_file
from sync import granted
from sync.cache import Cache
from sync.errors import CacheBroken, JournalBroken
from sync.journal import Journal, is_forked, open_journal, operation, set_aside
from sync.service.doorbell import Doorbell, ring
from sync.state import StateDir
from sync.store import open_engine
from tests import hubkit
from tests.flow.sync.conftest import Place
from tests.flow.sync.processes import ROOT, DeviceProcess, HubProcess, until
from tickets.clock import FixedClock, SystemClock
from tickets.ids import TicketId
from tickets.life_cycle import TicketState

pytestmark = pytest.mark.flow


def seller(device: DeviceProcess) -> hubkit.Device:
    """Another process's view of a device: what the kiosk or the gate would append to its journal."""
    clock = FixedClock(SystemClock().now_utc())
    journal = open_journal(device.state, clock=clock, random_bytes=os.urandom)
    return hubkit.Device(device.state, device.identity, journal, None, clock, os.urandom)  # type: ignore[arg-type]


def append(device: DeviceProcess, who: hubkit.Device, *what: Any) -> None:
    who.append(*what)
    ring(device.run_dir / "sync.bell")


def hub_node(hub: HubProcess) -> HubNode:
    """The hub's database, written to by a second process as a command would."""
    key = load_key(hub.key_file, random_bytes=os.urandom)
    return HubNode(open_database(hub.database), key, clock=SystemClock(), random_bytes=os.urandom)


def hub_bodies(node: HubNode, device: bytes) -> list[str]:
    with node.read() as connection:
        query = select(tables.operation.c.body).where(tables.operation.c.device == device)
        return list(connection.scalars(query.order_by(tables.operation.c.incarnation, tables.operation.c.seq)))


def journal_bodies(journal: Journal) -> list[str]:
    with journal.read() as connection:
        return list(connection.scalars(select(operation.c.body).order_by(operation.c.seq)))


def generation(state: StateDir) -> int | None:
    engine = open_engine(state.journal, read_only=True)
    with engine.begin() as connection:
        number = granted.generation(connection)
    engine.dispose()
    return number


def cached(device: DeviceProcess, ticket: str) -> cache_file.CachedTicket | None:
    number = generation(device.state)
    if number is None:
        return None
    try:
        held = Cache.open(device.state.cache(number))
    except CacheBroken:
        return None
    with held.engine.begin() as connection:
        found = cache_file.find(connection, TicketId(bytes.fromhex(ticket)))
    held.close()
    return found


@pytest.mark.parametrize("engine", hubkit.ENGINES)
def test_a_sale_reaches_the_hub_and_the_gate_and_a_cancellation_comes_back(place: Place) -> None:
    """The whole way, timed: push is not held up by the long poll, and a cancellation reaches the cache within a second."""
    kiosk, gate, node = seller(place.kiosk), place.gate, hub_node(place.hub)
    with Doorbell(gate.run_dir / "gate.bell") as bell:
        place.kiosk.start()
        gate.start()
        until(lambda: generation(gate.state) and generation(place.kiosk.state))
        until(lambda: place.kiosk.health().get("age_s") is not None)
        took = []
        for _ in range(5):
            append(place.kiosk, kiosk, kiosk.sale())
            began = time.monotonic()
            ticket = kiosk.sold[-1].ticket
            until(lambda: len(hub_bodies(node, place.kiosk.identity.device)) == len(journal_bodies(kiosk.journal)))
            took.append(time.monotonic() - began)
            until(lambda ticket=ticket: cached(gate, ticket))
        assert sorted(took)[2] < 0.6, f"an upload waited for something: {took}"
        while bell.wait(timeout_s=0.1):
            pass
        node.cancel_ticket(TicketId(bytes.fromhex(ticket)), by="test", reason="test")
        began = time.monotonic()
        until(lambda: cached(gate, ticket).state is TicketState.CANCELLED)  # type: ignore[union-attr]
        assert time.monotonic() - began < 2
        assert bell.wait(timeout_s=2), "the gate was rung"
    health = until(lambda: place.kiosk.health() if place.kiosk.health()["unsent"] == 0 else None)
    assert (health["state"], health["journal"], health["cache_rebuilt"]) == ("ok", "", 0)
    with node.read() as connection:
        said = {row.device: json.loads(row.body) for row in connection.execute(select(tables.telemetry))}
    assert set(said) == {place.kiosk.identity.device, gate.identity.device}
    with kiosk.journal.read() as connection:
        assert len(granted.slot_leases(connection)) == 8 * 16
        assert granted.short_blocks(connection, 6)
    for device in (place.kiosk, gate):
        rss_kb = next(
            line
            for line in Path(f"/proc/{device.process.pid}/status").read_text().splitlines()
            if line.startswith("VmRSS")
        )  # type: ignore[union-attr]
        assert int(rss_kb.split()[1]) <= 80 * 1024
        assert device.stop() == 0


HTML = b"<!doctype html><title>Welcome to Free Wi-Fi</title>"
NONSENSE = {
    "500": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\n\r\nsorry",
    "html": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(HTML), HTML),
    "portal": b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(HTML), HTML),
    "half": b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{"protocol":1,"cursor":"',
    "silence": b"",
    "no http": b"\x15\x03\x01\x00\x02\x02\x16",
}


def test_whatever_the_line_says_nothing_is_lost_and_nothing_falls_over(place: Place) -> None:
    """Cut, 500, a portal's page, half a body, silence, no HTTP at all: one after the other, with a sale in each."""
    kiosk, node = seller(place.kiosk), hub_node(place.hub)
    place.kiosk.start()
    until(lambda: generation(place.kiosk.state))
    place.line.cut()
    append(place.kiosk, kiosk, kiosk.sale())
    until(lambda: place.kiosk.health()["unsent"] == 1)
    for name, answer in NONSENSE.items():
        place.line.mend()
        place.line.answer_with(answer)
        before = place.line.seen
        append(place.kiosk, kiosk, kiosk.sale())
        until(lambda before=before: place.line.seen >= before + 2, why=f"{name}: it did not go on trying")
    assert place.kiosk.process is not None
    assert place.kiosk.process.poll() is None
    assert len(hub_bodies(node, place.kiosk.identity.device)) == 1
    place.line.mend()
    until(lambda: hub_bodies(node, place.kiosk.identity.device) == journal_bodies(kiosk.journal))
    until(lambda: place.kiosk.health()["unsent"] == 0)
    assert "Traceback" not in place.kiosk.log()
    assert place.kiosk.stop() == 0


def test_a_hub_that_is_never_told_enough_is_not_asked_without_end(place: Place) -> None:
    """`unreported` is answered at once the first time, and like any other refusal from then on."""
    kiosk = seller(place.kiosk)
    place.kiosk.start()
    until(lambda: generation(place.kiosk.state))
    body = b'{"protocol":1,"error":"unreported","detail":"say what you hold","known_seq":null}'
    place.line.answer_with(b"HTTP/1.1 409 Conflict\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    append(place.kiosk, kiosk, kiosk.sale())
    before = place.line.seen
    until(lambda: place.line.seen >= before + 2)
    told, began_s = place.line.seen, time.monotonic()
    time.sleep(3.0)  # what is measured is how often it asks
    assert place.line.seen - told < 20 * (time.monotonic() - began_s), "a pause, not a loop"
    place.line.mend()
    until(lambda: kiosk.journal.unsent() == 0)
    assert place.kiosk.stop() == 0


def test_a_hub_that_names_a_time_is_not_asked_sooner_whatever_is_sold(place: Place) -> None:
    kiosk, node = seller(place.kiosk), hub_node(place.hub)
    place.kiosk.start()
    until(lambda: generation(place.kiosk.state))
    body = b'{"protocol":1,"error":"busy","detail":"later","known_seq":null}'
    head = b"HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: %d\r\n\r\n"
    place.line.answer_with(head % len(body) + body)
    before, began_s = place.line.seen, time.monotonic()
    append(place.kiosk, kiosk, kiosk.sale())
    until(lambda: place.line.seen >= before + 2)  # both threads have been told
    told = place.line.seen
    while time.monotonic() < began_s + 2.5:
        append(place.kiosk, kiosk, kiosk.sale())
        time.sleep(0.1)
    assert place.line.seen == told
    place.line.mend()
    until(lambda: hub_bodies(node, place.kiosk.identity.device) == journal_bodies(kiosk.journal))
    assert place.kiosk.stop() == 0


@pytest.mark.parametrize("engine", hubkit.ENGINES)
def test_the_hub_may_be_absent_from_the_first_minute_and_be_killed_at_any_other(place: Place) -> None:
    kiosk = seller(place.kiosk)
    place.hub.stop()
    place.kiosk.start()
    append(place.kiosk, kiosk, kiosk.sale())
    health = until(lambda: place.kiosk.health() if place.kiosk.health().get("unsent") == 2 else None)
    assert health["state"] == "warning"
    assert health["last_contact"] is None
    place.hub.start()
    node = hub_node(place.hub)
    until(lambda: len(hub_bodies(node, place.kiosk.identity.device)) == 2)
    until(lambda: generation(place.kiosk.state))
    place.hub.stop(kill=True)
    append(place.kiosk, kiosk, kiosk.sale(), kiosk.sale())
    place.hub.start()
    until(lambda: hub_bodies(node, place.kiosk.identity.device) == journal_bodies(kiosk.journal))
    until(lambda: place.kiosk.health()["state"] == "ok" and place.kiosk.health()["unsent"] == 0)
    node.revoke(place.kiosk.identity.device)
    health = until(lambda: place.kiosk.health() if place.kiosk.health()["refused"] else None)
    assert (health["state"], health["refused"], health["stops"]) == ("error", "revoked", "sync")
    assert "Traceback" not in place.kiosk.log()


def test_a_cache_cut_in_half_under_the_daemon_is_rebuilt_and_told(place: Place) -> None:
    place.gate.start()
    until(lambda: generation(place.gate.state))
    path = place.gate.state.cache(generation(place.gate.state))  # type: ignore[arg-type]
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    until(lambda: place.gate.health()["cache_rebuilt"] == 1)
    until(lambda: generation(place.gate.state) == 2)
    Cache.open(place.gate.state.cache(2)).close()
    until(lambda: place.gate.health()["state"] == "ok")
    assert "cache_broken" in place.gate.log()


def test_a_broken_journal_is_not_pushed_and_the_one_that_follows_it_is(place: Place) -> None:
    """The chain does not hold: sync says so, keeps the catalogue fresh, sends nothing. Set aside by the gate, the next one is sent."""
    gate, node = seller(place.gate), hub_node(place.hub)
    gate.append(gate.admission("aa" * 10))
    with gate.journal.write() as connection:
        connection.exec_driver_sql("UPDATE operation SET body = replace(body, 'aaaa', 'bbbb') WHERE seq = 2")
    gate.journal.engine.dispose()
    place.gate.start()
    health = until(lambda: place.gate.health() if place.gate.health().get("generation") else None)
    assert (health["state"], health["stops"]) == ("error", "journal")
    assert "does not hold at operation 1.2" in health["journal"]
    assert hub_bodies(node, place.gate.identity.device) == []
    set_aside(place.gate.state)
    fresh = seller(place.gate)
    assert fresh.journal.incarnation == 2
    until(lambda: hub_bodies(node, place.gate.identity.device) == journal_bodies(fresh.journal))
    until(lambda: generation(place.gate.state), why="the new journal was not told which cache to read")
    with fresh.journal.read() as connection:
        assert granted.catalogue(connection) is not None
    until(lambda: place.gate.health()["journal"] == "")
    assert "Traceback" not in place.gate.log()


def test_a_disk_put_back_is_marked_told_and_not_sent_from(place: Place) -> None:
    """Everything on the device came back together, so only the hub can see it; the daemon says it where all its processes look."""
    gate, node = seller(place.gate), hub_node(place.hub)
    gate.append(gate.admission("aa" * 10))
    gate.journal.engine.dispose()
    copy = place.gate.state.path.with_name("copy")
    shutil.copytree(place.gate.state.path, copy)
    gate = seller(place.gate)
    gate.append(gate.admission("bb" * 10))
    place.gate.start()
    until(lambda: len(hub_bodies(node, place.gate.identity.device)) == 3)
    assert place.gate.stop() == 0
    sent = hub_bodies(node, place.gate.identity.device)
    gate.journal.engine.dispose()
    shutil.rmtree(place.gate.state.path)
    copy.rename(place.gate.state.path)
    gate = seller(place.gate)
    gate.append(gate.admission("cc" * 10))
    with Doorbell(place.gate.run_dir / "gate.bell") as bell:
        place.gate.start()
        until(lambda: is_forked(place.gate.state))
        until(lambda: bell.wait(timeout_s=0.1))
    assert "put back" in gate.journal.forked()
    health = until(lambda: place.gate.health() if place.gate.health().get("journal") else None)
    assert (health["state"], health["stops"]) == ("error", "journal")
    assert "put back" in health["journal"]
    with pytest.raises(JournalBroken, match="put back"):
        seller(place.gate)
    set_aside(place.gate.state)
    fresh = seller(place.gate)
    assert fresh.journal.incarnation == 2
    append(place.gate, fresh, fresh.admission("dd" * 10))
    until(lambda: hub_bodies(node, place.gate.identity.device) == [*sent, *journal_bodies(fresh.journal)])
    until(lambda: place.gate.health()["journal"] == "")
    assert "Traceback" not in place.gate.log()


def test_a_settings_file_with_a_wrong_key_is_one_line_and_status_2(tmp_path: Path) -> None:
    file = tmp_path / "sync.json"
    for row, words in (
        ({"state_dir": "s", "run_dir": "r", "wait": 5}, ("unknown key 'wait'", "wait_s")),
        ({"state_dir": "s", "run_dir": "r", "wait_s": 99}, ("wait_s", "0 to 60")),
    ):
        file.write_text(json.dumps(row))
        done = subprocess.run(
            [sys.executable, "-m", "sync", str(file)], cwd=ROOT, capture_output=True, text=True, timeout=20
        )
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert all(word in done.stderr for word in (*words, str(file)))
    file.write_text(json.dumps({"state_dir": str(tmp_path), "run_dir": str(tmp_path / "run")}))
    done = subprocess.run(
        [sys.executable, "-m", "sync", str(file)], cwd=ROOT, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 3
    assert "enrol" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_hub_put_back_from_its_backup_gets_everything_again_from_running_daemons(
    place: Place, tmp_path: Path
) -> None:
    """Backup, further sales, restore: the daemons find out, say what they hold, send again, and begin new caches."""
    kiosk, gate = place.kiosk, place.gate
    kiosk.start()
    gate.start()
    who = seller(kiosk)
    append(kiosk, who, who.sale())
    node = hub_node(place.hub)
    until(lambda: len(hub_bodies(node, kiosk.identity.device)) == 2)
    copy = tmp_path / "backup.db"
    backup(place.hub.database, copy, now=SystemClock().now_utc())
    append(kiosk, who, who.sale(), who.sale())
    until(lambda: len(hub_bodies(node, kiosk.identity.device)) == 4)
    until(lambda: cached(gate, who.sold[-1].ticket) is not None)
    node.engine.dispose()
    place.hub.stop(kill=True)
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"hub.db{suffix}").unlink(missing_ok=True)
    copy.rename(tmp_path / "hub.db")
    first = generation(gate.state)
    place.hub.start()
    node = hub_node(place.hub)
    until(lambda: len(hub_bodies(node, kiosk.identity.device)) == 4, why="the kiosk sent again what was lost")
    until(lambda: generation(gate.state) != first, why="the gate began a new cache")
    until(lambda: all(cached(gate, sold.ticket) is not None for sold in who.sold))
    assert hub_bodies(node, kiosk.identity.device) == journal_bodies(who.journal)
    node.engine.dispose()


def test_a_kiosk_whose_disk_was_put_back_goes_on_by_itself(place: Place) -> None:
    """The whole state directory comes back; hub and daemon are real. The kiosk stands still until the hub has lent it something new."""
    kiosk, node = seller(place.kiosk), hub_node(place.hub)
    place.kiosk.start()
    until(lambda: kiosk.journal.unsent() == 0)
    assert place.kiosk.stop() == 0
    kiosk.journal.engine.dispose()
    copy = place.kiosk.state.path.with_name("copy")
    shutil.copytree(place.kiosk.state.path, copy)
    kiosk = seller(place.kiosk)
    kiosk.append(before := kiosk.sale())
    place.kiosk.start()
    until(lambda: kiosk.journal.unsent() == 0)
    assert place.kiosk.stop() == 0
    kiosk.journal.engine.dispose()
    shutil.rmtree(place.kiosk.state.path)
    copy.rename(place.kiosk.state.path)
    kiosk = seller(place.kiosk)
    kiosk.append(after := kiosk.sale())
    place.kiosk.start()
    until(lambda: kiosk.journal.is_in_place(place.kiosk.state) is False)
    append(place.kiosk, kiosk, last := kiosk.sale())  # by an engine that has had the file open all the while
    assert kiosk.journal.incarnation == 2

    def orders() -> set[str]:
        with node.read() as connection:
            return {order.hex() for order in connection.scalars(select(tables.order.c.order))}

    until(lambda: orders() == {before.order, after.order, last.order})
    until(lambda: kiosk.journal.forked() == "")
    until(lambda: place.kiosk.health().get("began_afresh") == 1)
    assert place.kiosk.health()["state"] == "warning"
    assert "Traceback" not in place.kiosk.log()


def test_after_an_outage_a_device_says_first_what_it_did(place: Place) -> None:
    """Uploads before downloads, operations before telemetry: the requests as they reach the hub."""
    kiosk = seller(place.kiosk)
    place.line.cut()
    kiosk.append(*(kiosk.sale() for _ in range(1_100)))
    place.kiosk.start()
    until(place.kiosk.health)
    place.line.mend()
    until(lambda: kiosk.journal.unsent() == 0, timeout_s=40)
    until(lambda: "/v1/changes" in place.line.asked and "/v1/telemetry" in place.line.asked)
    asked = place.line.asked
    uploads = [number for number, path in enumerate(asked) if path == "/v1/operations"]
    assert len(uploads) >= 3
    others = {path: asked.index(path) for path in ("/v1/changes", "/v1/telemetry", "/v1/lease") if path in asked}
    assert max(uploads) < min(others.values()), asked[:20]


def test_a_report_without_an_answer_delays_no_operation(place: Place) -> None:
    place.line.silent_for = "/v1/telemetry"
    kiosk = seller(place.kiosk)
    place.kiosk.start()
    until(lambda: kiosk.journal.unsent() == 0)
    until(lambda: "/v1/telemetry" in place.line.asked)
    node, sales = hub_node(place.hub), [kiosk.sale() for _ in range(5)]
    for sale in sales:
        append(place.kiosk, kiosk, sale)
        until(lambda: kiosk.journal.unsent() == 0, timeout_s=10)
    assert len(hub_bodies(node, place.kiosk.identity.device)) == 6
    until(lambda: '"not_reported"' in place.kiosk.log())
    assert '"not_reached"' not in place.kiosk.log()
