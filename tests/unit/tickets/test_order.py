"""Orders: what they cost, what they become, and what is no order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.device import VENUE
from tickets.catalogue import Slot, parse
from tickets.order import Order, OrderError, entitlements, order_of

CATALOGUE = parse(VENUE.read_text(encoding="utf-8"))
NOW = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)  # ten in the morning in the venue
SLOT = Slot("athletics-1", "athletics", NOW + timedelta(hours=1), NOW + timedelta(hours=2), 20)


def test_tax_is_rounded_once_a_rate_over_the_whole_order():
    """1 800 and 900 yen at 10 %: 245 together; rounded line by line it would be 163 + 81 = 244, a wrong invoice."""
    order = order_of(CATALOGUE, [(1, 1, None), (2, 1, None)])
    assert [(line.rate_bp, line.gross.minor, line.tax.minor) for line in order.tax] == [(1000, 2700, 245)]


def test_two_rates_stand_apart():
    order = order_of(CATALOGUE, [(1, 2, None), (2, 1, None), (10, 1, None), (30, 2, None)])
    assert order.total.minor == 7932
    assert [(line.rate_bp, line.gross.minor, line.tax.minor) for line in order.tax] == [
        (1000, 7500, 681),
        (800, 432, 32),
    ]


def test_a_ride_book_becomes_one_ticket_a_coupon():
    order = order_of(CATALOGUE, [(1, 2, None), (10, 2, None)])
    rows = entitlements(order, sold_at=NOW, day=CATALOGUE.venue.day)
    assert len(rows) == order.ticket_count == 22
    assert [(row.book, row.part, row.parts) for row in rows[1:4]] == [(None, 1, 1), (0, 1, 10), (0, 2, 10)]
    assert {row.book for row in rows[2:]} == {0, 1}
    assert all(row.uses == 1 for row in rows)


def test_a_day_ticket_is_good_for_the_business_day_of_its_sale():
    late = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)  # half past three at night: still the day before
    (row,) = entitlements(order_of(CATALOGUE, [(1, 1, None)]), sold_at=late, day=CATALOGUE.venue.day)
    assert (row.not_before, row.expires) == (
        datetime(2026, 11, 22, 19, 0, tzinfo=UTC),
        datetime(2026, 11, 23, 19, 0, tzinfo=UTC),
    )


def test_a_timed_ticket_opens_a_little_before_its_slot_and_ends_with_it():
    (row,) = entitlements(order_of(CATALOGUE, [(20, 1, SLOT)]), sold_at=NOW, day=CATALOGUE.venue.day)
    assert row.not_before == SLOT.starts_at - timedelta(minutes=15)
    assert row.expires == SLOT.ends_at


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ([], "without lines"),
        ([(99, 1, None)], "not in the catalogue"),
        ([(1, 0, None)], "not from 1 to"),
        ([(1, 21, None)], "not from 1 to"),
        ([(20, 1, None)], "a slot belongs"),
        ([(1, 1, SLOT)], "a slot belongs"),
        ([(10, 5, None), (10, 5, None), (1, 1, None)], "tickets; 100 are allowed"),
    ],
)
def test_what_is_no_order_is_said_in_one_line(wanted, says):
    with pytest.raises(OrderError, match=says) as refused:
        order_of(CATALOGUE, wanted)
    assert "\n" not in str(refused.value)


def test_an_order_of_nothing_costs_nothing():
    order = order_of(CATALOGUE, [(4, 3, None)])
    assert isinstance(order, Order)
    assert (order.total.minor, order.ticket_count) == (0, 3)
