"""What a text names: forged is said only where a known key's signature is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.gate.naming import DIGITS, Coded, Digits, Nothing, SellingKey, Trust, name
from sync.certificate import Certificate
from tests.support.gate_device import KIOSK_KEY, KIOSK_KID, STRANGER_KEY, signed
from tickets.admission import Reason
from tickets.ids import Kid


def held(kid: Kid, **limits: Any) -> Certificate:
    public = KIOSK_KEY.public_key().public_bytes_raw()
    values = {"not_before": 0, "expires": 2**32 - 1, "tickets_max": 100, **limits}
    return Certificate(kid=kid, public=public, device="00" * 16, **values)


KEYS = {
    KIOSK_KID: SellingKey(KIOSK_KEY.public_key(), held(KIOSK_KID), revoked=False),
    Kid(b"GONE"): SellingKey(KIOSK_KEY.public_key(), held(Kid(b"GONE")), revoked=True),
}


def test_how_far_a_signature_carries() -> None:
    for kid, trust in ((KIOSK_KID, Trust.GOOD), (Kid(b"GONE"), Trust.REVOKED), (Kid(b"NEW1"), Trust.UNHEARD)):
        named = name(signed("t", kid=kid), source="camera", keys=KEYS)
        assert isinstance(named, Coded)
        assert named.trust is trust


@pytest.mark.parametrize("kid", [KIOSK_KID, Kid(b"GONE")])
def test_a_known_key_that_did_not_sign_is_a_forgery(kid: Kid) -> None:
    assert name(signed("t", key=STRANGER_KEY, kid=kid), source="camera", keys=KEYS) == Nothing(Reason.FORGED)


def test_an_unheard_key_accuses_nobody() -> None:
    named = name(signed("t", key=STRANGER_KEY, kid=Kid(b"NEW1")), source="camera", keys=KEYS)
    assert isinstance(named, Coded)
    assert named.trust is Trust.UNHEARD


TORN = signed("t")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "https://example.org/menu",
        "WIFI:S:guest;;",
        TORN[:80],
        TORN[:-1],
        TORN + " ",
        TORN[3:],
        "T1:",
        "T1:" + "A" * 3997,
        "T1:" + "\x00\x01ÿ\udcff" * 30,
        "\x00" * 4000,
        "0" * 4296,
        "pretix-secret-abcdefgh",
    ],
)
def test_damage_and_foreign_codes_are_unknown(text: str) -> None:
    for source in ("camera", DIGITS):
        assert name(text, source=source, keys=KEYS) == Nothing(Reason.UNKNOWN)


def test_digits_count_only_when_somebody_typed_them() -> None:
    assert name("123 456", source=DIGITS, keys=KEYS) == Digits("123456")
    assert name("123456", source="camera", keys=KEYS) == Nothing(Reason.UNKNOWN)
    assert name("123456789", source=DIGITS, keys=KEYS) == Nothing(Reason.UNKNOWN)  # the check digit does not fit


@given(st.text(max_size=400), st.sampled_from(["camera", DIGITS, "wedge"]))
def test_no_text_raises(text: str, source: str) -> None:
    for shown in (text, "T1:" + text):
        name(shown, source=source, keys=KEYS)
