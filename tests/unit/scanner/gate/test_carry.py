"""Nothing is lost when a journal goes: what the hub had not answered reaches it from the next one, once."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from hub import tables as hub_tables
from hub.node import HubNode
from scanner.gate.answer import Answer
from scanner.gate.lane import Lane
from scanner.gate.rescue import SetAside, open_or_set_aside
from scanner.gate.store import Store
from sync.daemon.shared import FORK
from sync.download import Downloader
from sync.errors import HubRefused, JournalBroken
from sync.journal import Journal, is_forked, open_journal, set_aside
from sync.operation import ReleaseReason
from sync.state import Role, StateDir
from sync.upload import Uploader
from tests import hubkit
from tickets.admission import Reason, VerdictKind
from tickets.clock import FixedClock


class GateAtHub:
    """A gate of a real hub: what its two daemons do to one state directory, without their loops."""

    def __init__(self, node: HubNode, folder: Path, clock: FixedClock) -> None:
        self.node, self.clock = node, clock
        self.kiosk = hubkit.make_device(
            node, folder, role=Role.KIOSK, label="K2", clock=clock, random_bytes=hubkit.seeded(2)
        )
        self.device = hubkit.make_device(
            node, folder, role=Role.GATE, label="A", clock=clock, random_bytes=hubkit.seeded(3)
        )
        self.state = self.device.state
        self.aside: SetAside | None = None
        self.open(self.state)
        self.pull()

    def open(self, state: StateDir, *, once_more: bool = False) -> None:
        self.state = state
        self.device.journal.engine.dispose()
        self.journal: Journal
        self.journal, self.aside = open_or_set_aside(
            state, clock=self.clock, random_bytes=self.device.random_bytes, once_more=once_more
        )
        self.device = replace(self.device, state=state, journal=self.journal)
        self.store = Store(state, self.journal)
        self.store.refresh()
        self.lane = Lane(self.store, gate="A", label="A", clock=self.clock, random_bytes=self.device.random_bytes)
        self.lane.settle_interrupted()

    def close(self) -> None:
        self.store.close()
        self.journal.engine.dispose()

    def again(self) -> None:
        self.close()
        self.open(self.state)

    def pull(self) -> None:
        other = open_journal(self.state, clock=self.clock, random_bytes=self.device.random_bytes)
        downloader = Downloader(
            other, self.state, self.device.identity, self.device.hub, clock=self.clock, rows_max=100, told=print
        )
        downloader.open()
        while downloader.step(wait_s=0).more:
            pass
        downloader.close()
        other.engine.dispose()

    def push(self) -> None:
        uploader = Uploader(self.journal, self.state, self.device.hub, clock=self.clock)
        while uploader.step().operations:
            pass

    def admit(self) -> Answer:
        """A ticket that no server has seen."""
        sale = self.kiosk.sale()
        self.clock.now += timedelta(seconds=1)
        answer = self.lane.scan(self.kiosk.code_of(self.kiosk.sold[-1]), source="camera")
        self.lane.finish()
        assert answer.verdict.kind is VerdictKind.ADMIT, (sale, answer)
        return answer

    def used_at_hub(self) -> Counter[tuple[bytes, int]]:
        with self.node.read() as connection:
            rows = connection.execute(select(hub_tables.used.c.op, hub_tables.used.c.released)).all()
        return Counter((row.op, row.released) for row in rows)

    def edit(self, *statements: str) -> None:
        self.close()
        db = sqlite3.connect(self.state.journal, isolation_level=None)
        for statement in statements:
            db.execute(statement)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[GateAtHub]:
    clock = FixedClock(hubkit.NOON)
    node = hubkit.make_node(tmp_path, clock=clock, random_bytes=hubkit.seeded(1))
    gate = GateAtHub(node, tmp_path, clock)
    yield gate
    gate.close()
    node.engine.dispose()


def bodies(path: Path) -> dict[bytes, str]:
    with sqlite3.connect(path) as db:
        found = dict(db.execute("SELECT op, body FROM operation WHERE kind <> 'incarnation'").fetchall())
    db.close()
    return found


def once(*answers: Answer) -> Counter[tuple[bytes, int]]:
    return Counter((bytes(answer.op), 0) for answer in answers)


DAMAGE = {
    "one body": ["UPDATE operation SET body = replace(body, 'entry', 'exit') WHERE seq = 5"],
    "a body that is none": ["UPDATE operation SET body = '{\"op\": 1' WHERE seq = 5"],
    "a row gone": ["DELETE FROM operation WHERE seq = 5"],
    "every row gone": ["DELETE FROM operation WHERE seq > 4", "UPDATE meta SET value = 'x' WHERE key = 'device'"],
}


@pytest.mark.parametrize("statements", DAMAGE.values(), ids=DAMAGE.keys())
def test_what_the_hub_had_not_answered_reaches_it_once_whatever_happened_to_its_row(
    gate: GateAtHub, statements: list[str]
) -> None:
    sent = [gate.admit(), gate.admit()]
    refused = gate.lane.scan("junk", source="camera")
    gate.push()
    unsent = [gate.admit(), gate.admit(), gate.admit()]
    gate.close()
    before = bodies(gate.state.journal)
    gate.open(gate.state)
    gate.edit(*statements)
    gate.open(gate.state)
    assert gate.aside is not None
    assert (gate.aside.carried.uses, gate.aside.carried.operations) == (5, 3)
    assert gate.journal.unsent() == 4  # and the incarnation's birth
    after = bodies(gate.state.journal)
    assert after == {answer.op: before[answer.op] for answer in unsent}  # word for word, the edited one too
    gate.push()
    assert gate.used_at_hub() == once(*sent, *unsent)
    assert gate.journal.unsent() == 0
    with gate.node.read() as connection:
        assert connection.scalars(select(hub_tables.refusal.c.op)).all() == [refused.op]
        statuses = connection.scalars(select(hub_tables.operation.c.status)).all()
    assert set(statuses) == {"accepted"}
    gate.again()
    assert gate.aside is None


def test_what_was_given_back_and_refused_goes_on_as_well(gate: GateAtHub) -> None:
    kept, back = gate.admit(), gate.admit()
    assert gate.lane.release(back.op, ReleaseReason.NOT_PASSED)
    refused = gate.lane.scan("junk", source="camera")
    gate.edit("DELETE FROM operation WHERE kind = 'release'", "UPDATE operation SET hash = zeroblob(32) WHERE seq = 2")
    gate.open(gate.state)
    gate.push()
    assert gate.used_at_hub() == Counter({(bytes(kept.op), 0): 1, (bytes(back.op), 1): 1})
    with gate.node.read() as connection:
        assert connection.scalars(select(hub_tables.refusal.c.op)).all() == [refused.op]
    gate.edit("UPDATE operation SET hash = zeroblob(32) WHERE seq = 2")
    gate.open(gate.state)  # a third incarnation: what was answered in the second is not said again
    assert gate.aside is None or gate.aside.carried.operations == 0


def test_a_power_cut_between_putting_away_and_carrying_over_is_made_good(gate: GateAtHub) -> None:
    admitted = [gate.admit() for _ in range(3)]
    gate.close()
    set_aside(gate.state)
    gate.again()  # a new journal, as the sync daemon may have made it too
    gate.push()
    assert gate.used_at_hub() == once(*admitted)
    code = gate.kiosk.code_of(gate.kiosk.sold[0])
    assert gate.lane.scan(code, source="camera").verdict.reason is Reason.ALREADY_USED
    gate.again()
    assert gate.journal.unsent() == 1  # that refusal; nothing is carried twice


def test_what_was_written_into_a_journal_put_away_by_another_process_comes_too(gate: GateAtHub) -> None:
    first = gate.admit()
    assert gate.journal.is_in_place(gate.state)
    set_aside(gate.state)
    other, _ = open_or_set_aside(gate.state, clock=gate.clock, random_bytes=hubkit.seeded(9))  # as the command does
    other.engine.dispose()
    assert not gate.journal.is_in_place(gate.state)
    late = gate.admit()  # still into the file that was moved
    gate.close()
    gate.open(gate.state, once_more=True)
    gate.push()
    assert gate.used_at_hub() == once(first, late)


def test_a_disk_put_back_goes_on_in_a_new_incarnation(gate: GateAtHub, tmp_path: Path) -> None:
    """Identity, incarnation, journal and cache come back together, so nothing on the device can see it. The hub does."""
    early = [gate.admit()]
    gate.push()
    early.append(gate.admit())  # not sent when the copy was made
    gate.close()
    shutil.copytree(gate.state.path, tmp_path / "copy")
    gate.open(gate.state)
    lost_here = [gate.admit(), gate.admit()]
    gate.push()
    lost_codes = [gate.kiosk.code_of(sold) for sold in gate.kiosk.sold[-2:]]
    gate.close()
    gate.open(StateDir(tmp_path / "copy"))
    assert gate.aside is None
    later = [gate.admit(), gate.admit()]
    with pytest.raises(HubRefused) as caught:
        gate.push()
    assert caught.value.error == "chain_fork"
    assert not is_forked(gate.state)
    assert gate.journal.mark_forked(FORK)
    assert is_forked(gate.state)
    assert gate.journal.forked() == FORK
    with pytest.raises(JournalBroken, match="put back"):
        open_journal(gate.state, clock=gate.clock, random_bytes=hubkit.seeded(9))
    later.append(gate.admit())  # until the gate has looked around it goes on, durably
    marked = gate.journal
    gate.again()
    assert gate.aside is not None
    assert gate.journal.incarnation == 2
    assert not is_forked(gate.state)
    assert not marked.mark_forked(FORK)  # too late: that is another journal by now
    assert not is_forked(gate.state)
    later.append(gate.admit())
    gate.push()
    gate.pull()
    assert gate.used_at_hub() == once(*early, *lost_here, *later)
    for code in lost_codes:  # what the disk forgot came back from the hub
        gate.store.refresh()
        assert gate.lane.scan(code, source="camera").verdict.reason is Reason.ALREADY_USED
    gate.again()
    assert gate.aside is None
    gate.journal.verify()


def test_a_number_of_the_next_incarnation_may_be_taken_too(gate: GateAtHub, tmp_path: Path) -> None:
    gate.close()
    shutil.copytree(gate.state.path, tmp_path / "copy")
    gate.open(gate.state)
    first = gate.admit()
    gate.push()
    gate.edit("UPDATE meta SET value = 'x' WHERE key = 'device'")
    gate.open(gate.state)
    second = gate.admit()
    gate.push()
    assert gate.journal.incarnation == 2
    gate.close()
    gate.open(StateDir(tmp_path / "copy"))
    third = gate.admit()
    for _ in range(2):
        with pytest.raises(HubRefused, match="not the one"):
            gate.push()
        gate.journal.mark_forked(FORK)
        gate.again()
    gate.push()
    assert gate.journal.incarnation == 3
    assert gate.used_at_hub() == once(first, second, third)
