"""Money, dates, times and counts as the guest's language writes them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Final

from kiosk.locale import Words
from kiosk.visit.state import Line
from kiosk.visit.views import Amount
from tickets.catalogue import Catalogue, Slot
from tickets.language import Language, text_in
from tickets.money import Money

UNIT_AFTER: Final = {"JPY": {Language.JA: "円", Language.ZH_HANS: "日元", Language.ZH_HANT: "日圓"}}
"""Units that stand behind the figures; elsewhere the sign stands before them."""
SIGN: Final = {"JPY": "¥", "KRW": "₩", "EUR": "€", "USD": "$"}


def amount_of(money: Money, language: Language, *, suffix: str = "") -> Amount:
    """`1,800` and 円 behind it, or ¥ before it."""
    whole, part = divmod(abs(money.minor), 10**money.exponent)
    figures = f"{whole:,}" + (f".{part:0{money.exponent}d}" if money.exponent else "")
    if money.minor < 0:
        figures = "−" + figures
    after = UNIT_AFTER.get(money.currency, {}).get(language)
    if after is not None:
        return Amount(figures, after, unit_first=False, suffix=suffix)
    return Amount(figures, SIGN[money.currency], unit_first=True, suffix=suffix)


def price_of(money: Money, words: Words, *, suffix: str = "") -> Amount:
    """A price; 無料 where it is 0."""
    if money.minor == 0:
        return Amount("", "", unit_first=False, word=words("price.free"))
    return amount_of(money, words.language, suffix=suffix)


def date_text(day: date, words: Words) -> str:
    """11月23日（月） or Mon, Nov 23."""
    return words(
        "date.full",
        month=day.month,
        month_name=words(f"month.{day.month}"),
        day=day.day,
        weekday=words(f"weekday.{day.weekday()}"),
    )


def day_text(day: date, words: Words) -> str:
    """11月23日 or Nov 23."""
    return words("date.day", month=day.month, month_name=words(f"month.{day.month}"), day=day.day)


def clock_text(at: datetime, catalogue: Catalogue) -> str:
    """Hours and minutes at the venue."""
    local = catalogue.venue.day.local(at)
    return f"{local.hour}:{local.minute:02d}"


def from_text(slot: Slot, catalogue: Catalogue, words: Words) -> str:
    """10:30から or from 10:30."""
    return words("time.from", time=clock_text(slot.starts_at, catalogue))


def people_text(catalogue: Catalogue, lines: tuple[Line, ...], words: Words) -> str:
    """大人 2　小人 1; empty where nobody is named by a person type."""
    counts: dict[str, int] = {}
    for line in lines:
        person = catalogue.variants[line.variant].person
        if person is not None:
            counts[person] = counts.get(person, 0) + line.count
    return words("people.join").join(
        words("people.some", name=text_in(catalogue.people[person].name, words.language), n=count)
        for person, count in counts.items()
    )


def heads(catalogue: Catalogue, lines: tuple[Line, ...]) -> int:
    """How many people these lines are for: the most that any one product is bought for."""
    by_product: dict[str, int] = {}
    for line in lines:
        variant = catalogue.variants[line.variant]
        if variant.person is not None:
            by_product[variant.product] = by_product.get(variant.product, 0) + line.count
    return max(by_product.values(), default=0)


def line_title(catalogue: Catalogue, line: Line, words: Words) -> str:
    """入園券　大人."""
    variant = catalogue.variants[line.variant]
    name = text_in(catalogue.products[variant.product].name, words.language)
    if variant.person is None:
        return name
    return words("line.title", product=name, person=text_in(catalogue.people[variant.person].name, words.language))
