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
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync.errors import SyncError
from tickets.ids import DeviceId

BUCKET_S = 60
BUCKETS_BACK = 5
"""A nonce is good for five to six minutes, by the hub's clock."""
SEEN_MAX = 500_000
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
        self._seen: dict[int, set[bytes]] = {}
        self._count = 0
        self._lock = threading.Lock()

    def current(self, now: datetime) -> str:
        """The nonce that a device should use next."""
        bucket = int(now.timestamp()) // BUCKET_S
        if bucket != self._bucket:
            self._turn(bucket)
        return self._current

    def spend(self, device: DeviceId, nonce: str, *, now: datetime) -> None:
        """Raises HopError: `nonce` (none of this hub's, or too old), `replayed`, `busy` (more requests than can be remembered)."""
        bucket = int(now.timestamp()) // BUCKET_S
        if bucket != self._bucket:
            self._turn(bucket)
        found = _SHAPE.fullmatch(nonce)
        born = None if found is None else self._good.get(found[1])
        if found is None or born is None:
            raise HopError(
                "nonce", "signed over no nonce of this hub, or one too old; sign again over the one given here"
            )
        mark = device + found[2].encode()
        with self._lock:
            seen = self._seen.setdefault(born, set())
            if mark in seen:
                raise HopError("replayed", "this request was seen before")
            if self._count >= SEEN_MAX:
                raise HopError("busy", "too many requests at once")
            seen.add(mark)
            self._count += 1

    def _turn(self, bucket: int) -> None:
        """Another minute: what is too old is forgotten, because it would be refused for its age."""
        with self._lock:
            # One ahead, should the hub's clock be set back a little.
            good = {self._make(number): number for number in range(max(0, bucket - BUCKETS_BACK), bucket + 2)}
            self._seen = {number: seen for number, seen in self._seen.items() if number in good.values()}
            self._count = sum(len(seen) for seen in self._seen.values())
            self._good, self._current, self._bucket = good, self._make(bucket), bucket

    def _make(self, bucket: int) -> str:
        number = struct.pack(">I", bucket)
        seal = hmac.digest(self._secret, number, hashlib.sha256)[:16]
        return base64.urlsafe_b64encode(number + seal).decode().rstrip("=")


def answer_to(server_nonce: str, random: bytes) -> str:
    """The nonce of one request: the hub's, and randomness of the device's own. Without one of the hub's the answer is 401 `nonce`."""
    own = base64.urlsafe_b64encode(random).decode().rstrip("=")
    return f"{server_nonce}.{own}" if server_nonce else own
