"""Where a guest is: route values on a stack. A value carries all that its screen needs beside basket and language."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kiosk.visit.event import DeclineReason, PaymentStage, PrintedPart
from kiosk.visit.situation import Tender
from tickets.catalogue import Slot


@dataclass(frozen=True, slots=True)
class Draft:
    """What is being chosen: (variant number, count) in the order of the catalogue, also those of 0."""

    product: str
    slot: Slot | None
    counts: tuple[tuple[int, int], ...]

    @property
    def people(self) -> int:
        return sum(count for _, count in self.counts)


@dataclass(frozen=True, slots=True)
class Attract:
    pass


@dataclass(frozen=True, slots=True)
class Products:
    page: int = 0


@dataclass(frozen=True, slots=True)
class Slots:
    """`lost`: the slot that was chosen before is gone."""

    product: str
    page: int = 0
    lost: bool = False


@dataclass(frozen=True, slots=True)
class People:
    """`left`: the engine has said that no more than this can be had. `awaiting`: it has been asked and has not answered."""

    draft: Draft
    left: int | None = None
    awaiting: bool = False


class PaymentNotice(StrEnum):
    """`CANCELLED` beside the reasons of a declined payment: what the basket says after it."""

    CANCELLED = "cancelled"
    DECLINED = DeclineReason.DECLINED.value
    NO_CARD = DeclineReason.NO_CARD.value
    TERMINAL = DeclineReason.TERMINAL.value
    NOT_READY = DeclineReason.NOT_READY.value


@dataclass(frozen=True, slots=True)
class Basket:
    notice: PaymentNotice | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """Which product's counts to change."""


@dataclass(frozen=True, slots=True)
class Method:
    pass


@dataclass(frozen=True, slots=True)
class Paying:
    """`tender` None: nothing to pay, the tickets are being made."""

    tender: Tender | None
    stage: PaymentStage = PaymentStage.CONNECTING
    cancellable: bool = False
    cancelling: bool = False


@dataclass(frozen=True, slots=True)
class UnknownPayment:
    claim: str
    tender: Tender | None


@dataclass(frozen=True, slots=True)
class Printing:
    tender: Tender | None
    done: int
    of: int
    parts: tuple[PrintedPart, ...] = ()
    paper_out: bool = False
    printer_away: bool = False


@dataclass(frozen=True, slots=True)
class OwedTickets:
    claim: str
    done: int
    of: int


class Receipt(StrEnum):
    """How far the question after a receipt has come. `NOT_OFFERED`: nothing was paid."""

    NOT_OFFERED = "not_offered"
    OFFERED = "offered"
    PRINTING = "printing"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Take:
    """`chimes`: how often the guest has been reminded."""

    tender: Tender | None
    receipt: Receipt
    chimes: int = 0


@dataclass(frozen=True, slots=True)
class Thanks:
    pass


Choosing = Products | Slots | People | Basket | Change | Method
"""Screens on which nothing has been paid and the guest decides."""

Route = Attract | Choosing | Paying | UnknownPayment | Printing | OwedTickets | Take | Thanks
