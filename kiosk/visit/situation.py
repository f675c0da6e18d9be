"""What a visit has to know about the world: what is sold, what is left, what works. The engine says it, the visit only reads it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from tickets.catalogue import Catalogue, Slot
from tickets.language import Language
from tickets.money import Money


class Tender(StrEnum):
    """How a guest pays, in the order in which it is offered."""

    CARD = "card"
    TRANSIT_IC = "transit_ic"
    EMONEY = "emoney"
    CODE = "code"


class TenderTrouble(StrEnum):
    """Why a way of paying cannot be used now, in the guest's terms."""

    NOT_CONNECTED = "not_connected"
    OUT_OF_ORDER = "out_of_order"


@dataclass(frozen=True, slots=True)
class TenderState:
    """One way of paying that a terminal here offers. `since` is when the trouble began, `limit` the most it can take at once."""

    tender: Tender
    trouble: TenderTrouble | None = None
    since: datetime | None = None
    limit: Money | None = None


class BlockReason(StrEnum):
    """Why this kiosk does not sell. Each has a sentence for guests; `JOURNAL` means that a sale could not be kept on record."""

    STARTING = "starting"
    NO_CATALOGUE = "no_catalogue"
    JOURNAL = "journal"
    PRINTER = "printer"
    PAPER = "paper"
    TERMINAL = "terminal"
    CLOCK = "clock"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class SlotStock:
    """What this kiosk may still sell of a slot. `remaining` None: not known; `as_of`: when it was last known to be true."""

    slot: Slot
    remaining: int | None
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything the engine tells without being asked, whole each time. `slots` in the order of their start."""

    catalogue: Catalogue | None = None
    slots: tuple[SlotStock, ...] = ()
    tenders: tuple[TenderState, ...] = ()
    blocked: BlockReason | None = BlockReason.STARTING

    @property
    def block_reason(self) -> BlockReason | None:
        """The engine's reason, or what follows from the rest: nothing to sell, or no way to pay."""
        if self.blocked is not None:
            return self.blocked
        if self.catalogue is None or not self.catalogue.products:
            return BlockReason.NO_CATALOGUE
        if not any(state.trouble is None for state in self.tenders):
            return BlockReason.TERMINAL
        return None


@dataclass(frozen=True, slots=True)
class Context:
    """The world at one step. `now` is aware; `monotonic_s` never jumps and carries every time-out."""

    situation: Situation
    now: datetime
    monotonic_s: float
    languages: tuple[Language, ...] = (Language.JA, Language.EN)

    @property
    def catalogue(self) -> Catalogue:
        """What is sold. Only asked for behind `block_reason is None`."""
        assert self.situation.catalogue is not None
        return self.situation.catalogue

    @property
    def today(self) -> date:
        """The business day it is now."""
        return self.catalogue.venue.day.of(self.now)
