"""How values look on the office's pages: money, times, names. Given to the templates as functions."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from hub.web.words import word
from tickets import short_id
from tickets.catalogue import Catalogue
from tickets.language import text_in
from tickets.money import EXPONENT

WEEKDAYS = "月火水木金土日"

environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class View:
    """One request's way of saying things: its language, the venue's catalogue and clock."""

    def __init__(self, *, language: str, catalogue: Catalogue | None, now: datetime) -> None:
        self.language, self.catalogue, self.now = language, catalogue, now

    def word(self, key: str) -> str:
        return word(key, self.language)

    @property
    def venue(self) -> str:
        return text_in(self.catalogue.venue.name, self.language) if self.catalogue else self.word("office")

    def amount(self, minor: int, currency: str) -> str:
        """The figure alone, with thousands separated."""
        exponent = EXPONENT.get(currency, 0)
        return f"{minor / 10**exponent:,.{exponent}f}"

    def money(self, minor: int, currency: str) -> str:
        figure = self.amount(minor, currency)
        if currency == "JPY":
            return f"¥{figure}" if self.language == "en" else f"{figure}円"
        return f"{figure} {currency}"

    def local(self, at: datetime) -> datetime:
        return self.catalogue.venue.day.local(at) if self.catalogue else at

    def time(self, at: datetime) -> str:
        return f"{self.local(at):%H:%M:%S}"

    def moment(self, at: datetime) -> str:
        return f"{self.local(at):%Y-%m-%d %H:%M}"

    def day(self, at: datetime) -> str:
        local = self.local(at)
        if self.language == "en":
            return f"{local:%A}, {local.day} {local:%B}"
        return f"{local.month}月{local.day}日（{WEEKDAYS[local.weekday()]}）"

    def age(self, at: datetime) -> str:
        """How long ago, in the largest fitting unit."""
        seconds = max(0, int((self.now - at).total_seconds()))
        for key, size, limit in (("seconds_ago", 1, 100), ("minutes_ago", 60, 100), ("hours_ago", 3600, 48)):
            if seconds < size * limit:
                return self.word(key).format(seconds // size)
        return self.word("days_ago").format(seconds // 86_400)

    def variant(self, number: int | None) -> str:
        """Product and person type as people say them."""
        found = None if self.catalogue is None or number is None else self.catalogue.variants.get(number)
        if found is None or self.catalogue is None:
            return "?" if number is None else f"#{number}"
        product = text_in(self.catalogue.products[found.product].name, self.language)
        person = "" if found.person is None else text_in(self.catalogue.people[found.person].name, self.language)
        gap = " " if self.language == "en" else "　"
        return f"{product}{gap}{person}".strip()

    def product(self, name: str) -> str:
        found = None if self.catalogue is None else self.catalogue.products.get(name)
        return name if found is None else text_in(found.name, self.language)

    def clock(self, at: str) -> str:
        """The time of day of an instant as the tables hold it."""
        return f"{self.local(datetime.fromisoformat(at)):%H:%M}"

    def gate(self, name: str) -> str:
        found = None if self.catalogue is None else self.catalogue.gates.get(name)
        return name if found is None else text_in(found.name, self.language)

    def digits(self, text: str) -> str:
        return short_id.spaced(text) if text else "—"


def page(template: str, view: View, /, **values: Any) -> str:
    return environment.get_template(template).render(v=view, **values)


def _from_seconds(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)


environment.globals["from_seconds"] = _from_seconds
