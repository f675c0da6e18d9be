"""Freshness without clocks: a hub hands out nonces, a request is signed over one of them, and counts once.

A nonce of the hub is a minute's number and an HMAC over it, so that nothing is kept for it: every worker of a hub, and the hub
after a restart, knows its own again. Device clocks play no part. What was seen is remembered in this process alone; a replay at
another worker is harmless because every call may be repeated (docs/protocol.md), and this memory is the second wall, not the first.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import struct
import threading
from collections import Counter
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync.errors import SyncError
from tickets.ids import DeviceId

BUCKET_S = 60
BUCKETS_BACK = 5
"""A nonce is good for five to six minutes, by the hub's clock."""
SEEN_MAX = 500_000
"""Of all devices together. Beyond it only those go on that have had less than an equal part of it, up to twice as many (about 150 MB): it
takes seventeen devices that call without end to come so far.
"""
SEEN_DEVICE_MAX = 30_000
"""Of one device: 83 calls a second for six minutes on end. A venue node, which calls for all of its venue, has VENUE_SHARE of these."""
VENUE_SHARE = 5
RANDOM_BYTES = 12
NONCE_CHARS_MAX = 96
_CONTEXT = b"kaisatsu/nonce/1"
_SHAPE = re.compile(r"([A-Za-z0-9_-]{27})\.([A-Za-z0-9_-]{16,64})", re.ASCII)


class HopError(SyncError):
    """A request that nobody vouches for. `error` is the stable word of the answer."""

    code = "sync.hop"

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.error = error


class Nonces:
    """The nonces of one hub in one process. Methods may be called from any thread."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._secret = hmac.digest(key.private_bytes_raw(), _CONTEXT, hashlib.sha256)
        self._good: dict[str, int] = {}
        self._bucket = -1
        self._seen: dict[int, dict[DeviceId, set[str]]] = {}
        self._count = 0
        self._counts: Counter[DeviceId] = Counter()
        self._lock = threading.Lock()

    def current(self, now: datetime) -> str:
        """The nonce that a device should use next."""
        bucket = int(now.timestamp()) // BUCKET_S
        if bucket != self._bucket:
            with self._lock:
                self._turn(bucket)
        return self._current

    def look(self, device: DeviceId, nonce: str, *, now: datetime) -> None:
        """What `spend` would say of the nonce itself, keeping nothing. Raises HopError: `nonce`, `replayed`."""
        with self._lock:
            self._fresh(device, nonce, now=now)

    def spend(self, device: DeviceId, nonce: str, *, now: datetime, share: int = 1) -> None:
        """Raises HopError: `nonce` (none of this hub's, or too old), `replayed`, `busy` (more requests of this device than can be
        remembered). `share`: how many devices it stands for.
        """
        with self._lock:
            born, mark = self._fresh(device, nonce, now=now)
            held = self._counts[device]
            if held >= SEEN_DEVICE_MAX * share:
                raise HopError("busy", "too many requests of this device")
            is_full = self._count >= SEEN_MAX and held >= SEEN_MAX // (len(self._counts) + 1)
            if is_full or self._count >= 2 * SEEN_MAX:
                raise HopError("busy", "too many requests at once")
            self._seen.setdefault(born, {}).setdefault(device, set()).add(mark)
            self._counts[device] = held + 1
            self._count += 1

    def _fresh(self, device: DeviceId, nonce: str, *, now: datetime) -> tuple[int, str]:
        """When the hub's part was made, and what is remembered. Call it under the lock. Raises HopError."""
        bucket = int(now.timestamp()) // BUCKET_S
        if bucket != self._bucket:
            self._turn(bucket)
        found = _SHAPE.fullmatch(nonce)
        born = None if found is None else self._good.get(found[1])
        if found is None or born is None:
            raise HopError(
                "nonce", "signed over no nonce of this hub, or one too old; sign again over the one given here"
            )
        if found[2] in self._seen.get(born, {}).get(device, ()):
            raise HopError("replayed", "this request was seen before")
        return born, found[2]

    def _turn(self, bucket: int) -> None:
        """Another minute: what is too old is forgotten, because it would be refused for its age. Call it under the lock."""
        # One ahead, should the hub's clock be set back a little.
        good = {self._make(number): number for number in range(max(0, bucket - BUCKETS_BACK), bucket + 2)}
        self._seen = {number: seen for number, seen in self._seen.items() if number in good.values()}
        self._counts = Counter()
        for seen in self._seen.values():
            self._counts.update({device: len(marks) for device, marks in seen.items()})
        self._count = self._counts.total()
        self._good, self._current, self._bucket = good, self._make(bucket), bucket

    def _make(self, bucket: int) -> str:
        number = struct.pack(">I", bucket)
        seal = hmac.digest(self._secret, number, hashlib.sha256)[:16]
        return base64.urlsafe_b64encode(number + seal).decode().rstrip("=")


def answer_to(server_nonce: str, random: bytes) -> str:
    """The nonce of one request: the hub's, and randomness of the device's own. Without one of the hub's the answer is 401 `nonce`."""
    own = base64.urlsafe_b64encode(random).decode().rstrip("=")
    return f"{server_nonce}.{own}" if server_nonce else own
