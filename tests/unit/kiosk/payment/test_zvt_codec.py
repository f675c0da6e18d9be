"""The codec under everything hypothesis can think of: round trips, any fragmentation, noise, broken checksums."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiosk.payment.zvt import apdu, bcd, fields, messages, tlv
from kiosk.payment.zvt.apdu import Apdu, Assembler
from kiosk.payment.zvt.describe import describe
from kiosk.payment.zvt.errors import CodecError
from kiosk.payment.zvt.framing import Deframer, Payload, Signal, wrap

FROM_TERMINAL = st.sampled_from([0x8000, 0x8400, 0x849C, 0x040F, 0x04FF, 0x060F, 0x061E, 0x06D1, 0x06D3])
UNITS = st.builds(Apdu, FROM_TERMINAL, st.one_of(st.binary(max_size=40), st.binary(min_size=250, max_size=600)))


def chop(data: bytes, cuts: list[int]) -> list[bytes]:
    marks = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(marks)]


@given(st.integers(0, 999_999_999_999))
def test_amount_round_trip(number):
    assert bcd.decode(bcd.encode(number, size=6)) == number


def test_amount_that_does_not_fit_is_refused():
    with pytest.raises(CodecError):
        bcd.encode(10**12, size=6)
    with pytest.raises(CodecError):
        bcd.encode(-1, size=6)
    with pytest.raises(CodecError):
        bcd.decode(b"\x1a")


@given(st.lists(UNITS, max_size=6), st.lists(st.integers(0, 5000), max_size=12))
def test_units_survive_any_fragmentation(units, cuts):
    assembler = Assembler()
    stream = b"".join(unit.encode() for unit in units)
    found = [unit for piece in chop(stream, cuts) for unit in assembler.feed(piece)]
    assert found == units
    assert not assembler.has_partial
    assert assembler.skipped_bytes == 0


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=80), UNITS)
def test_text_before_a_unit_is_skipped(noise, unit):
    assert Assembler().feed(noise.encode() + unit.encode()) == [unit]


@given(st.binary(max_size=300))
def test_assembler_takes_any_bytes(data):
    Assembler().feed(data)


@given(st.lists(st.binary(max_size=60), max_size=5), st.lists(st.integers(0, 500), max_size=10))
def test_blocks_survive_any_fragmentation(payloads, cuts):
    stream = b"".join(wrap(payload) for payload in payloads)
    deframer = Deframer()
    events = [event for piece in chop(stream, cuts) for event in deframer.feed(piece)]
    assert events == [Payload(payload) for payload in payloads]
    assert not deframer.is_inside


@given(st.binary(min_size=1, max_size=60), st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_never_passes_for_the_payload(payload, place, change):
    block = bytearray(wrap(payload))
    block[place % len(block)] ^= change
    events = Deframer().feed(bytes(block))
    assert Payload(payload) not in events or bytes(block) == wrap(payload)


def test_a_block_begun_again_counts_once():
    block = wrap(b"\x06\x0f\x00")
    assert Deframer().feed(block[:4] + block) == [Payload(b"\x06\x0f\x00")]


def test_a_block_that_stops_is_given_up():
    deframer = Deframer()
    assert deframer.feed(wrap(b"\x06\x0f\x00")[:-1]) == []
    assert deframer.is_inside
    assert deframer.give_up() is Signal.BROKEN
    assert deframer.feed(wrap(b"\x80\x00\x00")) == [Payload(b"\x80\x00\x00")]


@given(
    st.lists(st.tuples(st.sampled_from([0x1F07, 0x1F2B, 0x07, 0x41, 0x1F8000]), st.binary(max_size=300)), max_size=5)
)
def test_tlv_round_trip(items):
    objects = tuple(tlv.Tlv(tag, value) for tag, value in items)
    assert tlv.decode(b"".join(item.encode() for item in objects)) == objects


SIZES = {0x04: 6, 0x0B: 3, 0x19: 1, 0x27: 1, 0x29: 4, 0x2A: 15, 0x49: 2, 0x87: 2, 0x88: 3, 0xBA: 5, 0x3B: 8}


@given(
    st.lists(
        st.one_of(
            st.sampled_from(sorted(SIZES)).flatmap(
                lambda number: st.tuples(st.just(number), st.binary(min_size=SIZES[number], max_size=SIZES[number]))
            ),
            st.tuples(st.sampled_from([0x22, 0x23, 0x8B]), st.binary(max_size=99)),
            st.tuples(st.sampled_from([0x24, 0x3C, 0x60]), st.binary(max_size=200)),
        ),
        unique_by=lambda item: item[0],
        max_size=8,
    )
)
def test_fields_round_trip_in_any_order(items):
    block = fields.decode(fields.encode(items))
    assert dict(block.values) == dict(items)
    assert block.unread == b""


def test_a_field_nobody_knows_hides_the_rest():
    block = fields.decode(b"\x27\x00\x33\x01\x02\x04\x00\x00\x00\x00\x33\x00")
    assert block.byte(fields.RESULT) == 0
    assert block.number(fields.AMOUNT) is None
    assert len(block.unread) == 10
    assert not messages.status_info(Apdu(0x040F, b"\x27\x00\x33\x01")).is_complete


@settings(max_examples=300)
@given(st.sampled_from([0x040F, 0x04FF, 0x060F, 0x061E, 0x06D1, 0x06D3]), st.binary(max_size=120))
def test_any_data_is_read_without_a_raise(control, data):
    unit = Apdu(control, data)
    messages.status_info(unit)
    messages.totals_info(unit)
    messages.completion(unit)
    messages.terminal_state(unit)
    messages.aborted(unit)
    messages.intermediate(unit)
    messages.printed(unit)
    describe(unit)


PAN = "4111111111111111"


@pytest.mark.parametrize(
    "unit",
    [
        Apdu(
            0x040F,
            fields.encode([(0x27, b"\x00"), (0x22, bytes.fromhex(PAN)), (0x23, bytes.fromhex(PAN) + b"\xd2\x51")]),
        ),
        Apdu(0x040F, fields.encode([(0x27, b"\x00"), (0x06, tlv.Tlv(0x5A, bytes.fromhex(PAN)).encode())])),
        Apdu(0x040F, fields.encode([(0x27, b"\x00"), (0x3C, PAN.encode())])),
        Apdu(0x040F, b"\x27\x00\x33" + bytes.fromhex(PAN)),
        Apdu(0x06D1, b"\x00Karte " + PAN.encode()),
        Apdu(0x06D3, fields.encode([(0x06, tlv.Tlv(0x25, tlv.Tlv(0x07, PAN.encode()).encode()).encode())])),
        Apdu(0x04FF, b"\x0a\x01" + fields.encode([(0x06, tlv.Tlv(0x24, PAN.encode()).encode())])),
        Apdu(0x061E, b"\x6c" + bytes.fromhex(PAN)),
        Apdu(0x060F, b"\x00" + bytes.fromhex(PAN)),
        Apdu(0x0600, b"\x12\x34\x56\xbe\x03\x92"),
        Apdu(0x0630, b"\x12\x34\x56\x87\x04\x70"),
    ],
)
def test_a_described_frame_tells_no_card_and_no_password(unit):
    line = describe(unit).replace(" ", "")
    assert PAN not in line
    assert PAN.encode().hex() not in line
    assert "1111111111" not in line
    assert "123456" not in line


def test_a_described_frame_tells_what_helps():
    unit = Apdu(0x040F, bytes.fromhex("27000400000000204087047022F0F2EE71"))
    assert describe(unit) == "04 0F 27=00 04=000000002040 87=0470 22(2)"


def test_decode_wants_exactly_one_unit():
    with pytest.raises(CodecError):
        apdu.decode(bytes.fromhex("800000800000"))
