"""The gate's ends of its Unix sockets: reads come in from any number of readers, views go out to screens, keys come back.

SOCK_SEQPACKET: one packet is one message. Nothing here waits: who does not take a packet now gets the next one; who sends something
that is none is told in the log and kept.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from collections.abc import Iterator
from pathlib import Path

import structlog

CONNECTIONS_MAX = 16
PACKETS_AT_ONCE_MAX = 8

_log = structlog.get_logger()


class Listener:
    """One socket file, replaced if a killed process left it; only the own user and group may connect."""

    def __init__(self, path: Path, selector: selectors.BaseSelector, *, packet_bytes_max: int) -> None:
        self.name = path.name
        self._path = path
        self._selector = selector
        self._packet_bytes_max = packet_bytes_max
        self._peers: list[socket.socket] = []
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self._socket.bind(str(path))
        path.chmod(0o660)
        self._socket.listen(CONNECTIONS_MAX)
        selector.register(self._socket, selectors.EVENT_READ, self)

    @property
    def connected(self) -> int:
        return len(self._peers)

    def accept_or_receive(self, which: int) -> Iterator[bytes]:
        """What the ready descriptor `which` holds: nothing for a new connection, its packets for a known one (a few at a time)."""
        if which == self._socket.fileno():
            self._accept()
            return
        peer = next((peer for peer in self._peers if peer.fileno() == which), None)
        for _ in range(PACKETS_AT_ONCE_MAX):
            packet = None if peer is None else self._receive(peer)
            if not packet:
                return
            yield packet

    def send(self, packet: bytes) -> None:
        """To everyone connected. A screen that does not take its packets is dropped: it connects again and starts afresh."""
        for peer in list(self._peers):
            try:
                peer.send(packet)
            except OSError as error:
                _log.warning("peer_dropped", socket=self.name, why=os.strerror(error.errno or 0))
                self._drop(peer)

    def close(self) -> None:
        for peer in list(self._peers):
            self._drop(peer)
        self._selector.unregister(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            peer, _ = self._socket.accept()
        except OSError:
            return
        if len(self._peers) >= CONNECTIONS_MAX:
            _log.warning("connection_refused", socket=self.name, allowed=CONNECTIONS_MAX)
            peer.close()
            return
        peer.setblocking(False)
        self._peers.append(peer)
        self._selector.register(peer, selectors.EVENT_READ, self)

    def _receive(self, peer: socket.socket) -> bytes | None:
        try:
            packet = peer.recv(self._packet_bytes_max + 1)
        except BlockingIOError:
            return None
        except OSError:
            packet = b""
        if not packet:
            self._drop(peer)
            return None
        return packet

    def _drop(self, peer: socket.socket) -> None:
        self._peers.remove(peer)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(peer)
        peer.close()
