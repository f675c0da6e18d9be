"""Message sequence ids, mirrored receipts and order numbers, to the byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.payment.zvt import apdu, commands, fields, sequence
from kiosk.payment.zvt.apdu import Apdu


def test_the_examples_of_the_specification():
    """PA00P015, 5.1."""
    offer = commands.registration(password=0, config=0x9E, currency=978, text_blocks=True, sequence_ids=True)
    assert offer.encode().hex(" ").upper() == ("06 00 14 00 00 00 9E 09 78 06 0C 26 04 0A 02 06 D3 1F 73 03 00 00 00")
    assert sequence.stamped(commands.OK, 1).encode().hex(" ").upper() == "80 00 08 06 06 1F 73 03 00 00 01"
    pay = sequence.stamped(commands.authorisation(amount_minor=100, currency=978), 1)
    assert pay.encode().hex(" ").upper() == "06 01 12 04 00 00 00 00 01 00 49 09 78 06 06 1F 73 03 00 00 01"
    told = apdu.decode(
        bytes.fromhex("04 FF 19 17 03 06 15 24 0D 07 0B 30 30 20 41 70 70 72 6F 76 65 64 1F 73 03 00 00 08")
    )
    assert sequence.number_of(told) == 8


def test_ids_wrap():
    assert [sequence.after(0), sequence.after(999_998), sequence.after(999_999)] == [1, 999_999, 1]


@given(st.integers(1, 999_999), st.binary(max_size=40))
def test_what_is_stamped_is_read(number, data):
    assert sequence.number_of(sequence.stamped(Apdu(0x8000, data), number)) == number


@given(st.binary(max_size=300))
def test_reading_never_raises(data):
    sequence.number_of(Apdu(0x040F, data))


@pytest.mark.parametrize(
    ("mirrored", "container"),
    [(b"", "1F 1F 00"), (b"\x00\x00", "1F 1F 00"), (b"\x04\x70", "1F 1F 02 04 70")],
    ids=["unknown", "never-zero", "470"],
)
def test_the_mirrored_receipt(mirrored, container):
    """Chapter 4: empty where nothing is known, never a zero, which could reverse receipt 1."""
    block = fields.decode(commands.authorisation(amount_minor=100, mirrored=mirrored).data)
    assert block.values[fields.TLV].hex(" ").upper() == container


@pytest.mark.parametrize("order", ["K1A7", "K1-000123", "z" * 5, "x" * 26, "注文1", ""])
def test_order_numbers_are_what_card_complete_takes(order):
    number = commands.order_number(order)
    assert 1 <= len(number) <= 25
    assert number.isascii()
    assert number.isalnum()
    assert not set("yz") & set(number)
    assert (number == order) is (order == "K1A7")
