"""Base45 against the examples of RFC 9285, and strict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickets import base45
from tickets.base45 import Base45Error


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"AB", "BB8"), (b"Hello!!", "%69 VD92EX0"), (b"base-45", "UJCLQE7W581"), (b"ietf!", "QED8WEX0"), (b"", "")],
)
def test_the_examples_of_rfc_9285(data: bytes, text: str) -> None:
    assert base45.encode(data) == text
    assert base45.decode(text) == data


@given(st.binary(max_size=200))
def test_what_is_encoded_comes_back(data: bytes) -> None:
    assert base45.decode(base45.encode(data)) == data


@given(st.text(alphabet=base45.ALPHABET, max_size=12))
def test_a_text_has_one_meaning_or_none(text: str) -> None:
    try:
        data = base45.decode(text)
    except Base45Error:
        return
    assert base45.encode(data) == text


@pytest.mark.parametrize("text", ["GGW", ":::", "::", "A", "BB8A", "bb8", "BB8\n", "é00"])
def test_what_encode_never_made_is_refused(text: str) -> None:
    with pytest.raises(Base45Error):  # GGW is 65536, one too many (RFC 9285, section 6)
        base45.decode(text)


def test_a_space_is_a_letter() -> None:
    assert base45.decode("%69 VD92EX0") == b"Hello!!"
    with pytest.raises(Base45Error):
        base45.decode("%69VD92EX0")
