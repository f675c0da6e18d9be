"""TLV inside field 06: tags of one to three bytes, lengths as in BER (PA00P015, 9.2), nested where bit 20 of the tag is set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kiosk.payment.zvt.errors import CodecError

_DEPTH_MAX = 8


@dataclass(frozen=True, slots=True)
class Tlv:
    """One data object: `tag` as its bytes read as a number (0x1F07), its value, and what is nested in it."""

    tag: int
    value: bytes
    children: tuple[Tlv, ...] = ()

    def encode(self) -> bytes:
        size = (self.tag.bit_length() + 7) // 8 or 1
        return self.tag.to_bytes(size, "big") + encode_length(len(self.value)) + self.value


def encode_length(size: int) -> bytes:
    """00..7F; 81 xx; 82 hi lo."""
    if size < 0x80:
        return bytes([size])
    if size <= 0xFF:
        return bytes([0x81, size])
    if size <= 0xFFFF:
        return b"\x82" + size.to_bytes(2, "big")
    raise CodecError(f"a TLV value of {size} bytes is too long")


def decode_length(data: bytes, at: int) -> tuple[int, int]:
    """The length at `at` and where the value begins. Raises CodecError."""
    if at >= len(data):
        raise CodecError("a TLV length is missing")
    first = data[at]
    if first < 0x80:
        return first, at + 1
    count = first & 0x7F
    if count not in (1, 2) or at + 1 + count > len(data):
        raise CodecError(f"a TLV length begins with {first:02X}")
    return int.from_bytes(data[at + 1 : at + 1 + count], "big"), at + 1 + count


def decode(data: bytes, *, depth: int = 0) -> tuple[Tlv, ...]:
    """The objects in `data`; 00 and FF between objects are padding. Raises CodecError."""
    objects: list[Tlv] = []
    at = 0
    while at < len(data):
        if data[at] in (0x00, 0xFF):
            at += 1
            continue
        tag, at = _tag(data, at)
        size, at = decode_length(data, at)
        value = data[at : at + size]
        if len(value) != size:
            raise CodecError(f"TLV tag {tag:X} wants {size} bytes, {len(value)} are left")
        at += size
        nested = is_constructed(tag) and depth < _DEPTH_MAX
        objects.append(Tlv(tag, bytes(value), decode(value, depth=depth + 1) if nested else ()))
    return tuple(objects)


def walk(objects: tuple[Tlv, ...]) -> Iterator[Tlv]:
    """Every object, outer before inner."""
    for item in objects:
        yield item
        yield from walk(item.children)


def find(objects: tuple[Tlv, ...], tag: int) -> bytes | None:
    """The value of the first object with `tag`, at any depth."""
    return next((item.value for item in walk(objects) if item.tag == tag), None)


def is_constructed(tag: int) -> bool:
    """Bit 20 of the tag's first byte: the value is made of further objects."""
    return bool(tag >> (((tag.bit_length() + 7) // 8 or 1) - 1) * 8 & 0x20)


def _tag(data: bytes, at: int) -> tuple[int, int]:
    tag = data[at]
    at += 1
    if tag & 0x1F != 0x1F:
        return tag, at
    for _ in range(2):
        if at >= len(data):
            raise CodecError("a TLV tag is cut off")
        tag = tag << 8 | data[at]
        at += 1
        if not data[at - 1] & 0x80:
            break
    return tag, at
