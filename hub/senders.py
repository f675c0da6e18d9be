"""What is known of the devices that called lately, so that a claim need not ask the database who its gate is.

Kept for a quarter of a second: a revocation made by another process holds at each worker after that time at the latest, one made in
this process at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from sqlalchemy import Connection

from hub.services import devices
from hub.services.devices import KnownDevice
from tickets.clock import Clock
from tickets.ids import DeviceId

KEPT_S = 0.25
KEPT_MAX = 10_000


class Senders:
    """Methods may be called from any thread. Devices that are not known here are not remembered."""

    def __init__(self, read: Callable[[], AbstractContextManager[Connection]], *, clock: Clock) -> None:
        self._read, self._clock = read, clock
        self._held: dict[DeviceId, tuple[float, KnownDevice]] = {}
        self._turn = 0
        self._lock = threading.Lock()

    def held(self, device: DeviceId) -> KnownDevice | None:
        """What was read a moment ago, else None."""
        found = self._held.get(device)
        if found is None or self._clock.monotonic_s() - found[0] >= KEPT_S:
            return None
        return found[1]

    def look(self, device: DeviceId) -> KnownDevice | None:
        """Read it now."""
        turn, now_s = self._turn, self._clock.monotonic_s()
        with self._read() as connection:
            known = devices.find(connection, device)
        if known is not None:
            with self._lock:
                if turn == self._turn:  # else somebody was revoked while this was read: what was read may be old
                    if len(self._held) >= KEPT_MAX:
                        self._held.clear()
                    self._held[device] = (now_s, known)
        return known

    def forget(self, device: DeviceId) -> None:
        with self._lock:
            self._turn += 1
            self._held.pop(device, None)
