"""`kaisatsu gate check`: words, statuses and one-line errors are a contract."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from scanner.gate.check import main
from sync.state import Role
from tests.support.gate_device import ROOT, STRANGER_KEY, GateDevice, cache_ticket, signed
from tickets.ids import Kid

AT = "2026-11-23T12:00:00+09:00"


@pytest.fixture(autouse=True)
def _logs_of_this_test_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The command sets up logging for its whole process; here the next test has another standard error."""

    def configure(daemon: str) -> None:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr), cache_logger_on_first_use=False)

    monkeypatch.setattr("scanner.gate.check.log.configure", configure)
    yield
    structlog.reset_defaults()


@pytest.fixture
def device(tmp_path: Path) -> GateDevice:
    made = GateDevice(tmp_path / "state")
    journal = made.journal()
    made.grant(journal)
    journal.engine.dispose()
    feed = made.cache()
    cache_ticket(feed, "cancelled", state="cancelled")
    cache_ticket(feed, "typed", short_id="123456")
    feed.close()
    return made


def run(capsys: pytest.CaptureFixture[str], device: GateDevice, *arguments: str) -> tuple[int, dict[str, Any], str]:
    status = main([*arguments, "--state", str(device.path)])
    out, err = capsys.readouterr()
    return status, json.loads(out) if out else {}, err


def test_admitted_once(capsys: pytest.CaptureFixture[str], device: GateDevice) -> None:
    status, said, err = run(capsys, device, signed("t"), "--at", AT)
    assert (status, said["verdict"], said["reason"], said["uses_left"], err) == (0, "admit", None, 0, "")
    status, said, _ = run(capsys, device, signed("t"), "--at", AT)
    assert (status, said["verdict"], said["reason"], said["uses_left"]) == (3, "refuse", "already_used", 0)
    assert said["first"] == {"at": "2026-11-23T03:00:00+00:00", "gate": "A"}
    assert said["number"] == "A 001"


@pytest.mark.parametrize(
    ("text", "options", "status", "verdict", "reason"),
    [
        (signed("cancelled"), [], 3, "refuse", "cancelled"),
        (signed("t", key=STRANGER_KEY), [], 3, "refuse", "forged"),
        (signed("t", key=STRANGER_KEY, kid=Kid(b"NEW1")), [], 0, "attention", "issuer_unknown"),
        (signed("t"), ["--gate", "shop"], 3, "refuse", "wrong_gate"),
        (signed("t"), ["--at", "2026-11-25"], 3, "refuse", "not_today"),
        (signed("t"), ["--exit"], 3, "refuse", "not_inside"),
        (signed("t", variant=50, uses=4), [], 4, "choose", None),
        (signed("t", variant=50, uses=4), ["--count", "3"], 0, "admit", None),
        (signed("t", variant=60), [], 3, "refuse", "no_answer"),
        ("123 456", [], 0, "attention", "proof"),
        ("999999", [], 3, "refuse", "unknown"),
        ("T1:" + "A" * 3997, [], 3, "refuse", "unknown"),
        (signed("t")[:90], [], 3, "refuse", "unknown"),
        ("\x01\udcff binary", [], 3, "refuse", "unknown"),
    ],
)
def test_each_verdict_has_its_status(
    capsys: pytest.CaptureFixture[str],
    device: GateDevice,
    text: str,
    options: list[str],
    status: int,
    verdict: str,
    reason: str | None,
) -> None:
    at = [] if "--at" in options else ["--at", AT]
    for dry in (["--dry-run"], []):
        got, said, _ = run(capsys, device, text, *options, *at, *dry)
        assert (got, said["verdict"], said["reason"]) == (status, verdict, reason)


def test_a_dry_run_writes_nothing(capsys: pytest.CaptureFixture[str], device: GateDevice) -> None:
    before = (device.path / "journal.db").read_bytes()
    names = sorted(file.name for file in device.path.iterdir() if not file.name.endswith(("-shm", "-wal")))
    for _ in range(2):
        status, said, _ = run(capsys, device, signed("t"), "--at", AT, "--dry-run")
        assert (status, said["verdict"], said["op"]) == (0, "admit", None)
    assert (device.path / "journal.db").read_bytes() == before
    assert sorted(file.name for file in device.path.iterdir() if not file.name.endswith(("-shm", "-wal"))) == names
    run(capsys, device, signed("t"), "--at", AT)
    status, said, _ = run(capsys, device, signed("t"), "--at", AT, "--dry-run")
    assert (status, said["reason"]) == (3, "already_used")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--gate", "Z"], "--gate: 'Z' is not a gate of this venue; allowed: A, B, coaster, shop"),
        (["--at", "soon"], "--at: 'soon' is no ISO 8601 time"),
        (["--count", "0"], "--count: 1 to 65535 is allowed"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], device: GateDevice, options: list[str], says: str
) -> None:
    status, said, err = run(capsys, device, signed("t"), *options)
    assert (status, said) == (2, {})
    assert says in err
    assert err.count("\n") == 1


def test_a_missing_or_unenrolled_state_directory(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["T1:X", "--state", str(tmp_path / "nowhere")]) == 2
    assert "there is no directory" in capsys.readouterr().err
    assert main(["T1:X", "--state", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "enrol this device first" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["T1:X"], ["T1:X", "--state", "/tmp", "--count", "many"]])
def test_a_call_without_what_it_needs(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_a_broken_journal_is_set_aside_told_and_the_answer_given(
    capsys: pytest.CaptureFixture[str], device: GateDevice
) -> None:
    run(capsys, device, signed("used"), "--at", AT)
    with sqlite3.connect(device.path / "journal.db") as db:
        db.execute("UPDATE operation SET hash = zeroblob(32) WHERE seq = 2")
    db.close()
    status, said, err = run(capsys, device, signed("used"), "--at", AT)
    assert (status, said["reason"]) == (3, "already_used")
    assert "journal_set_aside" in err
    assert (device.path / "journal.001.db").is_file()


def test_a_journal_that_is_no_database(capsys: pytest.CaptureFixture[str], device: GateDevice) -> None:
    for file in device.path.glob("journal.db*"):
        file.unlink()
    (device.path / "journal.db").write_bytes(b"what a disk makes of it when it dies" * 300)
    status, said, err = run(capsys, device, signed("t"), "--at", AT, "--dry-run")
    assert (status, said, err.count("\n")) == (1, {}, 1)
    assert not list(device.path.glob("journal.0*"))  # a dry run sets nothing aside
    status, said, err = run(capsys, device, signed("t"), "--at", AT)
    assert (status, said["verdict"], said["trouble"]) == (3, "refuse", "no_catalogue")
    assert (device.path / "journal.001.db").is_file()


def test_a_kiosks_journal_is_never_set_aside_from_here(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    kiosk = GateDevice(tmp_path, gate="K1", role=Role.KIOSK)
    journal = kiosk.journal()
    kiosk.grant(journal)
    journal.engine.dispose()
    status, _, err = run(capsys, kiosk, signed("t"), "--at", AT)
    assert status == 2
    assert "enrolled for no gate; allowed: A, B" in err
    assert run(capsys, kiosk, signed("t"), "--at", AT, "--gate", "A")[0] == 0
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("UPDATE operation SET hash = zeroblob(32) WHERE seq = 1")
    db.close()
    status, _, err = run(capsys, kiosk, signed("t"), "--at", AT, "--gate", "A")
    assert (status, err.count("\n")) == (1, 1)
    assert not list(tmp_path.glob("journal.0*"))


def test_as_a_command_of_its_own(device: GateDevice) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scanner.gate.check", signed("t"), "--at", AT, "--state", str(device.path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["verdict"] == "admit"
    assert done.stdout.count("\n") == 1
