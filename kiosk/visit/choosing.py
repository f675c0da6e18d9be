"""Views of choosing: which product, which time, how many, and the ticket that grows meanwhile. The same rules as `present`."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from kiosk.locale import Words
from kiosk.visit.event import (
    ChooseProduct,
    ChooseSlot,
    Minus,
    Next,
    Plus,
    TurnPage,
)
from kiosk.visit.framing import choosing_bar, frame_of, stub_hint
from kiosk.visit.route import (
    Draft,
    People,
    Products,
    Slots,
)
from kiosk.visit.situation import Context
from kiosk.visit.state import (
    Line,
    Visit,
    added,
    can_add,
    can_go_on,
    fits,
    has_slots,
    left_in_slot,
    lines_now,
    pieces,
    with_draft,
)
from kiosk.visit.step import may_choose, slots_to_come
from kiosk.visit.views import (
    CounterView,
    Key,
    Left,
    Mark,
    PeopleView,
    ProductsView,
    ProductView,
    SlotsView,
    SlotView,
    Stub,
    StubKind,
    TicketView,
)
from kiosk.visit.wording import (
    clock_text,
    date_text,
    day_text,
    from_text,
    people_text,
    price_of,
)
from tickets.catalogue import Catalogue, Slot
from tickets.language import Language, text_in
from tickets.money import Money
from tickets.order import TICKETS_MAX

PRODUCTS_A_PAGE: Final = 6
SLOTS_A_PAGE: Final = 6
FEW: Final = 20
"""From here down a slot says how many are left."""
STALE: Final = timedelta(minutes=5)
"""Older counts say how old they are."""


def products_view(visit: Visit, here: Products, context: Context, words: Words) -> ProductsView:
    catalogue = visit.sold
    products = list(catalogue.products)
    pages = -(-len(products) // PRODUCTS_A_PAGE)
    page = min(here.page, pages - 1)
    shown = products[page * PRODUCTS_A_PAGE : (page + 1) * PRODUCTS_A_PAGE]
    if pages > 1:
        stub = Stub(StubKind.PLAIN, words("products.more"), "next", "more", TurnPage((page + 1) % pages))
    else:
        stub = stub_hint(words, "products.hint")
    lines = lines_now(visit)
    bar = (
        choosing_bar(visit, words, stub)
        if lines
        else choosing_bar(visit, words, stub, title="", text=words("products.bar"))
    )
    return ProductsView(
        frame=frame_of(
            visit,
            context,
            words,
            question=words("products.question_again" if lines else "products.question"),
            bar=bar,
        ),
        products=tuple(_product(visit, product, context, words) for product in shown),
    )


def _product(visit: Visit, name: str, context: Context, words: Words) -> ProductView:
    catalogue = visit.sold
    product = catalogue.products[name]
    prices = [variant.price.minor for variant in catalogue.variants_of(name)]
    first = catalogue.variants_of(name)[0].price if prices else Money(0, catalogue.venue.currency)
    left = _left_of_product(visit, name, context, words)
    return ProductView(
        name=f"product.{name}",
        title=text_in(product.name, words.language),
        note=text_in(product.note, words.language),
        picture=product.picture,
        price=price_of(first, words),
        left=left,
        touch=None if left.mark is Mark.SOLD_OUT or not prices else ChooseProduct(name),
    )


def _left_of_product(visit: Visit, name: str, context: Context, words: Words) -> Left:
    if not has_slots(visit.sold, name):
        return Left(Mark.PLENTY, words("left.plenty"))
    open_slots = [stock for stock in slots_to_come(context, name) if may_choose(visit, stock, context)]
    if not open_slots:
        return Left(Mark.SOLD_OUT, words("left.sold_out_today"))
    if any(stock.remaining is None for stock in open_slots):
        return Left(Mark.UNKNOWN, words("left.unknown"))
    left = sum(stock.remaining or 0 for stock in open_slots)
    if left <= FEW:
        return Left(Mark.FEW, words("left.few", n=left))
    return Left(Mark.PLENTY, words("left.plenty"))


def slots_view(visit: Visit, here: Slots, context: Context, words: Words) -> SlotsView:
    catalogue = visit.sold
    coming = slots_to_come(context, here.product)
    pages = max(1, -(-len(coming) // SLOTS_A_PAGE))
    page = min(here.page, pages - 1)
    shown = coming[page * SLOTS_A_PAGE : (page + 1) * SLOTS_A_PAGE]
    more: list[Key] = []
    if page > 0:
        more.append(Key("earlier", words("slots.earlier"), "back", TurnPage(page - 1)))
    if page < pages - 1:
        later = clock_text(coming[(page + 1) * SLOTS_A_PAGE].slot.starts_at, catalogue)
        more.append(Key("later", words("slots.later", time=later), "clock", TurnPage(page + 1)))
    name = text_in(catalogue.products[here.product].name, words.language)
    hint = stub_hint(words, "slots.hint")
    if visit.basket:
        bar = choosing_bar(visit, words, hint)
    else:
        bar = choosing_bar(visit, words, hint, title=name, text=words("slots.bar"))
    ages = [stock.as_of for stock in shown if stock.as_of is not None and context.now - stock.as_of > STALE]
    notice = words("slots.lost") if here.lost else ""
    help_line = words("slots.help", minutes=15)
    if ages:
        help_line = words("slots.as_of", time=clock_text(min(ages), catalogue))
    return SlotsView(
        frame=frame_of(visit, context, words, question=words("slots.question"), help_line=notice or help_line, bar=bar),
        ticket=ticket_of(visit, Draft(here.product, None, ()), context, words, waiting="time"),
        slots=tuple(
            SlotView(
                name=f"slot.{stock.slot.slot}",
                time=clock_text(stock.slot.starts_at, catalogue),
                time_first=words.language is not Language.EN,
                word=words("slots.from"),
                left=_left_of_slot(visit, stock.slot, stock.remaining, words),
                touch=ChooseSlot(stock.slot.slot) if may_choose(visit, stock, context) else None,
            )
            for stock in shown
        ),
        more=tuple(more),
        notice=notice,
    )


def _left_of_slot(visit: Visit, slot: Slot, remaining: int | None, words: Words) -> Left:
    if remaining is None:
        return Left(Mark.UNKNOWN, words("left.unknown"))
    left = remaining + dict(visit.held).get(slot.slot, 0)
    if left <= 0:
        return Left(Mark.SOLD_OUT, words("left.sold_out"))
    if left <= FEW:
        return Left(Mark.FEW, words("left.few", n=left))
    return Left(Mark.PLENTY, words("left.plenty"))


def ticket_of(visit: Visit, draft: Draft, context: Context, words: Words, *, waiting: str) -> TicketView:
    """The growing ticket. `waiting` names the field that is being asked for: `time` or `people`."""
    catalogue = visit.sold
    product = catalogue.products[draft.product]
    today = context.catalogue.venue.day.of(context.now)
    rows: list[tuple[str, str]] = []
    if product.validity_days > 1:
        last = today + timedelta(days=product.validity_days - 1)
        rows.append((words("ticket.valid"), words("ticket.until", date=day_text(last, words))))
    else:
        rows.append((words("ticket.date"), date_text(today, words)))
    if has_slots(catalogue, draft.product):
        rows.append((words("ticket.time"), "" if draft.slot is None else from_text(draft.slot, catalogue, words)))
    else:
        rows.append((words("ticket.note"), text_in(product.note, words.language)))
    lines = tuple(Line(variant, count, draft.slot) for variant, count in draft.counts if count)
    by_person = any(variant.person is not None for variant in catalogue.variants_of(draft.product))
    label = words("ticket.people" if by_person else "ticket.count")
    if waiting == "time" or not lines:
        rows.append((label, ""))
    elif by_person:
        rows.append((label, _in_two_lines(catalogue, lines, words)))
    elif product.coupons:
        rows.append((label, words.count("ticket.books", draft.people, m=draft.people * product.coupons)))
    else:
        rows.append((label, words.count("ticket.pieces", draft.people)))
    return TicketView(
        picture=product.picture,
        title=text_in(product.name, words.language),
        rows=tuple(rows),
        stub=words("ticket.stub"),
    )


def people_view(visit: Visit, here: People, context: Context, words: Words) -> PeopleView:
    catalogue = visit.sold
    draft = here.draft
    product = catalogue.products[draft.product]
    variants = catalogue.variants_of(draft.product)
    by_person = any(variant.person is not None for variant in variants)
    going = can_go_on(visit, here, context)
    if here.awaiting:
        stub = stub_hint(words, "people.holding", short="hint.wait")
    elif not going:
        stub = stub_hint(words, "people.hint" if by_person else "count.hint")
    elif draft.people == 0:
        stub = Stub(StubKind.ONWARD, words("people.remove"), "tick", "next", Next())
    else:
        stub = Stub(StubKind.ONWARD, words("stub.next"), "next", "next", Next())
    left = left_in_slot(visit, here, context)
    notice = ""
    if left is not None and (here.left is not None or draft.people >= left):
        notice = words("people.left", n=left)
    elif not any(fits(visit, added(draft, variant.number, 1)) for variant in variants):
        notice = words("people.limit", n=TICKETS_MAX)
    help_line = notice or _free_help(catalogue, draft.product, words)
    if not by_person:
        question, help_line = words("count.question"), notice or text_in(product.note, words.language)
    else:
        question = words("people.question")
    own = tuple(Line(variant, count, draft.slot) for variant, count in draft.counts if count)
    if visit.basket:
        bar = choosing_bar(visit, words, stub)
    elif by_person:
        bar = choosing_bar(
            visit, words, stub, title=words.count("bar.people", draft.people), text=_in_two_lines(catalogue, own, words)
        )
    else:
        bar = choosing_bar(
            visit,
            words,
            stub,
            title=text_in(product.name, words.language),
            text=words.count("bar.tickets", pieces(catalogue, with_draft(visit, draft))),
        )
    counts = dict(draft.counts)
    return PeopleView(
        frame=frame_of(visit, context, words, question=question, help_line=help_line, bar=bar),
        ticket=ticket_of(visit, draft, context, words, waiting="people"),
        counters=tuple(
            CounterView(
                title=(
                    text_in(product.name, words.language)
                    if variant.person is None
                    else text_in(catalogue.people[variant.person].name, words.language)
                ),
                note=(
                    text_in(variant.proof, words.language)
                    if variant.proof
                    else _book_note(product.coupons, words)
                    if variant.person is None
                    else text_in(catalogue.people[variant.person].note, words.language)
                ),
                price=price_of(variant.price, words),
                count=counts.get(variant.number, 0),
                minus=Key(
                    f"minus.{variant.number}",
                    "",
                    "minus",
                    Minus(variant.number) if counts.get(variant.number, 0) > 0 and not here.awaiting else None,
                ),
                plus=Key(
                    f"plus.{variant.number}",
                    "",
                    "plus",
                    Plus(variant.number)
                    if can_add(visit, here, variant.number, context) and not here.awaiting
                    else None,
                ),
            )
            for variant in variants
        ),
        notice=notice,
    )


def _free_help(catalogue: Catalogue, product: str, words: Words) -> str:
    """Who enters free, said before anybody has to ask."""
    for variant in catalogue.variants_of(product):
        if variant.person is not None and variant.price.minor == 0:
            person = catalogue.people[variant.person]
            return words(
                "people.help_free", name=text_in(person.name, words.language), note=text_in(person.note, words.language)
            )
    return ""


def _in_two_lines(catalogue: Catalogue, lines: tuple[Line, ...], words: Words) -> str:
    """Person types where there is little room: more than two stand on two lines."""
    if len(lines) <= 2:
        return people_text(catalogue, lines, words)
    half = (len(lines) + 1) // 2
    return people_text(catalogue, lines[:half], words) + "\n" + people_text(catalogue, lines[half:], words)


def _book_note(coupons: int, words: Words) -> str:
    return words("count.coupons", n=coupons) if coupons else words("count.each")
