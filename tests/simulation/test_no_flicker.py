"""No ticket flickers back to unused: a gate admits, and whatever its sync daemon does next in whatever order, it refuses the second time.

Hub, gate store, lane, uploader, downloader and deletion are the real ones; what is tried out is every order of their steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from hub.node import HubNode
from scanner.gate import ledger as gate_ledger
from scanner.gate import tables as gate_tables
from scanner.gate.lane import Lane
from scanner.gate.store import Store
from sync import journal as journal_tables
from sync import pruning
from sync.download import Downloader
from sync.journal import open_journal
from sync.pruning import note_covered, prune
from sync.state import Role
from sync.upload import Uploader
from tests import hubkit
from tests.hubkit import Device
from tickets.admission import VerdictKind
from tickets.clock import FixedClock

STEPS = ("upload", "pull", "delete", "new cache", "old cache")
TRIED = [*itertools.permutations(STEPS, 2)] + [("upload", *steps) for steps in itertools.permutations(STEPS[1:])]


class Venue:
    """A hub, a kiosk that has sold, a gate that has heard of it."""

    def __init__(self, folder: Path, node: HubNode, clock: FixedClock) -> None:
        self.node, self.clock = node, clock
        self.kiosk = hubkit.make_device(
            node, folder, role=Role.KIOSK, label="K2", clock=clock, random_bytes=hubkit.seeded(2)
        )
        self.device = hubkit.make_device(
            node, folder, role=Role.GATE, label="A", clock=clock, random_bytes=hubkit.seeded(3)
        )
        gate_tables.create(self.device.journal.engine)
        self.pull = Downloader(
            self.device.journal, self.device.state, self.device.identity, self.device.hub, clock=clock
        )
        self.pull.open()
        self.reading = open_journal(self.device.state, clock=clock, random_bytes=self.device.random_bytes)
        self.store = Store(self.device.state, self.reading)
        self.lane = Lane(
            self.store, gate="A", label="A", clock=clock, random_bytes=self.device.random_bytes, arbiter=None
        )

    def sell(self) -> str:
        self.kiosk.append(self.kiosk.sale())
        push(self.kiosk)
        while self.pull.step(wait_s=0).more:
            pass
        self.store.refresh()
        return self.kiosk.code_of(self.kiosk.sold[-1])

    def scan(self, code: str) -> VerdictKind:
        self.store.refresh()
        answer = self.lane.scan(code, source="camera")
        self.lane.finish()
        return answer.verdict.kind

    def do(self, step: str) -> None:
        match step:
            case "upload":
                push(self.device)
            case "pull":
                self.pull.step(wait_s=0)
            case "delete":
                self.delete()
            case "new cache":
                self.pull._begin_next()
                while self.pull.step(wait_s=0).more:
                    pass
            case "old cache":
                self.pull.give_up_current("for the test")

    def delete(self) -> None:
        """As the sync daemon and the gate do it, but at once: nothing is kept for its age."""
        later = self.clock.now_utc() + timedelta(days=1)
        note_covered(self.device.journal, self.pull.cursors())
        prune(self.device.journal, now=later, kept_days=0)
        with self.reading.write() as connection:
            gate_ledger.prune(connection, self.reading, before=later)

    def close(self) -> None:
        self.pull.close()
        self.store.close()


def push(device: Device) -> None:
    uploader = Uploader(device.journal, device.state, device.hub, clock=device.clock)
    while uploader.step().operations:
        pass


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(hubkit.NOON)


@pytest.fixture
def venue(tmp_path: Path, clock: FixedClock) -> Venue:
    node = hubkit.make_node(tmp_path, clock=clock, random_bytes=hubkit.seeded(1))
    return Venue(tmp_path, node, clock)


def flickers(venue: Venue, tried: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The orders after which a used ticket was let in again."""
    found = []
    for steps in tried:
        code = venue.sell()
        assert venue.scan(code) is not VerdictKind.REFUSE
        for number, step in enumerate(steps):
            venue.do(step)
            if venue.scan(code) is not VerdictKind.REFUSE:
                found.append(steps[: number + 1])
                break
    return found


def test_no_order_of_steps_brings_a_used_ticket_back(venue: Venue) -> None:
    assert flickers(venue, TRIED) == []
    venue.do("upload")
    venue.do("new cache")
    venue.do("pull")
    for number in venue.pull._numbers():
        if number != venue.pull.generation:
            venue.pull._remove(number)
    venue.delete()
    with venue.reading.read() as connection:
        left = connection.scalars(select(gate_tables.pending.c.op)).all()
        kept = connection.scalars(select(journal_tables.operation.c.seq)).all()
    assert left == [], "deletion took everything that it may"
    assert len(kept) == 1
    venue.close()


def _overlay_dropped_on_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken for covered as soon as the hub has answered."""

    def anchor_seq(connection: object, incarnation: int) -> int:
        row = connection.execute(  # type: ignore[attr-defined]
            select(journal_tables.anchor.c.seq).where(journal_tables.anchor.c.incarnation == incarnation)
        ).first()
        return 0 if row is None else row.seq

    monkeypatch.setattr(gate_ledger, "covered_seq", anchor_seq)


def _only_the_newest_cache_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generation that a bad day falls back to is forgotten."""
    real = pruning.note_covered

    def newest(journal: object, cursors: tuple[str | None, ...]) -> int:
        return real(journal, [max(cursor for cursor in cursors if cursor is not None)])  # type: ignore[arg-type]

    monkeypatch.setattr("tests.simulation.test_no_flicker.note_covered", newest)


def _own_rows_are_not_laid_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "overlay", lambda self, connection, seen: seen.facts)


MUTANTS: list[tuple[Callable[[pytest.MonkeyPatch], None], tuple[str, ...]]] = [
    (_overlay_dropped_on_answer, ("upload", "delete")),
    (_only_the_newest_cache_is_asked, ("upload", "new cache", "delete", "old cache")),
    (_own_rows_are_not_laid_over, ("upload", "delete")),
]
"""Each with the order, among those tried, that catches it."""


@pytest.mark.parametrize(("mutant", "steps"), MUTANTS, ids=[mutant.__name__.strip("_") for mutant, _ in MUTANTS])
def test_each_mutant_is_caught(
    mutant: Callable[[pytest.MonkeyPatch], None],
    steps: tuple[str, ...],
    venue: Venue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert any(tried[: len(steps)] == steps for tried in TRIED)
    mutant(monkeypatch)
    assert flickers(venue, [steps]) != []
    venue.close()
