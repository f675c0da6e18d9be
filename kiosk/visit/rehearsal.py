"""A visit nobody makes: the views of an ordinary one, so that screens can be drawn before the first guest comes to them."""

from __future__ import annotations

from collections.abc import Iterator

from kiosk.locale import words
from kiosk.visit.event import (
    ChooseProduct,
    Event,
    Next,
    NoReceipt,
    Paid,
    Pay,
    PaymentProgress,
    PaymentStage,
    Printed,
    Start,
)
from kiosk.visit.present import present
from kiosk.visit.situation import Context
from kiosk.visit.state import has_slots, start
from kiosk.visit.step import step
from kiosk.visit.views import View


def rehearsal(context: Context) -> Iterator[View]:
    """The view after each step of buying one product without slots; what an engine would do is only imagined here."""
    visit = start()
    language = words(visit.language)
    plain = [name for name in context.catalogue.products if not has_slots(context.catalogue, name)]
    usable = [state.tender for state in context.situation.tenders if state.trouble is None]
    if not plain or not usable:
        return
    turn = visit.turn + 1
    events: tuple[Event, ...] = (
        Start(visit.language),
        ChooseProduct(plain[0]),
        Next(),
        Next(),
        Pay(usable[0]),
        PaymentProgress(turn, PaymentStage.PRESENT_CARD, cancellable=True),
        PaymentProgress(turn, PaymentStage.PROCESSING, cancellable=False),
        Paid(turn),
        Printed(turn),
        NoReceipt(),
    )
    for event in events:
        visit, _ = step(visit, event, context)
        yield present(visit, context, language)
