"""When nobody touches the screen: warn, then go home. Never while terminal or printer work for the guest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from kiosk.visit.effect import Effect, Sound, Tone
from kiosk.visit.route import (
    Attract,
    Choosing,
    OwedTickets,
    Receipt,
    Route,
    Take,
    Thanks,
    UnknownPayment,
)
from kiosk.visit.situation import Context
from kiosk.visit.state import Overlay, Visit

Outcome = tuple[Visit, tuple[Effect, ...]]

IDLE_S: Final = 60.0
"""Quiet before the warning on a screen with a choice."""
WARNING_S: Final = 25.0
"""The warning's length; WCAG 2.2.1 asks for 20 s at least to extend by one simple action."""
CLAIM_S: Final = 300.0
"""Quiet before the warning where a number stands that a guest must write down."""
TAKE_S: Final = 30.0
"""How long the screen says to take the tickets."""
THANKS_S: Final = 8.0
STAFF_S: Final = 30.0
"""How long the attract screen keeps what was touched on it: the word that staff were called, a language, lower-it."""
CHIMES_S: Final = (3.0, 10.0)


def idle_limit_s(here: Route) -> float | None:
    """Quiet before the warning; None where none runs."""
    if isinstance(here, Choosing):
        return IDLE_S
    if isinstance(here, UnknownPayment | OwedTickets):
        return CLAIM_S
    return None


def seconds_left(visit: Visit, context: Context) -> int:
    """Whole seconds until the warning ends the visit."""
    limit_s = idle_limit_s(visit.here) or 0.0
    return max(0, round(limit_s + WARNING_S - (context.monotonic_s - visit.touched_s)))


def ticked(visit: Visit, context: Context, *, home: Callable[[Visit], Outcome]) -> Outcome:
    """What the passing of time does."""
    quiet_s = context.monotonic_s - visit.touched_s
    here = visit.here
    limit_s = idle_limit_s(here)
    if limit_s is not None:
        if quiet_s >= limit_s + WARNING_S:
            return home(visit)
        if quiet_s >= limit_s and visit.overlay is not Overlay.IDLE:
            return replace(visit, overlay=Overlay.IDLE), (Sound(Tone.WARN),)
        return visit, ()
    match here:
        case Take(receipt=receipt, chimes=chimes) if receipt is not Receipt.PRINTING:
            if quiet_s >= TAKE_S:
                return home(visit)
            if chimes < len(CHIMES_S) and quiet_s >= CHIMES_S[chimes]:
                tone = Tone.TAKE if chimes == 0 else Tone.TAKE_LOUDER
                rung = replace(here, chimes=chimes + 1)
                return replace(visit, route=(*visit.route[:-1], rung)), (Sound(tone),)
        case Thanks() if quiet_s >= THANKS_S:
            return home(visit)
        case Attract() if quiet_s >= STAFF_S:
            return home(visit)
    return visit, ()
