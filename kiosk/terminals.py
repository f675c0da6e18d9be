"""Which payment terminal stands at an address: the one place that knows the drivers by name."""

from __future__ import annotations

from kiosk.payment.contract import Terminal

ALLOWED = "tcp:HOST:PORT or serial:DEVICE"


def check(address: str) -> None:
    """Raises ValueError naming what is allowed."""
    kind, _, rest = address.partition(":")
    if kind == "serial" and rest.startswith("/"):
        return
    host, colon, port = rest.rpartition(":")
    if kind == "tcp" and host and colon and port.isdecimal() and 1 <= int(port) <= 65535:
        return
    raise ValueError(f"key 'terminal': '{address}' is not {ALLOWED}")


def terminal_at(address: str, *, password: int, currency: str) -> Terminal:
    """The ZVT terminal at an address that `check` allows, not yet opened."""
    from kiosk.payment.zvt import Options, TcpLink, Timers, ZvtTerminal
    from kiosk.payment.zvt.serial_link import SerialLink

    kind, _, rest = address.partition(":")
    host, _, port = rest.rpartition(":")
    link = SerialLink(rest, timers=Timers()) if kind == "serial" else TcpLink(host.strip("[]"), int(port))
    return ZvtTerminal(link, Options(password=password, currency=currency))
