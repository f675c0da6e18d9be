"""`Read`: what a reader hands to whoever owns the screen. The kiosk reads codes too, so it lives with the shared words.

On the wire (a Unix SOCK_SEQPACKET socket) a Read is one packet of UTF-8 JSON: {"text", "at", "source"}.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

TEXT_CHARS_MAX = 4296
"""The longest text a QR code can hold: 4 296 alphanumeric characters at version 40-L (ISO/IEC 18004)."""

PACKET_BYTES_MAX = 65536


class ReadError(Exception):
    """A packet that is not a Read."""

    code = "read.packet"


@dataclass(frozen=True, slots=True)
class Read:
    """`text` exactly as decoded (never stripped: Base45 has a space in it); `at` when the frame was taken, UTC; `source` names
    the reader (camera, imager, wedge, screen, digits).
    """

    text: str
    at: datetime
    source: str

    def __post_init__(self) -> None:
        if len(self.text) > TEXT_CHARS_MAX:
            raise ReadError(f"a read of {len(self.text)} characters; {TEXT_CHARS_MAX} are allowed")
        if self.at.tzinfo is None:
            raise ReadError("a read without a time zone")

    def to_packet(self) -> bytes:
        return json.dumps({"text": self.text, "at": self.at.isoformat(), "source": self.source}).encode()

    @classmethod
    def from_packet(cls, packet: bytes) -> Read:
        """Raises ReadError for anything that `to_packet` did not make."""
        try:
            value = json.loads(packet)
            return cls(text=str(value["text"]), at=datetime.fromisoformat(value["at"]), source=str(value["source"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ReadError(f"a packet of {len(packet)} bytes that is no read") from error
