"""Short ids: the digits under a QR, to be typed when it cannot be read.

Six digits, unique among the venue's tickets usable that day; or nine, of which the last is a Damm check digit, for books,
passes, and when a block of six is used up; or twelve, the same way, that a kiosk makes by chance when all blocks are. Digits find a ticket; alone they never admit.
"""

from __future__ import annotations

SIX, NINE, TWELVE = 6, 9, 12

# Damm's quasigroup of order 10 (H. M. Damm, 2004): finds every single wrong digit and every swap of neighbours.
_DAMM = (
    (0, 3, 1, 7, 5, 9, 8, 6, 4, 2),
    (7, 0, 9, 2, 1, 5, 4, 8, 6, 3),
    (4, 2, 0, 6, 8, 7, 1, 3, 5, 9),
    (1, 7, 5, 0, 9, 8, 3, 4, 2, 6),
    (6, 1, 2, 3, 0, 4, 5, 9, 7, 8),
    (3, 6, 7, 4, 2, 0, 9, 5, 8, 1),
    (5, 8, 6, 9, 7, 2, 0, 1, 3, 4),
    (8, 9, 4, 5, 3, 6, 2, 0, 1, 7),
    (9, 4, 3, 8, 6, 1, 7, 2, 0, 5),
    (2, 5, 8, 1, 4, 3, 6, 7, 9, 0),
)


class ShortIdError(ValueError):
    """Digits that are no short id. The message says what is allowed."""

    code = "short_id"


def check_digit(digits: str) -> int:
    interim = 0
    for digit in digits:
        interim = _DAMM[interim][int(digit)]
    return interim


def nine(number: int) -> str:
    """The nine-digit id of a number below 10^8."""
    if not 0 <= number < 10**8:
        raise ShortIdError(f"{number} is not from 0 to 99999999")
    digits = f"{number:08d}"
    return f"{digits}{check_digit(digits)}"


def twelve(number: int) -> str:
    """The twelve-digit id of a number below 10^11."""
    if not 0 <= number < 10**11:
        raise ShortIdError(f"{number} is not from 0 to 99999999999")
    digits = f"{number:011d}"
    return f"{digits}{check_digit(digits)}"


def six(number: int) -> str:
    if not 0 <= number < 10**6:
        raise ShortIdError(f"{number} is not from 0 to 999999")
    return f"{number:06d}"


def parse(text: str) -> str:
    """Digits as typed (spaces and hyphens allowed) as a short id. Raises ShortIdError."""
    digits = text.replace(" ", "").replace("-", "").replace("\N{IDEOGRAPHIC SPACE}", "")
    if not digits.isascii() or not digits.isdigit() or len(digits) not in (SIX, NINE, TWELVE):
        raise ShortIdError("six, nine or twelve digits are expected")
    if len(digits) != SIX and check_digit(digits) != 0:
        raise ShortIdError("the last digit does not fit: one digit is mistyped")
    return digits


def spaced(digits: str) -> str:
    """As printed: in groups of three."""
    return " ".join(digits[position : position + 3] for position in range(0, len(digits), 3))


def book_number(book: bytes) -> str:
    """The number that all coupons of a ride book show, from the book's id: eight digits in two groups. The desk finds the book by it
    among the venue's own; alone it opens nothing.
    """
    digits = f"{int.from_bytes(book[:8], 'big') % 10**8:08d}"
    return f"{digits[:4]}-{digits[4:]}"
