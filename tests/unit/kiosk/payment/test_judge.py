"""What the terminal's last transaction proves, and where it must not be believed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.payment import Evidence, Outcome
from kiosk.payment.zvt.judge import Snapshot, judge
from kiosk.payment.zvt.messages import StatusInfo

TID = "29001006"
AMOUNT = 3300


def told(number: int, *, amount: int | None = AMOUNT, result: int | None = 0, **more) -> StatusInfo:
    return StatusInfo(
        result, amount, trace=number, receipt_no=number, turnover=number, terminal_id=more.pop("tid", TID), **more
    )


BEFORE = Snapshot(TID, told(10, amount=500), 10_000)
SEEN = Evidence(Outcome.APPROVED_HELD, "approved_held", trace=11, receipt_no=11, turnover=11)
YES, NO, DOUBT = Outcome.APPROVED_FINAL, Outcome.NOT_CHARGED, Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("last", "total", "seen", "outcome", "code"),
    [
        (told(11), 13_300, None, YES, "last_is_ours"),
        (told(11), 13_300, SEEN, YES, "last_is_ours"),
        (told(11), None, SEEN, YES, "last_is_ours"),
        (told(10, amount=500), 10_000, SEEN, NO, "last_is_baseline"),
        (told(10, amount=500), None, None, NO, "last_is_baseline"),
        (told(11, result=0x6C), 10_000, SEEN, NO, "last_failed"),
        (told(11, result=5), None, None, NO, "last_failed"),
        (told(12, original_trace=11), 10_000, SEEN, NO, "reversed"),
        (told(12, original_trace=11), 10_000, None, NO, "reversed"),
        # where the terminal contradicts itself, or the story
        (told(10, amount=500), 13_300, SEEN, DOUBT, "totals_disagree"),
        (told(11), 10_000, SEEN, DOUBT, "totals_disagree"),
        (told(11, result=5), 13_300, SEEN, DOUBT, "totals_disagree"),
        (told(11, amount=3301), 13_301, SEEN, DOUBT, "amount_differs"),
        (told(11, amount=3301, result=0x6C), 10_000, SEEN, NO, "last_failed"),
        (told(11, amount=3301, result=0x6C), None, SEEN, DOUBT, "amount_differs"),
        (told(11, amount=None), 13_300, SEEN, DOUBT, "no_amount"),
        (told(12), 13_300, SEEN, DOUBT, "not_ours"),
        (told(11, tid="1"), 13_300, SEEN, DOUBT, "other_terminal"),
        (told(12, original_trace=9), 10_000, SEEN, DOUBT, "other_reversed"),
        (told(12, original_trace=10), 9_500, None, DOUBT, "other_reversed"),
        (told(12, original_trace=11, result=5), 10_000, SEEN, DOUBT, "reversal_failed"),
        (told(11, is_complete=False), 13_300, SEEN, DOUBT, "last_unreadable"),
        (StatusInfo(0, AMOUNT), 13_300, None, DOUBT, "last_unreadable"),
        # without a last transaction only the sums speak
        (None, 10_000, SEEN, NO, "totals_unmoved"),
        (None, 13_300, SEEN, DOUBT, "no_last_transaction"),
        (None, None, None, DOUBT, "no_last_transaction"),
        # two payments since the baseline, and nobody saw ours: the last one may be another till's
        (told(12), 13_300, None, DOUBT, "not_next"),
        (told(12), None, None, DOUBT, "not_next"),
        (told(12, result=5), 10_000, None, NO, "last_failed"),
    ],
)
def test_judgement(last, total, seen, outcome, code):
    now = Snapshot(TID, last, total)
    assert judge(amount_minor=AMOUNT, before=BEFORE, now=now, seen=seen) == (outcome, code)


@pytest.mark.parametrize(
    ("total", "ends_with", "seen", "outcome", "code"),
    [
        (13_300, 11, SEEN, YES, "totals_moved"),
        (13_300, 11, None, DOUBT, "no_last_transaction"),
        (13_300, 12, SEEN, DOUBT, "no_last_transaction"),
        (13_300, None, SEEN, DOUBT, "no_last_transaction"),
        (13_301, 11, SEEN, DOUBT, "no_last_transaction"),
        (16_600, 11, SEEN, DOUBT, "no_last_transaction"),
        (10_000, 11, SEEN, NO, "totals_unmoved"),
    ],
)
def test_sums_alone_prove_a_charge_only_with_its_receipt_number(total, ends_with, seen, outcome, code):
    before = Snapshot(TID, None, 10_000, 10)
    assert judge(amount_minor=AMOUNT, before=before, now=Snapshot(TID, None, total, ends_with), seen=seen) == (
        outcome,
        code,
    )


@pytest.mark.parametrize(("then", "now", "code"), [(9999, 1, "last_is_ours"), (9998, 1, "not_next")])
def test_receipt_numbers_wrap(then, now, code):
    """9999 is followed by 1."""
    before = Snapshot(TID, StatusInfo(0, 500, receipt_no=then, terminal_id=TID), None)
    last = StatusInfo(0, AMOUNT, receipt_no=now, terminal_id=TID)
    assert judge(amount_minor=AMOUNT, before=before, now=Snapshot(TID, last), seen=None)[1] == code


def test_another_terminal_proves_nothing():
    now = Snapshot("other", told(11), 13_300)
    assert judge(amount_minor=AMOUNT, before=BEFORE, now=now, seen=None) == (DOUBT, "other_terminal")


def test_a_terminal_that_had_nothing_before():
    fresh = Snapshot(TID, None, 0)
    assert judge(amount_minor=AMOUNT, before=fresh, now=Snapshot(TID, told(1), AMOUNT), seen=None)[0] is YES
    assert judge(amount_minor=AMOUNT, before=fresh, now=fresh, seen=None)[0] is NO
    silent = Snapshot(TID, None, None)  # it will not say: neither "nothing" is a proof
    assert judge(amount_minor=AMOUNT, before=silent, now=silent, seen=None)[0] is DOUBT


STATUS = st.builds(
    StatusInfo,
    result=st.sampled_from([None, 0, 5, 0x6C]),
    amount_minor=st.sampled_from([None, AMOUNT, 500]),
    trace=st.sampled_from([None, 10, 11, 12]),
    receipt_no=st.sampled_from([None, 10, 11, 12]),
    turnover=st.sampled_from([None, 10, 11]),
    original_trace=st.sampled_from([None, None, 10, 11]),
    terminal_id=st.sampled_from([None, TID]),
)
SNAPSHOT = st.builds(Snapshot, st.just(TID), st.none() | STATUS, st.sampled_from([None, 10_000, 13_300]))


@given(SNAPSHOT, SNAPSHOT, st.none() | st.just(SEEN))
def test_sums_that_both_sides_know_are_never_contradicted(before, now, seen):
    outcome, _ = judge(amount_minor=AMOUNT, before=before, now=now, seen=seen)
    if before.total_minor is not None and now.total_minor is not None:
        moved = now.total_minor - before.total_minor
        assert outcome is DOUBT or moved == (AMOUNT if outcome is YES else 0)


@given(SNAPSHOT)
def test_baseline_goes_through_the_journal_unchanged(snapshot):
    assert Snapshot.from_mapping(json.loads(json.dumps(snapshot.to_mapping()))) == snapshot
