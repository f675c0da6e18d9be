"""Evidence and requests as they go into the journal and come back; card numbers that never do."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.payment import AttemptId, Evidence, EvidenceError, Method, OrderRef, Outcome, PayRequest
from kiosk.payment.masking import mask_number, mask_text
from tickets.money import Money

TEXT = st.text(max_size=30)
MONEY = st.builds(Money, st.integers(1, 10**9), st.sampled_from(["JPY", "EUR"]))
EVIDENCE = st.builds(
    Evidence,
    outcome=st.sampled_from(Outcome),
    code=st.sampled_from(["approved", "zvt_result_6c"]),
    attempt_id=st.none() | st.builds(AttemptId, TEXT),
    amount=st.none() | MONEY,
    brand=st.none() | TEXT,
    masked_id=st.none() | TEXT,
    receipt_no=st.none() | st.integers(0, 9999),
    trace=st.none() | st.integers(0, 10**8),
    customer_receipt=st.none() | TEXT,
    balance_after=st.none() | MONEY,
    text=st.none() | TEXT,
    raw=st.lists(TEXT, max_size=3).map(tuple),
)


@given(EVIDENCE)
def test_evidence_round_trip(evidence):
    assert Evidence.from_json(evidence.to_json()) == evidence


@given(st.integers(1, 10**9), st.dictionaries(TEXT, st.none() | st.integers() | TEXT, max_size=3))
def test_request_round_trip(minor, baseline):
    request = PayRequest(AttemptId("a1"), OrderRef("o1"), Money(minor, "JPY"), Method.CARD, 60, baseline)
    assert PayRequest.from_json(request.to_json()) == request


def test_evidence_of_a_later_release_is_still_read():
    stored = json.loads(Evidence(Outcome.APPROVED_FINAL, "approved", trace=5).to_json()) | {"colour": "green"}
    assert Evidence.from_json(json.dumps(stored)).trace == 5


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"outcome":"paid","code":"x"}', '{"outcome":"unknown"}', "{" * 5000])
def test_what_is_no_evidence_says_so(text):
    with pytest.raises(EvidenceError):
        Evidence.from_json(text)
    with pytest.raises(EvidenceError):
        PayRequest.from_json(text)


def test_nothing_is_no_payment():
    with pytest.raises(ValueError, match="more than nothing"):
        PayRequest(AttemptId("a"), OrderRef("o"), Money(0, "JPY"), Method.CARD, 60)


@pytest.mark.parametrize(
    ("number", "masked"),
    [
        ("4111111111111111", "411111******1111"),
        ("EEEEEEEEEEEE4771", "************4771"),
        ("411111xxxxxx1111", "411111******1111"),
        ("12345678", "****5678"),
        ("", ""),
    ],
)
def test_masked_numbers(number, masked):
    assert mask_number(number) == masked
    assert mask_number(masked) == masked


def test_evidence_masks_whoever_built_it():
    evidence = Evidence(
        Outcome.APPROVED_FINAL,
        "approved",
        masked_id="4111111111111111",
        customer_receipt="Karte 4111 1111 1111 1111\nVU-Nr 100764992",
        text="4111111111111111",
        raw=("< 3C=4111111111111111",),
    )
    stored = evidence.to_json()
    assert "4111111111111111" not in stored.replace(" ", "")
    assert "4111 11** **** 1111" in stored
    assert "100764992" in stored


@given(st.text(st.characters(codec="ascii"), max_size=60))
def test_text_without_long_digit_runs_is_left_alone(text):
    if sum(char.isdigit() for char in text) < 13:
        assert mask_text(text) == text
