"""kill -9 at each step between PENDING and the chained operation: the arbiter gives the same answer again, and the use counts once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from hub import tables
from hub.services import ledger
from scanner.gate import ledger as gate_ledger
from sync.download import Downloader
from sync.journal import operation
from sync.operation import Admission, Mode, from_body
from sync.state import Role
from sync.upload import Uploader
from tests import hubkit
from tests.support.gate_device import ROOT
from tests.support.killed_lane import open_lane
from tickets.admission import Reason, VerdictKind
from tickets.clock import FixedClock

pytestmark = pytest.mark.flow


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown to the arbiter"])
def test_killed_at_each_step(tmp_path: Path, known: bool) -> None:
    clock = FixedClock(hubkit.NOON)
    node = hubkit.make_node(tmp_path, clock=clock, random_bytes=hubkit.seeded(1))
    kiosk = hubkit.make_device(node, tmp_path, role=Role.KIOSK, label="K2", clock=clock, random_bytes=hubkit.seeded(2))
    gate = hubkit.make_device(node, tmp_path, role=Role.GATE, label="A", clock=clock, random_bytes=hubkit.seeded(3))
    other = hubkit.make_device(node, tmp_path, role=Role.GATE, label="B", clock=clock, random_bytes=hubkit.seeded(4))
    if known:
        kiosk.append(kiosk.sale(count=5))
        while Uploader(kiosk.journal, kiosk.state, kiosk.hub, clock=clock).step().operations:
            pass
    else:
        kiosk.append(kiosk.sale(count=5))
    downloader = Downloader(gate.journal, gate.state, gate.identity, gate.hub, clock=clock)
    downloader.open()
    while downloader.step(wait_s=0).more:
        pass
    downloader.close()
    steps = ("before_claim", "before_answer", "before_light", "before_chained", "none")
    key = node.key.private_bytes_raw().hex()
    database = f"sqlite:///{tmp_path}/hub.db"
    played = steps if known else steps[:2]
    for step, sold in zip(played, kiosk.sold, strict=False):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.support.killed_lane", str(gate.state.path), database, key),
                *(kiosk.code_of(sold), step),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        green = step in ("before_chained", "none")
        assert done.returncode == (0 if step == "none" else -9), done.stderr
        shown = [text for text in done.stdout.splitlines() if text in list(VerdictKind)]
        assert shown == ([VerdictKind.ADMIT] if green else []), done.stderr
        lane = open_lane(gate.state, node, "none")
        assert lane.settle_interrupted() == (step != "none")
        with gate.journal.read() as connection:
            listed = [row.op.hex() for row in gate_ledger.interrupted_scans(connection)]
            bodies = [from_body(body) for body in connection.scalars(select(operation.c.body))]
        (admission,) = [what for what in bodies if isinstance(what, Admission) and what.ticket == sold.ticket]
        assert (admission.mode, admission.epoch, admission.interrupted) == (Mode.CONFIRMED, 1, step != "none")
        assert (admission.op in listed) == (step != "none"), "an interrupted scan is listed for people"
        answer = lane.scan(kiosk.code_of(sold), source="camera")
        assert answer.verdict.reason is Reason.ALREADY_USED
        lane.finish()
        lane.store.close()
        elsewhere = other.hub.claim(other.claim(sold.ticket, code=kiosk.code_of(sold)), deadline_s=1)
        assert getattr(elsewhere, "reason", None) is Reason.ALREADY_USED
    while Uploader(gate.journal, gate.state, gate.hub, clock=clock).step().operations:
        pass
    with node.read() as connection:
        assert len(connection.execute(select(tables.used)).all()) == len(played)
        assert ledger.all_conflicts(connection) == ()
