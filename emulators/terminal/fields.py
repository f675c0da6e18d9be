"""ZVT data fields (BMP) and TLV containers, both ways. Numbers are BCD, most significant digit first.

A field that is not in the table cannot be stepped over (its length is unknown), so it is an error.
"""

from dataclasses import dataclass

from emulators.errors import EmulatorError


class BadField(EmulatorError):
    """Bytes that are no fields; the message says where."""

    code = "bad_field"


LL, LLL, TLV = -2, -3, -1
TLV_FIELD = 0x06

# Field -> length in bytes, or the kind of its length prefix. Lengths as in PA00P015.
LENGTHS: dict[int, int] = {
    0x01: 1, 0x02: 1, 0x03: 1, 0x04: 6, 0x05: 1, 0x06: TLV, 0x0B: 3, 0x0C: 3, 0x0D: 2, 0x0E: 2, 0x17: 2, 0x19: 1,
    0x22: LL, 0x23: LL, 0x24: LLL, 0x27: 1, 0x29: 4, 0x2A: 15, 0x2D: LL, 0x37: 3, 0x3A: 2, 0x3B: 8, 0x3C: LLL,
    0x3D: 3, 0x49: 2, 0x4C: LLL, 0x60: LLL, 0x87: 2, 0x88: 3, 0x8A: 1, 0x8B: LL, 0x8C: 1, 0x9A: LLL, 0xA0: 1, 0xBA: 5,
    0xD0: 1, 0xD1: LL, 0xE0: 1, 0xF0: LLL, 0xF1: LL, 0xF2: LL, 0xF3: LL, 0xF4: LL,
}  # fmt: skip
SECRET_PAN = 0x22
SECRET_TRACKS = (0x23, 0x24, 0x2D)


def bcd(number: int, length_bytes: int) -> bytes:
    """`number` as BCD. Raises BadField if it does not fit."""
    digits = str(number)
    if number < 0 or len(digits) > length_bytes * 2:
        raise BadField(f"{number} does not fit {length_bytes} bytes of BCD")
    return bytes.fromhex(digits.rjust(length_bytes * 2, "0"))


def number(data: bytes) -> int:
    """BCD to a number. Raises BadField for a digit above 9."""
    text = data.hex()
    if not text.isdecimal():
        raise BadField(f"{data.hex(' ')} is not BCD")
    return int(text)


def prefix(kind: int, length: int) -> bytes:
    """A field's length prefix: LL as Fx Fy, LLL as Fx Fy Fz, TLV as BER."""
    if kind == TLV:
        return ber_length(length)
    digits = str(length)
    if len(digits) > -kind:
        raise BadField(f"{length} bytes do not fit a {'L' * -kind}VAR field")
    return bytes(0xF0 | int(digit) for digit in digits.rjust(-kind, "0"))


def ber_length(length: int) -> bytes:
    """00-7F as it is, 81 nn, 82 nn nn."""
    if length < 0x80:
        return bytes([length])
    if length < 0x100:
        return bytes([0x81, length])
    return b"\x82" + length.to_bytes(2, "big")


def encode(*fields: tuple[int, bytes]) -> bytes:
    """Fields in the given order. Fixed lengths are checked."""
    out = bytearray()
    for tag, value in fields:
        kind = LENGTHS[tag]
        if kind > 0 and len(value) != kind:
            raise BadField(f"field {tag:02X} takes {kind} bytes, not {len(value)}")
        out.append(tag)
        if kind < 0:
            out += prefix(kind, len(value))
        out += value
    return bytes(out)


def decode(data: bytes) -> dict[int, bytes]:
    """All fields of `data`. Raises BadField at the first byte that cannot be one; a field twice is one too."""
    found: dict[int, bytes] = {}
    for tag, start, end in spans(data):
        if tag in found:
            raise BadField(f"field {tag:02X} twice")
        found[tag] = data[start:end]
    return found


def spans(data: bytes) -> list[tuple[int, int, int]]:
    """(tag, start of value, end of value) for each field."""
    found = []
    at = 0
    while at < len(data):
        tag = data[at]
        kind = LENGTHS.get(tag)
        if kind is None:
            raise BadField(f"unknown field {tag:02X} at {at}")
        start, length = read_length(data, at + 1, kind)
        if start + length > len(data):
            raise BadField(f"field {tag:02X} at {at} is cut short")
        found.append((tag, start, start + length))
        at = start + length
    return found


def read_length(data: bytes, at: int, kind: int) -> tuple[int, int]:
    """(where the value starts, its length)."""
    if kind > 0:
        return at, kind
    if kind == TLV:
        return read_ber_length(data, at)
    digits = data[at : at - kind]
    if len(digits) != -kind or any(digit & 0xF0 != 0xF0 or digit & 0x0F > 9 for digit in digits):
        raise BadField(f"no length at {at}: {digits.hex(' ')}")
    return at - kind, int("".join(str(digit & 0x0F) for digit in digits))


def read_ber_length(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise BadField(f"no length at {at}")
    first = data[at]
    if first < 0x80:
        return at + 1, first
    if first in {0x81, 0x82} and at + first - 0x80 < len(data):
        size = first - 0x80
        return at + 1 + size, int.from_bytes(data[at + 1 : at + 1 + size], "big")
    raise BadField(f"no length at {at}: {first:02x}")


@dataclass(frozen=True, slots=True)
class Tag:
    """A TLV object; `tag` is its one or two bytes as a number."""

    tag: int
    value: bytes


def tags(data: bytes) -> list[Tag]:
    """The objects of a TLV container's value, one level deep."""
    found = []
    at = 0
    while at < len(data):
        tag, size = data[at], 1
        if tag & 0x1F == 0x1F:  # the tag goes on
            if at + 1 >= len(data):
                raise BadField(f"tag {tag:02X} is cut short")
            tag, size = tag << 8 | data[at + 1], 2
        start, length = read_ber_length(data, at + size)
        if start + length > len(data):
            raise BadField(f"tag {tag:X} is cut short")
        found.append(Tag(tag, data[start : start + length]))
        at = start + length
    return found


def tlv(*objects: tuple[int, bytes]) -> bytes:
    """Objects as bytes; nest by giving another `tlv(...)` as a value."""
    out = bytearray()
    for tag, value in objects:
        out += tag.to_bytes(2 if tag > 0xFF else 1, "big") + ber_length(len(value)) + value
    return bytes(out)
