"""The socket to whoever owns the screen: one packet a Read, connected again whenever it was lost.

Nothing is queued. A read that nobody takes is given back as undelivered: a ticket that is still held up is simply seen again, and
one that is gone must not open a gate later.
"""

from __future__ import annotations

import socket
from pathlib import Path

import structlog

from tickets.clock import Clock
from tickets.read import Read

RETRY_FIRST_S = 0.05
RETRY_LONGEST_S = 2.0

_log = structlog.get_logger()


class Delivery:
    """The connecting end of a Unix SOCK_SEQPACKET socket. Never blocks, never raises for a peer that is away."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._socket: socket.socket | None = None
        self._retry_s = RETRY_FIRST_S
        self._next_try_s = float("-inf")

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def connect(self) -> bool:
        """True when connected now. Tries at most once each back-off, which grows to two seconds."""
        if self._socket is not None:
            return True
        if self._clock.monotonic_s() < self._next_try_s:
            return False
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        peer.setblocking(False)
        try:
            peer.connect(str(self._path))
        except OSError as error:
            peer.close()
            if self._retry_s == RETRY_FIRST_S:
                _log.info("nobody_listens", why=error.strerror)
            self._next_try_s = self._clock.monotonic_s() + self._retry_s
            self._retry_s = min(self._retry_s * 2, RETRY_LONGEST_S)
            return False
        self._socket = peer
        self._retry_s = RETRY_FIRST_S
        self._next_try_s = float("-inf")
        _log.info("connected")
        return True

    def send(self, read: Read) -> bool:
        """True when the peer's socket has it. A peer that was restarted meanwhile is connected to once more before giving up."""
        packet = read.to_packet()
        for _ in range(2):
            if not self.connect():
                return False
            assert self._socket is not None
            try:
                self._socket.send(packet)
                return True
            except BlockingIOError:
                _log.warning("read_dropped", why="the peer does not take its packets")
                return False
            except OSError:
                self.close()
        return False

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
