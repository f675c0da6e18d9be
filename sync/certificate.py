"""Certificates of selling keys: the hub vouches for a kiosk's key ahead of its tickets, so that a gate can check tickets that no
server has seen. Final bytes: Ed25519 over "kaisatsu/certificate/1" || text, text being the exact JSON that travels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sync.errors import MessageError
from tickets.ids import Kid, exactly
from tickets.ids import kid as parse_kid

_CONTEXT = b"kaisatsu/certificate/1"


@dataclass(frozen=True, slots=True)
class Certificate:
    """`kid` and its `public` key (32 bytes); good for tickets sold from `not_before` until before `expires` (seconds since 1970),
    `tickets_max` of them; `device` (hex) holds it. `products` empty means all.
    """

    kid: Kid
    public: bytes
    device: str
    not_before: int
    expires: int
    tickets_max: int
    products: tuple[str, ...] = ()


def issue(certificate: Certificate, key: Ed25519PrivateKey) -> tuple[str, bytes]:
    """(text, signature) as they travel and are stored."""
    text = json.dumps(
        {
            "kid": certificate.kid.hex(),
            "public": certificate.public.hex(),
            "device": certificate.device,
            "not_before": certificate.not_before,
            "expires": certificate.expires,
            "tickets_max": certificate.tickets_max,
            "products": list(certificate.products),
        },
        separators=(",", ":"),
    )
    return text, key.sign(_CONTEXT + text.encode())


def check(text: str, signature: bytes, hub_key: bytes) -> Certificate:
    """The certificate, if the hub whose key was pinned signed it. Raises MessageError."""
    try:
        Ed25519PublicKey.from_public_bytes(hub_key).verify(signature, _CONTEXT + text.encode())
    except (InvalidSignature, ValueError) as error:
        raise MessageError("a certificate that this venue's hub did not sign") from error
    return read(text)


def read(text: str) -> Certificate:
    """What a certificate says. For one whose signature was checked when it was stored: by `check`, or because it was made here.
    Raises MessageError.
    """
    try:
        row = json.loads(text)
        return Certificate(
            kid=parse_kid(row["kid"]),
            public=exactly(bytes.fromhex(row["public"]), 32, "public key"),
            device=str(row["device"]),
            not_before=int(row["not_before"]),
            expires=int(row["expires"]),
            tickets_max=int(row["tickets_max"]),
            products=tuple(row["products"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise MessageError(f"a certificate that cannot be read: {error}") from error


def covers(certificate: Certificate, *, not_before: int, expires: int, product: str | None) -> bool:
    """Whether a ticket signed by this key lies within what its certificate allows: valid at some time at which the certificate was in
    force too, and of a product that it names. `not_before` and `expires` are the ticket code's own (nbf, exp). `product` None (the
    ticket's variant is not known here) passes only where the certificate allows every product.

    The two windows need only touch: a ticket of today begins with the business day, before a kiosk that was enrolled at noon. Whether
    the key was revoked is not in the certificate; ask the row it came with. The number of tickets is for the hub to count.
    """
    in_force = not_before < certificate.expires and expires > certificate.not_before
    return in_force and (not certificate.products or product in certificate.products)
