"""Staff at the gate: they see what the gate's screen is told, and nothing else."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from scanner.view import PACKET_BYTES_MAX, GateView, ViewKind
from script.story.processes import StoryError


class Staff:
    """A second screen at the gate's own socket."""

    def __init__(self, view_socket: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.connect(str(view_socket))

    def verdict(self, *, timeout_s: float = 15) -> GateView:
        """The next verdict on the screen. Raises StoryError when none comes."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                view = GateView.from_packet(self._socket.recv(PACKET_BYTES_MAX))
            except TimeoutError:
                break
            if view.kind is ViewKind.VERDICT:
                return view
        raise StoryError(f"the gate said nothing within {timeout_s:.0f} s")

    def glance(self) -> list[GateView]:
        """What came since the last look, without waiting. Raises OSError when the gate has gone, ViewError for what is no view."""
        views: list[GateView] = []
        self._socket.settimeout(0)
        while True:
            try:
                packet = self._socket.recv(PACKET_BYTES_MAX)
            except BlockingIOError:
                return views
            if not packet:
                raise ConnectionResetError("the gate has closed its socket")
            views.append(GateView.from_packet(packet))

    def look_away(self) -> None:
        """Forget verdicts shown so far."""
        self._socket.settimeout(0.001)
        try:
            while self._socket.recv(PACKET_BYTES_MAX):
                pass
        except (TimeoutError, BlockingIOError):
            return

    def close(self) -> None:
        self._socket.close()
