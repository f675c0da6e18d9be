"""The terminal's own codec against bytes that others have published (ZVT, PA00P015 and open-source test suites)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators.terminal import fields
from emulators.terminal.apdu import Apdu, take
from emulators.terminal.fields import BadField, bcd, decode, encode, number, tags, tlv
from emulators.terminal.line import Deframer, crc, frame


def apdu_of(text: str) -> Apdu:
    buffer = bytearray.fromhex(text.replace("-", " "))
    found = take(buffer)
    assert found is not None
    assert not buffer
    return found


def test_crc_is_kermit() -> None:
    assert crc(b"123456789") == 0x2189


# Serial blocks as published; the message is what stands between 10 02 and 10 03, undoubled.
BLOCKS = [
    ("06 00 06 12 34 56 BA 09 78", "10 02 06 00 06 12 34 56 BA 09 78 10 03 24 C3"),
    ("06 93 03 12 34 56", "10 02 06 93 03 12 34 56 10 03 CA A4"),
    ("06 01 0A 04 00 00 00 01 10 00 49 09 78", "10 02 06 01 0A 04 00 00 00 01 10 10 00 49 09 78 10 03 F2 FF"),
    ("06 70 00", "10 02 06 70 00 10 03 D9 F9"),
    ("80 00 00", "10 02 80 00 00 10 03 F5 1F"),
    ("84 9C 00", "10 02 84 9C 00 10 03 C3 41"),
    ("06 18 00", "10 02 06 18 00 10 03 56 3A"),
    ("05 01 03 12 34 56", "10 02 05 01 03 12 34 56 10 03 E0 43"),
    ("05 01 05 12 34 56 03 04", "10 02 05 01 05 12 34 56 03 04 10 03 30 94"),
    ("06 0F 0B F0 F0 F7 32 2E 31 34 2E 31 35 00", "10 02 06 0F 0B F0 F0 F7 32 2E 31 34 2E 31 35 00 10 03 B1 11"),
    ("06 20 05 12 34 56 03 03", "10 02 06 20 05 12 34 56 03 03 10 03 70 38"),
    ("06 30 06 12 34 56 87 04 70", "10 02 06 30 06 12 34 56 87 04 70 10 03 4B 3D"),
    ("06 0F 00", "10 02 06 0F 00 10 03 C6 33"),
    ("06 B0 00", "10 02 06 B0 00 10 03 43 F3"),
    ("06 02 00", "10 02 06 02 00 10 03 B9 CC"),
    ("05 01 00", "10 02 05 01 00 10 03 10 06"),  # the checksum's low byte is 10 and is not doubled
    (
        "06 D1 19 00 47 65 73 61 6D 74 20 20 20 20 20 20 30 20 20 20 20 20 20 20 30 2C 30 30",
        "10 02 06 D1 19 00 47 65 73 61 6D 74 20 20 20 20 20 20 30 20 20 20 20 20 20 20 30 2C 30 30 10 03 B5 AB",
    ),
    (
        (
            "06 E0 25 F1 F1 F6 46 41 48 52 45 52 4E 55 4D 4D 45 52 20 20 20 20 F2 F1 F5 45 49 4E 47 45 42 45 4E 20 55 4E 44 20"
            " 4F 4B"
        ),
        (
            "10 02 06 E0 25 F1 F1 F6 46 41 48 52 45 52 4E 55 4D 4D 45 52 20 20 20 20 F2 F1 F5 45 49 4E 47 45 42 45 4E 20 55 4E"
            " 44 20 4F 4B 10 03 DE CD"
        ),
    ),
]


@pytest.mark.parametrize(("message", "block"), BLOCKS)
def test_serial_blocks(message, block) -> None:
    assert frame(bytes.fromhex(message)) == bytes.fromhex(block)
    assert Deframer().feed(bytes.fromhex(block)) == [("frame", bytes.fromhex(message))]
    deframer = Deframer()
    one_by_one = [event for byte in bytes.fromhex(block) for event in deframer.feed(bytes([byte]))]
    assert one_by_one == [("frame", bytes.fromhex(message))]


@given(message=st.binary(max_size=300), noise=st.binary(max_size=20))
def test_any_message_survives_the_frame_and_damage_is_seen(message, noise) -> None:
    block = frame(message)
    assert Deframer().feed(block) == [("frame", message)]
    deframer = Deframer()
    assert ("frame", message) in [*deframer.feed(b"\x06\x15" + block), *deframer.feed(block)]
    damaged = bytearray(block)
    damaged[-1] ^= 0x01
    assert Deframer().feed(bytes(damaged)) == [("bad", b"")]
    Deframer().feed(noise)  # never raises


def test_messages_come_off_a_stream_in_any_pieces() -> None:
    messages = [
        Apdu(0x8000),
        Apdu(0x0601, b"\x04\x00\x00\x00\x00\x10\x00"),
        Apdu(0x06D3, bytes(1069)),
        Apdu(0x040F, bytes(254)),
    ]
    stream = b"".join(message.encode() for message in messages)
    assert Apdu(0x06D3, bytes(1069)).encode()[:5] == bytes.fromhex("06 D3 FF 2D 04")
    for size in (1, 2, 3, 100, len(stream)):
        buffer, found = bytearray(), []
        for i in range(0, len(stream), size):
            buffer += stream[i : i + size]
            while (apdu := take(buffer)) is not None:
                found.append(apdu)
        assert found == messages


GOOD_PAYMENT = (
    "04 0F 77 27 00 04 00 00 00 00 20 40 0B 00 04 70 0C 22 39 53 0D 10 06 0E 25 12 17 00 01 19 70 22 F0 F8 EE EE EE EE EE"
    " EE 47 71 29 28 00 48 69 2A 31 30 30 34 36 31 37 36 33 20 20 20 20 20 20 3B 36 31 31 38 30 34 00 00 3C F0 F1 F4 47 45"
    " 4E 2E 4E 52 2E 3A 36 31 31 38 30 34 49 09 78 87 04 70 88 00 04 70 8A 2E 8B F1 F7 44 65 62 69 74 20 4D 61 73 74 65 72"
    " 63 61 72 64 00"
)


def test_a_good_payment() -> None:
    found = decode(apdu_of(GOOD_PAYMENT).data)
    assert found[0x27] == b"\x00"
    assert number(found[0x04]) == 2040
    assert number(found[0x0B]) == 470
    assert found[0x0C].hex() == "223953"
    assert found[0x22].hex() == "eeeeeeeeeeee4771"
    assert number(found[0x29]) == 28004869
    assert found[0x3C] == b"GEN.NR.:611804"
    assert number(found[0x49]) == 978
    assert number(found[0x87]) == 470
    assert number(found[0x88]) == 470
    assert found[0x8B] == b"Debit Mastercard\x00"
    assert encode(*found.items()) == apdu_of(GOOD_PAYMENT).data


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("04 0F 1E 27 6C 29 28 00 48 69 3C F0 F1 F9 41 62 62 72 75 63 68 20 64 75 72 63 68 20 4B 75 6E 64 65", 0x6C, b"Abbruch durch Kunde"),
        ("04 0F 18 27 FF 29 28 00 48 69 3C F0 F1 F3 42 65 74 72 61 67 20 66 61 6C 73 63 68", 0xFF, b"Betrag falsch"),
        ("04 0F 07 27 6C 29 29 00 10 06", 0x6C, None),
        ("04-0F-25-27-05-29-29-00-02-74-3C-F0-F0-F9-41-62-67-65-6C-65-68-6E-74-8A-06-06-0D-24-0B-07-09-41-62-67-65-6C-65-68-6E-74", 0x05, b"Abgelehnt"),
    ],
)  # fmt: skip
def test_failures(text, code, words) -> None:
    found = decode(apdu_of(text).data)
    assert found[0x27] == bytes([code])
    assert found.get(0x3C) == words
    assert encode(*found.items()) == apdu_of(text).data


def test_containers_of_a_contactless_payment() -> None:
    found = decode(
        apdu_of(
            "04-0F-65-27-00-0C-23-13-55-0D-10-29-0E-99-99-22-F0-F8-EE-EE-EE-EE-EE-EE-47-71-A0-01-29-00-00-00-06-87-00-08-0B-"
            "00-00-00-8A-06-8B-F1-F1-4D-41-53-54-45-52-43-41-52-44-00-06-2E-2F-08-1F-12-01-02-1F-10-01-00-60-1B-43-07-A0-00-"
            "00-00-04-10-10-44-10-44-65-62-69-74-20-4D-61-73-74-65-72-63-61-72-64-1F-2B-04-10-01-50-08"
        ).data
    )
    objects = {tag.tag: tag.value for tag in tags(found[0x06])}
    assert {tag.tag: tag.value for tag in tags(objects[0x2F])} == {0x1F12: b"\x02", 0x1F10: b"\x00"}
    assert number(objects[0x1F2B]) == 10015008
    application = {tag.tag: tag.value for tag in tags(objects[0x60])}
    assert application[0x44] == b"Debit Mastercard"
    assert tlv(*((tag.tag, tag.value) for tag in tags(found[0x06]))) == found[0x06]


def test_registration_of_the_specification_with_a_list_of_commands() -> None:
    apdu = apdu_of("06 00 14 00 00 00 9E 09 78 06 0C 26 04 0A 02 06 D3 1F 73 03 00 00 00")
    found = decode(apdu.data[6:])
    objects = {tag.tag: tag.value for tag in tags(found[0x06])}
    assert objects[0x26] == bytes.fromhex("0A 02 06 D3")
    assert objects[0x1F73] == bytes(3)


@pytest.mark.parametrize(
    "data",
    [
        "04 00 00",
        "FF 00",
        "22 F1",
        "22 F0 F9 00",
        "22 12 34",
        "06 05 00",
        "06 84 00 00 00 00",
        "27 00 27 00",
        "3C F0 F1",
    ],
)
def test_bytes_that_are_no_fields(data) -> None:
    with pytest.raises(BadField):
        decode(bytes.fromhex(data))


def test_bcd_has_digits_only_and_fits() -> None:
    assert bcd(5800, 6) == bytes.fromhex("000000005800")
    for wrong in (-1, 10**12):
        with pytest.raises(BadField):
            bcd(wrong, 6)
    with pytest.raises(BadField):
        number(b"\x1a")


@given(st.binary(max_size=200))
def test_decoding_never_breaks(data) -> None:
    for parse in (decode, tags):
        try:
            parse(data)
        except BadField:
            continue


@given(st.lists(st.tuples(st.sampled_from([0x25, 0x07, 0x1F07, 0x1F2B]), st.binary(max_size=400)), max_size=5))
def test_tlv_there_and_back(objects) -> None:
    assert [(tag.tag, tag.value) for tag in tags(tlv(*objects))] == objects


def test_card_data_is_never_shown() -> None:
    pan = bytes.fromhex("4000001234562345")
    track = b"\xf1\xf2" + b"4000001234=2"
    shown = Apdu(0x0601, encode((0x04, bcd(100, 6)), (0x22, pan)) + b"\x23" + track).shown()
    assert "12 34 56" not in shown
    assert "40 00 00 EE EE EE 23 45" in shown
    assert track[2:].hex(" ").upper() not in shown
    unreadable = Apdu(0x0601, b"\xff" + pan).shown()
    assert pan.hex(" ").upper() not in unreadable


def test_single_totals_place_each_brand() -> None:
    from datetime import UTC, datetime

    from emulators.terminal import messages
    from emulators.terminal.ledger import State, Transaction

    def charge(receipt: int, amount: int, brand: str) -> Transaction:
        return Transaction(receipt, receipt, receipt, amount, 392, brand, "2026-11-21T10:00:00+00:00", State.STORED)

    charged = [
        charge(68, 600, "GIROCARD"),
        charge(69, 500, "JCB"),
        charge(70, 700, "SUICA"),
        charge(71, 800, "GIROCARD"),
    ]
    apdu = messages.totals(charged, messages.Identity(tid=1, merchant="1"), datetime(2026, 11, 21, tzinfo=UTC))
    single = decode(apdu.data)[0x60]
    assert len(single) == 53
    assert single[:4] == bytes.fromhex("0068 0071")
    assert (single[4], number(single[5:11])) == (2, 1400)
    assert (single[11], number(single[12:18])) == (1, 500)
    assert (single[46], number(single[47:53])) == (1, 700)
    assert number(decode(apdu.data)[0x04]) == 2600
    assert fields.LENGTHS[0x60] == fields.LLL
