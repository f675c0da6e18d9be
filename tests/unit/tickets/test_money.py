"""Money and tax: rounded down once a rate and document, never per line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickets.money import Money, MoneyError, TaxLine, tax_lines, total


def yen(amount: int) -> Money:
    return Money(amount, "JPY")


def test_tax_is_rounded_once_for_the_document() -> None:
    """Three lines of ¥105 with tax at 10 %: 9.54 each would be 9 + 9 + 9 = 27; the document says 28."""
    assert tax_lines([(1000, yen(105))] * 3, currency="JPY") == (TaxLine(1000, yen(315), yen(28)),)
    assert 3 * tax_lines([(1000, yen(105))], currency="JPY")[0].tax.minor == 27


def test_two_rates_stand_apart_highest_first() -> None:
    lines = tax_lines([(800, yen(216)), (1000, yen(1800)), (800, yen(108)), (1000, yen(900))], currency="JPY")
    assert lines == (TaxLine(1000, yen(2700), yen(245)), TaxLine(800, yen(324), yen(24)))


@given(st.lists(st.tuples(st.sampled_from([800, 1000]), st.integers(0, 10**6)), max_size=20))
def test_tax_never_exceeds_the_exact_amount_and_a_refund_gives_it_back(rows: list[tuple[int, int]]) -> None:
    sold = tax_lines([(rate, yen(gross)) for rate, gross in rows], currency="JPY")
    returned = tax_lines([(rate, yen(-gross)) for rate, gross in rows], currency="JPY")
    for line, back in zip(sold, returned, strict=True):
        exact = line.gross.minor * line.rate_bp / (10_000 + line.rate_bp)
        assert exact - 1 < line.tax.minor <= exact
        assert back.tax == -line.tax
    assert total((line.gross for line in sold), currency="JPY").minor == sum(gross for _, gross in rows)


def test_currencies_do_not_mix() -> None:
    with pytest.raises(MoneyError):
        yen(1) + Money(1, "EUR")
    with pytest.raises(MoneyError):
        Money(1, "XXX")
    assert Money(1, "EUR").exponent == 2
    assert yen(1).exponent == 0
