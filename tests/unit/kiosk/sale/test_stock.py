"""Stock and digits of one kiosk: exact, whatever the guest does."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from kiosk.sale import numbers, stock
from kiosk.sale.errors import StockGone
from kiosk.sale.tables import create
from sync import granted
from tests.support.device import selling_kiosk
from tickets import short_id

BYTES = random.Random(5).randbytes
NOW = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)


@pytest.fixture
def device(tmp_path):
    device = selling_kiosk(tmp_path, lease=5, sixes=3)
    create(device.journal.engine)
    return device


def left(device) -> int:
    with device.journal.read() as connection:
        (lease,) = granted.slot_leases(connection)
        return stock.left(connection, lease)


def test_a_hold_takes_from_the_lease_and_is_replaced_whole(device):
    with device.journal.write() as connection:
        stock.hold(connection, "order-1", {device.slot: 3}, boot="b", now=NOW)
    assert left(device) == 2
    with device.journal.write() as connection:
        stock.hold(connection, "order-1", {device.slot: 1}, boot="b", now=NOW)
    assert left(device) == 4


def test_a_lease_is_never_oversold(device):
    with device.journal.write() as connection:
        stock.hold(connection, "order-1", {device.slot: 4}, boot="b", now=NOW)
        stock.sell(connection, "order-1", now=NOW)
    with pytest.raises(StockGone) as gone, device.journal.write() as connection:
        stock.hold(connection, "order-2", {device.slot: 2}, boot="b", now=NOW)
    assert (gone.value.remaining, left(device)) == (1, 1)


def test_what_is_given_back_can_be_sold_again(device):
    with device.journal.write() as connection:
        stock.hold(connection, "order-1", {device.slot: 5}, boot="b", now=NOW)
    assert left(device) == 0
    with device.journal.write() as connection:
        stock.release(connection, "order-1", now=NOW)
    assert left(device) == 5


def test_holds_of_an_earlier_run_are_found_and_sold_ones_are_not(device):
    with device.journal.write() as connection:
        stock.hold(connection, "held", {device.slot: 1}, boot="old", now=NOW)
        stock.hold(connection, "sold", {device.slot: 1}, boot="old", now=NOW)
        stock.sell(connection, "sold", now=NOW)
    with device.journal.read() as connection:
        assert stock.left_behind(connection, boot="new") == ("held",)


def test_digits_are_given_once_and_nine_serve_when_six_are_used_up(device):
    with device.journal.write() as connection:
        first, _ = numbers.take_short_ids(connection, "a", six=2, nine=0, random_bytes=BYTES)
        second, books = numbers.take_short_ids(connection, "b", six=2, nine=1, random_bytes=BYTES)
    assert {*first, second[0]} == {"418000", "418001", "418002"}
    assert len(second[1]) == 9
    assert len(books[0]) == 9
    assert len({*first, *second, *books}) == 5
    for digits in (second[1], books[0]):
        assert short_id.parse(digits) == digits


def test_when_all_blocks_are_used_up_this_kiosk_makes_twelve_digits_of_its_own(device):
    with device.journal.write() as connection:
        _, nines = numbers.take_short_ids(connection, "a", six=0, nine=1000, random_bytes=BYTES)
        six, more = numbers.take_short_ids(connection, "b", six=5, nine=2, random_bytes=BYTES)
        again = numbers.take_short_ids(connection, "b", six=5, nine=2, random_bytes=BYTES)
        numbers.give_back(connection, "b")
        other, _ = numbers.take_short_ids(connection, "c", six=3, nine=0, random_bytes=BYTES)
    assert {len(digits) for digits in nines} == {9}
    assert [len(digits) for digits in [*six, *more]] == [6, 6, 6, 12, 12, 12, 12], "the block of six had three"
    assert {*again[0], *again[1]} == {*six, *more}, "another try of the same order has the same digits"
    assert {*other} == {*six[:3]}, "what was given back is free"
    for digits in more:
        assert short_id.parse(short_id.spaced(digits)) == digits
        wrong = str((int(digits[3]) + 1) % 10)
        with pytest.raises(short_id.ShortIdError):
            short_id.parse(digits[:3] + wrong + digits[4:])


def test_a_claim_number_is_the_same_each_time(device):
    with device.journal.write() as connection:
        one = numbers.claim(connection, "a", 4, label="K2", reason="x", now=NOW)
        again = numbers.claim(connection, "a", 4, label="K2", reason="y", now=NOW)
        other = numbers.claim(connection, "b", 4, label="K2", reason="x", now=NOW)
    assert one == again == "K2-0004"
    assert other != one
