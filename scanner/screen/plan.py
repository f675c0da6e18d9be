"""Where things stand on the two panels, in millimetres. Pure; the figures are those of the look.

Portrait 5.5" (68.5 x 121.8) and landscape 10.1" (217.5 x 136). Nothing to tap is under 20 mm; a shape is 40 or more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from scanner.screen.box import Box
from tickets.look import GATE_PANELS, GATE_TYPE_EM_MM, Panel


@dataclass(frozen=True, slots=True)
class Plan:
    """Boxes and type of one panel. `short` boxes leave room for a row of keys, `tall` ones use it."""

    panel: Panel
    margin: float
    header: Box
    shape: Box
    word: Box
    upper: Box
    """The block of colour behind shape and word."""
    shape_in_upper: Box
    """The same where `upper` has a colour of its own, which ends above the keys."""
    card_short: Box
    card_tall: Box
    keys: Box
    ready: Box
    counts: Box
    recent: Box
    choose_head: Box
    choose_sheet: Box
    small: float
    key: float
    text: float
    figure: float
    count: float
    word_em: float
    steps: tuple[float, ...]
    """All sizes of type of this panel, rising."""

    @property
    def bar_short(self) -> Box:
        return Box(self.card_short.x, self.card_short.bottom + 0.9, self.card_short.width, 1.1)

    @property
    def bar_tall(self) -> Box:
        return Box(self.card_tall.x, self.card_tall.bottom + 1.4, self.card_tall.width, 1.1)


_SMALL: Final = GATE_TYPE_EM_MM

PORTRAIT: Final = Plan(
    panel=GATE_PANELS[0],
    margin=3.04,
    header=Box(3.04, 0.4, 63.5, 9.2),
    shape=Box(13.05, 10.8, 42.4, 42.4),
    word=Box(2.0, 53.6, 64.5, 16.0),
    upper=Box(0, 9.6, 68.5, 62.6),
    shape_in_upper=Box(13.05, 10.8, 42.4, 42.4),
    card_short=Box(3.04, 73.2, 62.4, 23.2),
    card_tall=Box(3.04, 73.2, 62.4, 43.4),
    keys=Box(2.6, 99.2, 63.3, 20.4),
    ready=Box(3.04, 10.6, 62.4, 44.0),
    counts=Box(3.04, 57.0, 62.4, 27.0),
    recent=Box(3.04, 85.6, 62.4, 34.0),
    choose_head=Box(0, 0, 68.5, 50.0),
    choose_sheet=Box(0, 50.0, 68.5, 71.8),
    small=_SMALL["small"],
    key=_SMALL["key"],
    text=_SMALL["text"],
    figure=_SMALL["figure"],
    count=_SMALL["count"],
    word_em=_SMALL["word"],
    steps=(3.2, 3.7, 4.2, 4.4, 4.8, 5.4, 6.6, 7.8, 9.4, 10.5, 12.6, 16.0),
)

LANDSCAPE: Final = Plan(
    panel=GATE_PANELS[1],
    margin=7.0,
    header=Box(7.0, 1.4, 203.5, 11.0),
    shape=Box(9.0, 37.0, 66.0, 66.0),
    word=Box(85.0, 20.0, 128.0, 28.0),
    upper=Box(0, 13.4, 217.5, 87.6),
    shape_in_upper=Box(9.0, 23.0, 66.0, 66.0),
    card_short=Box(86.0, 54.0, 124.5, 44.0),
    card_tall=Box(86.0, 54.0, 124.5, 72.0),
    keys=Box(86.0, 104.0, 124.5, 25.0),
    ready=Box(7.0, 15.0, 100.0, 114.0),
    counts=Box(112.0, 15.0, 98.5, 46.0),
    recent=Box(112.0, 65.0, 98.5, 64.0),
    choose_head=Box(0, 0, 84.0, 136.0),
    choose_sheet=Box(84.0, 0, 133.5, 136.0),
    small=5.6,
    key=6.2,
    text=7.2,
    figure=10.0,
    count=16.0,
    word_em=28.0,
    steps=(4.4, 5.0, 5.6, 6.2, 7.2, 8.4, 10.0, 12.4, 16.0, 19.2, 24.0, 28.0),
)


def plan_of(width_px: float, height_px: float) -> Plan:
    return PORTRAIT if height_px >= width_px else LANDSCAPE
