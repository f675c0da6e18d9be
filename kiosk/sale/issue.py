"""From an order that is paid to tickets with ids, codes and digits. Pure: keys, ids and digits come in.

The codes are signed while the terminal holds the charge, so that nothing slow stands between the proof and the paper; they are
worth nothing before the transaction that makes the sale true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync.operation import Paid, Sale, SoldLine, SoldTicket, TaxAmount
from tickets.business_day import BusinessDay
from tickets.catalogue import ProductKind
from tickets.code import TicketCode, parse, sign
from tickets.ids import TICKET_ID_BYTES, Kid, RandomBytes, TicketId
from tickets.language import NUMBERS, Language
from tickets.order import Entitlement, Order, entitlements


@dataclass(frozen=True, slots=True)
class IssuedTicket:
    """A ticket as it will be printed: what it entitles to, its row in the sale, and the text of its QR."""

    entitlement: Entitlement
    sold: SoldTicket
    code: str


@dataclass(frozen=True, slots=True)
class Seller:
    """Who sells: the certified key and its id."""

    kid: Kid
    key: Ed25519PrivateKey


def needs_nine_digits(entitlement: Entitlement) -> bool:
    """Books and passes live longer than the day for which six digits are unique."""
    return entitlement.product.kind in (ProductKind.BOOK, ProductKind.PASS) or entitlement.product.validity_days > 1


def digits_needed(order: Order, *, sold_at: datetime, day: BusinessDay) -> tuple[int, int]:
    """(how many short ids of six, how many of nine digits) the order needs."""
    rows = entitlements(order, sold_at=sold_at, day=day)
    nine = sum(needs_nine_digits(row) for row in rows)
    return len(rows) - nine, nine


def issue(
    order: Order,
    *,
    sold_at: datetime,
    day: BusinessDay,
    language: Language,
    seller: Seller,
    six: Sequence[str],
    nine: Sequence[str],
    random_bytes: RandomBytes,
) -> tuple[IssuedTicket, ...]:
    """The tickets of an order, in printing order, each code parsed back before it counts."""
    sixes, nines, books = iter(six), iter(nine), dict[int, str]()
    issued = []
    for row in entitlements(order, sold_at=sold_at, day=day):
        ticket = TicketId(random_bytes(TICKET_ID_BYTES))
        if row.book is not None and row.book not in books:
            books[row.book] = random_bytes(TICKET_ID_BYTES).hex()
        code = TicketCode(
            kid=seller.kid,
            ticket_id=ticket,
            variant=row.variant.number,
            uses=row.uses,
            language=NUMBERS[language],
            not_before=int(row.not_before.timestamp()),
            expires=int(row.expires.timestamp()),
        )
        text = sign(code, seller.key)
        assert parse(text).ticket == code, "a code reads back as what was signed"
        issued.append(
            IssuedTicket(
                entitlement=row,
                sold=SoldTicket(
                    ticket=ticket.hex(),
                    kid=seller.kid.hex(),
                    variant=code.variant,
                    uses=code.uses,
                    language=str(language),
                    not_before=code.not_before,
                    expires=code.expires,
                    short_id=next(nines if needs_nine_digits(row) else sixes),
                    line=row.line,
                    slot=row.slot.slot if row.slot else None,
                    book=books[row.book] if row.book is not None else None,
                    part=row.part,
                    parts=row.parts,
                ),
                code=text,
            )
        )
    return tuple(issued)


def sale_operation(
    order: Order,
    tickets: Sequence[IssuedTicket],
    *,
    op: str,
    at: datetime,
    order_id: str,
    number: str,
    language: Language,
    paid: Paid,
) -> Sale:
    """The one fact that says: money taken, tickets valid."""
    return Sale(
        op=op,
        at=at.isoformat(),
        order=order_id,
        number=number,
        language=str(language),
        currency=order.currency,
        total_minor=order.total.minor,
        lines=tuple(
            SoldLine(
                variant=line.variant.number,
                count=line.count,
                unit_minor=line.variant.price.minor,
                tax_bp=line.product.tax_bp,
                slot=line.slot.slot if line.slot else None,
            )
            for line in order.lines
        ),
        tax=tuple(
            TaxAmount(tax_bp=tax.rate_bp, gross_minor=tax.gross.minor, tax_minor=tax.tax.minor) for tax in order.tax
        ),
        paid=paid,
        tickets=tuple(ticket.sold for ticket in tickets),
    )
