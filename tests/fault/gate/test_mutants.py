"""Mutants of the promises: each promise is a check that holds for the gate as it is and must fail for the gate as it must not be."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, select

from scanner.gate import ledger, tables
from scanner.gate.answer import Taken
from scanner.gate.lane import Lane
from scanner.gate.store import Seen, Store
from sync import journal as journal_module
from sync.claim import ClaimMessage
from sync.journal import Journal
from sync.store import Durability, open_engine
from tests.support.gate_device import GateDevice, cache_ticket, cache_use
from tests.support.open_gate import OpenGate, PlayedArbiter
from tickets.admission import Granted, NoTicket, TicketFacts, VerdictKind

Promise = Callable[[Path], None]
Mutant = Callable[[pytest.MonkeyPatch], None]


def syncs_each_commit(path: Path) -> None:
    gate = OpenGate(path)
    with gate.journal.write() as connection:
        level = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
    assert level == 2, "a commit of the journal is not synced"


def row_before_claim(path: Path) -> None:
    arbiter = PlayedArbiter([Granted(epoch=1, left=0)])
    gate = OpenGate(path, arbiter=arbiter)
    seen: list[int] = []

    def look(_: ClaimMessage) -> None:
        other = GateDevice(path).journal()
        with other.read() as connection:
            seen.append(len(connection.execute(select(tables.pending.c.op)).all()))

    arbiter.looks = look
    gate.scan("t")
    assert seen == [1], "the claim left before its row was on the disk"


def no_green_without_a_row(path: Path) -> None:
    gate = OpenGate(path)
    with gate.journal.engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        raw.execute("PRAGMA query_only = ON")  # as a disk that turned read-only
    answer = gate.scan("t", finish=False)
    with gate.syncing.read() as connection:
        kept = connection.execute(select(tables.pending)).all()
    assert answer.verdict.kind is VerdictKind.REFUSE or kept, "green, and nothing on the disk"


def own_uses_count(path: Path) -> None:
    gate = OpenGate(path)
    assert gate.scan("t").verdict.kind is VerdictKind.ADMIT
    assert gate.scan("t").verdict.kind is VerdictKind.REFUSE, "what this gate did was not laid over what the hub said"


def hub_first_then_own(path: Path) -> None:
    """Recorded at the databases themselves: no statement about a ticket reaches the cache after one has reached the journal."""
    gate = OpenGate(path)
    cache_ticket(gate.feed, "t")
    gate.scan("warm")
    order: list[str] = []
    cache = gate.store._cache
    assert cache is not None
    for name, engine in (("cache", cache.engine), ("journal", gate.journal.engine)):

        def note(_c: Any, _cur: Any, statement: str, *_: Any, name: str = name) -> None:
            if "FROM ticket" in statement or "FROM used" in statement or "FROM pending" in statement:
                order.append(name)

        event.listen(engine, "before_cursor_execute", note)
    gate.scan("t")
    assert order, "nothing was read"
    assert order == sorted(order), "the cache was read after the journal"  # "cache" < "journal"


def released_elsewhere_counts_for_nothing(path: Path) -> None:
    gate = OpenGate(path)
    cache_ticket(gate.feed, "t")
    cache_use(gate.feed, "t", op=b"x" * 16, released=1)
    assert gate.scan("t").verdict.kind is VerdictKind.ADMIT, "a use that was given back still counts"


def one_of_two_processes(path: Path) -> None:
    """Two lanes of one device, each with its own connection: of the last use exactly one gets it."""
    gates = [OpenGate(path), OpenGate(path)]
    for number in range(12):
        start = threading.Barrier(2)
        verdicts: list[VerdictKind] = []

        def scan(gate: OpenGate, seed: str, start: threading.Barrier, verdicts: list[VerdictKind]) -> None:
            start.wait()
            verdicts.append(gate.scan(seed).verdict.kind)

        threads = [threading.Thread(target=scan, args=(gate, f"ticket {number}", start, verdicts)) for gate in gates]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(verdicts) == [VerdictKind.ADMIT, VerdictKind.REFUSE], "both processes admitted the last use"


def synchronous_normal(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journal_module, "open_engine", lambda path: open_engine(path, durability=Durability.NORMAL))


def claim_before_pending(patch: pytest.MonkeyPatch) -> None:
    late: list[Taken] = []
    take, ask = ledger.take, Lane._ask

    def ask_then_take(self: Lane, taken: Taken) -> Any:
        answer = ask(self, taken)
        with self._journal.write() as connection:
            take(connection, late.pop())
        return answer

    patch.setattr(ledger, "take", lambda _, taken: late.append(taken))
    patch.setattr(Lane, "_ask", ask_then_take)


def green_before_pending(patch: pytest.MonkeyPatch) -> None:
    """Decides on a read, shows the light, means to write later."""
    patch.setattr(ledger, "durable", Journal.read)
    patch.setattr(ledger, "take", lambda *_: None)


def count_without_overlay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Store, "overlay", lambda _self, _connection, seen: seen.facts)


def journal_before_cache(patch: pytest.MonkeyPatch) -> None:
    look, overlay = Store.look, Store.overlay
    later: dict[str, Any] = {}

    def postponed(self: Store, text: str, **more: Any) -> Seen:
        later.update(text=text, more=more)
        return look(self, text, **more)

    def own_first(self: Store, connection: Connection, seen: Seen) -> TicketFacts | NoTicket:
        overlay(self, connection, seen)
        return overlay(self, connection, look(self, later["text"], **later["more"]))

    patch.setattr(Store, "look", postponed)
    patch.setattr(Store, "overlay", own_first)


def late_release_ignored(patch: pytest.MonkeyPatch) -> None:
    from scanner.gate import store

    patch.setattr(store, "_dead", lambda _: frozenset())
    patch.setattr(store, "_live", lambda uses: tuple(cached.use for cached in uses))


def decided_before_the_lock(patch: pytest.MonkeyPatch) -> None:
    """Facts are read, another process has its turn, then the row is written by itself."""
    overlay, take = Store.overlay, ledger.take
    turn = threading.Barrier(2)
    journals: dict[int, Journal] = {}

    @contextlib.contextmanager
    def look_without_lock(journal: Journal) -> Iterator[Connection]:
        with journal.read() as connection:
            journals[id(connection)] = journal
            yield connection

    def look_then_wait(self: Store, connection: Connection, seen: Seen) -> TicketFacts | NoTicket:
        facts = overlay(self, connection, seen)
        with contextlib.suppress(threading.BrokenBarrierError):
            turn.wait(timeout=5)
        return facts

    def take_afterwards(connection: Connection, taken: Taken) -> None:
        with journals[id(connection)].write() as later:
            take(later, taken)

    patch.setattr(Store, "overlay", look_then_wait)
    patch.setattr(ledger, "durable", look_without_lock)
    patch.setattr(ledger, "take", take_afterwards)
    patch.setattr(Lane, "finish", lambda _: None)


PROMISES: list[tuple[Promise, Mutant]] = [
    (syncs_each_commit, synchronous_normal),
    (row_before_claim, claim_before_pending),
    (no_green_without_a_row, green_before_pending),
    (own_uses_count, count_without_overlay),
    (hub_first_then_own, journal_before_cache),
    (released_elsewhere_counts_for_nothing, late_release_ignored),
    (one_of_two_processes, decided_before_the_lock),
]


@pytest.mark.parametrize("promise", [promise for promise, _ in PROMISES], ids=lambda promise: promise.__name__)
def test_the_promise_holds(tmp_path: Path, promise: Promise) -> None:
    promise(tmp_path)


@pytest.mark.parametrize(("promise", "mutant"), PROMISES, ids=[mutant.__name__ for _, mutant in PROMISES])
def test_the_mutant_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, promise: Promise, mutant: Mutant
) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        promise(tmp_path)
