"""TCP, port 9100: the network printer's raw port.

A printer that is switched off says nothing; two writes still succeed into the kernel's buffer. So the send buffer is small, the
kernel probes (keepalive) and gives up on unacknowledged data (TCP_USER_TIMEOUT). That time also counts against a printer that
answers but has closed its window because it is out of paper, so it is switched off while that is known.
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass, field

from printer.errors import LinkError

CONNECT_DEADLINE_S = 1.0
UNACKNOWLEDGED_MS = 20_000
KEEPALIVE_IDLE_S, KEEPALIVE_EVERY_S, KEEPALIVE_TRIES = 5, 3, 3
SEND_BUFFER_BYTES = 16_384
"""Less than a raster coupon: what lies in the kernel cannot be taken back when the printer says stop."""

_READ_BYTES = 4096


@dataclass(slots=True)
class TcpLink:
    host: str
    port: int
    falls_with_power: bool = field(default=True, init=False)
    answers: bool = field(default=True, init=False)
    _socket: socket.socket | None = field(default=None, init=False)

    def open(self) -> None:
        self.close()
        try:
            fresh = socket.create_connection((self.host, self.port), timeout=CONNECT_DEADLINE_S)
        except OSError as error:
            raise LinkError(f"{self.host}:{self.port}: {error.strerror or error}") from error
        fresh.setblocking(False)
        options = (
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES),
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_EVERY_S),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_TRIES),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS),
        )
        for level, name, value in options:
            fresh.setsockopt(level, name, value)
        self._socket = fresh

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def fileno(self) -> int:
        assert self._socket is not None
        return self._socket.fileno()

    def send(self, data: bytes) -> int:
        assert self._socket is not None
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise LinkError(f"{self.host}:{self.port}: {error.strerror or error}") from error

    def receive(self) -> bytes:
        assert self._socket is not None
        try:
            data = self._socket.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            raise LinkError(f"{self.host}:{self.port}: {error.strerror or error}") from error
        if not data:
            raise LinkError(f"{self.host}:{self.port}: the printer closed the connection")
        return data

    def patient(self, *, on: bool) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0 if on else UNACKNOWLEDGED_MS)
