"""Which hub a device talks to: its venue node where the hub's newest statement names one, the hub itself while that is gone.

It decides by what calls came to and by a monotonic clock that is passed in; it opens no connection and knows no thread but for its lock.
Going over to the hub takes a few failures in a row, going back takes answers in a row, and the looks at the node are spread at
random, so that a venue's devices neither flutter nor come in step. Whose answers count as whose is decided elsewhere: every origin has
a cursor of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sync.arbiter import Arbiter
from tickets.clock import Clock
from tickets.ids import DeviceId, RandomBytes

FAILURES_MAX = 3
"""So many failures in a row, over all addresses of the node, and the node counts as gone,"""
PATIENCE_S = 2.0
"""but not before this time has passed since the first: a node that is started again takes about so long."""
PROBE_S = 4.0
"""About so often a device that is at the hub looks whether its node is back."""
GOOD_PROBES = 2
"""So many answers in a row, a quarter of that time apart, and it goes back."""

LOOK_AROUND_S = 30.0
"""Not more often it looks around on the LAN for a node that answers at no known address."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who serves this device: `node` is the venue node's device id in hex, None for the hub. `tls`: SHA-256 of its TLS key."""

    node: str | None
    url: str
    tls: bytes | None = None


def _nobody_found(statement: Arbiter) -> Iterable[str]:  # noqa: ARG001
    return ()


class Route:
    """One object a process; its methods may be called from any thread. `find` gives further addresses of the venue node (by mDNS), and may
    take its time: it is called without the lock, when all addresses of the statement were tried;
    `node_url` is an address that comes before those of the statement: loopback, where the node runs on this very machine.
    """

    def __init__(
        self,
        hub: Origin,
        *,
        clock: Clock,
        random_bytes: RandomBytes,
        device: DeviceId | None = None,
        node_url: str = "",
        find: Callable[[Arbiter], Iterable[str]] = _nobody_found,
        probe_s: float = PROBE_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._hub, self._clock, self._random_bytes = hub, clock, random_bytes
        self._device, self._node_url, self._find = device, node_url, find
        self._probe_s, self._patience_s = probe_s, patience_s
        self._lock = threading.Lock()
        self._statement: Arbiter | None = None
        self._nodes: tuple[Origin, ...] = ()
        self._passed_over = False
        self._turn, self._look_at_s = 0, float("-inf")
        self._look = False
        self._at_hub = True
        self._failures, self._first_failure_s = 0, 0.0
        self._good, self._probe_at_s = 0, float("inf")

    def learn(self, statement: Arbiter | None) -> None:
        """Take in the newest statement. One of an older reign than the present one is passed over."""
        with self._lock:
            held = self._statement
            if statement is None or statement == held or (held is not None and statement.epoch < held.epoch):
                return
            self._statement = statement
            self._nodes, self._passed_over = (), False
            if statement.node is not None and statement.node != self._device:
                urls = [self._node_url] if self._node_url else []
                urls += [url for url in statement.urls if url not in urls]
                self._nodes = self._usable(statement, urls)
            # A node is gone to at once: it is what the person at the hub wants, and it says itself when it is not ready.
            self._turn, self._failures, self._good = 0, 0, 0
            self._at_hub = not self._nodes
            self._probe_at_s = float("inf")

    @property
    def hub(self) -> Origin:
        return self._hub

    @property
    def node_named(self) -> bool:
        """Whether this venue has a node."""
        with self._lock:
            return bool(self._nodes)

    @property
    def pin_missing(self) -> bool:
        """Whether an address of the node was passed over, because its TLS pin is missing or it would go without the TLS that is stated."""
        with self._lock:
            return self._passed_over

    @property
    def node_down(self) -> bool:
        """Whether there is a node, and this device does without it."""
        with self._lock:
            return bool(self._nodes) and self._at_hub

    def current(self) -> Origin:
        """Where to push and pull now."""
        with self._lock:
            return self._hub if self._at_hub or not self._nodes else self._nodes[self._turn % len(self._nodes)]

    def reached(self, origin: Origin) -> None:
        """A call there was answered."""
        with self._lock:
            if origin.node is not None and not self._at_hub:
                self._failures = 0

    def failed(self, origin: Origin, *, not_ready: bool = False) -> bool:
        """A call there came to nothing; `not_ready`: the node itself said that it cannot serve this device now. True when from here on
        another one is to be asked.
        """
        going = self._failed(origin, not_ready=not_ready)
        self._look_around()
        return going

    def _failed(self, origin: Origin, *, not_ready: bool) -> bool:
        with self._lock:
            if not self._nodes:
                return False
            now_s = self._clock.monotonic_s()
            if origin.node is None:
                if not self._at_hub:
                    return False
                # Neither answers: look at the node again, one failure of which is enough to come back here.
                self._at_hub, self._good = False, 0
                self._failures, self._first_failure_s = FAILURES_MAX * len(self._nodes), float("-inf")
                return False  # after the ordinary pause: two dead ends are no reason to hurry
            if self._at_hub:
                return False
            if self._failures == 0:
                self._first_failure_s = now_s
            self._failures += 1
            self._next_address()
            lasting = self._failures >= FAILURES_MAX and now_s - self._first_failure_s >= self._patience_s
            if not (lasting or not_ready):
                return (
                    self._failures % len(self._nodes) != 0
                )  # its other addresses at once, the same again after a pause
            self._at_hub, self._good = True, 0
            self._probe_at_s = now_s + self._probe_s * self._share()
            return True

    def probe(self) -> Origin | None:
        """The node, when it is time to look whether it is back."""
        with self._lock:
            if not self._nodes or not self._at_hub or self._clock.monotonic_s() < self._probe_at_s:
                return None
            return self._nodes[self._turn % len(self._nodes)]

    def next_probe_s(self) -> float | None:
        """Seconds until then; None where there is nothing to look for."""
        with self._lock:
            if not self._nodes or not self._at_hub:
                return None
            return max(0.0, self._probe_at_s - self._clock.monotonic_s())

    def probed(self, *, ready: bool) -> bool:
        """What came of it. True when this device goes back to its node."""
        back = self._probed(ready=ready)
        self._look_around()
        return back

    def _probed(self, *, ready: bool) -> bool:
        with self._lock:
            now_s = self._clock.monotonic_s()
            if not ready:
                self._good = 0
                self._next_address()
                self._probe_at_s = now_s + self._probe_s * self._share()
                return False
            self._good += 1
            if self._good < GOOD_PROBES:
                self._probe_at_s = now_s + self._probe_s * 0.25 * self._share()
                return False
            self._at_hub, self._failures = False, 0
            return True

    def _next_address(self) -> None:
        """The lock is held."""
        self._turn += 1
        if self._turn % len(self._nodes) == 0 and self._clock.monotonic_s() >= self._look_at_s:
            self._look = True

    def _look_around(self) -> None:
        """Addresses that were found on the LAN join once all of the statement were tried. The lock is not held: this takes a while."""
        with self._lock:
            statement, wanted = self._statement, self._look
            self._look = False
            if not wanted or statement is None or statement.node is None:
                return
            self._look_at_s = self._clock.monotonic_s() + LOOK_AROUND_S
        found = list(self._find(statement))
        with self._lock:
            if statement == self._statement:
                known = {origin.url for origin in self._nodes}
                self._nodes += self._usable(statement, [url for url in found if url not in known])[:8]

    def _usable(self, statement: Arbiter, urls: Iterable[str]) -> tuple[Origin, ...]:
        """https goes with the statement's pin and with nothing else; http only where the statement names no pin, or to this very machine."""
        assert statement.node is not None
        found = []
        for url in urls:
            secured = url.startswith("https://")
            if secured == (statement.tls is not None) or (not secured and url == self._node_url):
                found.append(Origin(statement.node.hex(), url, statement.tls if secured else None))
            else:
                self._passed_over = True
        return tuple(found)

    def _share(self) -> float:
        """From a half to one and a half, at random."""
        return 0.5 + int.from_bytes(self._random_bytes(4), "big") / 2**32
