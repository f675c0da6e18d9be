"""How one terminal is set up. Values only; the settings file of the kiosk is where they come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from kiosk.payment.zvt import commands
from kiosk.payment.zvt.timers import Timers

CURRENCY_NUMBER = {"JPY": 392, "KRW": 410, "USD": 840, "EUR": 978}
"""ISO 4217 numbers, as field 49 carries them."""


class HoldMode(StrEnum):
    """Whether an approval waits for our word. AUTO believes the terminal's registration (status bit 10)."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Options:
    """`password` is the terminal's six-digit cashier password as a number; `charset` a Python codec name.

    With `compares_totals` every baseline and query also reads the terminal's sums (06 10): a second witness.
    """

    currency: str = "JPY"
    password: int = 0
    config: int = commands.KIOSK_CONFIG
    hold: HoldMode = HoldMode.AUTO
    charset: str = "cp437"
    text_blocks: bool = True
    compares_totals: bool = True
    timers: Timers = field(default_factory=Timers)

    def __post_init__(self) -> None:
        if self.currency not in CURRENCY_NUMBER:
            raise ValueError(f"currency '{self.currency}' is not one of: {', '.join(sorted(CURRENCY_NUMBER))}")
        if not 0 <= self.password <= 999_999:
            raise ValueError("a terminal's password has six digits")
        "".encode(self.charset)  # LookupError names a charset that does not exist
