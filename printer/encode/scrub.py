"""Real-time commands hidden in pictures. A printer looks for 10 04, 10 05 and 10 14 in everything it receives, also within
picture data, and obeys: 10 05 02 by chance in a logo empties its buffers. So no such pair may leave this house in a payload.
"""

from __future__ import annotations

import re

_PAIR = re.compile(rb"\x10[\x04\x05\x14]")
_WHOLE = re.compile(rb"\x10\x04[\x01-\x08\x12]|\x10\x05[\x00-\x02]|\x10\x14[\x01-\x08]")


def scrubbed(bits: bytes) -> bytes:
    """Packed dots without such a pair: in each, the lone dot 10h becomes 18h, one black dot beside a black dot."""
    if not _PAIR.search(bits):
        return bits
    return _PAIR.sub(lambda found: b"\x18" + found.group()[1:], bits)


def real_time(data: bytes) -> list[int]:
    """Offsets at which a printer would find a real-time command; empty for a whole encoded document."""
    return [found.start() for found in _WHOLE.finditer(data)]
