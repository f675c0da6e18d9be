"""The bitmap fields of a data block: a number that names the field, then its content, in any order (PA00P015, chapter 13).

A field whose length is not known here hides everything behind it; `Fields.unread` then says how much, and the reader must not
draw conclusions from what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kiosk.payment.zvt import bcd, tlv
from kiosk.payment.zvt.errors import CodecError

TIMEOUT = 0x01
MAX_STATUS_INFOS = 0x02
SERVICE = 0x03
AMOUNT = 0x04
TLV = 0x06
TRACE = 0x0B
TIME = 0x0C
DATE = 0x0D
STATUS = 0x19
PAN = 0x22
RESULT = 0x27
TERMINAL_ID = 0x29
VU_NUMBER = 0x2A
ORIGINAL_TRACE = 0x37
AUTH_CODE = 0x3B
ADDITIONAL_TEXT = 0x3C
CURRENCY = 0x49
SINGLE_TOTALS = 0x60
RECEIPT_NO = 0x87
TURNOVER = 0x88
CARD_TYPE = 0x8A
CARD_NAME = 0x8B
RESULT_AS = 0xA0

_FIXED = {
    1: "01 02 03 05 19 27 72 73 74 75 8A 8C A0 D0 D2 D3 E0 E9 EA F0 F9 FA FB FC FD",
    2: "0D 0E 17 3A 49 87",
    3: "0B 0C 37 3D 88 AA",
    4: "29 70 71",
    5: "BA",
    6: "04",
    8: "3B EB",
    15: "2A",
}
_SIZE = {number: size for size, numbers in _FIXED.items() for number in bytes.fromhex(numbers)}
_LLVAR = frozenset({0x22, 0x23, 0x2D, 0x4C, 0x8B, 0xA7, 0xD1, *range(0xE1, 0xE9), *range(0xF1, 0xF9)})
_LLLVAR = frozenset({0x24, 0x2E, 0x3C, 0x60, 0x9A, 0xAF})


@dataclass(frozen=True, slots=True)
class Fields:
    """What a data block says: raw field contents, the TLV objects of field 06, and the bytes that could not be read."""

    values: Mapping[int, bytes]
    objects: tuple[tlv.Tlv, ...] = ()
    unread: bytes = b""

    def number(self, field: int) -> int | None:
        """A BCD field as a number; None when it is absent or no BCD."""
        raw = self.values.get(field)
        try:
            return None if raw is None else bcd.decode(raw)
        except CodecError:
            return None

    def byte(self, field: int) -> int | None:
        raw = self.values.get(field)
        return raw[0] if raw else None

    def tag(self, tag: int) -> bytes | None:
        """The value of a TLV object at any depth."""
        return tlv.find(self.objects, tag)


def decode(data: bytes) -> Fields:
    """Read as far as the fields are known. Never raises: what cannot be read is in `unread`."""
    values: dict[int, bytes] = {}
    objects: tuple[tlv.Tlv, ...] = ()
    at = 0
    while at < len(data):
        start = at
        try:
            number, content, at = _next(data, at)
            if number == TLV:
                objects += tlv.decode(content)
        except CodecError:
            return Fields(values, objects, bytes(data[start:]))
        values.setdefault(number, content)
    return Fields(values, objects)


def encode(values: list[tuple[int, bytes]]) -> bytes:
    """Fields in the order given. Raises CodecError for an unknown field or a wrong length."""
    block = b""
    for number, content in values:
        block += bytes([number]) + _length(number, len(content)) + content
    return block


def _next(data: bytes, at: int) -> tuple[int, bytes, int]:
    number, at = data[at], at + 1
    if number == TLV:
        size, at = tlv.decode_length(data, at)
    elif number in _SIZE:
        size = _SIZE[number]
    elif number in _LLVAR:
        size, at = _counter(data, at, places=2)
    elif number in _LLLVAR:
        size, at = _counter(data, at, places=3)
    else:
        raise CodecError(f"field {number:02X} is not known")
    content = data[at : at + size]
    if len(content) != size:
        raise CodecError(f"field {number:02X} wants {size} bytes, {len(content)} are left")
    return number, bytes(content), at + size


def _length(number: int, size: int) -> bytes:
    if number == TLV:
        return tlv.encode_length(size)
    if _SIZE.get(number) == size:
        return b""
    if number in _LLVAR or number in _LLLVAR:
        return counter(size, places=2 if number in _LLVAR else 3)
    raise CodecError(f"field {number:02X} does not hold {size} bytes")


def counter(size: int, *, places: int) -> bytes:
    """LLVAR (two places) or LLLVAR (three): a digit a byte behind a nibble F."""
    digits = f"{size:0{places}d}"
    if len(digits) > places:
        raise CodecError(f"{size} bytes do not fit into {places} places")
    return bytes(0xF0 | int(digit) for digit in digits)


def read_counter(data: bytes, *, places: int) -> int:
    """The inverse of `counter`, from the start of `data`. Raises CodecError."""
    return _counter(data, 0, places=places)[0]


def _counter(data: bytes, at: int, *, places: int) -> tuple[int, int]:
    raw = data[at : at + places]
    if len(raw) != places or any(byte >> 4 != 0xF or byte & 0x0F > 9 for byte in raw):
        raise CodecError(f"a length of {places} places was expected: {raw.hex()}")
    return int("".join(str(byte & 0x0F) for byte in raw)), at + places
