"""What does this text name? Pure: a text and the keys known here in, a name or a plain "nothing" out.

Forged is said only of a code that a *known* key did not sign. A key that has not been heard of here makes an issuer unknown, damage
makes a code unknown; neither accuses anyone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sync.certificate import Certificate, covers
from tickets import code as ticket_code
from tickets import short_id
from tickets.admission import Reason
from tickets.code import CodeError, TicketCode
from tickets.ids import Kid

DIGITS: Final = "digits"
"""The source of a text that a person typed. A camera's six digits are somebody's poster."""


class Trust(StrEnum):
    GOOD = "good"
    """Signed by a key that the hub vouches for; what that key may sign is `Coded.covered`."""
    REVOKED = "revoked"
    """Signed by a key that the hub has taken back: what the hub knows of stays valid, the rest is blocked."""
    UNHEARD = "unheard"
    """Its key has not been heard of here, so nobody can say."""


@dataclass(frozen=True, slots=True)
class SellingKey:
    """`certificate` is the hub's word on what this key may sign: when, and tickets of which products."""

    public: Ed25519PublicKey
    certificate: Certificate
    revoked: bool


@dataclass(frozen=True, slots=True)
class Coded:
    """A well-formed code, and how far its signature carries. `certificate` is its key's, None where the key has not been heard of."""

    text: str
    ticket: TicketCode
    trust: Trust
    certificate: Certificate | None = None

    def covered(self, product: str | None) -> bool:
        """Whether its key was allowed to sign it. `product` is the one its variant belongs to, None where that is not known."""
        return self.certificate is None or covers(
            self.certificate, not_before=self.ticket.not_before, expires=self.ticket.expires, product=product
        )


@dataclass(frozen=True, slots=True)
class Digits:
    """A short id that a person typed. It finds a ticket; alone it admits nobody."""

    digits: str


@dataclass(frozen=True, slots=True)
class Nothing:
    reason: Reason


Named: TypeAlias = Coded | Digits | Nothing


def name(text: str, *, source: str, keys: Mapping[Kid, SellingKey]) -> Named:
    """Never raises, whatever the text is. A `T1:` text that is too long is refused before anything parses it."""
    if not text.startswith(ticket_code.PREFIX):
        return _typed(text) if source == DIGITS else Nothing(Reason.UNKNOWN)
    try:
        signed = ticket_code.parse(text)
    except CodeError:
        return Nothing(Reason.UNKNOWN)
    key = keys.get(signed.ticket.kid)
    if key is None:
        return Coded(text, signed.ticket, Trust.UNHEARD)
    if not ticket_code.verify(signed, key.public):
        return Nothing(Reason.FORGED)
    return Coded(text, signed.ticket, Trust.REVOKED if key.revoked else Trust.GOOD, key.certificate)


def _typed(text: str) -> Named:
    try:
        return Digits(short_id.parse(text))
    except short_id.ShortIdError:
        return Nothing(Reason.UNKNOWN)
