"""The state of a visit, and what follows from it alone: lines, order, limits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kiosk.visit.route import Attract, Draft, People, Route
from kiosk.visit.situation import Context
from tickets.catalogue import Catalogue, ProductKind, Slot
from tickets.language import Language
from tickets.order import LINES_MAX, TICKETS_MAX, Order, OrderLine


class Overlay(StrEnum):
    """What lies over the screen and must be answered first."""

    IDLE = "idle"
    STAFF = "staff"


@dataclass(frozen=True, slots=True)
class Line:
    """`count` of a variant, at least 1."""

    variant: int
    count: int
    slot: Slot | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """One guest at the screen, or nobody. All but `turn` is gone at home.

    `catalogue` is the one of the first touch: a guest pays the prices that were shown. `turn` counts what was asked of the engine
    and never goes back; `hold_turn` and `pay_turn` are the ones whose answers still matter, 0 for none. `held` is what the engine
    has confirmed to hold.
    """

    route: tuple[Route, ...] = (Attract(),)
    language: Language = Language.JA
    lowered: bool = False
    catalogue: Catalogue | None = None
    basket: tuple[Line, ...] = ()
    held: tuple[tuple[str, int], ...] = ()
    overlay: Overlay | None = None
    touched_s: float = 0.0
    turn: int = 0
    hold_turn: int = 0
    pay_turn: int = 0

    @property
    def here(self) -> Route:
        return self.route[-1]

    @property
    def sold(self) -> Catalogue:
        """The catalogue of this visit; only behind the first touch."""
        assert self.catalogue is not None
        return self.catalogue


def start(*, language: Language = Language.JA) -> Visit:
    """Nobody at the screen."""
    return Visit(language=language)


def with_draft(visit: Visit, draft: Draft) -> tuple[Line, ...]:
    """The basket with the draft's counts in place of what it had of that product and slot, where it stood."""
    own = tuple(Line(variant, count, draft.slot) for variant, count in draft.counts if count > 0)
    variants = {variant for variant, _ in draft.counts}
    before: list[Line] = []
    after: list[Line] = []
    seen = False
    for line in visit.basket:
        if line.variant in variants and line.slot == draft.slot:
            seen = True
        else:
            (after if seen else before).append(line)
    return (*before, *own, *after)


def lines_now(visit: Visit) -> tuple[Line, ...]:
    """What the running total counts: the basket, with the counts being chosen on the people screen."""
    match visit.here:
        case People(draft=draft):
            return with_draft(visit, draft)
        case _:
            return visit.basket


def order_of_lines(catalogue: Catalogue, lines: tuple[Line, ...]) -> Order | None:
    """The order these lines make; None for no lines. Raises OrderError beyond the limits of an order."""
    if not lines:
        return None
    return Order(
        lines=tuple(
            OrderLine(
                variant=catalogue.variants[line.variant],
                product=catalogue.products[catalogue.variants[line.variant].product],
                count=line.count,
                slot=line.slot,
            )
            for line in lines
        ),
        currency=catalogue.venue.currency,
    )


def wants(lines: tuple[Line, ...]) -> tuple[tuple[str, int], ...]:
    """(slot id, count) to hold for these lines, in the order of choosing."""
    counts: dict[str, int] = {}
    for line in lines:
        if line.slot is not None:
            counts[line.slot.slot] = counts.get(line.slot.slot, 0) + line.count
    return tuple(counts.items())


def new_draft(visit: Visit, product: str, slot: Slot | None) -> Draft:
    """The counts a people screen starts with: those of the basket, else one of the first variant (大人 starts at 1)."""
    variants = visit.sold.variants_of(product)
    had = {line.variant: line.count for line in visit.basket if line.slot == slot}
    counts = tuple((variant.number, had.get(variant.number, 0)) for variant in variants)
    empty = Draft(product, slot, counts)
    if any(count for _, count in counts) or not counts:
        return empty
    first = added(empty, counts[0][0], 1)
    return first if fits(visit, first) else empty


def in_basket(visit: Visit, draft: Draft) -> bool:
    variants = {variant for variant, _ in draft.counts}
    return any(line.variant in variants and line.slot == draft.slot for line in visit.basket)


def left_in_slot(visit: Visit, here: People, context: Context) -> int | None:
    """How many people the slot of a draft still takes, counting what this guest holds of it; None where nobody has said."""
    slot = here.draft.slot
    if slot is None:
        return None
    if here.left is not None:
        return here.left
    for stock in context.situation.slots:
        if stock.slot.slot == slot.slot and stock.remaining is not None:
            return stock.remaining + dict(visit.held).get(slot.slot, 0)
    return None


def can_add(visit: Visit, here: People, variant: int, context: Context) -> bool:
    """Whether one more fits: what the variant, the slot and an order allow."""
    draft = here.draft
    count = dict(draft.counts).get(variant)
    if count is None or count >= visit.sold.variants[variant].count_max:
        return False
    left = left_in_slot(visit, here, context)
    if left is not None and draft.people + 1 > left:
        return False
    return fits(visit, added(draft, variant, 1))


def can_go_on(visit: Visit, here: People, context: Context) -> bool:
    """Whether the draft may become part of the basket. None of a product that is in the basket means: take it out."""
    left = left_in_slot(visit, here, context)
    if here.awaiting or (left is not None and here.draft.people > left):
        return False
    if not fits(visit, here.draft):
        return False
    return here.draft.people > 0 or in_basket(visit, here.draft)


def fits(visit: Visit, draft: Draft) -> bool:
    """Whether basket and draft together are one order."""
    lines = with_draft(visit, draft)
    return len(lines) <= LINES_MAX and pieces(visit.sold, lines) <= TICKETS_MAX


def added(draft: Draft, variant: int, count: int) -> Draft:
    return Draft(
        draft.product,
        draft.slot,
        tuple((number, had + count if number == variant else had) for number, had in draft.counts),
    )


def pieces(catalogue: Catalogue, lines: tuple[Line, ...]) -> int:
    """How much paper these lines become."""
    return sum(
        line.count * max(1, catalogue.products[catalogue.variants[line.variant].product].coupons) for line in lines
    )


def groups(visit: Visit) -> tuple[tuple[str, Slot | None, int], ...]:
    """(product, slot, count) in the basket, in the order of choosing."""
    found: dict[tuple[str, str], tuple[str, Slot | None, int]] = {}
    for line in visit.basket:
        product = visit.sold.variants[line.variant].product
        key = (product, "" if line.slot is None else line.slot.slot)
        found[key] = (product, line.slot, (found[key][2] if key in found else 0) + line.count)
    return tuple(found.values())


def has_slots(catalogue: Catalogue, product: str) -> bool:
    return catalogue.products[product].kind is ProductKind.SLOT
