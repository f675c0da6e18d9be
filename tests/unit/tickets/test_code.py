"""The ticket code: final vectors, its size, and that nothing else is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import segno
from hypothesis import given
from hypothesis import strategies as st

from tickets import base45, code
from tickets.code import CODE_CHARS_MAX, CodeError, TicketCode
from tickets.ids import Kid, TicketId

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "ticket_code.json").read_text(encoding="utf-8")
)
CODES, REFUSED, KEYS = VECTORS["codes"], VECTORS["refused"], VECTORS["keys"]

tickets = st.builds(
    lambda kid, ticket, variant, uses, language, times: TicketCode(
        Kid(kid), TicketId(ticket), variant, uses, language, min(times), max(times)
    ),
    st.binary(min_size=4, max_size=4),
    st.binary(min_size=10, max_size=10),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.integers(0, 255),
    st.sets(st.integers(0, 2**32 - 1), min_size=2, max_size=2),
)
KEY = code.private_key(bytes.fromhex(KEYS["4b303031"]["private"]))
OTHER = code.private_key(bytes.fromhex(KEYS["00000001"]["private"]))


def of_vector(row: dict[str, Any]) -> TicketCode:
    return TicketCode(
        kid=Kid(bytes.fromhex(row["kid"])),
        ticket_id=TicketId(bytes.fromhex(row["ticket_id"])),
        variant=row["variant"],
        uses=row["uses"],
        language=row["language"],
        not_before=row["not_before"],
        expires=row["expires"],
    )


@pytest.mark.parametrize("row", CODES, ids=lambda row: row["name"])
def test_a_vector_is_what_is_signed_and_what_is_read(row: dict[str, Any]) -> None:
    key = code.private_key(bytes.fromhex(KEYS[row["kid"]]["private"]))
    assert code.sign(of_vector(row), key) == row["text"]  # Ed25519 is deterministic
    parsed = code.parse(row["text"])
    assert parsed.ticket == of_vector(row)
    for kid, pair in KEYS.items():
        assert code.verify(parsed, code.public_key(bytes.fromhex(pair["public"]))) is (kid == row["kid"])


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row["name"])
def test_what_is_no_ticket_code_is_refused(row: dict[str, Any]) -> None:
    if not row["parses"]:
        with pytest.raises(CodeError):
            code.parse(row["text"])
        return
    parsed = code.parse(row["text"])
    public = code.public_key(bytes.fromhex(KEYS[parsed.ticket.kid.hex()]["public"]))
    assert not code.verify(parsed, public)


def test_the_largest_code_still_has_45_modules() -> None:
    text = next(row["text"] for row in CODES if row["name"] == "all at their largest")
    assert len(base45.decode(text[3:])) == 116
    assert len(text) == CODE_CHARS_MAX == 177
    symbol = segno.make_qr(text, error="m", boost_error=False)
    assert (symbol.version, symbol.mode, symbol.symbol_size(border=0)) == (7, "alphanumeric", (45, 45))
    assert segno.make_qr("A" * 178, error="m", boost_error=False).version == 7
    assert segno.make_qr("A" * 179, error="m", boost_error=False).version == 8


@given(tickets)
def test_every_ticket_fits_and_comes_back(ticket: TicketCode) -> None:
    text = code.sign(ticket, KEY)
    assert len(text) <= CODE_CHARS_MAX
    parsed = code.parse(text)
    assert parsed.ticket == ticket
    assert code.verify(parsed, KEY.public_key())
    assert not code.verify(parsed, OTHER.public_key())


@given(tickets, st.data())
def test_one_changed_character_is_never_a_good_code(ticket: TicketCode, data: st.DataObject) -> None:
    text = code.sign(ticket, KEY)
    place = data.draw(st.integers(0, len(text) - 1))
    put = data.draw(st.sampled_from([letter for letter in base45.ALPHABET + "aé\x00" if letter != text[place]]))
    changed = text[:place] + put + text[place + 1 :]
    try:
        parsed = code.parse(changed)
    except CodeError:
        return
    assert not code.verify(parsed, KEY.public_key())


@given(st.text(max_size=300))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    for hostile in (text, "T1:" + text):
        with pytest.raises(CodeError):
            code.parse(hostile)


@given(st.binary(max_size=116))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    with pytest.raises(CodeError):
        code.parse("T1:" + base45.encode(b"\xd2\x84" + data[:114]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kid", b"abc"),
        ("ticket_id", b"abc"),
        ("variant", 65536),
        ("variant", -1),
        ("uses", 65536),
        ("language", 256),
        ("not_before", 2**32),
        ("expires", 1000),
    ],
)
def test_a_ticket_beyond_the_limits_cannot_be_made(name: str, value: Any) -> None:
    row: dict[str, Any] = {
        "kid": b"abcd",
        "ticket_id": bytes(10),
        "variant": 1,
        "uses": 1,
        "language": 0,
        "not_before": 1000,
        "expires": 2000,
    }
    with pytest.raises(ValueError):
        TicketCode(**{**row, name: value})
