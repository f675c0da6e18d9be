"""When something breaks: nothing is lost, nothing is printed twice unasked, and what nobody can know is in doubt."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from printer.settings import Settings
from printer.spool import Decision, State, waiting
from sync.service import health
from sync.service.settings import SettingsError, load
from sync.store import reading
from tests.contract.printer.rig import ROOT, book, codes, emulator, rig, sale, scanned


def test_paper_ends_within_a_book(tmp_path: Path) -> None:
    """Only the torn coupon is printed again, marked; none is lost and none comes out twice."""
    with (
        emulator(tmp_path / "paper", "--speed", "600", "--fault", "paper-out@dots=2400") as printer,
        rig(tmp_path) as device,
    ):
        device.announce()
        documents = sale()
        device.put_down("sale-1", documents)
        device.start(printer.address)
        printer.wait("fault", fault="paper-out")
        device.until(lambda: any(part.state is State.REISSUED for part in device.progress("sale-1").parts))
        device.until(
            lambda: device.health().facts.get("paper") == "out" and device.health().state is health.State.ERROR
        )
        printer.do(do="load-paper")
        progress = device.done("sale-1")
        assert [part.tries for part in progress.parts].count(2) == 1
        assert sum(part.tries for part in progress.parts) == 14
        assert [scanned(sheet) for sheet in printer.sheets()] == codes(documents)
        assert len(printer.seen("torn")) == 1
        assert device.health().facts["paper_mm_used"] > 0


def test_the_link_is_cut_within_a_part(tmp_path: Path) -> None:
    """Nobody can know whether that part came out: it waits, and so does its job, until somebody has looked."""
    with (
        emulator(tmp_path / "paper", "--speed", "300", "--fault", "power@dots=1500") as printer,
        rig(tmp_path) as device,
    ):
        device.announce()
        documents = book()[:4]
        device.put_down("sale-1", documents)
        device.start(printer.address)
        device.until(lambda: device.progress("sale-1").state is State.IN_DOUBT)
        progress = device.progress("sale-1")
        doubtful = next(part.seq for part in progress.parts if part.state is State.IN_DOUBT)
        assert not progress.ruled
        printed = len(printer.sheets())
        device.until(lambda: device.health().facts["link"] == "down")
        printer.do(do="power-on")
        device.until(lambda: device.health().state is health.State.OK)
        assert len(printer.sheets()) == printed == doubtful - 1
        with reading(device.engine) as connection:
            assert waiting(connection, boot="boot-1") == ("sale-1",)
        device.rule("sale-1", Decision.PRINT)
        progress = device.done("sale-1")
        assert [part.tries for part in progress.parts].count(2) == 1
        assert [scanned(sheet) for sheet in printer.sheets()] == codes(documents)


def test_killed_within_a_job_it_prints_nothing_by_itself(tmp_path: Path) -> None:
    with emulator(tmp_path / "paper", "--speed", "200") as printer, rig(tmp_path) as device:
        device.announce()
        documents = book()[:5]
        device.put_down("sale-1", documents)
        child = device.start(printer.address)
        device.until(lambda: device.progress("sale-1").done == 2)
        device.kill(child)
        printer.wait("disconnected")
        device.start(printer.address)
        device.until(lambda: device.health().state is health.State.OK and not device.health().facts["busy"])
        device.until(lambda: device.progress("sale-1").state is State.IN_DOUBT)
        cuts = len(printer.seen("cut"))
        before = device.progress("sale-1")
        assert not before.ruled
        # Another job is printed, and after it still nothing of the first: the spool had every chance.
        device.put_down("sale-2", book()[9:])
        device.done("sale-2")
        after = device.progress("sale-1")
        assert not after.ruled
        assert [part.tries for part in after.parts] == [part.tries for part in before.parts]
        assert {part.state for part in after.parts} <= {State.CONFIRMED, State.IN_DOUBT, State.QUEUED}
        assert len(printer.seen("cut")) <= cuts + 2  # the part that the printer held already, and the other job's
        device.rule("sale-1", Decision.PRINT)
        device.done("sale-1")
        assert set(codes(documents)) <= {scanned(sheet) for sheet in printer.sheets()}


def test_an_old_boot_waits_for_a_ruling(tmp_path: Path) -> None:
    with emulator(tmp_path / "paper", "--speed", "0") as printer, rig(tmp_path) as device:
        device.announce("boot-1")
        device.put_down("sale-1", book()[:2])
        device.put_down("sale-2", book()[2:4])
        device.announce("boot-2")
        device.start(printer.address)
        device.put_down("sale-3", book()[4:5])
        device.done("sale-3")
        assert device.progress("sale-1").untouched
        with reading(device.engine) as connection:
            assert waiting(connection, boot="boot-2") == ("sale-1", "sale-2")
        device.rule("sale-1", Decision.PRINT)
        device.rule("sale-2", Decision.OWE)
        device.done("sale-1")
        assert device.progress("sale-2").state is State.OWED
        assert [scanned(sheet) for sheet in printer.sheets()] == codes([*book()[4:5], *book()[:2]])


def test_a_boot_of_another_start_of_the_machine_prints_nothing(tmp_path: Path) -> None:
    """After a power cut the spool may be up before the sale engine; the row of the run before must not let it print."""
    with emulator(tmp_path / "paper", "--speed", "0") as printer, rig(tmp_path) as device:
        device.announce("boot-1")
        with device.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE sale_boot SET machine = 'before the power cut'")
        device.put_down("sale-1", book()[:1])
        device.start(printer.address)
        device.until(lambda: device.health().state is health.State.OK)
        device.put_down("sale-2", book()[1:2])
        device.until(lambda: device.health().state is health.State.OK)
        assert device.progress("sale-1").untouched
        device.announce("boot-1")
        device.done("sale-2")


def test_the_cover_is_opened_while_printing(tmp_path: Path) -> None:
    """The begun piece is cut off, so that the whole one, marked, stands alone."""
    with (
        emulator(tmp_path / "paper", "--speed", "400", "--fault", "cover@dots=900:heal=0.3") as printer,
        rig(tmp_path) as device,
    ):
        device.announce()
        documents = book()[:3]
        device.put_down("sale-1", documents)
        device.start(printer.address)
        progress = device.done("sale-1")
        assert [part.tries for part in progress.parts] == [1, 2, 1]
        whole = [sheet for sheet in printer.sheets() if sheet != printer.sheets()[1]]
        assert len(printer.sheets()) == 4
        assert [scanned(sheet) for sheet in whole] == codes(documents)


def test_the_cutter_jams(tmp_path: Path) -> None:
    with emulator(tmp_path / "paper", "--speed", "0", "--fault", "cutter@cut=2") as printer, rig(tmp_path) as device:
        device.announce()
        documents = book()[:3]
        device.put_down("sale-1", documents)
        device.start(printer.address)
        device.until(lambda: device.health().facts.get("cutter") == "error")
        device.until(lambda: device.progress("sale-1").parts[1].state is State.REISSUED)
        printer.do(do="open-cover")
        printer.do(do="clear-jam")
        printer.do(do="close-cover")
        progress = device.done("sale-1")
        assert [part.tries for part in progress.parts] == [1, 2, 1]


@pytest.mark.parametrize("clears", [True, False])
def test_a_ruling_takes_a_part_away_while_it_is_sent(tmp_path: Path, clears: bool) -> None:
    """The next guest's part comes out after it, also of a clone without Clear and process ids, which prints the old part to its end."""
    clone = tmp_path / "clone.toml"
    clone.write_text(
        "width_dots = 576\ndpi = 203\nstatus = true\nasb = true\nanswers_in_order = true\ncutter = true\n",
        encoding="utf-8",
    )
    faults = () if clears else ("--fault", "no-process-id")
    with emulator(tmp_path / "paper", "--speed", "150", *faults) as printer, rig(tmp_path) as device:
        device.announce()
        device.put_down("sale-1", book()[:3])
        device.start(printer.address, profile="generic-80" if clears else str(clone))
        device.until(lambda: device.progress("sale-1").parts[0].state is State.SENDING)
        device.rule("sale-1", Decision.OWE)
        device.put_down("sale-2", book()[5:6])
        device.done("sale-2")
        if not clears:  # GS r is answered where the parser is, and the paper follows
            device.until(lambda: len(printer.sheets()) == 2)
        assert scanned(printer.sheets()[-1]) == codes(book()[5:6])[0]
        progress = device.progress("sale-1")
        assert {part.state for part in progress.parts} == {State.OWED}
        assert not printer.seen("error")


def test_sigterm_finishes_the_part_at_the_printer(tmp_path: Path) -> None:
    with emulator(tmp_path / "paper", "--speed", "150") as printer, rig(tmp_path) as device:
        device.announce()
        device.put_down("sale-1", book())
        child = device.start(printer.address)
        device.until(lambda: device.progress("sale-1").done >= 1)
        child.terminate()
        assert child.wait(10) == 0
        progress = device.progress("sale-1")
        assert {part.state for part in progress.parts} == {State.CONFIRMED, State.QUEUED}
        assert progress.done == len(printer.sheets())


def test_a_wrong_settings_file_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "printer.json"
    good = {"journal": "j", "health": "h", "doorbell": "d", "link": "tcp", "address": "127.0.0.1:9100"}
    for wrong, words in (
        ({**good, "speed": 1}, "unknown key 'speed'"),
        ({**good, "link": "usb"}, "not one of: tcp, serial, file"),
        ({**good, "address": "printer"}, "HOST:PORT"),
    ):
        file.write_text(json.dumps(wrong), encoding="utf-8")
        with pytest.raises(SettingsError, match=words):
            load(file, Settings)
    for wrong, words in (
        (
            {**good, "profile": "tm-t99"},
            "printer.json: key 'profile': profile 'tm-t99' is not shipped; known: generic-58",
        ),
        ({**good, "journal": str(tmp_path / "none" / "journal.db")}, "unable to open database file"),
    ):
        file.write_text(json.dumps(wrong), encoding="utf-8")
        ended = subprocess.run([sys.executable, "-m", "printer", str(file)], cwd=ROOT, capture_output=True, text=True)
        assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
        assert words in ended.stderr


def test_the_printer_is_not_there_and_comes_later(tmp_path: Path) -> None:
    with rig(tmp_path) as device:
        with emulator(tmp_path / "first") as printer:
            address = printer.address
        device.announce()
        device.put_down("sale-1", book()[:1])
        device.put_down("sale-2", book()[1:2])
        device.start(address)
        device.until(lambda: device.health().state is health.State.ERROR)
        assert device.health().facts["link"] == "down"
        assert device.health().stops == "printing"
        assert device.progress("sale-1").untouched
        device.rule("sale-1", Decision.VOID)
        with emulator(tmp_path / "paper", where=("--listen", address)) as printer:
            device.done("sale-2")
            assert [scanned(sheet) for sheet in printer.sheets()] == codes(book()[1:2])
        assert device.progress("sale-1").state is State.VOID


def test_a_mute_printer_is_unknown_and_gets_nothing(tmp_path: Path) -> None:
    """Not even after it was well: silence takes that back within the age that the kiosk allows."""
    with emulator(tmp_path / "paper", "--speed", "0") as printer, rig(tmp_path) as device:
        device.announce()
        device.start(printer.address)
        device.until(lambda: device.health().state is health.State.OK)
        printer.do(do="fault", spec="mute")
        device.until(lambda: device.health().state is health.State.UNKNOWN)
        assert device.health().facts["link"] == "up"
        device.put_down("sale-1", book()[:1])
        asked = device.log().count("printer_silent")
        assert asked == 1
        assert device.progress("sale-1").untouched
        printer.do(do="heal", fault="mute")
        device.done("sale-1")
        device.until(lambda: device.health().state is health.State.OK)
