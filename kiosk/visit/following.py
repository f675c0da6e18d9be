"""What follows the engine's word: stock held or refused, a payment's course, paper coming out.

Paid means issued: from Paid on, no touch and no time-out of the guest can stop what follows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from kiosk.visit.effect import CallStaff, Effect, Sound, Tone
from kiosk.visit.event import (
    Cancelled,
    Declined,
    EngineEvent,
    Owed,
    Paid,
    PaperOut,
    PaymentProgress,
    Printed,
    ReceiptFailed,
    ReceiptPrinted,
    StockHeld,
    StockRefused,
    Unknown,
    WaitsFor,
)
from kiosk.visit.event import Printing as PrintingSaid
from kiosk.visit.moves import here_as, in_the_basket
from kiosk.visit.route import (
    Attract,
    Basket,
    Choosing,
    OwedTickets,
    Paying,
    PaymentNotice,
    People,
    Printing,
    Products,
    Receipt,
    Route,
    Slots,
    Take,
    Thanks,
    UnknownPayment,
)
from kiosk.visit.situation import Tender
from kiosk.visit.state import Line, Visit, pieces, wants

Outcome = tuple[Visit, tuple[Effect, ...]]


def followed(visit: Visit, event: EngineEvent) -> Outcome:
    """The state after the engine's word; unchanged where it answers a question nobody asks any more."""
    match event:
        case StockHeld() | StockRefused():
            return (_stock(visit, event), ()) if event.turn == visit.hold_turn else (visit, ())
        case PaymentProgress() | Paid() | Declined() | Cancelled() | Unknown():
            return _payment(visit, event) if event.turn == visit.pay_turn else (visit, ())
        case PrintingSaid() | PaperOut() | Printed() | Owed() | ReceiptPrinted() | ReceiptFailed():
            return _paper(visit, event) if event.turn == visit.pay_turn else (visit, ())
        case _:
            assert_never(event)


def _stock(visit: Visit, event: StockHeld | StockRefused) -> Visit:
    match event, visit.here:
        case StockHeld(), People(awaiting=True) as here:
            return in_the_basket(visit, here)
        case StockRefused(slot=slot, remaining=remaining), People(awaiting=True) as here:
            if here.draft.slot is not None and here.draft.slot.slot == slot and remaining > 0:
                return here_as(visit, replace(here, left=remaining, awaiting=False))
            return _without(visit, slot)
        case StockRefused(slot=slot), _ if isinstance(visit.here, Choosing):
            return _without(visit, slot)
        case _:
            return visit


def _without(visit: Visit, slot: str) -> Visit:
    """A slot is gone: its lines leave the basket, and the guest chooses another."""
    kept = tuple(line for line in visit.basket if line.slot is None or line.slot.slot != slot)
    lost = _product_of(visit, slot)
    visit = replace(visit, basket=kept, held=wants(kept))
    if lost is None:
        return replace(visit, route=(Attract(), Products()))
    return replace(visit, route=(Attract(), Products(), Slots(lost, lost=True)))


def _product_of(visit: Visit, slot: str) -> str | None:
    here = visit.here
    if isinstance(here, People) and here.draft.slot is not None and here.draft.slot.slot == slot:
        return here.draft.product
    lines: tuple[Line, ...] = visit.basket
    return next((line.slot.product for line in lines if line.slot is not None and line.slot.slot == slot), None)


def _payment(visit: Visit, event: PaymentProgress | Paid | Declined | Cancelled | Unknown) -> Outcome:
    here = visit.here
    if not isinstance(here, Paying | UnknownPayment):
        return visit, ()
    match event:
        case PaymentProgress(stage=stage, cancellable=cancellable):
            if isinstance(here, UnknownPayment):
                return visit, ()
            return here_as(visit, replace(here, stage=stage, cancellable=cancellable)), ()
        case Paid():
            return _paid(visit, here.tender), (() if here.tender is None else (Sound(Tone.PAID),))
        case Declined(reason=reason):
            return _back_to_basket(visit, PaymentNotice(reason.value)), ()
        case Cancelled():
            return _back_to_basket(visit, PaymentNotice.CANCELLED), ()
        case Unknown(claim=claim):
            unknown = UnknownPayment(claim, here.tender)
            return replace(visit, overlay=None, route=(Attract(), unknown)), called(unknown)
        case _:
            assert_never(event)


def _paid(visit: Visit, tender: Tender | None) -> Visit:
    return replace(visit, route=(Attract(), Printing(tender, done=0, of=pieces(visit.sold, visit.basket))))


def _back_to_basket(visit: Visit, notice: PaymentNotice) -> Visit:
    """Nothing was taken: the basket is as it was, and says so. The way there is kept where it is still known."""
    way = visit.route
    while way and not isinstance(way[-1], Basket):
        way = way[:-1]
    way = way[:-1] if way else (Attract(), Products())
    return replace(visit, route=(*way, Basket(notice)), pay_turn=0)


def _paper(visit: Visit, event: PrintingSaid | PaperOut | Printed | Owed | ReceiptPrinted | ReceiptFailed) -> Outcome:
    here = visit.here
    match event, here:
        case ReceiptPrinted(), Take(receipt=Receipt.PRINTING):
            return replace(visit, route=(Attract(), Thanks())), ()
        case ReceiptFailed(), Take(receipt=Receipt.PRINTING):
            return here_as(visit, replace(here, receipt=Receipt.FAILED)), ()
        case PrintingSaid(done=done, of=of, parts=parts), Printing() | Paying() | UnknownPayment():
            return replace(visit, route=(Attract(), Printing(here.tender, done, of, parts))), ()
        case PaperOut(done=done, of=of, waits_for=waits_for), Printing():
            out = replace(here, done=done, of=of, paper_out=True, printer_away=waits_for is WaitsFor.PRINTER)
            return here_as(visit, out), (() if here.paper_out else called(out))
        case Owed(claim=claim, done=done, of=of), Printing():
            owed = OwedTickets(claim, done, of)
            return replace(visit, overlay=None, route=(Attract(), owed)), called(owed)
        case Printed(), Printing(tender=tender):
            receipt = Receipt.NOT_OFFERED if tender is None else Receipt.OFFERED
            return replace(visit, overlay=None, route=(Attract(), Take(tender, receipt))), ()
        case _:
            return visit, ()


def called(route: Route) -> tuple[Effect, ...]:
    """The screen says that staff have been called, so they are."""
    return (CallStaff(type(route).__name__),)
