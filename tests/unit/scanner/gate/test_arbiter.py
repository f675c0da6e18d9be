"""Which arbiter a gate believes, what it lets in on without one, and what it forgets of scans that are over."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from scanner.gate import tables
from scanner.gate.settings import Settings
from scanner.gate.whereabouts import addresses
from sync import arbiter, granted, granted_copy, grants
from sync.arbiter import Arbiter
from sync.chain import Segment
from sync.operation import Admission, Mode, Release, ReleaseReason
from sync.protocol import Cursor
from sync.pruning import note_covered
from tests.support.gate_device import CATALOGUE_TEXT, HUB_KEY, NOON, cache_ticket, cache_use, key_of
from tests.support.open_gate import OpenGate, PlayedArbiter
from tickets.admission import Granted, Reason, VerdictKind
from tickets.catalogue import parse
from tickets.ids import DeviceId, OpId


def statement(epoch: int, *, node: DeviceId | None = None, urls: tuple[str, ...] = ()) -> Arbiter:
    return Arbiter(epoch, node, urls, None, NOON)


def grant(gate: OpenGate, said: Arbiter, *, key: Any = HUB_KEY) -> str:
    with gate.syncing.write() as connection:
        return grants.put_arbiter(
            connection, arbiter.signed(said, key), HUB_KEY.public_key().public_bytes_raw(), at=NOON.isoformat()
        )


def asked_in(gate: OpenGate, played: PlayedArbiter, seed: str) -> int:
    gate.scan(seed)
    return played.asked[-1].epoch


def test_the_newest_statement_decides_and_an_older_one_never_again(tmp_path: Path) -> None:
    played = PlayedArbiter()
    gate = OpenGate(tmp_path, arbiter=played)
    assert asked_in(gate, played, "first") == 1
    assert grant(gate, statement(3)) == ""
    assert asked_in(gate, played, "second") == 3
    assert "3 is in force" in grant(gate, statement(2))
    assert "did not sign" in grant(gate, statement(9), key=key_of("stranger"))
    assert asked_in(gate, played, "third") == 3
    assert grant(gate, statement(3)) == "", "the same once more is no fault"
    assert asked_in(gate.again(), played, "fourth") == 3, "kept over a restart"


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_grant_of_another_reign_is_silence(tmp_path: Path, epoch: int) -> None:
    gate = OpenGate(tmp_path, arbiter=PlayedArbiter([Granted(epoch, 0)]))
    grant(gate, statement(2))
    assert gate.scan("t").verdict.epoch is None
    (done,) = gate.operations()
    assert isinstance(done, Admission)
    assert (done.mode, done.epoch) == (Mode.POLICY, None)


def test_a_journal_that_is_lost_does_not_bring_back_the_arbiter_before(tmp_path: Path) -> None:
    """Also where nothing of it can be read: the copy beside it has the statement."""
    played = PlayedArbiter()
    gate = OpenGate(tmp_path, arbiter=played)
    grant(gate, statement(4))
    with gate.syncing.read() as connection:
        granted_copy.keep(gate.device.state, connection)
    gate.store.close()
    for journal in (gate.journal, gate.syncing):
        journal.engine.dispose()
    for suffix in ("", "-wal", "-shm"):
        path = gate.device.state.journal
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    gate.device.state.journal.write_bytes(b"no database" * 1000)
    gate._open()
    assert gate.set_aside is not None
    assert asked_in(gate, played, "t") == 4


def test_where_the_arbiter_is_sought(tmp_path: Path) -> None:
    identity = OpenGate(tmp_path).device.state.identity()
    node = statement(2, node=DeviceId(b"n" * 16), urls=("https://a:1", "https://b:1"))
    assert addresses(None, override=None, identity=identity) == ()
    assert addresses(statement(1), override=None, identity=identity) == (identity.hub_url,)
    assert addresses(statement(1, urls=("http://hub:1",)), override=None, identity=identity) == (
        "http://hub:1",
        identity.hub_url,
    )
    assert addresses(node, override=None, identity=identity) == node.urls
    assert addresses(node, override="http://desk:1", identity=identity) == ("http://desk:1",)


def test_an_arbiter_url_is_an_address_or_none(tmp_path: Path) -> None:
    for good in (None, "none", "http://127.0.0.1:1", "https://node:8443"):
        Settings(tmp_path, tmp_path, arbiter_url=good)
    with pytest.raises(ValueError, match="neither an address"):
        Settings(tmp_path, tmp_path, arbiter_url="node")
    with pytest.raises(ValueError, match="43200"):
        Settings(tmp_path, tmp_path, offline_minutes_max=50_000)


# Without an answer


@pytest.mark.parametrize(
    ("heard", "minutes", "verdict"),
    [
        (timedelta(minutes=5), 0, VerdictKind.ADMIT),
        (timedelta(minutes=5), 10, VerdictKind.ADMIT),
        (timedelta(minutes=11), 10, VerdictKind.REFUSE),
        (timedelta(minutes=-11), 10, VerdictKind.REFUSE),
        (None, 10, VerdictKind.REFUSE),
    ],
)
def test_without_an_answer_nobody_is_let_in_on_data_that_is_too_old(
    tmp_path: Path, heard: timedelta | None, minutes: int, verdict: VerdictKind
) -> None:
    played = PlayedArbiter()
    gate = OpenGate(tmp_path, arbiter=played)
    gate.lane._offline_minutes_max = minutes
    gate.lane._heard_at = lambda: None if heard is None else NOON - heard
    answer = gate.scan("t")
    assert answer.verdict.kind is verdict
    if verdict is VerdictKind.REFUSE:
        assert answer.verdict.reason is Reason.DATA_OLD
        refusal, release = gate.operations()
        assert isinstance(release, Release)
        assert (release.of, release.reason) == (answer.op.hex(), ReleaseReason.ABANDONED)
        (sent,) = played.given_back
        assert (sent.of.hex(), sent.op.hex()) == (release.of, release.op), "told to the arbiter as it is chained"
        assert refusal.op == answer.op.hex()
    else:
        assert played.given_back == []


def test_an_answer_counts_however_old_the_data_is(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path, arbiter=PlayedArbiter([Granted(1, 0)]))
    gate.lane._offline_minutes_max, gate.lane._heard_at = 1, lambda: None
    assert gate.scan("t").verdict.kind is VerdictKind.ADMIT


def test_the_catalogue_may_limit_a_product(tmp_path: Path) -> None:
    import json

    document = json.loads(CATALOGUE_TEXT)
    for row in document["products"]:
        row["offline_minutes"] = 7
    text = json.dumps(document)
    assert all(product.offline_minutes == 7 for product in parse(text).products.values())
    gate = OpenGate(tmp_path)
    gate.device.grant(gate.syncing, catalogue=text)
    seen: list[datetime | None] = [NOON - timedelta(minutes=8)]
    gate.lane._heard_at = lambda: seen[0]
    assert gate.scan("t").verdict.reason is Reason.DATA_OLD
    seen[0] = NOON - timedelta(minutes=6)
    assert gate.scan("t").verdict.kind is VerdictKind.ADMIT


def test_what_was_withdrawn_is_not_left(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    cache_ticket(gate.feed, "book", uses=10)
    with gate.feed.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE ticket SET withdrawn = 9")
    assert gate.scan("book", uses=10, count=1).verdict.left == 0
    assert gate.scan("book", uses=10, count=1).verdict.reason is Reason.EXHAUSTED


# What is over


def acknowledged(gate: OpenGate) -> None:
    sent: Segment | None = gate.syncing.next_segment(gate.device.state)
    assert sent is not None
    answers = [(OpId(bytes.fromhex(op.op)), "accepted", "") for op in gate.operations()]
    gate.syncing.acknowledge(sent, answers, at=NOON.isoformat(), cursor=Cursor("feed", 3).encode())


def kept(gate: OpenGate) -> set[bytes]:
    with gate.journal.read() as connection:
        return set(connection.scalars(select(tables.pending.c.op)))


def test_a_scan_is_forgotten_once_it_is_answered_and_told_back_and_not_before(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    told, untold = gate.scan("told"), gate.scan("untold")
    cache_use(gate.feed, "told", op=told.op)
    gate.device.clock.now += timedelta(days=3)
    assert gate.lane.forget_settled() == 0, "the hub has not answered"
    acknowledged(gate)
    assert gate.lane.forget_settled() == 0, (
        "the cache in force has it, and may not have synced it, and another may come"
    )
    note_covered(gate.syncing, [[Cursor("feed", 3).encode()]])
    assert gate.lane.forget_settled() == 1
    assert kept(gate) == {untold.op}, "a use that the hub has not told back is known here alone"
    gate.device.clock.now = NOON
    assert gate.scan("told").verdict.reason is Reason.ALREADY_USED
    assert gate.scan("untold").verdict.reason is Reason.ALREADY_USED


def test_a_scan_of_today_is_kept_for_the_counts(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    answer = gate.scan("t")
    cache_use(gate.feed, "t", op=answer.op)
    acknowledged(gate)
    assert gate.lane.forget_settled() == 0


def test_the_statement_is_granted_by_the_hub_alone(tmp_path: Path) -> None:
    """A row that somebody wrote into the journal is no statement."""
    gate = OpenGate(tmp_path)
    text = arbiter.signed(statement(5), key_of("stranger"))
    with gate.syncing.write() as connection:
        connection.execute(granted.document.insert().values(name="arbiter", text=text, at=NOON.isoformat()))
    gate.store.refresh()
    assert gate.store.known.epoch == 1
