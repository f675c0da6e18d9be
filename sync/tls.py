"""TLS by a pinned key: what a device believes is the public key it was enrolled with, not a certificate's issuer, names or dates.

Dates would tie the line to a clock that may be wrong, an issuer to strangers. The pin is SHA-256 of the key's SubjectPublicKeyInfo.
A hub may announce further pins under its own (Ed25519) key before it changes its TLS key; that statement alone moves a pin.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sync.errors import HubKeyWrong, MessageError

PIN_BYTES = 32
PINS_MAX = 4
CONTEXT = b"kaisatsu/tls/1"
DOCUMENT = "tls"
"""The name under which the statement travels in the feed's table `document`."""


def pin_of(certificate_der: bytes) -> bytes:
    """SHA-256 of a certificate's SubjectPublicKeyInfo. Raises ValueError for what is no certificate."""
    from cryptography import x509  # only where a certificate is looked at: gates without TLS do without it

    key = x509.load_der_x509_certificate(certificate_der).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def client_context() -> ssl.SSLContext:
    """TLS 1.3, whose handshake proves that the other end holds the certificate's key; which key that is, `connect` looks at."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def handshake(plain: socket.socket, context: ssl.SSLContext, *, host: str, pins: Sequence[bytes]) -> ssl.SSLSocket:
    """TLS over a connected socket, to one of the pinned keys and to nobody else; no byte of a request was sent when this raises.

    Raises HubKeyWrong, OSError (ssl.SSLError included).
    """
    secured = context.wrap_socket(plain, server_hostname=host)
    try:
        shown = secured.getpeercert(binary_form=True)
        found = pin_of(shown) if shown else b""
    except ValueError:
        found = b""
    # Every pin is compared, whichever fits: the time taken says nothing.
    fits = [hmac.compare_digest(found, pin) for pin in pins]
    if not any(fits):
        secured.close()
        raise HubKeyWrong("the hub shows another key than the one enrolled with: something else answers there")
    return secured


@dataclass(frozen=True, slots=True)
class Pins:
    """The keys that are the hub's from now on. `number` rises with each statement; a device keeps to the highest it has seen."""

    number: int
    pins: tuple[bytes, ...]
    at: datetime

    def to_text(self) -> str:
        row = {"number": self.number, "pins": [pin.hex() for pin in self.pins], "at": self.at.isoformat()}
        return json.dumps(row, separators=(",", ":"))


def signed(statement: Pins, key: Ed25519PrivateKey) -> str:
    """The statement as it travels: {"text", "signature"}."""
    text = statement.to_text()
    return json.dumps({"text": text, "signature": key.sign(CONTEXT + text.encode()).hex()}, separators=(",", ":"))


def check(document: str, hub_key: bytes) -> Pins:
    """The statement of a document. Raises MessageError for what is none, or not signed with the hub's key."""
    try:
        outer: Any = json.loads(document)
        text = outer["text"]
        if not isinstance(text, str):
            raise TypeError("text")
        Ed25519PublicKey.from_public_bytes(hub_key).verify(bytes.fromhex(outer["signature"]), CONTEXT + text.encode())
        row: Any = json.loads(text)
        number, pins, at = row["number"], [bytes.fromhex(pin) for pin in row["pins"]], datetime.fromisoformat(row["at"])
        if type(number) is not int or number < 1:
            raise ValueError("number")
        if not 1 <= len(pins) <= PINS_MAX or any(len(pin) != PIN_BYTES for pin in pins):
            raise ValueError("pins")
        if at.tzinfo is None:
            raise ValueError("at")
        return Pins(number=number, pins=tuple(pins), at=at)
    except InvalidSignature as error:
        raise MessageError("a statement about TLS keys that the hub did not sign") from error
    except (ValueError, KeyError, TypeError) as error:
        raise MessageError(f"no statement about TLS keys ({error})") from error
