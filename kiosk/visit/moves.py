"""How a visit moves: one screen on, the same screen with another value, and the way into the basket."""

from __future__ import annotations

from dataclasses import replace

from kiosk.visit.route import Attract, Basket, People, Products, Route, Slots
from kiosk.visit.state import Visit, wants, with_draft


def push(visit: Visit, route: Route) -> Visit:
    return replace(visit, route=(*visit.route, route))


def here_as(visit: Visit, route: Route) -> Visit:
    """The same place on the stack, with another value."""
    return replace(visit, route=(*visit.route[:-1], route))


def in_the_basket(visit: Visit, here: People) -> Visit:
    """At the basket, with the way back that leads through what was chosen last."""
    lines = with_draft(visit, here.draft)
    if not lines:
        return replace(visit, basket=(), held=(), route=(Attract(), Products()))
    way: tuple[Route, ...] = (Attract(), Products())
    if here.draft.people > 0:
        if here.draft.slot is not None:
            way = (*way, Slots(here.draft.product))
        way = (*way, replace(here, awaiting=False))
    return replace(visit, basket=lines, held=wants(lines), route=(*way, Basket()))


def settled(route: tuple[Route, ...]) -> tuple[Route, ...]:
    """A way back shows no question that still waits for its answer, and no notice twice."""
    match route[-1]:
        case People() as here:
            return (*route[:-1], replace(here, awaiting=False))
        case Basket():
            return (*route[:-1], Basket())
        case _:
            return route
