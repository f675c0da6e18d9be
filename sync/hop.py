"""The hop between a device and its hub: each request is signed with the device's identity key (RFC 9421, Ed25519).

Covered are method, authority, path, query and the body's digest (RFC 9530), with `created`, `nonce` and the tag of this protocol;
keyid is the device's id in hex. The hop proves who is speaking; where an operation came from is proven by its segment.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    algorithms,
)

from sync.errors import SyncError
from tickets.ids import DeviceId
from tickets.ids import device_id as parse_device_id

TAG = "kaisatsu-1"
COVERED = ("@method", "@authority", "@path", "@query", "content-digest")
CREATED_WINDOW_S = 60
"""How far `created` may be from the hub's clock, either way. A device whose clock is further off is told the hub's time."""
NONCES_MAX = 200_000
NONCE_CHARS_MAX = 64


class HopError(SyncError):
    """A request that nobody vouches for. `error` is the stable word of the answer."""

    code = "sync.hop"

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.error = error


@dataclass(slots=True)
class Message:
    """A request as far as its signature goes. `url` absolute, as sent; `headers` gain the signature."""

    method: str
    url: str
    headers: MutableMapping[str, str] = field(default_factory=dict)


class NonceMemory:
    """Nonces seen within the window. In memory: what was created before this memory began is refused, so a restart forgets nothing
    that could be replayed.
    """

    def __init__(self, *, began: datetime) -> None:
        self._began_s = int(began.timestamp())
        self._seen: OrderedDict[tuple[DeviceId, str], int] = OrderedDict()
        self._lock = threading.Lock()

    def spend(self, device: DeviceId, nonce: str, *, created_s: int, now_s: int) -> None:
        """Raises HopError for a nonce that was used, a request from before the memory, or more requests than it can hold."""
        if created_s < self._began_s:
            raise HopError("clock", "signed before this hub started; sign again")
        with self._lock:
            while self._seen and next(iter(self._seen.values())) < now_s - 2 * CREATED_WINDOW_S:
                self._seen.popitem(last=False)
            if (device, nonce) in self._seen:
                raise HopError("replayed", "this request was seen before")
            if len(self._seen) >= NONCES_MAX:
                raise HopError("busy", "too many requests at once")
            self._seen[device, nonce] = now_s


class _One(HTTPSignatureKeyResolver):  # type: ignore[misc]
    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def resolve_private_key(self, key_id: str) -> Ed25519PrivateKey:  # noqa: ARG002 the library's name
        return self._key

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
        raise NotImplementedError(key_id)


class _Known(HTTPSignatureKeyResolver):  # type: ignore[misc]
    def __init__(self, find: Callable[[DeviceId], bytes | None]) -> None:
        self._find = find

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
        raw = self._find(parse_device_id(key_id))
        if raw is None:
            raise HopError("device_unknown", "no such device here")
        return Ed25519PublicKey.from_public_bytes(raw)

    def resolve_private_key(self, key_id: str) -> Ed25519PrivateKey:
        raise NotImplementedError(key_id)


class _Verifier(HTTPMessageVerifier):  # type: ignore[misc]
    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
        """Time is looked at after the signature, under the clock that was handed in."""


def sign(message: Message, body: bytes, *, device: DeviceId, key: Ed25519PrivateKey, now: datetime, nonce: str) -> None:
    """Add Content-Digest, Signature-Input and Signature to the message's headers. `now` is the hub's time as estimated here."""
    HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=_One(key)).sign(
        message,
        key_id=device.hex(),
        created=now,
        nonce=nonce,
        label="hop",
        tag=TAG,
        covered_component_ids=COVERED,
        body=body,
    )


def verify(
    message: Message, body: bytes, *, find_key: Callable[[DeviceId], bytes | None], nonces: NonceMemory, now: datetime
) -> DeviceId:
    """The device that signed this request just now. `find_key` gives a device's identity key, or None.

    Raises HopError: unsigned, device_unknown, signature, clock (too far from `now`), replayed.
    """
    if not any(name.lower() == "signature-input" for name in message.headers):
        raise HopError("unsigned", "a signature of a device is expected")
    try:
        results = _Verifier(signature_algorithm=algorithms.ED25519, key_resolver=_Known(find_key)).verify(
            message, max_age=None, expect_tag=TAG, require_components=COVERED, body=body
        )
    except HTTPMessageSignaturesException as error:
        cause = error.__cause__
        if isinstance(cause, HopError):
            raise cause from error
        raise HopError("signature", "the signature does not hold") from error
    if len(results) != 1:
        raise HopError("signature", "exactly one signature is expected")
    found = results[0].parameters
    created, nonce, keyid = found.get("created"), found.get("nonce"), found.get("keyid")
    if not isinstance(created, int) or not isinstance(nonce, str) or not 8 <= len(nonce) <= NONCE_CHARS_MAX:
        raise HopError("signature", "created and a nonce of 8 to 64 characters are expected")
    device, now_s = parse_device_id(str(keyid)), int(now.astimezone(UTC).timestamp())
    if abs(created - now_s) > CREATED_WINDOW_S:
        raise HopError("clock", f"signed {created - now_s:+d} s from the hub's clock")
    nonces.spend(device, nonce, created_s=created, now_s=now_s)
    return device
