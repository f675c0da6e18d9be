"""Colours, type and spacing as tables: one look for kiosk, gate and paper, which never import each other.

Pure data. Everything is in millimetres, because a finger and an eye do not know how many pixels a panel has; a screen multiplies by
its panel's `px_per_mm`. Contrast is WCAG 2: text needs 4.5, controls and marks 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

TEXT_CONTRAST_MIN: Final = 4.5
MARK_CONTRAST_MIN: Final = 3.0

COLOURS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "paper": "#F7F5EF",  # background of every screen
        "surface": "#FFFFFF",  # cards, keys, the ticket
        "sunken": "#ECE8DE",  # sold out, unavailable, closed
        "line": "#D8D2C4",  # hairlines inside a card; never the only border of a control
        "edge": "#857E6E",  # border of keys, perforation
        "ink": "#14213D",  # text
        "ink2": "#465069",  # explanations
        "ash": "#5E6371",  # text of what cannot be chosen, still readable
        "ai": "#1F3F7A",  # controls, the line, plus key, call-staff
        "ai_tint": "#E6ECF6",  # chosen
        "deep": "#13264A",  # total bar, navigation, outlines of illustrations
        "deep_text": "#DCE4F3",  # second text on deep
        "yama": "#FFC233",  # onward; present station; "look" at the gate
        "yama_shade": "#D99A10",  # a mark on yama that is not counted (people not chosen); never text
        "yama_tint": "#FFF2CC",  # notes
        "matsu": "#00705A",  # admit
        "kaki": "#A04E00",  # warnings in text
        "shu": "#BE2A1B",  # refusal; nothing else on a kiosk is red
        "sora": "#0A639C",  # admit again (re-entry), Saturday
        "sumi": "#17171C",  # forged
        "arrow": "#CF4F2C",  # arrows in instruction pictures
        "sky": "#DCEBF5",  # from here on: illustrations only, never text
        "sea": "#3C83B8",
        "sand": "#F1E3C3",
        "coral": "#E66F4E",
        "leaf": "#3A9472",
        "leaf_dark": "#1F6149",
        "night": "#1B2D57",
    }
)
"""Token -> sRGB hex. The names are the names in code; a theme may change values, never meanings."""

TEXT_PAIRS: Final[tuple[tuple[str, str], ...]] = (
    ("ink", "paper"),
    ("ink", "surface"),
    ("ink2", "paper"),
    ("ink2", "surface"),
    ("ink2", "sunken"),
    ("ash", "sunken"),
    ("ash", "paper"),
    ("surface", "ai"),
    ("ai", "paper"),
    ("ink", "ai_tint"),
    ("ai", "ai_tint"),
    ("surface", "deep"),
    ("deep_text", "deep"),
    ("ink", "yama"),
    ("ink", "yama_tint"),
    ("surface", "matsu"),
    ("kaki", "surface"),
    ("kaki", "yama_tint"),
    ("surface", "shu"),
    ("surface", "sora"),
    ("surface", "sumi"),
    ("yama", "sumi"),
)
"""(text, ground) pairs that screens use; each holds TEXT_CONTRAST_MIN, also under a venue's theme."""

MARK_PAIRS: Final[tuple[tuple[str, str], ...]] = (
    ("edge", "paper"),
    ("edge", "surface"),
    ("arrow", "ai_tint"),
)
"""(mark, ground) pairs that hold MARK_CONTRAST_MIN."""

TYPE_EM_MM: Final[Mapping[str, float]] = MappingProxyType(
    {
        "caption": 6.6,
        "key": 6.8,
        "body": 7.5,
        "label": 9.0,
        "head": 12.0,
        "question": 15.0,
        "total": 16.0,
        "figure": 19.0,
        "hero": 24.0,
        "number": 32.0,
    }
)
"""What a guest reads at a kiosk: em in mm. Capital height of Noto Sans CJK is 0.733 em, so 6.6 is the smallest (4.84 mm)."""

GATE_TYPE_EM_MM: Final[Mapping[str, float]] = MappingProxyType(
    {
        "small": 4.2,
        "key": 4.4,
        "text": 4.8,
        "figure": 6.6,
        "count": 10.5,
        "word": 16.0,
    }
)
"""What staff read at a gate, at arm's length: em in mm. A verdict's word is 16 mm, its kanji's ink 15.1."""

SPACE_MM: Final[tuple[float, ...]] = (1, 2, 3, 4, 5, 7, 9, 14)
RADIUS_MM: Final[Mapping[str, float]] = MappingProxyType(
    {"small": 2.0, "gate": 2.8, "picture": 3.0, "key": 4.0, "card": 5.0, "primary": 6.0}
)
BORDER_MM: Final[Mapping[str, float]] = MappingProxyType({"key": 0.5, "minus": 0.7, "chosen": 1.1, "gate": 0.28})
TARGET_MM_MIN: Final = 20.0
"""No side of anything that can be tapped is shorter."""
SHAPE_MM_MIN: Final = 40.0
"""The visible part of a verdict's shape, at least."""
WORD_MM_MIN: Final = 15.0
"""A verdict's word, at least (ink of a kanji)."""
CAPITAL_PER_EM: Final = 0.733
KANJI_INK_PER_EM: Final = 0.945


@dataclass(frozen=True, slots=True)
class Panel:
    """A screen as it is mounted: pixels, and how many of them are a millimetre."""

    name: str
    width_px: int
    height_px: int
    px_per_mm: float

    @property
    def portrait(self) -> bool:
        return self.height_px > self.width_px

    @property
    def width_mm(self) -> float:
        return self.width_px / self.px_per_mm

    @property
    def height_mm(self) -> float:
        return self.height_px / self.px_per_mm


KIOSK_PANELS: Final[tuple[Panel, ...]] = (
    Panel("kiosk-21.5", 1080, 1920, 4.034),
    Panel("kiosk-15.6", 1920, 1080, 5.560),
    Panel("kiosk-10.1", 1280, 800, 5.884),
)
GATE_PANELS: Final[tuple[Panel, ...]] = (
    Panel("gate-5.5", 720, 1280, 10.513),
    Panel("gate-10.1", 1280, 800, 5.884),
)


def rgb(token_or_hex: str) -> tuple[float, float, float]:
    """Red, green, blue in 0 to 1 of a token's name or a `#RRGGBB`. KeyError for a name that is no token."""
    value = token_or_hex if token_or_hex.startswith("#") else COLOURS[token_or_hex]
    return int(value[1:3], 16) / 255, int(value[3:5], 16) / 255, int(value[5:7], 16) / 255


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two tokens or hex colours, 1 to 21 (WCAG 2.2, relative luminance of sRGB)."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
