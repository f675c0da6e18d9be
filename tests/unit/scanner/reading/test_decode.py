"""Codes come out as they were printed, whatever else is in the picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st
from reading_codes import TICKET, qr, scene

from scanner.reading.decode import Cascade, decode_all_variants, decode_plain, decode_zbar
from scanner.reading.variants import VARIANTS, grey


def texts(picture: np.ndarray) -> list[str]:
    return [code.text for code in decode_all_variants(picture)]


def test_text_is_never_stripped() -> None:
    assert TICKET.endswith(" ")
    assert texts(scene(qr(TICKET))) == [TICKET]
    assert [code.text for code in decode_zbar(grey(scene(qr(TICKET))))] == [TICKET]


def test_several_codes_come_from_left_to_right_each_once() -> None:
    picture = scene(qr("T1:RIGHT"), qr("T1:LEFT"), qr("T1:RIGHT"))
    assert [code.text for code in decode_plain(grey(picture))] == ["T1:RIGHT", "T1:LEFT"]
    assert texts(picture) == ["T1:RIGHT", "T1:LEFT"]


def test_order_is_that_of_the_picture_also_when_enlarged() -> None:
    """A code that only the enlarged look finds keeps its place among those that the plain look found."""
    codes = decode_all_variants(scene(qr("T1:A"), qr("T1:B"), qr("T1:C"), qr("T1:D")))
    assert [code.text for code in codes] == ["T1:A", "T1:B", "T1:C", "T1:D"]
    assert all(code.right_px <= 1280 for code in codes)


def test_other_symbols_are_not_looked_for() -> None:
    aztec = zxingcpp.create_barcode("T1:AZTEC", zxingcpp.BarcodeFormat.Aztec)
    picture = np.array(zxingcpp.write_barcode_to_image(aztec, scale=6), np.uint8)
    assert zxingcpp.read_barcodes(picture)[0].text == "T1:AZTEC"  # it is a good picture of another symbol
    assert texts(picture) == []


@pytest.mark.parametrize("junk", [bytes(range(256)) * 2, b"\x00" * 40, b"\xff\xfe\xfd" * 30, b"\x1b[2J\r\n"])
def test_binary_junk_becomes_text_and_nothing_breaks(junk: bytes) -> None:
    (text,) = texts(scene(qr(junk, scale=3)))
    assert text
    assert "\ud800" not in text
    text.encode()  # no lone surrogates: it can be sent on


def test_an_empty_code_is_no_code() -> None:
    assert texts(scene(qr(b""))) == []


def test_a_light_code_on_dark_is_read() -> None:
    assert texts(255 - scene(qr(TICKET))) == [TICKET]


def test_faded_paper_and_coloured_ink_are_read() -> None:
    """Ink that is hardly darker than the paper, over a strong background pattern in luminance alone."""
    code = qr(TICKET, scale=5)
    picture = np.full((*code.shape, 3), 255, np.uint8)
    picture[code == 0] = (150, 235, 255)  # pale yellow: nearly white in luminance, dark in blue
    assert texts(picture) == [TICKET]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (10, 10), (11, 11), (37, 4001), (2, 2, 3)])
def test_odd_shapes_hold_nothing(shape: tuple[int, ...]) -> None:
    assert texts(np.full(shape, 200, np.uint8)) == []


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 90))
def test_noise_breaks_nothing(seed: int, width: int, height: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    assert texts(noise) == []


def test_a_torn_code_reads_as_nothing_or_as_itself() -> None:
    code = qr(TICKET, scale=4)
    for cut in range(0, code.shape[0], 23):
        torn = code.copy()
        torn[cut:] = 255
        assert texts(torn) in ([], [TICKET])


def test_the_cascade_looks_in_all_ways_within_as_many_misses() -> None:
    """A frame that the plain look cannot read is read by a later look at the same view."""
    blurred_noise = scene(qr(TICKET, scale=4))
    rng = np.random.default_rng(7)
    for strength in range(40, 140, 10):
        frame = np.clip(blurred_noise.astype(int) + rng.normal(0, strength, blurred_noise.shape), 0, 255).astype(
            np.uint8
        )
        if not decode_plain(grey(frame)) and [c.text for c in decode_all_variants(frame)] == [TICKET]:
            break
    else:
        pytest.fail("no strength of noise found that separates the looks")
    cascade = Cascade()
    looks = [cascade.read(frame) for _ in VARIANTS]
    assert TICKET in [code.text for codes in looks for code in codes]


def test_variants_leave_the_picture_as_it_was() -> None:
    picture = scene(qr(TICKET))
    before = picture.copy()
    for variant in VARIANTS:
        image, scale = variant.make(picture)
        assert image.dtype == np.uint8
        assert image.ndim == 2
        assert scale >= 1
    assert np.array_equal(picture, before)


def test_turned_and_tilted_codes_are_read() -> None:
    picture = scene(qr(TICKET, scale=7))
    for degrees in (17, 45, 90, 133, 180, 271):
        turn = cv2.getRotationMatrix2D((640, 360), degrees, 1)
        turned = cv2.warpAffine(picture, turn, (1280, 720), borderValue=(190, 190, 190))
        assert texts(turned) == [TICKET], degrees


def test_an_empty_lane_is_looked_at_in_all_ways_and_then_left_in_peace() -> None:
    rng = np.random.default_rng(3)
    lane = scene()
    cascade = Cascade()
    rests = []
    for _ in range(60):
        noisy = np.clip(lane.astype(int) + rng.normal(0, 12, lane.shape), 0, 255).astype(np.uint8)
        assert cascade.read(noisy) == []
        rests.append(cascade.resting)
    assert not any(rests[: len(VARIANTS)])
    assert sum(not rest for rest in rests[len(VARIANTS) :]) == 4  # frames 15, 30, 45, 60
    assert not any(rests[n - 1] for n in (15, 30, 45, 60))


def test_whatever_enters_the_lane_wakes_it() -> None:
    cascade = Cascade()
    for _ in range(20):
        cascade.read(scene())
    assert cascade.resting
    dusk = (scene() * 0.13).astype(np.uint8)
    for _ in range(20):
        cascade.read(dusk)
    assert cascade.resting
    torn = qr(TICKET, scale=4)
    torn[60:] = 255
    with_ticket = (scene(torn) * 0.13).astype(np.uint8)
    assert cascade.read(with_ticket) == []
    assert not cascade.resting
