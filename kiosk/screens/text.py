"""Text set by its em, in millimetres: runs of one size and weight on one baseline, lines where the catalogue breaks them.

Kivy's Label aligns runs of different size at their bottom and cuts lines that are set closer than the font's own pitch; money
(1,800 with a small 円) and two-line questions need better. Nothing is wrapped here: what does not fit is a defect that a test finds,
except for a venue's own names (`fit`), which are set smaller, but never below the smallest type.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from kivy.clock import Clock
from kivy.core.text import Label as CoreLabel
from kivy.graphics import Color, Rectangle
from kivy.graphics.texture import Texture
from kivy.properties import BooleanProperty, NumericProperty, ObjectProperty, StringProperty

from kiosk.screens.metric import px
from kiosk.screens.placed import Placed
from kiosk.visit.views import Amount
from tickets.look import TYPE_EM_MM, rgb

FONT_FOLDER: Final = "/usr/share/fonts/opentype/noto"
"""Debian's fonts-noto-cjk. Face 0 of each collection is the Japanese one."""
FONTS: Final = {
    False: f"{FONT_FOLDER}/NotoSansCJK-Regular.ttc",
    True: f"{FONT_FOLDER}/NotoSansCJK-Bold.ttc",
}
EM_MIN: Final = TYPE_EM_MM["caption"]
KANJI_TOP: Final = 0.88
"""A kanji's box reaches so far above the baseline, in em; the rest lies below."""
FIT_SHARE_MIN: Final = 0.3
TEXTURES_KEPT: Final = 160


@dataclass(frozen=True, slots=True)
class Run:
    text: str
    em: float
    bold: bool = False
    tone: str = ""
    """A colour of its own, or empty for that of the widget."""


@lru_cache(maxsize=TEXTURES_KEPT)
def _written(text: str, size_px: int, *, bold: bool) -> tuple[Texture, int]:
    """White letters and how far their baseline lies below the top, in pixels."""
    label = CoreLabel(text=text, font_size=size_px, font_name=FONTS[bold], color=(1, 1, 1, 1))
    label.refresh()
    return label.texture, label.get_ascent()


@lru_cache(maxsize=256)
def line_em(text: str) -> float:
    """How wide a bold line is, in em."""
    return float(CoreLabel(font_size=100, font_name=FONTS[True]).get_extents(text)[0]) / 100


class Written(Placed):
    """Runs on lines. Subclasses say which."""

    tone = StringProperty("ink")
    align = StringProperty("left")
    valign = StringProperty("middle")
    pitch = NumericProperty(1.25)
    fit = BooleanProperty(defaultvalue=False)

    def __init__(self, **kwargs: object) -> None:
        self._again = Clock.create_trigger(self._write, -1)
        self.needed_px: tuple[float, float] = (0.0, 0.0)
        super().__init__(**kwargs)
        for name in ("tone", "align", "valign", "pitch", "fit", "pos", "size"):
            self.fbind(name, self._again)
        self._again()

    def lines(self) -> list[list[Run]]:
        raise NotImplementedError

    def _write(self, *_: object) -> None:
        lines = [line for line in self.lines() if line]
        self.canvas.clear()
        if not lines or not any(run.text for line in lines for run in line):
            self.needed_px = (0.0, 0.0)
            return
        placed = [self._set(line) for line in lines]
        widest = max(width for _, width in placed)
        share = 1.0
        while self.fit and widest > self.width > 0 and share > FIT_SHARE_MIN:
            share *= min(0.98, self.width / widest)
            placed = [self._set(self._smaller(line, share)) for line in lines]
            widest = max(width for _, width in placed)
            if all(run.em <= EM_MIN for runs, _ in placed for run, _, _ in runs):
                break
        em = max(px(run.em) for run, _, _ in placed[0][0])
        step = round(em * self.pitch)
        block = step * (len(lines) - 1) + em
        self.needed_px = (widest, block)
        top = {
            "top": self.top,
            "middle": self.center_y + block / 2,
            "bottom": self.y + block,
        }[self.valign]
        with self.canvas:
            for index, (runs, width) in enumerate(placed):
                baseline = round(top - KANJI_TOP * em - index * step)
                x = {"left": self.x, "center": self.center_x - width / 2, "right": self.right - width}[self.align]
                for run, texture, ascent in runs:
                    Color(*rgb(run.tone or self.tone))
                    Rectangle(texture=texture, pos=(round(x), baseline + ascent - texture.height), size=texture.size)
                    x += texture.width

    @staticmethod
    def _set(line: list[Run]) -> tuple[list[tuple[Run, Texture, int]], float]:
        runs = [(run, *_written(run.text, px(run.em), bold=run.bold)) for run in line if run.text]
        return runs, sum(texture.width for _, texture, _ in runs)

    @staticmethod
    def _smaller(line: list[Run], share: float) -> list[Run]:
        return [replace(run, em=max(EM_MIN, int(run.em * share * 5) / 5)) for run in line]


class Text(Written):
    """A text of one size and weight."""

    text = StringProperty("")
    em = NumericProperty(TYPE_EM_MM["body"])
    bold = BooleanProperty(defaultvalue=False)

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        for name in ("text", "em", "bold"):
            self.fbind(name, self._again)

    def lines(self) -> list[list[Run]]:
        return [[Run(line, self.em, bold=self.bold)] for line in self.text.split("\n")]


class Mixed(Written):
    """A plain text, a bold one after it, and a plain one behind: 下の取り出し口に **13枚** あります."""

    text = StringProperty("")
    strong = StringProperty("")
    after = StringProperty("")
    strong_tone = StringProperty("ink")
    em = NumericProperty(TYPE_EM_MM["body"])
    after_em = NumericProperty(0)
    """Of what stands behind, where it is a smaller unit."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        for name in ("text", "strong", "after", "strong_tone", "em", "after_em"):
            self.fbind(name, self._again)

    def lines(self) -> list[list[Run]]:
        return [
            [
                Run(self.text, self.em),
                Run(self.strong, self.em, bold=True, tone=self.strong_tone),
                Run(self.after, self.after_em or self.em, bold=bool(self.after_em)),
            ]
        ]


class Money(Written):
    """An amount: figures at `em`, 円 at 0.58 of it behind or ¥ at 0.8 before, never below the smallest type."""

    amount = ObjectProperty(None, allownone=True)
    em = NumericProperty(TYPE_EM_MM["head"])
    bold = BooleanProperty(defaultvalue=True)
    even = BooleanProperty(defaultvalue=False)
    """The unit as large as the figures: columns of small type."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        for name in ("amount", "em", "bold", "even"):
            self.fbind(name, self._again)

    def lines(self) -> list[list[Run]]:
        amount: Amount | None = self.amount
        if amount is None:
            return []
        if amount.word:
            return [[Run(amount.word, self.em, bold=self.bold)]]
        share = 1.0 if self.even else 0.8 if amount.unit_first else 0.58
        figures = Run(amount.figures, self.em, bold=self.bold)
        unit = Run(amount.unit, max(EM_MIN, round(self.em * share, 1)), bold=self.bold)
        suffix = Run(amount.suffix, EM_MIN)
        return [[unit, figures, suffix] if amount.unit_first else [figures, unit, suffix]]
