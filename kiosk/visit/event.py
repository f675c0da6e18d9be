"""What can happen to a visit: a touch, word from the engine, or time passing. Values, compared and logged as they are.

An event of the engine names the `turn` it answers (the number that the effect carried). One that answers an older turn is of a guest
who has gone, and does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kiosk.visit.situation import Tender
from tickets.language import Language

# --- touches


@dataclass(frozen=True, slots=True)
class Start:
    """The first touch: a language."""

    language: Language


@dataclass(frozen=True, slots=True)
class ChooseProduct:
    product: str


@dataclass(frozen=True, slots=True)
class ChooseSlot:
    slot: str


@dataclass(frozen=True, slots=True)
class TurnPage:
    """More of the same question: products or slots beyond those that fit."""

    page: int


@dataclass(frozen=True, slots=True)
class Plus:
    variant: int


@dataclass(frozen=True, slots=True)
class Minus:
    variant: int


@dataclass(frozen=True, slots=True)
class Next:
    """The yellow stub of a screen with a question that is answered."""


@dataclass(frozen=True, slots=True)
class AddAnother:
    """From the basket: one more product."""


@dataclass(frozen=True, slots=True)
class ChangeLines:
    """From the basket: other counts."""


@dataclass(frozen=True, slots=True)
class EditLine:
    """One of the basket's products, to change its counts. `slot` is empty where it has none."""

    product: str
    slot: str


@dataclass(frozen=True, slots=True)
class Back:
    pass


@dataclass(frozen=True, slots=True)
class StartOver:
    pass


@dataclass(frozen=True, slots=True)
class ChooseLanguage:
    language: Language


@dataclass(frozen=True, slots=True)
class Lower:
    """Bring the choices down, or back up."""


@dataclass(frozen=True, slots=True)
class CallStaff:
    pass


@dataclass(frozen=True, slots=True)
class Pay:
    tender: Tender


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop a payment that has not taken anything yet."""


@dataclass(frozen=True, slots=True)
class WantReceipt:
    pass


@dataclass(frozen=True, slots=True)
class NoReceipt:
    pass


@dataclass(frozen=True, slots=True)
class Continue:
    """I am still here; I have noted the number; close this notice."""


Touch = (
    Start
    | ChooseProduct
    | ChooseSlot
    | TurnPage
    | Plus
    | Minus
    | Next
    | AddAnother
    | ChangeLines
    | EditLine
    | Back
    | StartOver
    | ChooseLanguage
    | Lower
    | CallStaff
    | Pay
    | Cancel
    | WantReceipt
    | NoReceipt
    | Continue
)

# --- word from the engine


class PaymentStage(StrEnum):
    """What the terminal wants of the guest, or does."""

    CONNECTING = "connecting"
    PRESENT_CARD = "present_card"
    ENTER_PIN = "enter_pin"
    PROCESSING = "processing"
    REMOVE_CARD = "remove_card"
    CONFIRMING = "confirming"


class DeclineReason(StrEnum):
    """Why nothing was paid, as far as a guest can do something about it."""

    DECLINED = "declined"
    NO_CARD = "no_card"
    TERMINAL = "terminal"
    NOT_READY = "not_ready"
    """Printer, paper or ticket numbers were not proven ready: the terminal was not even asked."""


@dataclass(frozen=True, slots=True)
class StockHeld:
    """Everything wanted is held until the guest has gone."""

    turn: int


@dataclass(frozen=True, slots=True)
class StockRefused:
    """`slot` has only `remaining` left; nothing of it is held. Also sent later, when a hold is lost."""

    turn: int
    slot: str
    remaining: int


@dataclass(frozen=True, slots=True)
class PaymentProgress:
    """`cancellable`: the guest may still stop it at the screen."""

    turn: int
    stage: PaymentStage
    cancellable: bool


@dataclass(frozen=True, slots=True)
class Paid:
    """Charged and on record, or nothing to charge. Printing follows."""

    turn: int


@dataclass(frozen=True, slots=True)
class Declined:
    turn: int
    reason: DeclineReason


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Stopped by the guest, at the screen or at the terminal; nothing was taken."""

    turn: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can say yet whether the guest has paid. Paid, Declined or Cancelled may still follow."""

    turn: int
    claim: str


@dataclass(frozen=True, slots=True)
class PrintedPart:
    """`done` of `of` pieces of one product are out and confirmed by the printer. Parts come in the order of printing."""

    product: str
    done: int
    of: int


@dataclass(frozen=True, slots=True)
class Printing:
    """`done` of `of` pieces are out."""

    turn: int
    done: int
    of: int
    parts: tuple[PrintedPart, ...]


class WaitsFor(StrEnum):
    """What printing waits for: a new roll, or the printer itself (cover, cutter, line)."""

    PAPER = "paper"
    PRINTER = "printer"


@dataclass(frozen=True, slots=True)
class PaperOut:
    """Printing waits, for paper or for the printer. Printing goes on, or Owed follows."""

    turn: int
    done: int
    of: int
    waits_for: WaitsFor = WaitsFor.PAPER


@dataclass(frozen=True, slots=True)
class Printed:
    """Every ticket is out."""

    turn: int


@dataclass(frozen=True, slots=True)
class Owed:
    """`of - done` tickets could not be printed and are owed under the number `claim`."""

    turn: int
    claim: str
    done: int
    of: int


@dataclass(frozen=True, slots=True)
class ReceiptPrinted:
    turn: int


@dataclass(frozen=True, slots=True)
class ReceiptFailed:
    """The receipt did not come out; the sale stands."""

    turn: int


EngineEvent = (
    StockHeld
    | StockRefused
    | PaymentProgress
    | Paid
    | Declined
    | Cancelled
    | Unknown
    | Printing
    | PaperOut
    | Printed
    | Owed
    | ReceiptPrinted
    | ReceiptFailed
)

# --- time


@dataclass(frozen=True, slots=True)
class Tick:
    """Look at the context: time has passed, or the situation is another."""


Event = Touch | EngineEvent | Tick
