"""A small real file system (tmpfs in a name space of its own) that fills at every point under a kiosk's journal.

Nothing that was said to be sold is lost, no money is asked for that could not be written down, no exception of another kind
escapes, and with room again everything goes on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sync import room

ROOT = Path(__file__).resolve().parents[2]

CHILD = """
import json, os, sys
from pathlib import Path
from sqlalchemy.exc import OperationalError
from kiosk.payment.attempt import State
from kiosk.payment.contract import AttemptId, Evidence, Method, OrderRef, Outcome, PayRequest
from kiosk.sale.errors import NotReady
from kiosk.sale.ledger import Ledger
from sync import room
from sync.journal import open_journal
from sync.operation import Paid, Sale, SoldLine, TaxAmount
from sync.room import Level, Limits
from tests.support.device import selling_kiosk
from tickets.clock import SystemClock
from tickets.money import Money

folder, mode = Path(sys.argv[1]), sys.argv[2]
clock = SystemClock()
device = selling_kiosk(folder)
ledger = Ledger(device.journal, label="K2", boot="x", clock=clock, random_bytes=os.urandom)
journal = device.journal
filler = folder / "filler"
sold, refused, broken, strange, grew = [], 0, 0, [], 0


def leave(free):
    with filler.open("ab") as file:
        try:
            more = room.free_bytes(folder) - free
            if more > 0:
                os.posix_fallocate(file.fileno(), file.tell(), more)
        except OSError:
            pass


def used():
    return sum(file.stat().st_size for file in device.state.path.iterdir() if file.is_file())


def sell(number, checked):
    global refused, broken
    attempt, order = AttemptId(f"a{number}"), os.urandom(10).hex()
    if checked and journal.room() is Level.STOP:
        refused += 1
        return
    proof = Evidence(outcome=Outcome.APPROVED_FINAL, code="ok", attempt_id=attempt, receipt_no=1)
    try:
        ledger.intend(PayRequest(attempt, OrderRef(order), Money(1800, "JPY"), Method.CARD, 90, {}))
    except NotReady:
        refused += 1
        return
    try:
        ledger.step(attempt, State.SENT)
        with journal.write() as connection:
            ledger._step(connection, attempt, State.CONFIRMED, proof)
            journal.append(connection, Sale(op=os.urandom(16).hex(), at=clock.now_utc().isoformat(), order=order,
                number=str(number) + " " * 6000, language="ja", currency="JPY", total_minor=1800,
                lines=(SoldLine(1, 1, 1800, 1000, None),), tax=(TaxAmount(1000, 1800, 163),),
                paid=Paid("card", attempt), tickets=()))
        sold.append(order)
    except OperationalError:
        broken += 1


def settle_broken():
    '''With room again: what began and did not end is settled as recovery would, here by hand.'''
    for row in ledger.unsettled():
        gone = Evidence(outcome=Outcome.NOT_CHARGED, code="x", attempt_id=row.attempt_id)
        if row.state is State.SENT:
            ledger.step(row.attempt_id, State.UNKNOWN, gone)
        ledger.step(row.attempt_id, State.NOT_CHARGED, gone)


try:
    if mode == "checked":
        journal.limits = Limits(low_bytes=3 << 20, stop_bytes=2 << 20)
        for number in range(2000):
            sell(number, True)
            if refused:
                break
        for number in range(2000, 2010):
            sell(number, True)
        assert len(sold) > 50, sold
        left = room.free_bytes(folder)
        before = len(sold)
        filler_size = 0
    else:
        for number, free in enumerate(range(0, 300 * 1024, 6 * 1024)):
            leave(free)
            sell(number, False)
            filler.unlink(missing_ok=True)
            settle_broken()
        left, before = room.free_bytes(folder), len(sold)
        begin = used()
        for number in range(100, 110):
            sell(number, False)
        grew = (used() - begin) // 10
    journal.engine.dispose()
    again = open_journal(device.state, clock=clock, random_bytes=os.urandom)
    again.verify()
    with again.read() as connection:
        rows = connection.exec_driver_sql("SELECT body FROM operation WHERE kind = 'sale'").all()
        good = connection.exec_driver_sql("PRAGMA integrity_check").scalar_one()
        confirmed = connection.exec_driver_sql("SELECT count(*) FROM payment_event WHERE state = 'confirmed'").scalar_one()
    kept = [json.loads(row[0])["order"] for row in rows]
except Exception as error:
    strange.append(repr(error))
    kept, good, confirmed, left, before = [], "?", -1, -1, -1
print(json.dumps({"sold": sold, "kept": kept, "refused": refused, "broken": broken, "strange": strange, "good": good,
                  "confirmed": confirmed, "left": left, "before": before, "grew": grew}))
"""


def fill(tmp_path: Path, *, mode: str, mib: int) -> dict[str, Any]:
    place = tmp_path / "small"
    place.mkdir()
    script = f'mount -t tmpfs -o size={mib}m tmpfs "$1" && shift && exec "$@"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", str(place), sys.executable, "-c", CHILD, str(place), mode],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no name space for a small file system here ({done.stderr.strip()[:80]})")
    assert "Traceback" not in done.stderr, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def test_a_disk_that_fills_at_every_point_loses_nothing(tmp_path: Path) -> None:
    said = fill(tmp_path, mode="unchecked", mib=12)
    assert said["strange"] == []
    assert said["good"] == "ok"
    assert said["refused"] > 0, "the disk was never full before the terminal was asked: the test shows nothing"
    assert said["kept"] == said["sold"]
    assert said["confirmed"] == len(said["sold"])
    assert len(said["sold"]) - said["before"] == 10, "with room again it sells"
    assert 0 < said["grew"] < room.STOP_BYTES / 16, "the margin holds many sales and the log beside them"


def test_selling_stops_before_a_row_cannot_be_written(tmp_path: Path) -> None:
    said = fill(tmp_path, mode="checked", mib=12)
    assert said["strange"] == []
    assert said["broken"] == 0, "money was asked for that could not be written down"
    assert said["refused"] > 0
    assert said["kept"] == said["sold"]
    assert said["left"] > 512 * 1024, "what was begun could still be ended"


def test_the_reserve_is_kept_and_given_up(tmp_path: Path) -> None:
    ample = room.Limits(low_bytes=0, stop_bytes=0, reserve_bytes=1 << 20, free_reserve_bytes=0)
    assert room.keep_reserve(tmp_path, ample)
    assert (tmp_path / room.RESERVE).stat().st_blocks * 512 >= 1 << 20, "a hole keeps no room"
    full = room.Limits(low_bytes=1 << 62, stop_bytes=1 << 62, reserve_bytes=1 << 20, free_reserve_bytes=1 << 62)
    assert room.level(tmp_path, full) is room.Level.STOP
    assert not room.keep_reserve(tmp_path, full)
    assert not (tmp_path / room.RESERVE).exists()
    assert room.level(tmp_path / "not there") is room.Level.STOP
