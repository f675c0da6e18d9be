"""Card numbers are masked before they are stored, logged or shown: at most the first six and the last four digits remain.

Nothing in this package may keep a number that has not been through here.
"""

from __future__ import annotations

import re

_RUN = re.compile(r"\d(?:[ -]?\d){12,18}")
_DIGITS_MIN = 12
_FIRST, _LAST = 6, 4


def mask_number(text: str) -> str:
    """A card number, masked: digits beyond the first six and last four become `*`; `*`, `x`, `E` already there stay `*`.

    Anything shorter than twelve places keeps its last four places only.
    """
    places = ["*" if char in "*xXeE" else char for char in text if char.isdigit() or char in "*xXeE"]
    keep_first = _FIRST if len(places) >= _DIGITS_MIN else 0
    return "".join(
        place if index < keep_first or index >= len(places) - _LAST else "*" for index, place in enumerate(places)
    )


def mask_text(text: str) -> str:
    """Free text (a receipt, a display line) with every run of 13 to 19 digits that passes the Luhn check masked."""
    return _RUN.sub(_mask_run, text)


def _mask_run(match: re.Match[str]) -> str:
    run = match.group()
    digits = [char for char in run if char.isdigit()]
    if not _luhn(digits):
        return run
    masked = iter(mask_number("".join(digits)))
    return "".join(next(masked) if char.isdigit() else char for char in run)


def _luhn(digits: list[str]) -> bool:
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if index % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
