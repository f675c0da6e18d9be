"""From a state to what its screen shows. Pure: the same state and context give the same view, text for text."""

from __future__ import annotations

from typing import Final, assert_never

from kiosk.locale import Words
from kiosk.visit.choosing import people_view, products_view, slots_view
from kiosk.visit.event import (
    Start,
)
from kiosk.visit.framing import NO_STUB, OWN_NAMES, frame_of, language_key, overlay_of
from kiosk.visit.reviewing import basket_view, change_view
from kiosk.visit.route import (
    Attract,
    Basket,
    Change,
    Method,
    OwedTickets,
    Paying,
    People,
    Printing,
    Products,
    Slots,
    Take,
    Thanks,
    UnknownPayment,
)
from kiosk.visit.serving import (
    method_view,
    owed_view,
    paying_view,
    printing_view,
    take_view,
    thanks_view,
    unknown_view,
)
from kiosk.visit.situation import BlockReason, Context
from kiosk.visit.state import (
    Visit,
)
from kiosk.visit.views import (
    AttractView,
    Bar,
    BlockedView,
    Frame,
    Key,
    View,
)
from kiosk.visit.wording import (
    date_text,
)
from tickets.catalogue import Catalogue
from tickets.language import Language, text_in

SOON_OR_OVER: Final = frozenset({BlockReason.STARTING, BlockReason.CLOSED})
"""Not selling for a reason that sends nobody to another machine."""
NO_BAR: Final = Bar("", "", "", "", None, NO_STUB)


def present(visit: Visit, context: Context, words: Words) -> View:
    """The view of a visit. `words` are those of `visit.language`."""
    reason = context.situation.block_reason
    match visit.here:
        case Attract():
            if reason is not None:
                return blocked_view(visit, context, words, reason)
            return attract_view(visit, context, words)
        case Products() | Slots() | People() | Basket() | Change() | Method() as here:
            return _choosing(visit, here, context, words)
        case Paying() | Printing() | UnknownPayment() | OwedTickets() | Take() | Thanks() as here:
            return _after(visit, here, context, words)
        case _:
            assert_never(visit.here)


def _choosing(
    visit: Visit, here: Products | Slots | People | Basket | Change | Method, context: Context, words: Words
) -> View:
    match here:
        case Products():
            return products_view(visit, here, context, words)
        case Slots():
            return slots_view(visit, here, context, words)
        case People():
            return people_view(visit, here, context, words)
        case Basket():
            return basket_view(visit, here, context, words)
        case Change():
            return change_view(visit, context, words)
        case Method():
            return method_view(visit, context, words)
        case _:
            assert_never(here)


def _after(
    visit: Visit,
    here: Paying | Printing | UnknownPayment | OwedTickets | Take | Thanks,
    context: Context,
    words: Words,
) -> View:
    match here:
        case Paying():
            return paying_view(visit, here, context, words)
        case Printing():
            return printing_view(visit, here, context, words)
        case UnknownPayment():
            return unknown_view(visit, here, context, words)
        case OwedTickets():
            return owed_view(visit, here, context, words)
        case Take():
            return take_view(visit, here, context, words)
        case Thanks():
            return thanks_view(visit, context, words)
        case _:
            assert_never(here)


def attract_view(visit: Visit, context: Context, words: Words) -> AttractView:
    """The ticket that invites. Its languages are those the kiosk speaks."""
    accepted = words("list.join").join(
        words(f"tender.{state.tender}") for state in context.situation.tenders if state.trouble is None
    )
    return AttractView(
        frame=frame_of(visit, context, words, bar=NO_BAR),
        title=words("attract.title"),
        others=words("attract.others"),
        languages=tuple(
            Key(f"language.{language}", OWN_NAMES[language], "next", Start(language)) for language in context.languages
        ),
        facts=(
            (words("attract.sells"), words("list.join").join(_sold_names(context.catalogue, words.language))),
            (words("attract.pay"), accepted),
        ),
    )


def _sold_names(catalogue: Catalogue, language: Language) -> list[str]:
    return [text_in(product.name, language) for product in list(catalogue.products.values())[:3]]


def blocked_view(visit: Visit, context: Context, words: Words, reason: BlockReason) -> BlockedView:
    """The kiosk does not sell, says so, and names another way. Works without a catalogue."""
    bar = Bar(words("blocked.bar"), words("blocked.bar_text"), "bell", "", None, NO_STUB)
    if context.situation.catalogue is not None:
        frame = frame_of(visit, context, words, bar=bar)
    else:
        at = context.now.astimezone()
        frame = Frame(
            venue="",
            date=date_text(at.date(), words),
            date_short=f"{at.month}/{at.day}",
            clock=f"{at.hour}:{at.minute:02d}",
            stations=(),
            question="",
            help="",
            bar=bar,
            keys=(language_key(visit, context),),
            lowered=visit.lowered,
            overlay=overlay_of(visit, context, words),
        )
    return BlockedView(
        frame=frame,
        title=words(f"blocked.{reason}"),
        text=words(f"blocked.{reason}.text"),
        other="" if reason in SOON_OR_OVER else words("blocked.other"),
        other_text="" if reason in SOON_OR_OVER else words("blocked.other_text"),
    )
