"""From a sale to the documents on its paper. Times are moved into the venue's zone here; texts come from the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kiosk.payment.contract import Evidence
from kiosk.sale.issue import IssuedTicket
from printer.document import Document
from printer.templates import (
    ClaimKind,
    ClaimPaper,
    CouponPaper,
    GoodsPaper,
    ReceiptLine,
    ReceiptPaper,
    TenderPaper,
    TicketPaper,
    VenuePaper,
    document,
)
from tickets import short_id
from tickets.catalogue import Catalogue, Product, ProductKind
from tickets.language import Language, Texts
from tickets.money import Money
from tickets.order import Order

CARD: Texts = {"ja": "クレジットカード", "en": "Credit card"}
SAME_DAY: Texts = {
    "ja": "当日限り有効。払い戻し・再発行はできません。",
    "en": "Valid on this day only. No refund, no reissue.",
}
BOOK: Texts = {"ja": "切り離し可。払い戻し・再発行はできません。", "en": "May be torn off. No refund, no reissue."}
THERMAL: Texts = {
    "ja": "感熱紙のため、高温と光を避けてください。",
    "en": "Thermal paper: keep away from heat and light.",
}
COLLECT: Texts = {"ja": "売店でお渡しします。", "en": "Hand this in at the shop."}
PURPOSE: Texts = {"ja": "入園料・利用券代", "en": "Admission and tickets"}
DESK: Texts = {"ja": "総合案内", "en": "Information desk"}
CLAIM_DAYS = 55
"""How long a claim can be asked about; the shortest limit among e-money brands' enquiries is 55 days (research, payments 6)."""


@dataclass(frozen=True, slots=True)
class Papers:
    """The papers of one kiosk for one catalogue. `device` is its name as guests read it."""

    catalogue: Catalogue
    device: Texts

    @property
    def _venue(self) -> VenuePaper:
        return VenuePaper(name=self.catalogue.venue.name, issuer=self.catalogue.venue.issuer)

    def _local(self, at: datetime) -> datetime:
        return self.catalogue.venue.day.local(at)

    def tickets(
        self, number: str, at: datetime, tickets: Sequence[IssuedTicket], *, language: Language
    ) -> tuple[Document, ...]:
        """One document a ticket, in printing order. `number` is the order's."""
        total = len(tickets)
        return tuple(
            self._one(number, at, row, place=place, total=total, language=language)
            for place, row in enumerate(tickets, start=1)
        )

    def _one(
        self, number: str, at: datetime, row: IssuedTicket, *, place: int, total: int, language: Language
    ) -> Document:
        entitlement, product = row.entitlement, row.entitlement.product
        until = self.catalogue.venue.day.of(entitlement.expires - timedelta(seconds=1))
        if product.kind is ProductKind.BOOK:
            assert row.sold.book is not None
            return document(
                CouponPaper(
                    id=row.sold.ticket,
                    lang=language,
                    venue=self._venue,
                    product=product.name,
                    valid_until=until,
                    code=row.code,
                    short_id=row.sold.short_id,
                    book=short_id.book_number(bytes.fromhex(row.sold.book)),
                    book_price=entitlement.variant.price,
                    part=row.sold.part,
                    parts=row.sold.parts,
                    conditions=(BOOK,),
                )
            )
        if product.kind is ProductKind.GOODS:
            return document(
                GoodsPaper(
                    id=row.sold.ticket,
                    lang=language,
                    venue=self._venue,
                    product=product.name,
                    quantity=1,
                    where=self._place_of(product),
                    valid_until=until,
                    code=row.code,
                    short_id=row.sold.short_id,
                    price=entitlement.variant.price,
                    tax_bp=product.tax_bp,
                    serial=f"{number}-{place:02d}",
                    issued_at=self._local(at),
                    device=self.device,
                    part=place,
                    parts=total,
                    conditions=(COLLECT,),
                )
            )
        person = self.catalogue.people.get(entitlement.variant.person or "")
        starts = self._local(entitlement.slot.starts_at).time() if entitlement.slot else None
        day = self.catalogue.venue.day.of(entitlement.slot.starts_at if entitlement.slot else entitlement.not_before)
        return document(
            TicketPaper(
                id=row.sold.ticket,
                lang=language,
                venue=self._venue,
                product=product.name,
                variant=person.name if person else None,
                day=day,
                code=row.code,
                short_id=row.sold.short_id,
                price=entitlement.variant.price,
                serial=f"{number}-{place:02d}",
                issued_at=self._local(at),
                device=self.device,
                part=place,
                parts=total,
                starts=starts,
                valid_until=until if until > day else None,
                attention=entitlement.variant.proof or None,
                conditions=(SAME_DAY, THERMAL),
            )
        )

    def receipt(
        self, number: str, at: datetime, order: Order, evidence: Evidence | None, *, language: Language
    ) -> Document:
        """領収書 for a card payment. An order of 0 gets none: nothing was received."""
        slip = "" if evidence is None or evidence.receipt_no is None else str(evidence.receipt_no)
        return document(
            ReceiptPaper(
                id=f"{number}-receipt",
                lang=language,
                venue=self._venue,
                number=number,
                issued_at=self._local(at),
                device=self.device,
                lines=tuple(
                    ReceiptLine(
                        name=self._line_name(line.product, line.variant.person),
                        unit=line.variant.price,
                        quantity=line.count,
                        tax_bp=line.product.tax_bp,
                    )
                    for line in order.lines
                ),
                taxes=order.tax,
                total=order.total,
                tenders=(
                    TenderPaper(
                        name=CARD,
                        amount=order.total,
                        card=(evidence.masked_id or "") if evidence else "",
                        slip=slip,
                    ),
                ),
                purpose=PURPOSE,
            )
        )

    def claim(
        self, kind: ClaimKind, number: str, at: datetime, amount: Money, *, language: Language, tickets: int, owed: int
    ) -> Document:
        """The slip a guest takes to the desk when money or tickets are in doubt."""
        local = self._local(at)
        return document(
            ClaimPaper(
                id=f"{number}-claim",
                lang=language,
                venue=self._venue,
                kind=kind,
                number=number,
                at=local,
                device=self.device,
                tender=CARD,
                amount=amount,
                desk=DESK,
                ask_until=local.date() + timedelta(days=CLAIM_DAYS),
                tickets=tickets,
                owed=owed,
            )
        )

    def _place_of(self, product: Product) -> Texts:
        """Where a thing is handed out: the gate of the catalogue that takes its tickets."""
        return next(gate.name for gate in self.catalogue.gates.values() if product.product in gate.products)

    def _line_name(self, product: Product, person: str | None) -> Texts:
        kind = self.catalogue.people.get(person or "")
        if kind is None:
            return product.name
        return {tag: f"{text} {kind.name.get(tag, kind.name['ja'])}" for tag, text in product.name.items()}
