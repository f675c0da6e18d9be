"""A journal whose chain fails: set aside, told, and the gate goes on without forgetting what it has admitted."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from scanner.gate.errors import JournalDamaged
from scanner.gate.rescue import open_or_set_aside
from sync.errors import JournalBroken
from tests.support.gate_device import KIOSK_KID, STRANGER_KEY, GateDevice, signed
from tests.support.open_gate import OpenGate
from tickets.admission import Reason, VerdictKind


def close(gate: OpenGate) -> None:
    gate.store.close()
    gate.syncing.engine.dispose()
    gate.journal.engine.dispose()


def edit(path: Path, *statements: str) -> None:
    db = sqlite3.connect(path / "journal.db", isolation_level=None)
    for statement in statements:
        db.execute(statement)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def test_a_broken_chain_is_set_aside_and_the_gate_goes_on(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    gate.scan("used before")
    assert gate.show("junk").number == "A 001"
    close(gate)
    edit(tmp_path, "UPDATE operation SET body = replace(body, 'entry', 'exit') WHERE seq = 2")
    gate.again()
    assert gate.set_aside is not None
    assert gate.set_aside.path.name == "journal.001.db"
    assert "1.2" in gate.set_aside.why
    assert gate.set_aside.carried.uses == 1
    assert gate.journal.incarnation == 2
    assert gate.scan("used before").verdict.reason is Reason.ALREADY_USED
    assert gate.scan("new").verdict.kind is VerdictKind.ADMIT
    assert gate.show("junk").number == "A 003"  # numbers go on, so that none is given out twice
    gate.again()
    assert gate.set_aside is None  # once is enough
    gate.journal.verify()


def test_a_damaged_journal_is_no_place_to_learn_keys_from(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    close(gate)
    stranger = STRANGER_KEY.public_key().public_bytes_raw().hex()
    edit(
        tmp_path,
        "DELETE FROM operation",
        "DELETE FROM meta",
        "INSERT INTO meta VALUES ('device', 'another')",
        f"UPDATE granted_key SET public = x'{stranger}' WHERE kid = x'{KIOSK_KID.hex()}'",
    )
    gate.again()
    assert gate.set_aside is not None
    answer = gate.show(signed("t", key=STRANGER_KEY))
    assert (answer.verdict.kind, answer.verdict.reason) == (VerdictKind.ATTENTION, Reason.ISSUER_UNKNOWN)


def test_an_unreadable_file_leaves_a_gate_that_waits_for_its_hub(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    close(gate)
    (tmp_path / "journal.db").write_bytes(os.urandom(40_000))
    gate.again()
    assert gate.set_aside is not None
    assert gate.scan("t").verdict.reason is Reason.NO_ANSWER
    gate.syncing = gate.device.journal()
    gate.device.grant(gate.syncing)
    assert gate.scan("t").verdict.kind is VerdictKind.ADMIT


def test_a_journal_that_turns_unreadable_under_the_gate_is_noticed(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    for number in range(40):
        gate.scan(f"ticket {number}")
    gate.journal.engine.dispose()
    gate.syncing.engine.dispose()
    path = tmp_path / "journal.db"
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(JournalDamaged):
        gate.scan("t")


def test_a_busy_disk_is_no_reason_to_give_a_journal_up(tmp_path: Path) -> None:
    device = GateDevice(tmp_path)
    device.journal().engine.dispose()
    (tmp_path / "journal.db").unlink()
    for name in ("journal.db-wal", "journal.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "journal.db").mkdir()  # SQLITE_CANTOPEN
    with pytest.raises(JournalBroken):
        open_or_set_aside(device.state, clock=device.clock, random_bytes=device.random_bytes)
    assert not list(tmp_path.glob("journal.0*"))
