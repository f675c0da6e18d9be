"""The screen's end of the gate's socket: views in, key presses out; connected again whenever the gate was away.

Looked at between frames, so it never blocks and needs no thread.
"""

from __future__ import annotations

import socket
from pathlib import Path

import structlog

from scanner.view import PACKET_BYTES_MAX, GateView, KeyPress, ViewError
from tickets.clock import Clock

RETRY_S = 0.25

_log = structlog.get_logger()


class Link:
    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._socket: socket.socket | None = None
        self._next_try_s = float("-inf")

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def receive(self) -> list[GateView]:
        """All views that came since the last call, oldest first. A packet that is no view is told in the log and passed over."""
        if self._socket is None and not self._connect():
            return []
        views: list[GateView] = []
        while self._socket is not None:
            try:
                packet = self._socket.recv(PACKET_BYTES_MAX + 1)
            except BlockingIOError:
                break
            except OSError:
                packet = b""
            if not packet:
                self._lose()
                break
            try:
                views.append(GateView.from_packet(packet))
            except ViewError as error:
                _log.warning("view_refused", why=str(error))
        return views

    def send(self, press: KeyPress) -> None:
        """A press that cannot be delivered is dropped: the guest in front of the gate is no longer the one it was meant for."""
        if self._socket is None:
            return
        try:
            self._socket.send(press.to_packet())
        except BlockingIOError:
            _log.warning("press_dropped", key=press.key)
        except OSError:
            self._lose()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> bool:
        now_s = self._clock.monotonic_s()
        if now_s < self._next_try_s:
            return False
        self._next_try_s = now_s + RETRY_S
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        peer.setblocking(False)
        try:
            peer.connect(str(self._path))
        except OSError:
            peer.close()
            return False
        self._socket = peer
        _log.info("gate_connected")
        return True

    def _lose(self) -> None:
        self.close()
        _log.info("gate_away")
