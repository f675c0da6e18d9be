"""How one terminal is set up. Values only; the settings file of the kiosk is where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kiosk.payment.zvt import commands
from kiosk.payment.zvt.timers import Timers

CURRENCY_NUMBER = {"JPY": 392, "KRW": 410, "USD": 840, "EUR": 978}
"""ISO 4217 numbers, as field 49 carries them."""


class Kind(StrEnum):
    """What a terminal makes of a lost acknowledgement, which differs by maker (payments.md 2.3); `KINDS` says what follows.

    The driver believes none of it: whatever the kind, an outcome is proven by a query.
    """

    STANDARD = "standard"
    """It reverses by itself (PA00P015, 2.2.8)."""
    MIRRORED = "mirrored"
    """It keeps the payment and compares the receipt number that we mirror (PA00P015, chapter 4)."""
    CARD_COMPLETE = "card_complete"
    """It books the payment as declined, and refuses an order number twice."""


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
    numbers_messages: bool = True
    """Offer message sequence ids; used where the terminal echoes the offer."""
    mirrors_receipt: bool = False
    """Send 1F1F with each payment."""
    compares_orders: bool = False
    """Send the order's number and have the terminal refuse it a second time (a paid service of card complete)."""
    reverses_only_last: bool = True
    """Send a reversal only for what 06 20 names as the terminal's last transaction: some reverse that one whatever we ask."""
    timers: Timers = field(default_factory=Timers)

    def __post_init__(self) -> None:
        if self.currency not in CURRENCY_NUMBER:
            raise ValueError(f"currency '{self.currency}' is not one of: {', '.join(sorted(CURRENCY_NUMBER))}")
        if not 0 <= self.password <= 999_999:
            raise ValueError("a terminal's password has six digits")
        "".encode(self.charset)  # LookupError names a charset that does not exist

    @classmethod
    def of(cls, kind: Kind, **chosen: Any) -> Options:
        """Options for a kind of terminal; whatever is in `chosen` comes before what the kind says."""
        return cls(**{**KINDS[kind], **chosen})


KINDS: Mapping[Kind, Mapping[str, Any]] = {
    Kind.STANDARD: {},
    Kind.MIRRORED: {"mirrors_receipt": True},
    Kind.CARD_COMPLETE: {"compares_orders": True},
}
"""All register with the same config byte (0xBE): a kiosk prints, and nobody may start a payment at the terminal. A model that
then gives no repeat receipt needs `config` 0x8E: an acceptance test of each model shows it."""
