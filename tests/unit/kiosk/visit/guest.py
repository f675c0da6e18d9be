"""A guest for the tests of a visit: walks by touches, and an engine that answers what it is told to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kiosk.visit.effect import Effect
from kiosk.visit.event import Event
from kiosk.visit.route import Route
from kiosk.visit.situation import Context, Situation, SlotStock, Tender, TenderState
from kiosk.visit.state import Visit, start
from kiosk.visit.step import step
from tickets.catalogue import Slot, parse
from tickets.language import Language

CATALOGUE = parse((Path(__file__).parents[4] / "hub" / "demo_venue.json").read_text(encoding="utf-8"))
NOW = datetime(2026, 11, 23, 1, 18, tzinfo=UTC)


def slot_stock(slot: str, hour: int, minute: int, remaining: int | None) -> SlotStock:
    """A half hour of the athletics course; hours of Tokyo."""
    starts = datetime(2026, 11, 23, hour - 9, minute, tzinfo=UTC)
    return SlotStock(Slot(slot, "athletics", starts, starts + timedelta(minutes=30), 30), remaining, NOW)


SLOTS = (
    slot_stock("over", 9, 0, 30),
    slot_stock("gone", 10, 30, 0),
    slot_stock("few", 11, 0, 3),
    slot_stock("plenty", 11, 30, 30),
    slot_stock("unknown", 12, 0, None),
)
SITUATION = Situation(CATALOGUE, SLOTS, (TenderState(Tender.CARD),), None)


@dataclass
class Guest:
    """Keeps the state, and every effect since the last look."""

    situation: Situation = SITUATION
    visit: Visit = field(default_factory=start)
    effects: list[Effect] = field(default_factory=list)
    now_s: float = 0.0

    @property
    def context(self) -> Context:
        return Context(self.situation, NOW + timedelta(seconds=self.now_s), self.now_s, (Language.JA, Language.EN))

    def does(self, *events: Event) -> Guest:
        for event in events:
            self.visit, effects = step(self.visit, event, self.context)
            self.effects.extend(effects)
        return self

    def waits(self, seconds: float) -> Guest:
        from kiosk.visit.event import Tick

        for _ in range(round(seconds)):
            self.now_s += 1
            self.does(Tick())
        return self

    def finds(self, **changes: object) -> Guest:
        """The world is another now."""
        self.situation = replace(self.situation, **changes)  # type: ignore[arg-type]
        return self

    def took(self, kind: type) -> list[Effect]:
        """The effects of a kind since the last look."""
        found = [effect for effect in self.effects if isinstance(effect, kind)]
        self.effects = [effect for effect in self.effects if not isinstance(effect, kind)]
        return found

    @property
    def here(self) -> Route:
        return self.visit.here
