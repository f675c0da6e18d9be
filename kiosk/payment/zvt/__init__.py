"""The ZVT protocol: codec, wires, and the driver (PA00P015 rev. 13.08 for commands, PA00P016 for transport).

    bytes       bcd, apdu, tlv, fields; framing (serial blocks)
    words       commands (ours), messages (the terminal's), codes (tables), describe (masked frames)
    wires       link (TCP), serial_link
    talk        dialogue (one command), hold (an approval that waits), judge (what the last transaction proves)
    driver      ZvtTerminal: the payment contract

`ZvtTerminal(TcpLink(host), Options())` is all a caller needs.
"""

from __future__ import annotations

from kiosk.payment.zvt.driver import HoldMode, Options, ZvtTerminal
from kiosk.payment.zvt.link import PORT, TcpLink
from kiosk.payment.zvt.timers import Timers

__all__ = ["PORT", "HoldMode", "Options", "TcpLink", "Timers", "ZvtTerminal"]
