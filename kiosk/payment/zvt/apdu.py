"""The unit both sides exchange: two control bytes, a length, data. And finding such units in a stream of bytes.

Length is one byte up to 254; FF announces two more, low byte first, up to 65 535 (PA00P016, 5.2.4).
"""

from __future__ import annotations

from dataclasses import dataclass

from kiosk.payment.zvt.errors import CodecError

EXTENDED = 0xFF
DATA_MAX = 0xFFFF

_FROM_TERMINAL = frozenset(
    {0x0400 | low for low in (0x01, 0x0D, 0x0E, 0x0F, 0xFF)}
    | {0x0600 | low for low in (0x0F, 0x1E, 0xC5, 0xCE, *range(0xD1, 0xE8))}
    | {0x8000}
    | {0x8400 | low for low in range(0x100)}
)
"""Control fields a terminal may send (PA00P015, chapters 3 and 14); anything else at the start of a unit is noise."""


@dataclass(frozen=True, slots=True)
class Apdu:
    """One unit. `control` is CLASS and INSTR (or CCRC and APRC) as one 16-bit number."""

    control: int
    data: bytes = b""

    @property
    def is_answer(self) -> bool:
        """An answer (80 00, 84 xx), not a command."""
        return self.control >> 8 in (0x80, 0x84)

    @property
    def is_consent(self) -> bool:
        """80 00, and 84 00 which means the same."""
        return self.control in (0x8000, 0x8400)

    def encode(self) -> bytes:
        """Raises CodecError for more than 65 535 bytes of data."""
        size = len(self.data)
        if size > DATA_MAX:
            raise CodecError(f"{size} bytes of data; at most {DATA_MAX} fit")
        length = bytes([size]) if size < EXTENDED else bytes([EXTENDED]) + size.to_bytes(2, "little")
        return self.control.to_bytes(2, "big") + length + self.data


def decode(frame: bytes) -> Apdu:
    """Exactly one unit. Raises CodecError for less or more."""
    found = _split(frame)
    if found is None or found[1] != len(frame):
        raise CodecError(f"{len(frame)} bytes are not one unit: {frame[:3].hex()}...")
    return found[0]


def _split(buffer: bytes) -> tuple[Apdu, int] | None:
    """The unit at the start of `buffer` and its size in bytes, or None while it is not complete."""
    if len(buffer) < 3:
        return None
    size, start = buffer[2], 3
    if size == EXTENDED:
        if len(buffer) < 5:
            return None
        size, start = int.from_bytes(buffer[3:5], "little"), 5
    end = start + size
    if len(buffer) < end:
        return None
    return Apdu(int.from_bytes(buffer[:2], "big"), bytes(buffer[start:end])), end


class Assembler:
    """Units out of a TCP stream in whatever pieces it comes, and past noise that is not ZVT.

    Some terminals greet a new connection with text of their own (`00 00 00 3E "VER|APP..."`); whatever cannot begin a
    terminal's unit is skipped and counted in `skipped_bytes`.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.skipped_bytes = 0

    def feed(self, data: bytes) -> list[Apdu]:
        """The units that are complete now, in order."""
        self._buffer += data
        units: list[Apdu] = []
        while True:
            self._skip_noise()
            found = _split(bytes(self._buffer))
            if found is None:
                return units
            unit, size = found
            del self._buffer[:size]
            units.append(unit)

    @property
    def has_partial(self) -> bool:
        """Bytes of a unit that is not complete."""
        return bool(self._buffer)

    def _skip_noise(self) -> None:
        start = 0
        while (
            start + 1 < len(self._buffer) and (self._buffer[start] << 8 | self._buffer[start + 1]) not in _FROM_TERMINAL
        ):
            start += 1
        if start:
            del self._buffer[:start]
            self.skipped_bytes += start
