"""Every view a kiosk can show, one by one: the gallery that the screen tests draw and measure. Run by itself it writes PNGs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kiosk.visit import event as e
from kiosk.visit.situation import BlockReason, Context, Situation, SlotStock, Tender, TenderState, TenderTrouble
from kiosk.visit.state import Visit, start
from kiosk.visit.step import step
from tickets.catalogue import Slot, parse
from tickets.language import Language

ROOT = Path(__file__).parents[3]
CATALOGUE = parse((ROOT / "hub" / "demo_venue.json").read_text(encoding="utf-8"))
NOW = datetime(2026, 11, 23, 1, 18, tzinfo=UTC)


def slots(remaining: tuple[int | None, ...] = (0, 6, 24, 30, 30, None, 30, 30)) -> tuple[SlotStock, ...]:
    first = datetime(2026, 11, 23, 1, 30, tzinfo=UTC)
    return tuple(
        SlotStock(
            Slot(
                f"s{index}",
                "athletics",
                first + timedelta(minutes=30 * index),
                first + timedelta(minutes=30 * index + 30),
                30,
            ),
            left,
            NOW,
        )
        for index, left in enumerate(remaining)
    )


CARD = (TenderState(Tender.CARD),)
ALL_TENDERS = (
    TenderState(Tender.CARD),
    TenderState(Tender.TRANSIT_IC),
    TenderState(Tender.EMONEY),
    TenderState(Tender.CODE, TenderTrouble.NOT_CONNECTED, datetime(2026, 11, 23, 1, 5, tzinfo=UTC)),
)
SITUATION = Situation(CATALOGUE, slots(), CARD, None)


def context(situation: Situation = SITUATION, *, after_s: float = 0.0) -> Context:
    return Context(situation, NOW + timedelta(seconds=after_s), after_s, (Language.JA, Language.EN))


def walk(visit: Visit, *events: e.Event, situation: Situation = SITUATION, after_s: float = 0.0) -> Visit:
    for one in events:
        visit, _ = step(visit, one, context(situation, after_s=after_s))
    return visit


ADMISSION = (e.ChooseProduct("admission"), e.Plus(1), e.Plus(2), e.Next())
RIDES = (e.AddAnother(), e.ChooseProduct("rides"), e.Next())
RAMUNE = (e.AddAnother(), e.ChooseProduct("ramune"), e.Plus(30), e.Next())


def gallery(language: Language) -> Iterator[tuple[str, Visit, Context]]:
    """(name, visit, context) of every screen, the easy days and the bad ones."""
    here = context()
    begin = walk(start(), e.Start(language))
    yield "attract", replace(start(), language=language), here
    yield "attract-staff", replace(walk(start(), e.CallStaff()), language=language), here
    yield "products", begin, here
    yield "products-lower", walk(begin, e.Lower()), here
    sold_out = replace(SITUATION, slots=slots((0, 0)))
    yield "products-sold-out", begin, context(sold_out)
    choosing = walk(begin, e.ChooseProduct("athletics"))
    yield "slots", choosing, here
    yield "slots-lower", walk(choosing, e.Lower()), here
    yield "slots-page", walk(choosing, e.TurnPage(1)), here
    people = walk(choosing, e.ChooseSlot("s1"), e.Plus(21))
    yield "people-slot", people, here
    waiting = walk(people, e.Next())
    yield "people-left", walk(waiting, e.StockRefused(waiting.hold_turn, "s1", 1)), here
    yield "slots-lost", walk(waiting, e.StockRefused(waiting.hold_turn, "s1", 0)), here
    held = walk(waiting, e.StockHeld(waiting.hold_turn))
    yield "basket-held", held, here
    family = walk(begin, *ADMISSION[:-1])
    yield "people", family, here
    yield "people-all", walk(family, e.Plus(3), e.Plus(4)), here
    yield "people-lower", walk(family, e.Lower()), here
    yield "count", walk(begin, e.ChooseProduct("rides")), here
    basket = walk(begin, *ADMISSION, *RIDES)
    yield "basket", basket, here
    full = walk(basket, *RAMUNE)
    yield "basket-full", full, here
    yield "basket-lower", walk(full, e.Lower()), here
    many = walk(begin, e.ChooseProduct("admission"), e.Plus(2), e.Plus(3), e.Plus(4), e.Next(), *RIDES, *RAMUNE)
    many = walk(many, e.AddAnother(), e.ChooseProduct("athletics"), e.ChooseSlot("s2"), e.Plus(21), e.Next())
    many = walk(many, e.StockHeld(many.hold_turn))
    yield "basket-many", many, here
    yield "products-again", walk(full, e.AddAnother()), here
    yield "change", walk(full, e.ChangeLines()), here
    yield "idle", walk(basket, e.Tick(), after_s=66.0), context(after_s=66.0)
    yield "staff", walk(basket, e.CallStaff()), here
    yield "method", walk(full, e.Next()), here
    yield "method-all", walk(full, e.Next()), context(replace(SITUATION, tenders=ALL_TENDERS))
    yield "method-lower", walk(full, e.Next(), e.Lower()), context(replace(SITUATION, tenders=ALL_TENDERS))
    paying = walk(full, e.Next(), e.Pay(Tender.CARD))
    turn = paying.pay_turn
    for stage in e.PaymentStage:
        asked = walk(paying, e.PaymentProgress(turn, stage, stage is e.PaymentStage.PRESENT_CARD))
        yield f"paying-{stage}", asked, here
    present = walk(paying, e.PaymentProgress(turn, e.PaymentStage.PRESENT_CARD, cancellable=True))
    yield "paying-cancelling", walk(present, e.Cancel()), here
    for reason in e.DeclineReason:
        yield f"basket-{reason}", walk(paying, e.Declined(turn, reason)), here
    yield "basket-cancelled", walk(paying, e.Cancelled(turn)), here
    yield "unknown", walk(paying, e.Unknown(turn, "K2-4172")), here
    paid = walk(paying, e.Paid(turn))
    yield "printing-begins", paid, here
    parts = (e.PrintedPart("admission", 3, 3), e.PrintedPart("rides", 4, 10), e.PrintedPart("ramune", 0, 2))
    printing = walk(paid, e.Printing(turn, 7, 15, parts))
    yield "printing", printing, here
    out = walk(printing, e.PaperOut(turn, 7, 15))
    yield "paper-out", out, here
    yield "owed", walk(out, e.Owed(turn, "K2-4173", 7, 15)), here
    taking = walk(printing, e.Printed(turn))
    yield "take", taking, here
    yield "take-lower", walk(taking, e.Lower()), here
    asked = walk(taking, e.WantReceipt())
    yield "take-receipt", asked, here
    yield "take-failed", walk(asked, e.ReceiptFailed(turn)), here
    yield "thanks", walk(taking, e.NoReceipt()), here
    free = walk(begin, e.ChooseProduct("admission"), e.Minus(1), e.Plus(4), e.Next())
    yield "basket-free", free, here
    making = walk(free, e.Next())
    yield "printing-free", making, here
    made = walk(making, e.Paid(making.pay_turn), e.Printed(making.pay_turn))
    yield "take-free", made, here
    for blocked in BlockReason:
        blocked_situation = replace(SITUATION, blocked=blocked)
        if blocked in {BlockReason.STARTING, BlockReason.NO_CATALOGUE}:
            blocked_situation = replace(blocked_situation, catalogue=None)
        yield f"blocked-{blocked}", replace(start(), language=language), context(blocked_situation)
