"""The lane: what is green is durable, each scan leaves one operation, and silence falls to policy."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from scanner.gate import tables
from scanner.gate.answer import Trouble
from sync.claim import ClaimMessage
from sync.operation import Admission, Mode, Refusal, Release, ReleaseReason
from tests.support.gate_device import (
    DAY_END,
    KIOSK_KEY,
    NOON,
    STRANGER_KEY,
    GateDevice,
    cache_ticket,
    signed,
    ticket_of,
)
from tests.support.open_gate import OpenGate, PlayedArbiter
from tickets.admission import Denied, Direction, Granted, Passage, Reason, Use, VerdictKind
from tickets.ids import Kid, OpId


def test_admitted_once_then_refused_with_when_and_where(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    first = gate.scan("t")
    assert (first.verdict.kind, first.verdict.left, first.number) == (VerdictKind.ADMIT, 0, None)
    gate.device.clock.now += timedelta(minutes=3)
    second = gate.scan("t")
    assert (second.verdict.kind, second.verdict.reason, second.verdict.left) == (
        VerdictKind.REFUSE,
        Reason.ALREADY_USED,
        0,
    )
    assert second.verdict.first is not None
    assert (second.verdict.first.at, second.verdict.first.gate) == (NOON, "A")
    assert second.number == "A 001"


def test_each_scan_leaves_exactly_one_operation_under_its_own_op(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    cache_ticket(gate.feed, "known")
    answers = [
        gate.scan("known"),
        gate.scan("not known"),
        gate.scan("known"),
        gate.show("https://example.org"),
        gate.scan("forged", key=STRANGER_KEY),
    ]
    done = gate.operations()
    assert [operation.op for operation in done] == [answer.op.hex() for answer in answers]
    known, unknown, again, foreign, forged = done
    assert isinstance(known, Admission)
    assert isinstance(unknown, Admission)
    assert isinstance(again, Refusal)
    assert isinstance(foreign, Refusal)
    assert isinstance(forged, Refusal)
    assert (known.code, unknown.code) == (
        None,
        signed("not known"),
    )  # the hub needs the code only of what it does not know
    assert (known.mode, known.epoch, known.ticket) == (Mode.POLICY, None, ticket_of("known").hex())
    assert (again.ticket, foreign.ticket, forged.ticket) == (ticket_of("known").hex(), None, None)
    assert [row.number for row in (again, foreign, forged)] == ["A 001", "A 002", "A 003"]
    gate.journal.verify()


def test_an_admission_may_follow_its_light_but_not_the_next_scan(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    first = gate.scan("a", finish=False)
    assert gate.operations() == []
    assert gate.pending(first.op).verdict is None  # durable, and not yet settled in writing
    gate.scan("b", finish=False)
    assert [operation.op for operation in gate.operations()] == [first.op.hex()]
    gate.lane.finish()
    gate.lane.finish()
    assert len(gate.operations()) == 2


def test_numbers_start_anew_with_the_business_day(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    assert [gate.show("x").number, gate.again().show("x").number] == ["A 001", "A 002"]
    gate.device.clock.now = DAY_END - timedelta(seconds=1)
    assert gate.show("x").number == "A 003"
    gate.device.clock.now = DAY_END
    assert gate.show("x").number == "A 001"


def test_a_group_is_asked_and_nothing_is_recorded_until_somebody_says(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    asked = gate.scan("g", variant=50, uses=4)
    assert (asked.verdict.kind, asked.verdict.left) == (VerdictKind.CHOOSE, 4)
    assert gate.operations() == []
    three = gate.scan("g", variant=50, uses=4, count=3)
    assert (three.verdict.kind, three.verdict.units, three.verdict.left) == (VerdictKind.ADMIT, 3, 1)
    assert gate.scan("g", variant=50, uses=4, count=2).verdict.left == 1


def test_the_row_is_durable_before_the_claim_leaves(tmp_path: Path) -> None:
    arbiter = PlayedArbiter([Granted(epoch=1, left=0)])
    gate = OpenGate(tmp_path, arbiter=arbiter)
    rows = []

    def look(claim: ClaimMessage) -> None:
        other = GateDevice(tmp_path).journal()  # another connection sees only what is committed
        with other.read() as connection:
            rows.append(connection.execute(select(tables.pending)).one())
        other.engine.dispose()

    arbiter.looks = look
    answer = gate.scan("t")
    assert [row.op.hex() for row in rows] == [arbiter.asked[0].op] == [answer.op.hex()]
    (claim,) = arbiter.asked
    assert (claim.code, claim.units, claim.kind, claim.gate, claim.epoch) == (signed("t"), 1, Passage.ENTRY, "A", 1)
    assert (answer.verdict.kind, answer.verdict.epoch) == (VerdictKind.ADMIT, 1)
    (done,) = gate.operations()
    assert isinstance(done, Admission)
    assert (done.mode, done.epoch) == (Mode.CONFIRMED, 1)


def test_a_denial_is_refused_numbered_and_takes_nothing(tmp_path: Path) -> None:
    elsewhere = Use(OpId(bytes(16)), Passage.ENTRY, 0, "", NOON, "B")
    arbiter = PlayedArbiter([Denied(Reason.ALREADY_USED, elsewhere), Granted(epoch=1, left=0)])
    gate = OpenGate(tmp_path, arbiter=arbiter)
    denied = gate.scan("t")
    assert (denied.verdict.kind, denied.verdict.first, denied.number) == (VerdictKind.REFUSE, elsewhere, "A 001")
    (done,) = gate.operations()
    assert isinstance(done, Refusal)
    assert (done.op, done.number) == (denied.op.hex(), "A 001")
    assert gate.scan("t").verdict.kind is VerdictKind.ADMIT  # not counted as a use here


def test_silence_under_refuse_takes_the_claim_back(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path, arbiter=PlayedArbiter([None]))
    answer = gate.scan("t", variant=60)
    assert (answer.verdict.kind, answer.verdict.reason) == (VerdictKind.REFUSE, Reason.NO_ANSWER)
    refusal, release = gate.operations()
    assert isinstance(refusal, Refusal)
    assert isinstance(release, Release)
    assert (refusal.op, release.of, release.reason) == (answer.op.hex(), answer.op.hex(), ReleaseReason.ABANDONED)
    assert release.op != answer.op.hex()
    assert refusal.number == answer.number


@pytest.mark.parametrize("forged", [0, 2, 2**63])
def test_an_answer_raises_no_epoch_and_cannot_make_the_true_arbiter_old(tmp_path: Path, forged: int) -> None:
    arbiter = PlayedArbiter([Granted(epoch=forged, left=0), Granted(epoch=1, left=0), Granted(epoch=1, left=0)])
    gate = OpenGate(tmp_path, arbiter=arbiter)
    assert gate.scan("a").verdict.epoch is None  # admitted by policy, not confirmed
    assert gate.scan("b").verdict.epoch == 1
    gate.again()
    assert gate.scan("c", variant=60).verdict.epoch == 1
    assert [claim.epoch for claim in arbiter.asked] == [1, 1, 1]


def test_nobody_is_kept_inside_by_silence(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path, arbiter=PlayedArbiter([Granted(epoch=1, left=0)]))
    gate.scan("t", variant=60)
    gate.lane.direction = Direction.EXIT
    gate.device.clock.now += timedelta(hours=1)
    assert gate.scan("t", variant=60).verdict.kind is VerdictKind.ADMIT
    gate.device.clock.now += timedelta(hours=1)
    assert gate.scan("t", variant=60).verdict.reason is Reason.NOT_INSIDE


def test_re_entry_is_counted_in_the_journal(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    kinds = []
    for direction in (
        Direction.ENTRY,
        Direction.EXIT,
        Direction.ENTRY,
        Direction.ENTRY,
        Direction.EXIT,
        Direction.ENTRY,
    ):
        gate.lane.direction = direction
        gate.device.clock.now += timedelta(minutes=1)
        kinds.append(gate.scan("t", variant=70).verdict.kind.value)
    assert kinds == ["admit", "admit", "admit_again", "refuse", "admit", "admit_again"]


def test_a_use_is_given_back_once(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    answer = gate.scan("t", finish=False)
    assert gate.lane.release(answer.op, ReleaseReason.NOT_PASSED)
    assert not gate.lane.release(answer.op, ReleaseReason.UNDONE)
    assert not gate.lane.release(OpId(bytes(16)), ReleaseReason.UNDONE)
    assert [operation.KIND for operation in gate.operations()] == ["admission", "release"]  # type: ignore[union-attr]
    assert gate.scan("t").verdict.kind is VerdictKind.ADMIT


def test_typed_digits_admit_only_with_a_look(tmp_path: Path) -> None:
    arbiter = PlayedArbiter([Granted(epoch=1, left=0)])
    gate = OpenGate(tmp_path, arbiter=arbiter)
    cache_ticket(gate.feed, "t", short_id="123456")
    answer = gate.show("123456", source="digits")
    assert (answer.verdict.kind, answer.verdict.reason) == (VerdictKind.ATTENTION, Reason.PROOF)
    assert arbiter.asked[0].code is None
    assert gate.show("123456", source="camera").verdict.reason is Reason.UNKNOWN


def test_a_clock_behind_what_the_hub_has_said_is_not_believed(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    gate.device.clock.now = NOON - timedelta(days=400)
    answer = gate.scan("t")
    assert (answer.verdict.kind, answer.verdict.reason) == (VerdictKind.ATTENTION, Reason.CLOCK_UNSURE)


def test_before_the_first_contact_nothing_is_decided(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path, granted=False)
    answer = gate.scan("t")
    assert (answer.verdict.kind, answer.verdict.reason, answer.trouble) == (
        VerdictKind.REFUSE,
        Reason.NO_ANSWER,
        Trouble.NO_CATALOGUE,
    )
    assert gate.operations() == []


def fill(gate: OpenGate) -> None:
    """The disk is full: SQLite may not grow the journal by one page."""
    with gate.journal.engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        raw.execute("PRAGMA max_page_count = 1")  # SQLite takes the present size instead


def empty(gate: OpenGate) -> None:
    with gate.journal.engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        raw.execute("PRAGMA max_page_count = 1000000")


def test_on_a_full_disk_nobody_is_let_in_and_it_is_said_calmly(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    gate.scan("used")
    fill(gate)
    seen = set()
    for number in range(300):  # until the last free bytes are gone
        answer = gate.scan(f"ticket {number}")
        seen.add((answer.verdict.kind, answer.trouble))
        if answer.trouble is not None:
            assert (answer.verdict.kind, answer.verdict.reason) == (VerdictKind.REFUSE, Reason.NO_ANSWER)
            assert answer.number
            break
    else:
        pytest.fail("the disk never filled")
    refused = gate.scan("used")  # what is refused anyway is still refused by its own word
    assert refused.verdict.reason in (Reason.ALREADY_USED, Reason.NO_ANSWER)
    empty(gate)
    assert gate.scan(f"ticket {number}").verdict.kind is VerdictKind.ADMIT
    admitted = [operation for operation in gate.operations() if isinstance(operation, Admission)]
    assert len(admitted) == len({operation.ticket for operation in admitted})
    assert gate.lane.unchained == 0
    gate.journal.verify()


def test_an_interrupted_scan_counts_is_listed_and_chained(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    cut = gate.scan("t", finish=False)
    gate.again()
    assert gate.lane.settle_interrupted() == 1
    assert gate.lane.settle_interrupted() == 0
    (done,) = gate.operations()
    assert isinstance(done, Admission)
    assert (done.op, done.interrupted, done.mode) == (cut.op.hex(), True, Mode.POLICY)
    assert gate.pending(cut.op).interrupted == 1
    assert gate.scan("t").verdict.reason is Reason.ALREADY_USED


class PowerCut(Exception):
    """The gate dies while its claim is on the wire."""


def cut_while_asking(gate: OpenGate, arbiter: PlayedArbiter, seed: str, **ticket: int) -> None:
    def die(_: ClaimMessage) -> None:
        raise PowerCut

    arbiter.looks = die
    with pytest.raises(PowerCut):
        gate.scan(seed, **ticket)
    arbiter.looks = lambda _: None
    gate.again()


def test_an_interrupted_scan_is_asked_for_under_its_own_op(tmp_path: Path) -> None:
    arbiter = PlayedArbiter([Granted(epoch=1, left=0)])
    gate = OpenGate(tmp_path, arbiter=arbiter)
    cut_while_asking(gate, arbiter, "t", variant=60)
    assert gate.lane.settle_interrupted() == 1
    first, second = arbiter.asked
    assert first == second  # an arbiter that knows the op gives the same answer again
    (done,) = gate.operations()
    assert isinstance(done, Admission)
    assert (done.op, done.mode, done.epoch, done.interrupted) == (first.op, Mode.CONFIRMED, 1, True)


def test_an_interrupted_scan_that_cannot_have_been_green_takes_nothing(tmp_path: Path) -> None:
    arbiter = PlayedArbiter([Denied(Reason.CANCELLED)])
    gate = OpenGate(tmp_path, arbiter=arbiter)
    cut_while_asking(gate, arbiter, "t", variant=60)
    gate.lane.settle_interrupted()
    (done,) = gate.operations()
    assert isinstance(done, Refusal)
    assert (done.reason, done.number) == (Reason.CANCELLED, "A 001")


def test_an_interrupted_scan_that_silence_let_in_stays_an_admission(tmp_path: Path) -> None:
    """Green by policy, then the power went; what the arbiter says now does not undo that somebody walked in."""
    arbiter = PlayedArbiter([None, Denied(Reason.ALREADY_USED)])
    gate = OpenGate(tmp_path, arbiter=arbiter)
    assert gate.scan("t", finish=False).verdict.kind is VerdictKind.ADMIT
    gate.again()
    gate.lane.settle_interrupted()
    (done,) = gate.operations()
    assert isinstance(done, Admission)
    assert (done.mode, done.interrupted) == (Mode.POLICY, True)


texts = st.sampled_from(
    [signed(seed, variant=variant, uses=uses) for seed in "ab" for variant, uses in ((1, 1), (10, 3), (70, 1), (60, 1))]
    + [signed("new", key=KIOSK_KEY, kid=Kid(b"NEW1")), signed("bad", key=STRANGER_KEY), "junk", "T1:" + "A" * 4000]
)
steps = st.lists(
    st.tuples(
        st.sampled_from(["scan", "scan", "scan", "crash", "release"]), texts, st.sampled_from(Direction), st.booleans()
    ),
    max_size=12,
)
replies = st.lists(st.sampled_from([None, Granted(epoch=1, left=1), Denied(Reason.ALREADY_USED)]), max_size=20)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps, replies)
def test_whatever_happens_the_chain_holds_and_each_scan_is_in_it_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, Direction, bool]], replies: list[object]
) -> None:
    gate = OpenGate(tmp_path_factory.mktemp("gate"), arbiter=PlayedArbiter(list(replies)))  # type: ignore[arg-type]
    scanned, green = [], {}
    for what, text, direction, finish in steps:
        gate.device.clock.now += timedelta(seconds=1)
        if what == "crash":
            gate.again()
            gate.lane.settle_interrupted()
        elif what == "release" and green:
            op = next(iter(green))
            if gate.lane.release(op, ReleaseReason.NOT_PASSED):
                green.pop(op)
        else:
            gate.lane.direction = direction
            answer = gate.show(text, finish=finish)
            scanned.append(answer.op.hex())
            if answer.claim is not None and answer.verdict.kind is not VerdictKind.REFUSE:
                green[answer.op] = answer.claim
    gate.again()
    gate.lane.settle_interrupted()
    gate.journal.verify()
    done = [operation for operation in gate.operations() if isinstance(operation, Admission | Refusal)]
    assert sorted(operation.op for operation in done) == sorted(scanned)
    released = {operation.of for operation in gate.operations() if isinstance(operation, Release)}
    admitted = {o.op: o for o in done if isinstance(o, Admission) and o.op not in released}
    assert {op.hex() for op in green} <= admitted.keys()  # no green without its operation
    for ticket in {operation.ticket for operation in admitted.values()}:
        entries = sum(o.units for o in admitted.values() if o.ticket == ticket)
        assert entries <= 3
    gate.store.close()
    gate.journal.engine.dispose()
    gate.feed.close()
