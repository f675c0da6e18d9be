"""Blocks on a serial line: `10 02 | unit, each 10 doubled | 10 03 | CRC low, CRC high`, answered by ACK or NAK (PA00P016, 3).

Pure: bytes in, events out. Who waits and how long is the serial link's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

DLE, STX, ETX, ACK, NAK = 0x10, 0x02, 0x03, 0x06, 0x15
_POLYNOMIAL = 0x8408
BLOCK_MAX = 70_000


def crc(data: bytes) -> int:
    """CRC-16/KERMIT: x16 + x12 + x5 + 1 reflected, start 0; 0x2189 for b"123456789". The specification calls it XModem."""
    register = 0
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (_POLYNOMIAL if register & 1 else 0)
    return register


def wrap(payload: bytes) -> bytes:
    """A block. The CRC covers the payload without the doubling, and ETX; its own two bytes are never doubled."""
    check = crc(payload + bytes([ETX]))
    doubled = payload.replace(bytes([DLE]), bytes([DLE, DLE]))
    return bytes([DLE, STX]) + doubled + bytes([DLE, ETX]) + check.to_bytes(2, "little")


class Signal(Enum):
    """What is not a payload."""

    ACK = auto()
    NAK = auto()
    BROKEN = auto()
    """A block that is not well formed or whose CRC is wrong: to be answered by NAK."""


@dataclass(frozen=True, slots=True)
class Payload:
    data: bytes


class _Place(Enum):
    OUTSIDE = auto()
    OUTSIDE_DLE = auto()
    INSIDE = auto()
    INSIDE_DLE = auto()
    CRC_LOW = auto()
    CRC_HIGH = auto()


class Deframer:
    """Blocks and acknowledgements out of a stream of bytes."""

    def __init__(self) -> None:
        self._reset()

    @property
    def is_inside(self) -> bool:
        """In the middle of a block: the next byte is due within T1."""
        return self._place is not _Place.OUTSIDE

    def feed(self, data: bytes) -> list[Payload | Signal]:
        events: list[Payload | Signal] = []
        for byte in data:
            event = self._take(byte)
            if event is not None:
                events.append(event)
        return events

    def give_up(self) -> Signal:
        """T1 ran out inside a block: forget it."""
        self._reset()
        return Signal.BROKEN

    def _reset(self) -> None:
        self._place = _Place.OUTSIDE
        self._payload = bytearray()
        self._check = 0

    def _take(self, byte: int) -> Payload | Signal | None:
        match self._place:
            case _Place.OUTSIDE:
                if byte == DLE:
                    self._place = _Place.OUTSIDE_DLE
                return {ACK: Signal.ACK, NAK: Signal.NAK}.get(byte)
            case _Place.OUTSIDE_DLE:
                self._place = _Place.INSIDE if byte == STX else _Place.OUTSIDE
                return None
            case _Place.INSIDE:
                if byte == DLE:
                    self._place = _Place.INSIDE_DLE
                else:
                    self._payload.append(byte)
                return self.give_up() if len(self._payload) > BLOCK_MAX else None
            case _Place.INSIDE_DLE:
                return self._after_dle(byte)
            case _Place.CRC_LOW:
                self._check, self._place = byte, _Place.CRC_HIGH
                return None
            case _Place.CRC_HIGH:
                payload, check = bytes(self._payload), byte << 8 | self._check
                self._reset()
                return Payload(payload) if check == crc(payload + bytes([ETX])) else Signal.BROKEN

    def _after_dle(self, byte: int) -> Signal | None:
        if byte == DLE:
            self._payload.append(DLE)
            self._place = _Place.INSIDE
        elif byte == ETX:
            self._place = _Place.CRC_LOW
        elif byte == STX:  # the sender began again
            self._payload.clear()
            self._place = _Place.INSIDE
        else:
            return self.give_up()
        return None
