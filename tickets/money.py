"""Money in minor units with its currency, and consumption tax rounded once a rate and document.

Tax on a Japanese qualified simplified invoice is rounded once per rate on the document's total, never per line and then added
(消費税法施行令 70 条の 10; NTA Q&A 57). Prices here include tax.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

EXPONENT = {"JPY": 0, "KRW": 0, "EUR": 2, "USD": 2}
"""ISO 4217: decimal digits of the minor unit."""


class MoneyError(ValueError):
    """An amount that cannot be meant: another currency, or none known here."""

    code = "money"


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """`minor` units of `currency` (yen for JPY, cents for EUR). May be negative: a refund."""

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if self.currency not in EXPONENT:
            raise MoneyError(f"currency '{self.currency}' is not one of: {', '.join(sorted(EXPONENT))}")

    @property
    def exponent(self) -> int:
        return EXPONENT[self.currency]

    def _same(self, other: Money) -> None:
        if other.currency != self.currency:
            raise MoneyError(f"{self.currency} and {other.currency} cannot be added")

    def __add__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.minor + other.minor, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.minor - other.minor, self.currency)

    def __mul__(self, count: int) -> Money:
        return Money(self.minor * count, self.currency)

    def __neg__(self) -> Money:
        return Money(-self.minor, self.currency)


def total(amounts: Iterable[Money], *, currency: str) -> Money:
    result = Money(0, currency)
    for amount in amounts:
        result += amount
    return result


@dataclass(frozen=True, slots=True)
class TaxLine:
    """One rate on one document: `rate_bp` in hundredths of a percent (1000 = 10 %), `gross` with tax, `tax` within it."""

    rate_bp: int
    gross: Money
    tax: Money


def tax_lines(amounts: Iterable[tuple[int, Money]], *, currency: str) -> tuple[TaxLine, ...]:
    """Tax contained in (rate_bp, gross) amounts: one line a rate, highest rate first, each rounded down once."""
    by_rate: dict[int, Money] = {}
    for rate_bp, gross in amounts:
        by_rate[rate_bp] = by_rate.get(rate_bp, Money(0, currency)) + gross
    return tuple(
        TaxLine(rate_bp=rate_bp, gross=gross, tax=Money(_contained(gross.minor, rate_bp), currency))
        for rate_bp, gross in sorted(by_rate.items(), reverse=True)
    )


def _contained(gross_minor: int, rate_bp: int) -> int:
    """Tax inside a gross amount, towards zero, so that a refund gives back what the sale took."""
    tax = abs(gross_minor) * rate_bp // (10_000 + rate_bp)
    return tax if gross_minor >= 0 else -tax
