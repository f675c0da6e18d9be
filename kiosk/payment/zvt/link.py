"""The wire to the terminal, as units in and out; and the TCP form of it (PA00P016, chapter 4)."""

from __future__ import annotations

import select
import socket
from collections import deque
from typing import Protocol

import structlog

from kiosk.payment.errors import TerminalAbsentError, TerminalLinkError
from kiosk.payment.zvt.apdu import Apdu, Assembler

log = structlog.get_logger()

PORT = 20007
_CHUNK = 4096


class Link(Protocol):
    """A wire that carries units. Not for two threads at once."""

    @property
    def is_open(self) -> bool: ...

    def open(self) -> None:
        """Raises TerminalAbsentError."""
        ...

    def close(self) -> None: ...

    def send(self, unit: Apdu) -> None:
        """Raises TerminalLinkError; whether the other side has the unit is then not known."""
        ...

    def receive(self, timeout_s: float) -> Apdu | None:
        """The next unit, or None after `timeout_s`; 0 takes only what is there. Raises TerminalLinkError when it is lost."""
        ...


class TcpLink:
    """One TCP connection that this side opens. Units arrive in any pieces, also several in one."""

    def __init__(self, host: str, port: int = PORT, *, connect_timeout_s: float = 3.0) -> None:
        self._address = (host, port)
        self._connect_timeout_s = connect_timeout_s
        self._socket: socket.socket | None = None
        self._assembler = Assembler()
        self._units: deque[Apdu] = deque()

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    def open(self) -> None:
        self.close()
        try:
            opened = socket.create_connection(self._address, timeout=self._connect_timeout_s)
        except OSError as error:
            raise TerminalAbsentError(f"{self._address[0]}:{self._address[1]}: {error}") from error
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket = opened
        self._assembler = Assembler()
        self._units.clear()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            if self._assembler.skipped_bytes:
                log.warning("terminal_noise", bytes=self._assembler.skipped_bytes)

    def send(self, unit: Apdu) -> None:
        if self._socket is None:
            raise TerminalLinkError("the connection is not open")
        try:
            self._socket.sendall(unit.encode())
        except OSError as error:
            raise TerminalLinkError(f"sending failed: {error}") from error

    def receive(self, timeout_s: float) -> Apdu | None:
        if self._units:
            return self._units.popleft()
        if self._socket is None:
            raise TerminalLinkError("the connection is not open")
        try:
            readable, _, _ = select.select([self._socket], [], [], timeout_s)
            if not readable:
                return None
            data = self._socket.recv(_CHUNK)
        except OSError as error:
            raise TerminalLinkError(f"receiving failed: {error}") from error
        if not data:
            raise TerminalLinkError("the terminal closed the connection")
        self._units.extend(self._assembler.feed(data))
        return self._units.popleft() if self._units else None
