"""The gate as a process of its own, with a reader and a screen on its real sockets."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scanner.view import GateView, Key, KeyPress, ViewKind
from sync.service.doorbell import ring
from sync.service.health import State
from tests.support.gate_device import ROOT, STRANGER_KEY, cache_ticket, signed
from tests.support.gate_process import PATIENCE_S, GateProcess, now_day
from tickets.admission import Reason, VerdictKind

pytestmark = pytest.mark.flow


def today(seed: str, **ticket: Any) -> str:
    not_before, expires = now_day()
    return signed(seed, **{"not_before": not_before, "expires": expires, **ticket})


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[GateProcess]:
    made = GateProcess(tmp_path)
    yield made
    made.close()


def test_the_story_at_a_gate(gate: GateProcess) -> None:
    cache_ticket(gate.feed, "cancelled", state="cancelled")
    gate.start()
    screen, reader = gate.screen(), gate.reader()
    ready = screen.next(ViewKind.READY)
    assert (ready.gate, ready.unsent, ready.admitted_today) == ("ゲート A", 1, 0)
    assert ready.data_age_s is not None
    assert 25 < ready.data_age_s < 60

    def shown(text: str) -> GateView:
        reader.show(text)
        return screen.next()

    for seed in ("adult 1", "adult 2", "child"):
        assert shown(today(seed)).verdict is VerdictKind.ADMIT
        assert gate.sync_bell.wait(timeout_s=10)
    second = shown(today("adult 1"))
    assert (second.reason, second.number) == (Reason.ALREADY_USED, "A 001")
    assert second.when_label.endswith("ゲート A")
    assert second.when
    assert shown(today("cancelled")).reason is Reason.CANCELLED
    assert shown(today("forged", key=STRANGER_KEY)).reason is Reason.FORGED
    assert shown("https://example.org/").reason is Reason.UNKNOWN
    assert shown("T1:" + "A" * 4000).reason is Reason.UNKNOWN
    asked = shown(today("group", variant=50, uses=4))
    assert (asked.verdict, asked.choose_max) == (VerdictKind.CHOOSE, 4)
    screen.press(KeyPress(Key.CHOOSE, asked.id, 2))
    admitted = screen.next()
    assert (admitted.verdict, admitted.count, admitted.left) == (VerdictKind.ADMIT, 2, 2)
    screen.press(KeyPress(Key.UNDO, admitted.id))
    after = screen.next(ViewKind.READY)
    while after.unsent != 11:  # ready views of before the key may still be on their way
        after = screen.next(ViewKind.READY)
    assert after.admitted_today == 3
    assert [line.verdict for line in after.recent][-2:] == [VerdictKind.ADMIT] * 2
    screen.close()
    again = gate.screen()
    assert again.next(ViewKind.READY).admitted_today == 3
    assert gate.stop() == 0
    journal = gate.device.journal()  # verifies
    with journal.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM pending WHERE chained = 0").scalar_one() == 0
        kinds = connection.exec_driver_sql("SELECT kind, count(*) FROM operation GROUP BY kind").all()
    assert {row[0]: row[1] for row in kinds} == {"incarnation": 1, "admission": 4, "refusal": 5, "release": 1}
    assert not (gate.run_dir / "gate.sock").exists()
    assert "T1:" not in json.dumps(gate.said())  # no ticket code in a log


def test_what_is_no_read_is_passed_over(gate: GateProcess) -> None:
    gate.start()
    screen, reader, other = gate.screen(), gate.reader(), gate.reader()
    for packet in (b"\xff\x00" * 100, b"{}", b"[" * 5000, b'{"text": 1}', b"x" * 70_000):
        reader.socket.send(packet)
    screen.socket.send(b"not a key")
    screen.press(KeyPress(Key.UNDO, "nobody's view"))
    reader.show(today("gone"), at=datetime.now(UTC) - timedelta(minutes=1))  # the guest has walked on
    other.show(today("t"))
    assert screen.next().verdict is VerdictKind.ADMIT
    reader.show(today("gone"))
    assert screen.next().verdict is VerdictKind.ADMIT
    refused = [line["event"] for line in gate.said()]
    assert refused.count("packet_refused") == 6
    assert refused.count("read_too_old") == 1


def test_a_broken_journal_is_set_aside_told_everywhere_and_the_gate_goes_on(gate: GateProcess) -> None:
    gate.start()
    screen, reader = gate.screen(), gate.reader()
    reader.show(today("before"))
    assert screen.next().verdict is VerdictKind.ADMIT
    assert gate.stop() == 0
    db = sqlite3.connect(gate.device.path / "journal.db", isolation_level=None)
    db.execute("UPDATE operation SET hash = zeroblob(32) WHERE seq = 2")
    db.close()
    gate.start()
    screen, reader = gate.screen(), gate.reader()
    assert screen.next(ViewKind.READY).note
    reader.show(today("before"))
    assert screen.next().reason is Reason.ALREADY_USED
    reader.show(today("after"))
    assert screen.next().verdict is VerdictKind.ADMIT
    assert any(line["event"] == "journal_set_aside" for line in gate.said())
    health = gate.health()
    assert (health.state, health.facts["journal_set_aside"]) == (State.WARNING, "journal.001.db")
    assert health.facts["incarnation"] == 2


def test_a_journal_that_the_hub_contradicts_is_set_aside_while_the_gate_runs(gate: GateProcess) -> None:
    gate.start()
    screen, reader = gate.screen(), gate.reader()
    reader.show(today("before"))
    assert screen.next().verdict is VerdictKind.ADMIT
    while not screen.next(ViewKind.READY).unsent:  # the light comes before the chain
        pass
    syncing = gate.device.journal()
    assert syncing.mark_forked("the hub says so")
    ring(gate.run_dir / "gate.bell")
    while not screen.next(ViewKind.READY).note:
        pass
    assert gate.device.state.incarnation() == 2
    reader.show(today("before"))
    assert screen.next().reason is Reason.ALREADY_USED
    reader.show(today("after"))
    assert screen.next().verdict is VerdictKind.ADMIT
    assert gate.stop() == 0
    journal = gate.device.journal()
    with journal.read() as connection:
        kinds = connection.exec_driver_sql("SELECT kind FROM operation ORDER BY seq").scalars().all()
    assert kinds == ["incarnation", "admission", "refusal", "admission"]  # the first of them came along


def test_a_journal_destroyed_under_the_gate_costs_one_scan_nothing(gate: GateProcess) -> None:
    gate.start()
    screen, reader = gate.screen(), gate.reader()
    for number in range(60):
        reader.show(today(f"ticket {number}"))
        assert screen.next().verdict is VerdictKind.ADMIT
    with (gate.device.path / "journal.db-wal").open("r+b") as log:
        log.truncate(0)
    path = gate.device.path / "journal.db"
    with path.open("r+b") as file:
        file.seek(0)
        file.write(b"\xff" * path.stat().st_size)
    reader.show(today("next"))
    view = screen.next()  # whatever it says, it is said, and the gate lives
    assert view.verdict in (VerdictKind.ADMIT, VerdictKind.REFUSE)
    assert gate.process is not None
    assert gate.process.poll() is None


def test_a_cache_cut_in_half_is_told(gate: GateProcess) -> None:
    for number in range(400):
        cache_ticket(gate.feed, f"ticket {number}")
    gate.feed.close()
    with sqlite3.connect(gate.device.path / "cache-1.db") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    path = gate.device.path / "cache-1.db"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    gate.start()
    screen, reader = gate.screen(), gate.reader()
    reader.show(today("ticket 3"))
    assert screen.next().verdict is VerdictKind.ADMIT
    health = gate.health()
    assert health.state is State.WARNING
    assert health.facts["cache"] not in ("ok", "none")


def test_a_cache_cut_in_half_under_a_running_gate_costs_nobody_their_entry(gate: GateProcess) -> None:
    """Codes go on opening the gate, what was used here stays used, health tells it, and the next generation heals it."""
    not_before, expires = now_day()
    for number in range(400):
        cache_ticket(gate.feed, f"ticket {number}", not_before=not_before, expires=expires)
    cache_ticket(gate.feed, "cancelled", state="cancelled")
    gate.feed.close()
    path = gate.device.path / "cache-1.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    gate.start()
    screen, reader = gate.screen(), gate.reader()

    def shown(seed: str) -> GateView:
        reader.show(today(seed))
        return screen.next()

    assert shown("ticket 1").verdict is VerdictKind.ADMIT
    assert shown("cancelled").reason is Reason.CANCELLED
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    for number in range(2, 20):
        assert shown(f"ticket {number}").verdict is VerdictKind.ADMIT
    assert shown("ticket 1").reason is Reason.ALREADY_USED
    wait_until(lambda: gate.health().state is State.WARNING, "health does not tell it")
    assert gate.health().facts["cache"] not in ("ok", "none")
    gate.feed = gate.device.cache(2)  # as sync does when it has been told
    cache_ticket(gate.feed, "cancelled late", state="cancelled")
    journal = gate.device.journal()
    gate.device.grant(journal, generation=2, at=datetime.now(UTC))
    journal.engine.dispose()
    ring(gate.run_dir / "gate.bell")
    wait_until(lambda: gate.health().facts["cache"] == "ok", "the new generation was not taken")
    assert shown("cancelled late").reason is Reason.CANCELLED
    assert shown("ticket 1").reason is Reason.ALREADY_USED
    assert "Traceback" not in gate.log_text()


def wait_until(so: Callable[[], bool], why: str) -> None:
    ends_s = time.monotonic() + PATIENCE_S
    while not so():
        assert time.monotonic() < ends_s, why
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gaet": "A"}, "unknown key 'gaet'; allowed: "),
        ({"direction": "up"}, "key 'direction': 'up' is not one of: entry, exit"),
        ({"language": "fr"}, "'fr' is not one of: ja, en"),
        ({"arbiter_deadline_ms": 0}, "1 to 5000 is allowed"),
    ],
)
def test_wrong_settings_are_one_line(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    file = tmp_path / "gate.json"
    file.write_text(json.dumps({"state_dir": str(tmp_path), "run_dir": str(tmp_path), **change}), encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "scanner.gate", str(file)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert str(file) in done.stderr
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_before_enrolment_the_gate_says_so_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "gate.json"
    file.write_text(json.dumps({"state_dir": str(tmp_path), "run_dir": str(tmp_path)}), encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "scanner.gate", str(file)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "enrol this device first" in json.loads(done.stderr)["why"]
