"""The chain and the segments: final bytes, and nothing changed, left out or swapped goes through."""

from __future__ import annotations

import dataclasses
import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync import chain
from sync.chain import SEGMENT_OPERATIONS_MAX, ZERO_HASH, Segment, SegmentError, cut, operation_hash, verify
from tests.support.gate_device import HUB_KEY, KIOSK_KEY
from tickets.ids import DeviceId

DEVICE = DeviceId(bytes(range(16)))


def test_the_hash_is_what_the_design_says_to_the_byte() -> None:
    body = '{"op":"00","kind":"x","at":"…"}'
    by_hand = hashlib.sha256(
        b"kaisatsu/op/1" + bytes(range(16)) + struct.pack(">I", 3) + struct.pack(">Q", 9) + b"\x07" * 32 + body.encode()
    ).digest()
    assert operation_hash(DEVICE, 3, 9, b"\x07" * 32, body) == by_hand
    assert operation_hash(DeviceId(bytes(16)), 1, 1, ZERO_HASH, "{}").hex() == (
        "50b7eccc06b8346a9a5b9ff9003bc0272c1b63d393041db63a28b3246aaa3202"
    )


def test_the_signed_text_is_what_the_design_says_to_the_byte() -> None:
    segment = cut(device=DEVICE, incarnation=2, first=5, before=b"\x01" * 32, bodies=("{}", "[]"), key=KIOSK_KEY)
    assert segment.signed_text() == (
        b"kaisatsu/segment/1"
        + bytes(range(16))
        + (2).to_bytes(4, "big")
        + (5).to_bytes(8, "big")
        + (6).to_bytes(8, "big")
        + b"\x01" * 32
        + segment.head
    )
    assert verify(segment, KIOSK_KEY.public_key()) == segment.hashes()
    assert segment.hashes()[-1] == segment.head


bodies = st.lists(st.text(max_size=40), min_size=1, max_size=6).map(tuple)


@given(bodies, st.data())
def test_no_change_goes_through(texts: tuple[str, ...], data: st.DataObject) -> None:
    good = cut(device=DEVICE, incarnation=1, first=7, before=b"\x02" * 32, bodies=texts, key=KIOSK_KEY)
    place = data.draw(st.integers(0, len(texts) - 1))
    changed = [*texts]
    changed[place] += "x"
    others = {
        "body": dataclasses.replace(good, bodies=tuple(changed)),
        "device": dataclasses.replace(good, device=DeviceId(bytes(16))),
        "incarnation": dataclasses.replace(good, incarnation=2),
        "numbers": dataclasses.replace(good, first=8, last=7 + len(texts)),
        "before": dataclasses.replace(good, before=b"\x03" * 32),
        "head": dataclasses.replace(good, head=b"\x03" * 32),
        "signature": dataclasses.replace(good, signature=bytes(64)),
    }
    for other in others.values():
        with pytest.raises(SegmentError):
            verify(other, KIOSK_KEY.public_key())
    with pytest.raises(SegmentError):
        verify(good, HUB_KEY.public_key())


def test_the_first_operation_follows_zeros() -> None:
    forged = cut(device=DEVICE, incarnation=1, first=1, before=b"\x02" * 32, bodies=("{}",), key=KIOSK_KEY)
    with pytest.raises(SegmentError, match="zeros"):
        verify(forged, KIOSK_KEY.public_key())


@pytest.mark.parametrize(("first", "last", "count"), [(1, 2, 1), (2, 1, 0), (0, 0, 1), (1, 501, 501), (1, 1, 0)])
def test_numbers_that_do_not_fit_make_no_segment(first: int, last: int, count: int) -> None:
    with pytest.raises(SegmentError):
        Segment(DEVICE, 1, first, last, ZERO_HASH, ZERO_HASH, b"", ("{}",) * count)
    assert chain.SEGMENT_OPERATIONS_MAX == SEGMENT_OPERATIONS_MAX == 500
