"""Views of the basket: what it holds, what tax is in it, what to change. The same rules as `present`."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from kiosk.locale import Words
from kiosk.visit.event import (
    AddAnother,
    ChangeLines,
    EditLine,
    Next,
)
from kiosk.visit.framing import choosing_bar, frame_of, stub_hint
from kiosk.visit.route import (
    Basket,
)
from kiosk.visit.situation import Context
from kiosk.visit.state import (
    Line,
    Visit,
    groups,
    order_of_lines,
)
from kiosk.visit.views import (
    BasketView,
    ChangeView,
    Key,
    LineView,
    Stub,
    StubKind,
    TaxView,
)
from kiosk.visit.wording import (
    amount_of,
    clock_text,
    day_text,
    from_text,
    line_title,
    people_text,
    price_of,
)
from tickets.catalogue import Catalogue, Slot
from tickets.language import text_in
from tickets.money import Money

LINES_SHOWN_MAX: Final = 7
"""A basket shows no more rows; beyond it person types of one product share a row, and the rest is summed."""
TAX_REDUCED_MARK: Final = "※"


def basket_view(visit: Visit, here: Basket, context: Context, words: Words) -> BasketView:
    catalogue = visit.sold
    order = order_of_lines(catalogue, visit.basket)
    assert order is not None
    free = order.total.minor == 0
    stub = Stub(StubKind.ONWARD, words("basket.issue" if free else "basket.pay"), "next", "next", Next())
    reduced = {line.product.tax_bp for line in order.lines}
    mark_rate = min(reduced) if len(reduced) > 1 else None
    held = ""
    slots = [(slot, count) for _, slot, count in groups(visit) if slot is not None]
    if slots:
        held = words(
            "basket.held",
            time=clock_text(slots[0][0].starts_at, catalogue),
            n=slots[0][1],
        )
    notice = here.notice
    return BasketView(
        frame=frame_of(
            visit,
            context,
            words,
            question=words("basket.question"),
            bar=choosing_bar(visit, words, stub),
        ),
        lines=basket_lines(visit, context, words, mark_rate=mark_rate),
        taxes=tuple(
            TaxView(
                rate=words(
                    "tax.rate",
                    rate=_rate(tax.rate_bp),
                    mark=f" {TAX_REDUCED_MARK}" if tax.rate_bp == mark_rate else "",
                ),
                gross=amount_of(tax.gross, words.language),
                label=words("tax.within"),
                tax=amount_of(tax.tax, words.language),
            )
            for tax in order.tax
        ),
        keys=(
            Key("another", words("basket.another"), "plus", AddAnother()),
            Key("change", words("basket.change"), "pencil", ChangeLines()),
        ),
        notice="" if notice is None else words(f"notice.{notice}.text"),
        notice_bold="" if notice is None else words(f"notice.{notice}"),
        held=held,
        notes=words.count("basket.notes_free" if free else "basket.notes", order.ticket_count),
    )


def _rate(rate_bp: int) -> str:
    return f"{rate_bp / 100:g}"


def basket_lines(visit: Visit, context: Context, words: Words, *, mark_rate: int | None) -> tuple[LineView, ...]:
    """The rows of a basket: one a line, or one a product where there are many, and the last one for what does not fit."""
    catalogue = visit.sold
    bundles: list[tuple[Line, ...]] = [(line,) for line in visit.basket]
    if len(bundles) > LINES_SHOWN_MAX:
        by_group: dict[tuple[str, Slot | None], list[Line]] = {}
        for line in visit.basket:
            by_group.setdefault((catalogue.variants[line.variant].product, line.slot), []).append(line)
        bundles = [tuple(lines) for lines in by_group.values()]
    rest = bundles[LINES_SHOWN_MAX - 1 :] if len(bundles) > LINES_SHOWN_MAX else []
    shown = bundles[: LINES_SHOWN_MAX - 1] if rest else bundles
    views = [_line(visit, lines, context, words, mark_rate=mark_rate) for lines in shown]
    if rest:
        lines = tuple(line for bundle in rest for line in bundle)
        views.append(
            LineView(
                picture="",
                title=words("basket.rest", n=len(rest)),
                note="",
                count=words("line.count", n=sum(line.count for line in lines)),
                amount=amount_of(_sum(catalogue, lines), words.language),
            )
        )
    return tuple(views)


def _line(visit: Visit, lines: tuple[Line, ...], context: Context, words: Words, *, mark_rate: int | None) -> LineView:
    catalogue = visit.sold
    product = catalogue.products[catalogue.variants[lines[0].variant].product]
    today = context.catalogue.venue.day.of(context.now)
    if lines[0].slot is not None:
        note = f"{day_text(today, words)} {from_text(lines[0].slot, catalogue, words)}"
    elif product.validity_days > 1:
        note = words("ticket.until", date=day_text(today + timedelta(days=product.validity_days - 1), words))
    else:
        note = f"{day_text(today, words)}{words('line.gap')}{text_in(product.note, words.language)}"
    title = line_title(catalogue, lines[0], words) if len(lines) == 1 else text_in(product.name, words.language)
    if len(lines) > 1:
        note = people_text(catalogue, lines, words) or note
    if mark_rate is not None and product.tax_bp == mark_rate:
        title += f" {TAX_REDUCED_MARK}"
    return LineView(
        picture=product.picture,
        title=title,
        note=note,
        count=words("line.count", n=sum(line.count for line in lines)),
        amount=price_of(_sum(catalogue, lines), words),
    )


def _sum(catalogue: Catalogue, lines: tuple[Line, ...]) -> Money:
    result = Money(0, catalogue.venue.currency)
    for line in lines:
        result += catalogue.variants[line.variant].price * line.count
    return result


def change_view(visit: Visit, context: Context, words: Words) -> ChangeView:
    rows: list[tuple[LineView, Key]] = []
    for product, slot, _ in groups(visit)[:LINES_SHOWN_MAX]:
        lines = tuple(
            line for line in visit.basket if line.slot == slot and visit.sold.variants[line.variant].product == product
        )
        slot_id = "" if slot is None else slot.slot
        name = f"edit.{product}" + (f".{slot_id}" if slot_id else "")
        rows.append(
            (
                _line(visit, lines, context, words, mark_rate=None),
                Key(name, words("change.edit"), "next", EditLine(product, slot_id)),
            )
        )
    return ChangeView(
        frame=frame_of(
            visit,
            context,
            words,
            question=words("change.question"),
            help_line=words("change.help"),
            bar=choosing_bar(visit, words, stub_hint(words, "change.hint")),
        ),
        lines=tuple(rows),
    )
