"""What goes to the printer: strips that give the picture back, no hidden commands, a coupon small enough for a serial line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printer import encode, profile, templates
from printer.document import Document, Feed, Image, Mark, reissued
from printer.encode import canvas, commands, native, raster
from printer.encode.scrub import real_time, scrubbed
from printer.encode.strips import rows_of, strips
from printer.layout import lay_out
from printer.templates import ClaimKind
from tests.unit.printer import papers

RASTER = profile.load("generic-80")
SERIAL = profile.load("generic-80-serial")
PAPERS = [
    papers.ticket(),
    papers.ticket(lang="en", slot=False),
    papers.coupon(),
    papers.coupon(lang="en"),
    papers.goods(),
    papers.goods(lang="en"),
    papers.receipt(),
    papers.receipt(lang="en", copy=1),
    papers.claim(),
    papers.claim(lang="en", kind=ClaimKind.TICKETS_OWED),
]
BY_NAME = pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: f"{type(paper).__name__}-{paper.lang}")


def unpacked(data: bytes, stride: int) -> list[bytes]:
    """Strips and feeds as rows again."""
    rows: list[bytes] = []
    at = 0
    while at < len(data):
        if data[at : at + 2] == b"\x1bJ":
            rows += [bytes(stride)] * data[at + 2]
            at += 3
            continue
        assert data[at : at + 4] == b"\x1dv0\x00", data[at : at + 8]
        width, height = data[at + 4] | data[at + 5] << 8, data[at + 6] | data[at + 7] << 8
        at += 8
        for _ in range(height):
            rows.append(data[at : at + width].ljust(stride, b"\0"))
            at += width
    return rows


@given(st.lists(st.binary(min_size=4, max_size=4), max_size=300), st.integers(24, 64))
def test_strips_give_the_rows_back(rows: list[bytes], limit: int) -> None:
    small = profile.Profile("test", 576, 203, strip_dots=limit)
    expected = [scrubbed(row) for row in rows]
    got = unpacked(strips(rows, small), 4)
    # Scrubbing also looks across the ends of rows, so compare what is left after the lone dot has been doubled everywhere.
    assert [row.replace(b"\x18", b"\x10") for row in got] == [row.replace(b"\x18", b"\x10") for row in expected]


def test_a_qr_is_never_split_and_other_strips_keep_the_limit() -> None:
    document = templates.document(papers.ticket())
    metrics = canvas.RasterMetrics.of(RASTER)
    page = lay_out(document, metrics)
    data, dots = raster.encode(document, RASTER, process_id="0001")
    assert dots == page.height
    qr = next(box for box in page.boxes if type(box).__name__ == "QrBox")
    body = data[len(commands.preamble(RASTER)) :]
    y, at, heights = 0, 0, []
    while body[at : at + 2] in (b"\x1bJ", b"\x1dv"):
        if body[at + 1] == 0x4A:
            y, at = y + body[at + 2], at + 3
            continue
        width, height = body[at + 4] | body[at + 5] << 8, body[at + 6] | body[at + 7] << 8
        heights.append((y, height))
        y, at = y + height, at + 8 + width * height
    assert (qr.y, qr.side) in heights
    assert all(height <= RASTER.strip_dots for top, height in heights if top != qr.y)
    assert body[at:] == b"\x1dVB\x00" + commands.mark("0001")


def test_dithered_pictures_hide_no_command() -> None:
    picture = papers.dithered()
    assert real_time(picture.bits), "the picture must hold what the test is about"
    document = Document("t", "i", "ja", (picture, Mark()))
    for printer in (RASTER, SERIAL):
        assert real_time(encode.encode(document, printer, process_id="0001").data) == []


@given(st.binary(max_size=400))
def test_scrubbing_leaves_no_pair_and_few_marks(bits: bytes) -> None:
    clean = scrubbed(bits)
    assert not re.search(rb"\x10[\x04\x05\x14]", clean)
    assert len(clean) == len(bits)
    assert sum(a != b for a, b in zip(bits, clean, strict=True)) == len(re.findall(rb"\x10[\x04\x05\x14]", bits))


@BY_NAME
def test_no_paper_holds_a_real_time_command(paper: templates.Paper) -> None:
    for printer in (RASTER, SERIAL):
        for count in (0, 1):
            document = reissued(templates.document(paper), count=count)
            assert real_time(encode.encode(document, printer, process_id="0001").data) == []


# --- native -------------------------------------------------------------------------------------------------------------------


def spoken(data: bytes) -> str:
    """The text of a native document, with every command taken out by its length."""
    text = bytearray()
    at = 0
    while at < len(data):
        two = data[at : at + 2]
        if data[at] >= 0x20:
            pair = 2 if 0x81 <= data[at] <= 0x9F or 0xE0 <= data[at] <= 0xFC else 1
            text += data[at : at + pair]
            at += pair
        elif two == b"\x1dv":
            at += 8 + (data[at + 4] | data[at + 5] << 8) * (data[at + 6] | data[at + 7] << 8)
        elif two == b"\x1d(":
            at += 5 + (data[at + 3] | data[at + 4] << 8)
        else:
            if data[at] == 0x0A:
                text += b"\n"
            at += {b"\x1b@": 2, b"\x1b$": 4, b"\x1dV": 4}.get(two, 1 if data[at] == 0x0A else 3)
    return text.decode("cp932")


@BY_NAME
def test_native_says_every_word_of_the_document(paper: templates.Paper) -> None:
    document = templates.document(paper)
    data, _ = native.encode(document, SERIAL, process_id="0001")

    def bare(text: str) -> str:
        same = str.maketrans({"¥": "￥", "〜": "～", "~": "～", " ": "", "\N{NO-BREAK SPACE}": "", "　": "", "\n": ""})
        return text.translate(same)

    said = bare(spoken(data))
    for words in document.texts():
        assert bare(words) in said.replace("【", "").replace("】", ""), words
    for code in document.codes():
        assert b"\x31\x50\x30" + code.encode() + b"\x1d" in data


def test_a_native_document_begins_and_ends_as_it_must() -> None:
    data, _ = native.encode(templates.document(papers.coupon()), SERIAL, process_id="0042")
    assert data.startswith(bytes.fromhex("1b40 1b5208 1b7401 1c4301"))
    assert data.endswith(bytes.fromhex("1d564200 1d284806003030") + b"0042")
    assert b"\x1d(k\x03\x00\x31C\x06" in data  # modules of six dots
    assert b"\x1d(k\x03\x00\x31E\x31" in data  # error correction M


def test_a_ten_coupon_book_takes_half_a_second_of_a_serial_line() -> None:
    total = sum(
        len(encode.encode(templates.document(papers.coupon(part)), SERIAL, process_id="0001").data)
        for part in range(1, 11)
    )
    assert total * 10 / 115_200 <= 0.5


def test_a_printer_without_a_cutter_is_fed_to_its_tear_bar() -> None:
    plain = profile.load("generic-58")
    data = encode.encode(templates.document(papers.coupon()), plain, process_id="0001").data
    assert b"\x1dV" not in data[-20:]
    assert data.endswith(b"\x1bJ\x60" + commands.PROCESSED)


def test_feeds_longer_than_a_byte() -> None:
    data = encode.encode(Document("t", "i", "ja", (Feed(600), Mark())), RASTER, process_id="0001").data
    assert b"\x1bJ\xff\x1bJ\xff\x1bJ\x5a" in data


def test_the_length_is_known_without_drawing() -> None:
    document = templates.document(papers.coupon())
    assert encode.length_mm(document, RASTER) == encode.encode(document, RASTER, process_id="0001").length_mm


def test_a_logo_is_printed_as_it_is() -> None:
    logo = papers.logo()
    data, _ = native.encode(Document("t", "i", "ja", (Image(56, 56, logo.bits), Mark())), SERIAL, process_id="0001")
    rows = unpacked(data[len(commands.preamble(SERIAL)) : -len(commands.mark("0001"))], 72)
    assert [row[:7] for row in rows] == rows_of(logo.bits, 56, 56)
