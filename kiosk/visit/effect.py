"""What a visit wants done. Data: the app hands sounds to the loudspeaker and everything else to the engine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kiosk.visit.situation import Tender
from tickets.language import Language
from tickets.order import Order


@dataclass(frozen=True, slots=True)
class HoldStock:
    """Hold exactly these (slot id, count), in place of whatever this guest held before; empty gives all back.
    Answered by StockHeld or StockRefused.
    """

    turn: int
    wanted: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class BeginPayment:
    """Sell this order. `tender` is None exactly where the total is 0: the tickets are issued, no terminal is asked.
    Answered by PaymentProgress..., then Paid, Declined, Cancelled or Unknown; after Paid by Printing..., then Printed or Owed.
    `language` goes onto the tickets.
    """

    turn: int
    order: Order
    tender: Tender | None
    language: Language


@dataclass(frozen=True, slots=True)
class CancelPayment:
    """A wish: the answer is whatever the terminal then says, Paid included."""

    turn: int


@dataclass(frozen=True, slots=True)
class PrintReceipt:
    turn: int


@dataclass(frozen=True, slots=True)
class CallStaff:
    """Light the lamp, tell the desk. `screen` names what the guest was looking at."""

    screen: str


@dataclass(frozen=True, slots=True)
class ClearGuest:
    """The guest has gone: give back what is held, forget what was chosen. A claim stays on record."""


class Tone(StrEnum):
    TOUCH = "touch"
    UNAVAILABLE = "unavailable"
    PAID = "paid"
    TAKE = "take"
    TAKE_LOUDER = "take_louder"
    WARN = "warn"


@dataclass(frozen=True, slots=True)
class Sound:
    tone: Tone


EngineEffect = HoldStock | BeginPayment | CancelPayment | PrintReceipt | CallStaff | ClearGuest
Effect = EngineEffect | Sound
