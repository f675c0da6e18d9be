"""Links: bytes to and from a printer, without any idea what they mean.

A link never blocks: it takes as many bytes as fit now and says how many. What a stop means is decided by what the printer says,
not by a link that waited too long.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Kind(StrEnum):
    TCP = "tcp"
    SERIAL = "serial"
    FILE = "file"


class FlowControl(StrEnum):
    """Of a serial line. dtr: the printer's DTR on our CTS (hardware); xon: XON/XOFF bytes; none: for adapters with buffers of their own."""

    DTR = "dtr"
    XON = "xon"
    NONE = "none"


class Link(Protocol):
    """`open` again after a LinkError or `close`. All calls come from one thread."""

    @property
    def falls_with_power(self) -> bool:
        """Whether a printer that loses its power takes the link down with it. A serial line stays."""

    @property
    def answers(self) -> bool:
        """Whether anything can ever be read."""

    def open(self) -> None:
        """Raises LinkError; takes at most the link's own deadline."""

    def close(self) -> None: ...

    def fileno(self) -> int: ...

    def send(self, data: bytes) -> int:
        """How many bytes were taken, 0 when none fit now. Raises LinkError when the link is gone."""

    def receive(self) -> bytes:
        """What has come, empty when nothing has. Raises LinkError when the link is gone."""

    def patient(self, *, on: bool) -> None:
        """On while the printer is known to have stopped reading (paper end, cover): silence then does not break the link."""
