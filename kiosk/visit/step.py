"""The visit's rules: one state, one event, one context; out come the next state and what is to be done.

Pure: everything the rules know stands in the arguments. An event that makes no sense where the guest is does nothing, so a late
touch, a double tap or an answer to somebody else's question can do no harm.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, assert_never

from kiosk.visit.effect import (
    BeginPayment,
    CallStaff,
    CancelPayment,
    ClearGuest,
    Effect,
    HoldStock,
    PrintReceipt,
    Sound,
    Tone,
)
from kiosk.visit.event import (
    AddAnother,
    Back,
    Cancel,
    ChangeLines,
    ChooseLanguage,
    ChooseProduct,
    ChooseSlot,
    Continue,
    EditLine,
    Event,
    Lower,
    Minus,
    Next,
    NoReceipt,
    Pay,
    Plus,
    Start,
    StartOver,
    Tick,
    Touch,
    TurnPage,
    WantReceipt,
)
from kiosk.visit.event import CallStaff as CallStaffTouch
from kiosk.visit.following import followed
from kiosk.visit.idle import ticked
from kiosk.visit.moves import here_as, in_the_basket, push, settled
from kiosk.visit.route import (
    Attract,
    Basket,
    Change,
    Choosing,
    Method,
    OwedTickets,
    Paying,
    People,
    Products,
    Receipt,
    Route,
    Slots,
    Take,
    Thanks,
    UnknownPayment,
)
from kiosk.visit.situation import Context, SlotStock, Tender
from kiosk.visit.state import (
    Overlay,
    Visit,
    added,
    can_add,
    can_go_on,
    groups,
    has_slots,
    new_draft,
    order_of_lines,
    start,
    wants,
    with_draft,
)

Outcome = tuple[Visit, tuple[Effect, ...]]

NOTHING: Final[tuple[Effect, ...]] = ()


def step(visit: Visit, event: Event, context: Context) -> Outcome:
    """What follows `event`. Effects are to be performed in their order, after the state has been taken over."""
    if isinstance(event, Touch):
        return _touched(visit, event, context)
    if not isinstance(event, Tick):
        after, effects = followed(visit, event)
        return (visit if after == visit else replace(after, touched_s=context.monotonic_s)), effects
    if isinstance(visit.here, Choosing) and context.situation.block_reason is not None:
        return home(visit)
    return ticked(visit, context, home=home)


def home(visit: Visit) -> Outcome:
    """Nobody at the screen: nothing of the guest is left but the count of turns."""
    effects: tuple[Effect, ...] = NOTHING if isinstance(visit.here, Attract) else (ClearGuest(),)
    return replace(start(), turn=visit.turn, touched_s=visit.touched_s), effects


def _touched(visit: Visit, event: Touch, context: Context) -> Outcome:
    before = replace(visit, touched_s=context.monotonic_s)
    after, effects = _answered(before, event, context)
    tone = Tone.TOUCH if after != before or effects else Tone.UNAVAILABLE
    return after, (Sound(tone), *effects)


def _answered(visit: Visit, event: Touch, context: Context) -> Outcome:
    if visit.overlay is not None and not isinstance(event, StartOver | CallStaffTouch | ChooseLanguage):
        return replace(visit, overlay=None), NOTHING
    if isinstance(visit.here, Choosing) and context.situation.block_reason is not None:
        return home(visit)
    match event:
        case Start() | ChooseProduct() | ChooseSlot() | TurnPage() | Plus() | Minus():
            return _chosen(visit, event, context)
        case Next() | AddAnother() | ChangeLines() | EditLine() | Back() | Pay() | Cancel():
            return _walked(visit, event, context)
        case WantReceipt() | NoReceipt() | Continue():
            return _closed(visit, event)
        case StartOver():
            return home(visit) if may_leave(visit.here) else (visit, NOTHING)
        case ChooseLanguage(language=language):
            known = language in context.languages
            return (replace(visit, language=language) if known else visit), NOTHING
        case Lower():
            return replace(visit, lowered=not visit.lowered), NOTHING
        case CallStaffTouch():
            return replace(visit, overlay=Overlay.STAFF), (CallStaff(type(visit.here).__name__),)
        case _:
            assert_never(event)


def _chosen(
    visit: Visit, event: Start | ChooseProduct | ChooseSlot | TurnPage | Plus | Minus, context: Context
) -> Outcome:
    match event, visit.here:
        case Start(language=language), Attract():
            if context.situation.block_reason is not None or language not in context.languages:
                return visit, NOTHING
            return replace(
                visit, language=language, catalogue=context.catalogue, route=(Attract(), Products())
            ), NOTHING
        case ChooseProduct(product=product), Products() if product in visit.sold.products:
            if has_slots(visit.sold, product):
                return push(visit, Slots(product)), NOTHING
            draft = new_draft(visit, product, None)
            return (push(visit, People(draft)) if draft.counts else visit), NOTHING
        case ChooseSlot(slot=slot_id), Slots(product=product):
            stock = stock_of(context, slot_id)
            if stock is None or stock.slot.product != product or not may_choose(visit, stock, context):
                return visit, NOTHING
            draft = new_draft(visit, product, stock.slot)
            return (push(visit, People(draft)) if draft.counts else visit), NOTHING
        case TurnPage(page=page), Products() | Slots() as here if page >= 0:
            return here_as(visit, replace(here, page=page)), NOTHING
        case Plus(variant=variant), People() as here if not here.awaiting and can_add(visit, here, variant, context):
            return here_as(visit, replace(here, draft=added(here.draft, variant, 1))), NOTHING
        case Minus(variant=variant), People() as here if (
            not here.awaiting and dict(here.draft.counts).get(variant, 0) > 0
        ):
            return here_as(visit, replace(here, draft=added(here.draft, variant, -1))), NOTHING
        case _:
            return visit, NOTHING


def _walked(
    visit: Visit, event: Next | AddAnother | ChangeLines | EditLine | Back | Pay | Cancel, context: Context
) -> Outcome:
    match event, visit.here:
        case Next(), People() as here if can_go_on(visit, here, context):
            return _take_draft(visit, here)
        case Next(), Basket():
            order = order_of_lines(visit.sold, visit.basket)
            if order is not None and order.total.minor == 0:
                return _begin_payment(visit, None)
            return push(visit, Method()), NOTHING
        case AddAnother(), Basket():
            return push(visit, Products()), NOTHING
        case ChangeLines(), Basket():
            return _change(visit), NOTHING
        case EditLine(product=product, slot=slot_id), Change():
            return _edit(visit, product, slot_id), NOTHING
        case Back(), _ if isinstance(visit.here, Choosing):
            if len(visit.route) <= 2:
                return home(visit)
            return replace(visit, route=settled(visit.route[:-1])), NOTHING
        case Pay(tender=tender), Method():
            usable = any(state.tender is tender and state.trouble is None for state in context.situation.tenders)
            return _begin_payment(visit, tender) if usable else (visit, NOTHING)
        case Cancel(), Paying(cancellable=True, cancelling=False) as here:
            return here_as(visit, replace(here, cancelling=True)), (CancelPayment(visit.pay_turn),)
        case _:
            return visit, NOTHING


def _change(visit: Visit) -> Visit:
    """The counts of the one product there is, or the question which."""
    chosen = groups(visit)
    if len(chosen) > 1:
        return push(visit, Change())
    product, slot, _ = chosen[0]
    return push(visit, People(new_draft(visit, product, slot)))


def _edit(visit: Visit, product: str, slot_id: str) -> Visit:
    for wanted, slot, _ in groups(visit):
        if wanted == product and ("" if slot is None else slot.slot) == slot_id:
            return push(visit, People(new_draft(visit, product, slot)))
    return visit


def _closed(visit: Visit, event: WantReceipt | NoReceipt | Continue) -> Outcome:
    match event, visit.here:
        case WantReceipt(), Take(receipt=Receipt.OFFERED | Receipt.FAILED) as here:
            return here_as(visit, replace(here, receipt=Receipt.PRINTING)), (PrintReceipt(visit.pay_turn),)
        case NoReceipt(), Take(receipt=Receipt.OFFERED | Receipt.FAILED | Receipt.NOT_OFFERED):
            return replace(visit, route=(Attract(), Thanks())), NOTHING
        case Continue(), Thanks() | UnknownPayment() | OwedTickets():
            return home(visit)
        case _:
            return visit, NOTHING


def _take_draft(visit: Visit, here: People) -> Outcome:
    """The draft becomes part of the basket, once the engine holds the stock it needs."""
    lines = with_draft(visit, here.draft)
    wanted = wants(lines)
    if wanted == visit.held:
        return in_the_basket(visit, here), NOTHING
    turn = visit.turn + 1
    visit = replace(visit, turn=turn, hold_turn=turn)
    if not wanted:
        return in_the_basket(visit, here), (HoldStock(turn, ()),)
    return here_as(visit, replace(here, left=None, awaiting=True)), (HoldStock(turn, wanted),)


def _begin_payment(visit: Visit, tender: Tender | None) -> Outcome:
    order = order_of_lines(visit.sold, visit.basket)
    if order is None:
        return visit, NOTHING
    turn = visit.turn + 1
    paying = replace(push(visit, Paying(tender)), turn=turn, pay_turn=turn)
    return paying, (BeginPayment(turn, order, tender, visit.language),)


def may_leave(here: Route) -> bool:
    """Whether Start over acts: not while terminal or printer work, nor over a payment that nobody can tell of yet."""
    match here:
        case Products() | Slots() | People() | Basket() | Change() | Method() | Thanks():
            return True
        case Take(receipt=receipt):
            return receipt is not Receipt.PRINTING
        case _:
            return False


def may_choose(visit: Visit, stock: SlotStock, context: Context) -> bool:
    """A slot that is not over and not known to be sold out, or that this guest holds a part of."""
    if stock.slot.ends_at <= context.now:
        return False
    return stock.remaining is None or stock.remaining + dict(visit.held).get(stock.slot.slot, 0) > 0


def stock_of(context: Context, slot: str) -> SlotStock | None:
    return next((stock for stock in context.situation.slots if stock.slot.slot == slot), None)


def slots_to_come(context: Context, product: str) -> tuple[SlotStock, ...]:
    """The slots of a product that are not over, in the order of their start; sold-out ones too."""
    return tuple(
        stock for stock in context.situation.slots if stock.slot.product == product and stock.slot.ends_at > context.now
    )
