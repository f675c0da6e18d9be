"""An order: what a guest wants, what it costs, and the tickets it becomes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tickets.business_day import BusinessDay
from tickets.catalogue import Catalogue, Product, ProductKind, Slot, Variant
from tickets.money import Money, TaxLine, tax_lines, total

LINES_MAX = 20
TICKETS_MAX = 100
"""The most paper one order may become; a kiosk's roll and a guest's patience both end there."""


class OrderError(ValueError):
    """An order that cannot be made. The message says which line and what is allowed."""

    code = "order"


@dataclass(frozen=True, slots=True)
class OrderLine:
    """`count` of one variant, for one slot where the product has slots."""

    variant: Variant
    product: Product
    count: int
    slot: Slot | None = None

    @property
    def amount(self) -> Money:
        return self.variant.price * self.count


@dataclass(frozen=True, slots=True)
class Order:
    """Lines in the order of choosing. Immutable: a changed basket is another order."""

    lines: tuple[OrderLine, ...]
    currency: str

    def __post_init__(self) -> None:
        if not self.lines:
            raise OrderError("an order without lines")
        if len(self.lines) > LINES_MAX:
            raise OrderError(f"an order of {len(self.lines)} lines; {LINES_MAX} are allowed")
        for line in self.lines:
            if not 1 <= line.count <= line.variant.count_max:
                raise OrderError(
                    f"variant {line.variant.number}: {line.count} is not from 1 to {line.variant.count_max}"
                )
            if (line.product.kind is ProductKind.SLOT) != (line.slot is not None):
                raise OrderError(f"product '{line.product.product}': a slot belongs to slot products, and only to them")
        if self.ticket_count > TICKETS_MAX:
            raise OrderError(f"an order of {self.ticket_count} tickets; {TICKETS_MAX} are allowed")

    @property
    def total(self) -> Money:
        return total((line.amount for line in self.lines), currency=self.currency)

    @property
    def tax(self) -> tuple[TaxLine, ...]:
        return tax_lines(((line.product.tax_bp, line.amount) for line in self.lines), currency=self.currency)

    @property
    def ticket_count(self) -> int:
        """How many pieces of paper: a ride book is as many as it has coupons."""
        return sum(line.count * max(1, line.product.coupons) for line in self.lines)


@dataclass(frozen=True, slots=True)
class Entitlement:
    """One ticket that an order becomes, before it has an id, a code or paper. `part` of `parts` within a ride book; `book` counts
    the books of the order from 0, None outside of books.
    """

    line: int
    variant: Variant
    product: Product
    slot: Slot | None
    uses: int
    not_before: datetime
    expires: datetime
    book: int | None = None
    part: int = 1
    parts: int = 1


EARLY_ARRIVAL = timedelta(minutes=15)
"""A ticket for a time slot opens this long before it."""


def entitlements(order: Order, *, sold_at: datetime, day: BusinessDay) -> tuple[Entitlement, ...]:
    """The tickets of an order sold at `sold_at`, in the order in which they are printed."""
    tickets: list[Entitlement] = []
    books = 0
    for number, line in enumerate(order.lines):
        not_before, expires = validity(line.product, line.slot, sold_at=sold_at, day=day)
        for _ in range(line.count):
            parts = max(1, line.product.coupons)
            book = books if line.product.coupons else None
            books += 1 if line.product.coupons else 0
            tickets.extend(
                Entitlement(
                    line=number,
                    variant=line.variant,
                    product=line.product,
                    slot=line.slot,
                    uses=line.variant.uses,
                    not_before=not_before,
                    expires=expires,
                    book=book,
                    part=part,
                    parts=parts,
                )
                for part in range(1, parts + 1)
            )
    return tuple(tickets)


def validity(product: Product, slot: Slot | None, *, sold_at: datetime, day: BusinessDay) -> tuple[datetime, datetime]:
    """From when (inclusive) until when (exclusive) a ticket opens a gate."""
    if slot is not None:
        return slot.starts_at - EARLY_ARRIVAL, slot.ends_at
    today = day.of(sold_at)
    return day.starts(today), day.ends(today + timedelta(days=product.validity_days - 1))


def order_of(catalogue: Catalogue, wanted: list[tuple[int, int, Slot | None]]) -> Order:
    """An order from (variant number, count, slot). Raises OrderError for a variant that the catalogue does not have."""
    lines = []
    for number, count, slot in wanted:
        variant = catalogue.variants.get(number)
        if variant is None:
            raise OrderError(f"variant {number} is not in the catalogue")
        lines.append(OrderLine(variant=variant, product=catalogue.products[variant.product], count=count, slot=slot))
    return Order(lines=tuple(lines), currency=catalogue.venue.currency)
