"""The spool against the strict emulator: what a sale puts down comes out of the printer, once, and is known to have come out."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from printer import profile, templates
from printer.spool import Grade, State
from sync.service import health
from sync.store import reading
from tests.contract.printer.rig import book, codes, emulator, rig, sale, scanned
from tests.unit.printer import papers


@pytest.mark.parametrize("model", ["generic-80", "generic-80-serial"])
def test_a_sale_of_thirteen(tmp_path: Path, model: str) -> None:
    with emulator(tmp_path / "paper", "--speed", "0") as printer, rig(tmp_path) as device:
        device.start(printer.address, profile=model)
        device.announce()
        documents = sale()
        device.put_down("sale-1", documents)
        progress = device.done("sale-1")
        assert progress.state is State.CONFIRMED
        assert {part.grade for part in progress.parts} == {Grade.CONFIRMED}
        assert {part.tries for part in progress.parts} == {1}
        assert not printer.seen("error")
        assert [scanned(sheet) for sheet in printer.sheets()] == codes(documents)
        with reading(device.engine) as connection:
            diary = connection.exec_driver_sql("SELECT what, detail FROM print_event ORDER BY id").all()
        assert [row[0] for row in diary] == ["queued", *["sending", "confirmed"] * 13]
        told = device.log() + "".join(row[1] for row in diary)
        assert "T1:" not in told
        assert papers.VENUE.name["ja"] not in told


def test_health_is_proven_and_fresh(tmp_path: Path) -> None:
    with emulator(tmp_path / "paper") as printer, rig(tmp_path) as device:
        device.start(printer.address)
        device.until(lambda: device.health().state is health.State.OK)
        facts = device.health().facts
        assert (facts["link"], facts["paper"], facts["cover"], facts["evidence"]) == ("up", "ok", "closed", "confirmed")
        assert profile.load(facts["profile"]) == profile.load("generic-80")
        printer.do(do="fault", spec="near-end")
        device.until(lambda: device.health().state is health.State.WARNING)
        printer.do(do="open-cover")
        device.until(lambda: device.health().state is health.State.ERROR and device.health().facts["cover"] == "open")
        printer.do(do="close-cover")
        printer.do(do="load-paper")
        device.until(lambda: device.health().state is health.State.OK)
        age = datetime.now(UTC) - device.health().at
        assert age.total_seconds() < 2


def test_two_jobs_in_order_and_a_receipt_between(tmp_path: Path) -> None:
    with emulator(tmp_path / "paper", "--speed", "0") as printer, rig(tmp_path) as device:
        device.announce()
        first, receipt, second = (
            [templates.document(papers.ticket(1))],
            [templates.document(papers.receipt())],
            [templates.document(papers.ticket(2))],
        )
        for name, documents in (("a", first), ("b", receipt), ("c", second)):
            device.put_down(name, documents)
        device.start(printer.address)
        for name in "abc":
            device.done(name)
        sheets = printer.sheets()
        assert len(sheets) == 3
        assert [scanned(sheets[0]), scanned(sheets[2])] == codes(first + second)
        assert [event["kind"] for event in printer.seen("cut")] == ["partial", "full", "partial"]


def test_a_printer_without_process_ids_gives_less_evidence(tmp_path: Path) -> None:
    old = tmp_path / "old.toml"
    old.write_text(
        "width_dots = 576\ndpi = 203\nstatus = true\nasb = true\nanswers_in_order = true\ncutter = true\n",
        encoding="utf-8",
    )
    with emulator(tmp_path / "paper", "--speed", "0", "--fault", "no-process-id") as printer, rig(tmp_path) as device:
        device.announce()
        documents = book()[:3]
        device.put_down("sale-1", documents)
        device.start(printer.address, profile=str(old))
        progress = device.done("sale-1")
        assert {part.grade for part in progress.parts} == {Grade.PROCESSED}
        device.until(lambda: len(printer.sheets()) == 3)
        assert [scanned(sheet) for sheet in printer.sheets()] == codes(documents)
        assert device.health().facts["evidence"] == "processed"
        assert profile.load(device.health().facts["profile"]) == profile.load(old)


def test_a_serial_line(tmp_path: Path) -> None:
    where = ("--pty", str(tmp_path / "tty"))
    with emulator(tmp_path / "paper", "--speed", "0", where=where) as printer, rig(tmp_path) as device:
        device.announce()
        documents = book()
        device.put_down("sale-1", documents)
        device.start(str(tmp_path / "tty"), link="serial", profile="generic-80-serial", flow="none")
        progress = device.done("sale-1")
        assert {part.grade for part in progress.parts} == {Grade.CONFIRMED}
        assert [scanned(sheet) for sheet in printer.sheets()] == codes(documents)
        assert not printer.seen("error")


def test_a_file_is_sent_and_never_well(tmp_path: Path) -> None:
    with rig(tmp_path) as device:
        device.announce()
        device.put_down("sale-1", book()[:2])
        device.start(str(tmp_path / "paper.bin"), link="file", profile="plain")
        progress = device.done("sale-1")
        assert {part.grade for part in progress.parts} == {Grade.SENT}
        assert (tmp_path / "paper.bin").read_bytes().count(b"\x1d\x56\x42\x00") == 2
        assert device.health().state is health.State.UNKNOWN


def test_answers_in_any_pieces_and_late(tmp_path: Path) -> None:
    faults = ("--fault", "reply-split", "--fault", "reply-late=30")
    with emulator(tmp_path / "paper", "--speed", "0", *faults) as printer, rig(tmp_path) as device:
        device.announce()
        device.put_down("sale-1", book()[:4])
        device.start(printer.address)
        assert {part.tries for part in device.done("sale-1").parts} == {1}
        assert len(printer.sheets()) == 4


def test_a_lost_answer_is_asked_for_again(tmp_path: Path) -> None:
    with emulator(tmp_path / "paper", "--speed", "0", "--fault", "reply-lost@n=2") as printer, rig(tmp_path) as device:
        device.announce()
        documents = book()[:3]
        device.put_down("sale-1", documents)
        device.start(printer.address)
        progress = device.done("sale-1")
        assert {part.tries for part in progress.parts} == {1}
        assert [scanned(sheet) for sheet in printer.sheets()] == codes(documents)
        assert "asking_again" in device.log()
