"""The spool's settings, as `kaisatsu config write` lays them down for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from printer.link import FlowControl, Kind, Link


@dataclass(frozen=True, slots=True)
class Settings:
    """`address` is HOST:PORT for tcp, a device for serial, a path for file. `profile` is a shipped name or a .toml file.
    `doorbell` is the spool's own bell, `progress_doorbells` are rung at each step of a job (the kiosk's).
    """

    journal: Path
    health: Path
    doorbell: Path
    link: Kind
    address: str
    profile: str = "generic-80"
    baud: int = 115_200
    flow: FlowControl = FlowControl.DTR
    progress_doorbells: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.link is Kind.TCP:
            host_and_port(self.address)


def host_and_port(address: str) -> tuple[str, int]:
    """HOST:PORT; raises ValueError in one line."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ValueError(f"key 'address': '{address}' is not HOST:PORT with a port from 1 to 65535")
    return host.strip("[]"), int(port)


def make_link(settings: Settings) -> Link:
    """The link of the settings, not yet open. Imports only the driver it needs."""
    match settings.link:
        case Kind.TCP:
            from printer.link.tcp import TcpLink

            host, port = host_and_port(settings.address)
            return TcpLink(host, port)
        case Kind.SERIAL:
            from printer.link.serial import SerialLink

            return SerialLink(settings.address, settings.baud, settings.flow)
        case Kind.FILE:
            from printer.link.file import FileLink

            return FileLink(Path(settings.address))
