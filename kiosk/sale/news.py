"""What the engine and the screen say to each other: plain values through two queues, no call in either direction.

Orders go in as commands; everything that happens comes out as news. Nothing here carries card data or a ticket code.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from kiosk.payment.contract import Method, Progress
from tickets.catalogue import Catalogue, Slot
from tickets.ids import OrderId
from tickets.language import Language
from tickets.order import Order


@dataclass(frozen=True, slots=True)
class HoldStock:
    """Keep what the basket needs for this guest; replaces what was held before."""

    order_id: OrderId
    order: Order


@dataclass(frozen=True, slots=True)
class LetGo:
    """The guest has left or started over: give held stock back; what is paid and not printed becomes owed."""

    order_id: OrderId


@dataclass(frozen=True, slots=True)
class Sell:
    """Charge and issue. `method` is None for an order of 0."""

    order_id: OrderId
    order: Order
    method: Method | None
    language: Language


@dataclass(frozen=True, slots=True)
class PrintReceipt:
    order_id: OrderId


@dataclass(frozen=True, slots=True)
class CallStaff:
    """`screen` is where the guest stands, for whoever comes."""

    screen: str
    language: Language


Command: TypeAlias = HoldStock | LetGo | Sell | PrintReceipt | CallStaff


@dataclass(frozen=True, slots=True)
class SlotLeft:
    """`left` is what this kiosk can sell now; `hub_left` what the hub last said of the whole slot."""

    slot: Slot
    left: int
    hub_left: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How the kiosk stands; told at start and on each change. `blocked` names what stops every sale (journal, printer, ...),
    `methods_off` which tender cannot be used now and why (message keys); `hub_at` the last word of the hub.
    """

    catalogue: Catalogue | None
    slots: tuple[SlotLeft, ...]
    blocked: tuple[str, ...]
    methods_off: dict[Method, str]
    hub_at: datetime | None
    unsent: int


@dataclass(frozen=True, slots=True)
class StockHeld:
    order_id: OrderId


@dataclass(frozen=True, slots=True)
class Refused:
    """The sale cannot be made and nothing was charged. `reason` is a message key."""

    order_id: OrderId
    reason: str


@dataclass(frozen=True, slots=True)
class PaymentStage:
    order_id: OrderId
    progress: Progress


@dataclass(frozen=True, slots=True)
class NotPaid:
    """Proven not charged: declined, cancelled by the guest, or ended by the terminal. `reason` is a message key."""

    order_id: OrderId
    reason: str
    by_guest: bool


@dataclass(frozen=True, slots=True)
class PaymentUnknown:
    """Nobody knows yet (処理未了). `claim` is on record; asking goes on by itself."""

    order_id: OrderId
    claim: str


@dataclass(frozen=True, slots=True)
class Paid:
    """Money proven (or none due) and tickets valid."""

    order_id: OrderId
    number: str
    tickets: int


@dataclass(frozen=True, slots=True)
class Printing:
    order_id: OrderId
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class PaperTrouble:
    """Printing waits. `reason` is a message key (paper.out, paper.cover, paper.cutter, paper.link)."""

    order_id: OrderId
    reason: str
    done: int
    total: int
    claim: str


@dataclass(frozen=True, slots=True)
class Printed:
    order_id: OrderId


@dataclass(frozen=True, slots=True)
class Owed:
    order_id: OrderId
    claim: str
    owed: int


@dataclass(frozen=True, slots=True)
class ReceiptPrinted:
    order_id: OrderId


News: TypeAlias = (
    Standing
    | StockHeld
    | Refused
    | PaymentStage
    | NotPaid
    | PaymentUnknown
    | Paid
    | Printing
    | PaperTrouble
    | Printed
    | Owed
    | ReceiptPrinted
)
