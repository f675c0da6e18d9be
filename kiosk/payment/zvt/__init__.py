"""The ZVT protocol: codec, wires, and the driver (PA00P015 rev. 13.08 for commands, PA00P016 for transport).

    bytes       bcd, apdu, tlv, fields; framing (serial blocks)
    words       commands (ours), messages (the terminal's), codes (tables), describe (masked frames)
    wires       link (TCP), serial_link
    talk        sequence (message ids), dialogue (one command), session (a registered line), hold (an approval that waits), judge (what a query proves)
    driver      ZvtTerminal: the payment contract

`connect("tcp://192.168.1.20:20007", Options(password=...))` is all a caller needs.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from kiosk.payment.contract import Terminal
from kiosk.payment.zvt.driver import ZvtTerminal
from kiosk.payment.zvt.link import PORT, TcpLink
from kiosk.payment.zvt.options import HoldMode, Kind, Options
from kiosk.payment.zvt.timers import Timers


def connect(address: str, options: Options) -> Terminal:
    """The terminal at `tcp://HOST[:PORT]` (20007 if left out) or `serial:///dev/ttyACM0[?baud=115200]` (9600 if left out).

    Nothing is opened yet. Raises ValueError, one line, for any other address.
    """
    parts = urlsplit(address)
    if parts.scheme == "tcp" and parts.hostname:
        link = TcpLink(parts.hostname, parts.port or PORT, connect_timeout_s=options.timers.connect_s)
        return ZvtTerminal(link, options)
    if parts.scheme == "serial" and parts.path.startswith("/"):
        from kiosk.payment.zvt.serial_link import SerialLink  # pyserial only where there is a serial line

        name, _, baud = parts.query.partition("=")
        if not parts.query or (name == "baud" and baud.isdecimal()):
            return ZvtTerminal(SerialLink(parts.path, baud=int(baud or 9600), timers=options.timers), options)
    raise ValueError(f"terminal address '{address}': tcp://HOST[:PORT] or serial:///dev/NAME[?baud=N] is allowed")


__all__ = ["PORT", "HoldMode", "Kind", "Options", "TcpLink", "Timers", "ZvtTerminal", "connect"]
