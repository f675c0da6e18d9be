"""Base45 (RFC 9285), strict: what `encode` did not make is refused.

The alphabet has a space in it, so nothing on the way may strip a scan.
"""

from __future__ import annotations

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
_VALUE = {character: value for value, character in enumerate(ALPHABET)}


class Base45Error(ValueError):
    """Text that is no Base45."""

    code = "base45"


def encode(data: bytes) -> str:
    """Two bytes become three characters, a last single byte two."""
    out: list[str] = []
    for position in range(0, len(data) - 1, 2):
        rest, first = divmod(data[position] * 256 + data[position + 1], 45)
        third, second = divmod(rest, 45)
        out.append(ALPHABET[first] + ALPHABET[second] + ALPHABET[third])
    if len(data) % 2:
        second, first = divmod(data[-1], 45)
        out.append(ALPHABET[first] + ALPHABET[second])
    return "".join(out)


def decode(text: str) -> bytes:
    """The inverse of `encode`. Raises Base45Error for another character, a left-over one, or a group that is too large."""
    try:
        values = [_VALUE[character] for character in text]
    except KeyError as error:
        raise Base45Error("a character outside the Base45 alphabet") from error
    if len(values) % 3 == 1:
        raise Base45Error("one character is left over")
    out = bytearray()
    for position in range(0, len(values) - 2, 3):
        number = values[position] + 45 * values[position + 1] + 2025 * values[position + 2]
        if number > 0xFFFF:
            raise Base45Error("a group of three beyond two bytes")
        out += number.to_bytes(2, "big")
    if len(values) % 3 == 2:
        number = values[-2] + 45 * values[-1]
        if number > 0xFF:
            raise Base45Error("a last pair beyond one byte")
        out.append(number)
    return bytes(out)
