"""ZVT's numbers and what they mean to a kiosk (PA00P015, chapters 3.7, 10, 11, 12). Tables only."""

from __future__ import annotations

from kiosk.payment.contract import Health, Stage

OK = 0x00
CANCELLED = 0x6C
"""Abort by time-out or by a key."""
WRONG_CURRENCY = 0x6F
BUSY = 0x9C
ALREADY_REVERSED = 0xB4
REVERSAL_NOT_POSSIBLE = 0xB5
FUNCTION_IMPOSSIBLE = 0x83
BY_CARD_OR_HOST = frozenset(
    {*range(0x01, 0x69), 0x6E, 0x71, 0x72, 0x73, 0x76, 0x78, 0x79, 0x7A, 0x7B, 0x7C, 0x7E, 0xD2, 0xEA}
)
"""The card or its bank said no (chapter 10); everything else that is not 00 or 6C is the terminal's own trouble."""
END_OF_DAY_OPEN = 0xF0
GOES_AWAY = frozenset({0xE0, 0xFC})
"""06 0F of an end of day: the terminal updates or restarts itself now, and is deaf for a while."""
NO_HOST = frozenset({0x7D, 0x9B, 0x9C, 0xA0, 0xA1, 0xA3})
"""The terminal could not reach its host: the same may go well later."""

LINE_FEEDS = 0xFF

STATUS_INITIALISE = 0x01
STATUS_DIAGNOSE = 0x02
STATUS_VENDING = 0x10

HEALTH = {
    0x00: Health.READY,
    0x51: Health.NEEDS_SERVICE,  # initialisation required
    0x62: Health.NEEDS_SERVICE,  # date or time incorrect
    0x9C: Health.BUSY,
    0xB1: Health.NEEDS_END_OF_DAY,  # memory full; end of day is the named remedy
    0xC2: Health.NEEDS_SERVICE,  # diagnosis required
    0xDC: Health.BUSY,  # card inserted
    0xE1: Health.BUSY,  # card not completely removed
    0xF0: Health.NEEDS_END_OF_DAY,
}
"""Status codes of 05 01; any other number is out of order."""

TECHNOLOGY = {0x00: "magnetic", 0x01: "chip", 0x02: "contactless"}

CARD_TYPE = {
    2: "ec-card",
    5: "girocard",
    6: "Mastercard",
    8: "American Express",
    10: "Visa",
    11: "Visa Electron",
    12: "Diners",
    13: "V PAY",
    14: "JCB",
    46: "Maestro",
}

NO_MORE_CANCEL = frozenset({0x04, 0x44})
"""The terminal talks to its host: from here it refuses 06 B0."""

REMOVE_CARD_BIT = 0x40

_STAGE = {
    0x00: Stage.FOLLOW_TERMINAL,
    0x01: Stage.ENTER_PIN,
    0x02: Stage.ENTER_PIN,
    0x03: Stage.NOT_ACCEPTED,
    0x04: Stage.PROCESSING,
    0x05: Stage.REVERSING,
    0x06: Stage.PROCESSING,
    0x07: Stage.NOT_ACCEPTED,
    0x08: Stage.NOT_ACCEPTED,
    0x09: Stage.NOT_ACCEPTED,
    0x0A: Stage.INSERT_CARD,
    0x0B: Stage.REMOVE_CARD,
    0x0C: Stage.NOT_ACCEPTED,
    0x0D: Stage.NOT_ACCEPTED,
    0x0E: Stage.PROCESSING,
    0x0F: Stage.PROCESSING,
    0x10: Stage.NOT_ACCEPTED,
    0x11: Stage.FOLLOW_TERMINAL,
    0x12: Stage.NOT_ACCEPTED,
    0x13: Stage.NOT_ACCEPTED,
    0x14: Stage.CREDIT_LOW,
    0x15: Stage.PIN_WRONG,
    0x16: Stage.CREDIT_LOW,
    0x17: Stage.PROCESSING,
    0x18: Stage.NOT_ACCEPTED,
    0x19: Stage.NOT_ACCEPTED,
    0x1B: Stage.APPROVED,
    0x1C: Stage.APPROVED,
    0x1D: Stage.DECLINED,
    0x2A: Stage.INSERT_CARD,
    0x2B: Stage.PROCESSING,
    0x68: Stage.PROCESSING,
    0x69: Stage.FOLLOW_TERMINAL,
    0x6A: Stage.ENTER_PIN,
    0x6B: Stage.ENTER_PIN,
    0x6C: Stage.ENTER_PIN,
    0x6D: Stage.PROCESSING,
    0xD2: Stage.PROCESSING,
    0xD3: Stage.PROCESSING,
    0xF2: Stage.PROCESSING,
}
_REVERSING = frozenset({0x05, 0x45})
_FINAL_WORD = frozenset({Stage.REVERSING, Stage.DECLINED, Stage.NOT_ACCEPTED, Stage.CREDIT_LOW})


def stage(status: int | None) -> Stage | None:
    """What to show for a 04 FF status, or None to leave the screen as it is.

    41 to 5D are 01 to 1D with "please remove card" added: the guest is told to take the card, unless the payment failed,
    which matters more.
    """
    if status is None:
        return None
    if 0x41 <= status <= 0x5D:
        plain = _STAGE.get(status - REMOVE_CARD_BIT)
        return plain if plain in _FINAL_WORD else Stage.REMOVE_CARD
    if 0x26 <= status <= 0x2C or status in (0xE0, 0xE1):
        return _STAGE.get(status, Stage.FOLLOW_TERMINAL)
    return _STAGE.get(status)


def is_reversing(status: int | None) -> bool:
    """The terminal says it is sending an automatic reversal."""
    return status in _REVERSING


def result_code(result: int | None) -> str:
    """Our stable word for a result code of the terminal."""
    return "zvt_result_none" if result is None else f"zvt_result_{result:02x}"
