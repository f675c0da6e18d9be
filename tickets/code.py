"""The ticket code: what the QR on a ticket says. Final; the only module of the core with cryptography.

    T1: + Base45( COSE_Sign1( CWT ) )

COSE_Sign1 (RFC 9052) with tag 18, EdDSA over Ed25519; protected {1: -8, 4: kid}, unprotected {}; payload a CWT (RFC 8392)
{4: exp, 5: nbf, 7: ticket id, -1: [variant, uses, language]}; deterministic CBOR (RFC 8949, 4.2.1), so that one ticket has
exactly one code and a second spelling of it is no code. All values at their largest make 116 bytes, 177 characters: a
version 7 QR symbol at error correction M, 45 modules a side (178 characters is that symbol's limit).

A signature proves who issued the ticket, never that it is unused. No name and no seat is in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tickets import base45
from tickets.ids import KID_BYTES, TICKET_ID_BYTES, Kid, TicketId, exactly

PREFIX = "T1:"
CODE_CHARS_MAX = 177
"""A longer text is refused before anything parses it."""

_COSE_SIGN1_TAG = 18  # RFC 9052, table 1
_ALG, _KID, _EDDSA = 1, 4, -8  # RFC 9052 3.1; RFC 9053 2.2
_EXP, _NBF, _CTI, _TICKET = 4, 5, 7, -1  # RFC 8392 3.1; -1 is private use
_SIGNATURE_BYTES = 64


class CodeError(ValueError):
    """A text that is no ticket code of ours. Says nothing about forgery: nobody has claimed to have signed it."""

    code = "ticket.code"


@dataclass(frozen=True, slots=True)
class TicketCode:
    """What is signed. `not_before` <= t < `expires`, integer seconds since 1970 below 2^32; `variant` and `uses` 0 to 65535
    (uses 0: no limit); `language` 0 to 255 (tickets.language).
    """

    kid: Kid
    ticket_id: TicketId
    variant: int
    uses: int
    language: int
    not_before: int
    expires: int

    def __post_init__(self) -> None:
        exactly(self.kid, KID_BYTES, "kid")
        exactly(self.ticket_id, TICKET_ID_BYTES, "ticket id")
        for name, value, limit in (
            ("variant", self.variant, 1 << 16),
            ("uses", self.uses, 1 << 16),
            ("language", self.language, 1 << 8),
            ("not before", self.not_before, 1 << 32),
            ("expires", self.expires, 1 << 32),
        ):
            if not 0 <= value < limit:
                raise ValueError(f"{name} {value} is not from 0 to {limit - 1}")
        if self.not_before >= self.expires:
            raise ValueError(f"not before {self.not_before} is not before expires {self.expires}")


@dataclass(frozen=True, slots=True)
class SignedCode:
    """A parsed code whose signature nobody has looked at yet."""

    ticket: TicketCode
    signed: bytes
    signature: bytes


def sign(ticket: TicketCode, key: Ed25519PrivateKey) -> str:
    """The text of the QR."""
    text = _text(ticket, key.sign(_to_be_signed(ticket)))
    assert len(text) <= CODE_CHARS_MAX
    return text


def parse(text: str) -> SignedCode:
    """Take a text apart. Raises CodeError unless it is, to the letter, what `sign` would have written."""
    if not text.startswith(PREFIX):
        raise CodeError("not a ticket code of this system")
    if len(text) > CODE_CHARS_MAX:
        raise CodeError(f"a code of {len(text)} characters; {CODE_CHARS_MAX} are allowed")
    try:
        ticket, signature = _take_apart(cbor2.loads(base45.decode(text[len(PREFIX) :])))
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        OverflowError,
        RecursionError,
        EOFError,
        cbor2.CBORError,
    ) as error:
        raise CodeError("not a ticket code: damaged or made by something else") from error
    if _text(ticket, signature) != text:
        raise CodeError("not a ticket code: another spelling of one")
    return SignedCode(ticket=ticket, signed=_to_be_signed(ticket), signature=signature)


def verify(code: SignedCode, key: Ed25519PublicKey) -> bool:
    """Whether the holder of `key` signed it."""
    try:
        key.verify(code.signature, code.signed)
    except InvalidSignature:
        return False
    return True


def public_key(raw: bytes) -> Ed25519PublicKey:
    """32 bytes (RFC 8032) as a key. Raises ValueError for another length."""
    return Ed25519PublicKey.from_public_bytes(raw)


def private_key(raw: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(raw)


def _protected(ticket: TicketCode) -> bytes:
    return _cbor({_ALG: _EDDSA, _KID: ticket.kid})


def _payload(ticket: TicketCode) -> bytes:
    return _cbor(
        {
            _EXP: ticket.expires,
            _NBF: ticket.not_before,
            _CTI: ticket.ticket_id,
            _TICKET: [ticket.variant, ticket.uses, ticket.language],
        }
    )


def _to_be_signed(ticket: TicketCode) -> bytes:
    return _cbor(["Signature1", _protected(ticket), b"", _payload(ticket)])  # RFC 9052 4.4


def _text(ticket: TicketCode, signature: bytes) -> str:
    message = cbor2.CBORTag(_COSE_SIGN1_TAG, [_protected(ticket), {}, _payload(ticket), signature])
    return PREFIX + base45.encode(_cbor(message))


def _cbor(value: Any) -> bytes:
    return cbor2.dumps(value, canonical=True)


def _take_apart(message: Any) -> tuple[TicketCode, bytes]:
    if not isinstance(message, cbor2.CBORTag) or message.tag != _COSE_SIGN1_TAG:
        raise ValueError("not a COSE_Sign1 message")
    protected_bytes, _unprotected, payload_bytes, signature = message.value
    protected = cbor2.loads(protected_bytes)
    payload = cbor2.loads(payload_bytes)
    variant, uses, language = payload[_TICKET]
    for number in (variant, uses, language, payload[_NBF], payload[_EXP]):
        if type(number) is not int:
            raise TypeError("a whole number is expected")
    kid, ticket_id = protected[_KID], payload[_CTI]
    for text in (kid, ticket_id, signature):
        if not isinstance(text, bytes):  # a number here would make bytes() ask for that much memory
            raise TypeError("bytes are expected")
    ticket = TicketCode(
        kid=Kid(kid),
        ticket_id=TicketId(ticket_id),
        variant=variant,
        uses=uses,
        language=language,
        not_before=payload[_NBF],
        expires=payload[_EXP],
    )
    return ticket, exactly(signature, _SIGNATURE_BYTES, "signature")
