"""How often one device may call: generous, so that only a device gone wrong or a stolen key ever meets it."""

from __future__ import annotations

from hub.errors import TooMany
from hub.services.devices import KnownDevice
from sync.state import Role
from tickets.clock import Clock
from tickets.ids import DeviceId

CALLS_PER_S = 500.0
BURST_CALLS = 1000.0
VENUE_FACTOR = 20.0
"""A venue node calls for all the devices of its venue."""


class Allowance:
    """One token bucket a device. Used on the server's event loop alone; there is one a worker, so N workers allow N times as much."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[DeviceId, tuple[float, float]] = {}

    def take(self, sender: KnownDevice) -> None:
        """Raises TooMany."""
        factor = VENUE_FACTOR if sender.role is Role.VENUE else 1.0
        now_s = self._clock.monotonic_s()
        tokens, at_s = self._buckets.get(sender.device, (BURST_CALLS * factor, now_s))
        tokens = min(tokens + (now_s - at_s) * CALLS_PER_S * factor, BURST_CALLS * factor)
        if tokens < 1:
            raise TooMany("this device calls too often", retry_after_s=1)
        self._buckets[sender.device] = (tokens - 1, now_s)
