"""Doorbells: an empty Unix datagram that says "look at the database".

A lost ring does not matter, because whoever waits here also wakes by time and looks at `PRAGMA data_version`.
"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from types import TracebackType


def ring(path: Path) -> None:
    """Ring the bell at `path`. Never blocks and never raises: nobody there is a normal state."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
        bell.setblocking(False)
        bell.sendto(b"\0", str(path))


class Doorbell:
    """The listening end. One owner a path; a leftover socket file of a killed process is replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def fileno(self) -> int:
        return self._socket.fileno()

    def wait(self, *, timeout_s: float) -> bool:
        """True when it rang within `timeout_s`; rings that came meanwhile are answered together."""
        self._socket.settimeout(max(timeout_s, 0.001))
        try:
            self._socket.recv(16)
        except TimeoutError:
            return False
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(16)
        return True

    def close(self) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Doorbell:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
