"""Digits to type: one wrong digit or two swapped ones are noticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickets import short_id
from tickets.short_id import ShortIdError

numbers = st.integers(0, 10**8 - 1)


def test_the_known_check_digit() -> None:
    assert short_id.check_digit("572") == 4  # the usual worked example of Damm's algorithm
    assert short_id.check_digit("5724") == 0


@given(numbers)
def test_nine_digits_carry_their_check(number: int) -> None:
    digits = short_id.nine(number)
    assert len(digits) == 9
    assert short_id.parse(short_id.spaced(digits)) == digits


@given(numbers, st.integers(0, 8), st.integers(1, 9))
def test_one_wrong_digit_is_noticed(number: int, place: int, off: int) -> None:
    digits = short_id.nine(number)
    wrong = digits[:place] + str((int(digits[place]) + off) % 10) + digits[place + 1 :]
    with pytest.raises(ShortIdError):
        short_id.parse(wrong)


@given(numbers, st.integers(0, 7))
def test_two_swapped_neighbours_are_noticed(number: int, place: int) -> None:
    digits = short_id.nine(number)
    swapped = digits[:place] + digits[place + 1] + digits[place] + digits[place + 2 :]
    if swapped == digits:
        return
    with pytest.raises(ShortIdError):
        short_id.parse(swapped)


@pytest.mark.parametrize(("typed", "digits"), [("012345", "012345"), ("012 345", "012345"), ("012-345", "012345")])
def test_six_digits_as_people_type_them(typed: str, digits: str) -> None:
    assert short_id.parse(typed) == digits


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "12345a", "１２３４５６", "T1:ABC", "1234567890"])
def test_what_is_no_short_id(typed: str) -> None:
    with pytest.raises(ShortIdError):
        short_id.parse(typed)


def test_limits() -> None:
    assert short_id.six(999_999) == "999999"
    for make, number in ((short_id.six, 10**6), (short_id.six, -1), (short_id.nine, 10**8)):
        with pytest.raises(ShortIdError):
            make(number)
