"""Real-time commands, seen the moment they are received, long before the parser gets there.

A real printer finds them anywhere in the stream, also inside picture data ("bit image data accidentally might
include this command ... the printer performs the command"); so does this one, unless told to skip pictures.
"""

import re
from dataclasses import dataclass

CLEAR = bytes.fromhex("10 14 08 01 03 14 01 06 02 08")
LONGEST = len(CLEAR)

_COMMAND = rb"\x10\x04[\x01-\x04]|\x10\x05[\x01\x02]|" + re.escape(CLEAR)
# Headers of picture and block data, whose payload is skipped when pictures are not scanned.
_HEADER = rb"\x1dv0.{5}|\x1d\(.{3}|\x1d8.{5}|\x1b\*.{3}"
_ANYWHERE = re.compile(_COMMAND, re.DOTALL)
_OUTSIDE = re.compile(_COMMAND + rb"|" + _HEADER, re.DOTALL)


@dataclass(frozen=True, slots=True)
class RealTime:
    """A real-time command and the offset just behind it, counted from the start of the chunk that completed it."""

    command: bytes
    end: int


def payload_bytes(header: bytes) -> int:
    """How many bytes of payload follow a complete picture or block header."""
    if header.startswith(b"\x1dv0"):
        return int.from_bytes(header[4:6], "little") * int.from_bytes(header[6:8], "little")
    if header.startswith(b"\x1d("):
        return int.from_bytes(header[3:5], "little")
    if header.startswith(b"\x1d8"):
        return int.from_bytes(header[3:7], "little")
    return int.from_bytes(header[3:5], "little") * (3 if header[2] in {32, 33} else 1)


class Scanner:
    """Finds real-time commands in a stream that comes in any pieces."""

    def __init__(self, *, scan_raster: bool) -> None:
        self._pattern = _ANYWHERE if scan_raster else _OUTSIDE
        self._scan_raster = scan_raster
        self.forget()

    def forget(self) -> None:
        self._tail = b""
        self._skip = 0

    def scan(self, chunk: bytes) -> list[RealTime]:
        data = self._tail + chunk
        at = 0
        found = []
        while True:
            if self._skip:
                step = min(self._skip, len(data) - at)
                at += step
                self._skip -= step
            match = self._pattern.search(data, at)
            if match is None:
                break
            at = match.end()
            if match.group().startswith(b"\x10"):
                found.append(RealTime(match.group(), at - len(self._tail)))
            else:
                self._skip = payload_bytes(match.group())
        # What is left may be the beginning of a command; keep no more than can be one.
        keep = data[max(at, len(data) - LONGEST + 1) :]
        start = min((i for i in (keep.find(b"\x10"), keep.find(b"\x1d"), keep.find(b"\x1b")) if i >= 0), default=None)
        self._tail = b"" if start is None else keep[start:]
        return found
