"""The hop between a device and its hub: each request is signed with the device's identity key (RFC 9421, Ed25519).

Exactly one profile of that standard is written and read here, by the letter (docs/protocol.md): one signature labelled `hop` over
method, authority, path, query and the body's digest (RFC 9530), its parameters in one order. Whatever is spelled otherwise is
refused, never interpreted; a general library is the judge of this module in the tests (docs/decisions/0009). The hop proves who is
speaking now; where an operation came from is proven by its segment.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sync.nonce import NONCE_CHARS_MAX
from sync.nonce import HopError as HopError  # noqa: PLC0414  it is this module's error as well
from tickets.ids import DeviceId

TAG = "kaisatsu-1"
COVERED = ("@method", "@authority", "@path", "@query", "content-digest")
CONTENT_DIGEST, SIGNATURE_INPUT, SIGNATURE = "Content-Digest", "Signature-Input", "Signature"

_COVERED = "(" + " ".join(f'"{name}"' for name in COVERED) + ")"
_METHOD = re.compile(r"[A-Z]{3,7}")
_AUTHORITY = re.compile(r"(?:[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII)
_PATH = re.compile(r"/[A-Za-z0-9._~/-]*", re.ASCII)
_QUERY = re.compile(r"(?:[A-Za-z0-9._~!$'()*,;:@/?&=+-]|%[0-9A-F]{2})*", re.ASCII)
_NONCE = re.compile(rf"[A-Za-z0-9._-]{{8,{NONCE_CHARS_MAX}}}", re.ASCII)
_INPUT = re.compile(
    r'hop=(\("@method" "@authority" "@path" "@query" "content-digest"\);created=(?:0|[1-9][0-9]{0,11});keyid="([0-9a-f]{32})"'
    rf';alg="ed25519";nonce="([A-Za-z0-9._-]{{8,{NONCE_CHARS_MAX}}})";tag="kaisatsu-1")',
    re.ASCII,
)
_SIGNATURE = re.compile(r"hop=:([A-Za-z0-9+/]{85}[AQgw]==):", re.ASCII)
"""64 bytes of base64; the last letter's spare bits are zero, so that there is one spelling."""


@dataclass(frozen=True, slots=True)
class Target:
    """What of a request its signature covers beside the body. `authority` is lower-case host and port, the port only where it is not the
    scheme's own; `path` and `query` (without its question mark) are as they are sent, percent-encoded in upper case.
    """

    method: str
    authority: str
    path: str
    query: str

    def __post_init__(self) -> None:
        if not (
            _METHOD.fullmatch(self.method)
            and _AUTHORITY.fullmatch(self.authority)
            and _PATH.fullmatch(self.path)
            and _QUERY.fullmatch(self.query)
        ):
            raise HopError(
                "signature", "a request's method, host, path or query is spelled in a way that is not signed here"
            )

    def base(self, digest: str, parameters: str) -> bytes:
        """RFC 9421 2.5, for this profile. All of it is ASCII without line breaks by the patterns above."""
        return (
            f'"@method": {self.method}\n"@authority": {self.authority}\n"@path": {self.path}\n"@query": ?{self.query}\n'
            f'"content-digest": {digest}\n"@signature-params": {parameters}'
        ).encode("ascii")


@dataclass(slots=True)
class Message:
    """A request as far as its signature goes. `url` absolute, as sent; `headers` gain the signature."""

    method: str
    url: str
    headers: MutableMapping[str, str] = field(default_factory=dict)

    def target(self) -> Target:
        """Raises HopError for a URL outside of the profile."""
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError as error:
            raise HopError("signature", "no URL") from error
        if parts.scheme not in ("http", "https") or "@" in parts.netloc or parts.fragment or not parts.hostname:
            raise HopError("signature", "an absolute http or https URL is signed")
        if any(character <= " " for character in self.url):
            raise HopError("signature", "no URL")  # urlsplit drops line breaks without a word
        return Target(
            self.method, authority(parts.netloc, tls=parts.scheme == "https", port=port), parts.path or "/", parts.query
        )


def authority(host: str, *, tls: bool, port: int | None = None) -> str:
    """A Host header as it is signed: lower-case, without the scheme's own port."""
    own = ":443" if tls else ":80"
    text = host.lower()
    if port is None and text.endswith(":"):
        return text[:-1]
    return text.removesuffix(own)


def content_digest(body: bytes) -> str:
    """RFC 9530, of SHA-256 alone; also of an empty body."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def signed_headers(
    target: Target, body: bytes, *, device: DeviceId, key: Ed25519PrivateKey, now: datetime, nonce: str
) -> dict[str, str]:
    """Content-Digest, Signature-Input and Signature of a request. `now` informs whoever reads a trace; nobody judges by it."""
    if not _NONCE.fullmatch(nonce):
        raise ValueError(f"a nonce has 8 to {NONCE_CHARS_MAX} characters of A-Z a-z 0-9 . _ -")
    digest = content_digest(body)
    created = max(0, int(now.timestamp()))
    parameters = f'{_COVERED};created={created};keyid="{device.hex()}";alg="ed25519";nonce="{nonce}";tag="{TAG}"'
    signature = base64.b64encode(key.sign(target.base(digest, parameters))).decode()
    return {CONTENT_DIGEST: digest, SIGNATURE_INPUT: f"hop={parameters}", SIGNATURE: f"hop=:{signature}:"}


def sign(message: Message, body: bytes, *, device: DeviceId, key: Ed25519PrivateKey, now: datetime, nonce: str) -> None:
    """Add Content-Digest, Signature-Input and Signature to the message's headers."""
    message.headers.update(signed_headers(message.target(), body, device=device, key=key, now=now, nonce=nonce))


@dataclass(frozen=True, slots=True)
class Claimed:
    """A signature that was read and not checked yet: who says that they sent this, over which nonce."""

    device: DeviceId
    nonce: str
    signature: bytes
    base: bytes


def read(
    target: Target, body: bytes, *, digest: str | None, signature_input: str | None, signature: str | None
) -> Claimed:
    """Read the three header fields of a request, each as its single field line; None where there is none.

    Raises HopError: unsigned, signature (anything but our profile, or another body).
    """
    if signature_input is None or signature is None or digest is None:
        raise HopError("unsigned", "a signature of a device is expected")
    found, value = _INPUT.fullmatch(signature_input), _SIGNATURE.fullmatch(signature)
    if found is None or value is None:
        raise HopError("signature", "a signature outside of the profile of this protocol")
    if digest != content_digest(body):
        raise HopError("signature", "the body is not the one that was signed")
    raw = binascii.a2b_base64(value[1])
    return Claimed(DeviceId(bytes.fromhex(found[2])), found[3], raw, target.base(digest, found[1]))


def check(claimed: Claimed, identity: bytes) -> None:
    """Raises HopError("signature") unless the key `identity` signed it."""
    try:
        _public(identity).verify(claimed.signature, claimed.base)
    except InvalidSignature as error:
        raise HopError("signature", "the signature does not hold") from error


@lru_cache(maxsize=4096)
def _public(identity: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(identity)
