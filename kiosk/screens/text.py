"""Text set by its em, in millimetres: runs of one size and weight on one baseline, lines where the catalogue breaks them.

Kivy's Label aligns runs of different size at their bottom, cuts lines that are set closer than the font's own pitch, and keeps 64
faces of 2 MB each open; money
(1,800 with a small 円) and two-line questions need better. On the large panel nothing is wrapped; on the small one a line breaks
where the catalogue marks a breath. `fit` sets what is too long smaller, never below the smallest type. What still does not fit is a
defect that a test finds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from kivy.clock import Clock
from kivy.graphics import Color, Rectangle
from kivy.graphics.texture import Texture
from kivy.properties import BooleanProperty, NumericProperty, ObjectProperty, StringProperty
from PIL import ImageFont, features

from kiosk.screens.metric import panel, px
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
UNIT_LEAD: Final = 0.05
"""Room between figures and 円, in em of the figures."""
BREATH: Final = "\u200b"
"""A zero-width space in a message: here a line may be broken, where a panel is too narrow for it."""
TEXTURES_KEPT: Final = 48
FONTS_OPEN: Final = 3
MEASURE_PX: Final = 100
LATIN: Final = re.compile(r"[A-Za-z]{2}")


@dataclass(frozen=True, slots=True)
class Run:
    text: str
    em: float
    bold: bool = False
    tone: str = ""
    """A colour of its own, or empty for that of the widget."""
    lead: float = 0.0
    """Room before it, in mm."""


@dataclass(frozen=True, slots=True)
class Letters:
    """White letters, tight: where they lie from the pen's place on the baseline (x right, y down), and how far the pen goes on."""

    texture: Texture
    left_px: int
    top_px: int
    advance_px: float


@lru_cache(maxsize=FONTS_OPEN)
def _font(size_px: int, *, bold: bool, latin: bool) -> ImageFont.FreeTypeFont:
    """An open face costs 2 to 5 MB, so only the few used last stay open, and those while a screen is written. Only Latin words need shaping: they are kerned."""
    engine = ImageFont.Layout.RAQM if latin and features.check("raqm") else ImageFont.Layout.BASIC
    return ImageFont.truetype(FONTS[bold], size_px, index=0, layout_engine=engine)


def close_fonts() -> bool:
    """For a moment after a screen was written: opening one again takes a millisecond. Whether there was one open."""
    was_open = _font.cache_info().currsize > 0
    _font.cache_clear()
    return was_open


def _latin(text: str) -> bool:
    return LATIN.search(text) is not None


@lru_cache(maxsize=TEXTURES_KEPT)
def _written(text: str, size_px: int, *, bold: bool) -> Letters:
    font = _font(size_px, bold=bold, latin=_latin(text))
    mask, (left, top) = font.getmask2(text, mode="L", anchor="ls")
    width, height = mask.size
    if not width or not height:
        width, height, cover = 1, 1, bytes(1)
    else:
        cover = bytes(mask)
    both = bytearray(b"\xff\xff" * (width * height))
    both[1::2] = cover
    texture = Texture.create(size=(width, height), colorfmt="luminance_alpha")
    texture.blit_buffer(bytes(both), colorfmt="luminance_alpha", bufferfmt="ubyte")
    texture.flip_vertical()
    return Letters(texture, left, top, font.getlength(text))


@lru_cache(maxsize=1024)
def line_em(text: str, *, bold: bool = True) -> float:
    """How wide a line is, in em."""
    return _font(MEASURE_PX, bold=bold, latin=False).getlength(text.replace(BREATH, "")) / MEASURE_PX


def pieces(text: str) -> list[str]:
    """Where a line may be broken on a small panel: at a breath the catalogue marks, after a space, and in a venue's own name
    where kana ends and something else begins (のりもの|10回券).
    """
    if BREATH in text or "　" in text:
        return text.replace("　", "　" + BREATH).split(BREATH)
    if " " in text:
        return [word + " " for word in text.split(" ")]
    found: list[str] = []
    now = ""
    for letter in text:
        if len(now) > 1 and _kana(now[-1]) and not _kana(letter) and letter not in "、。ー〜）":
            found.append(now)
            now = ""
        now += letter
    return [*found, now]


def _kana(letter: str) -> bool:
    return "\u3041" <= letter <= "\u309f"


class Written(Placed):
    """Runs on lines. Subclasses say which."""

    tone = StringProperty("ink")
    align = StringProperty("left")
    valign = StringProperty("middle")
    pitch = NumericProperty(1.25)
    fit = BooleanProperty(defaultvalue=False)
    wrap = BooleanProperty(defaultvalue=False)

    def __init__(self, **kwargs: object) -> None:
        self._again = Clock.create_trigger(self._write, -1)
        self.needed_px: tuple[float, float] = (0.0, 0.0)
        super().__init__(**kwargs)
        self.wrap = not panel().portrait
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
        fitted = self._fitted(lines)
        placed = [[(run, self._letters(run)) for run in line if run.text] for line in fitted]
        widths = [sum(px(run.lead) + letters.advance_px for run, letters in line) for line in placed]
        em, step = self._measures(fitted)
        block = step * (len(placed) - 1) + em
        self.needed_px = (max(widths), block)
        top = {
            "top": self.top,
            "middle": self.center_y + block / 2,
            "bottom": self.y + block,
        }[self.valign]
        with self.canvas:
            for index, line in enumerate(placed):
                baseline = round(top - KANJI_TOP * em - index * step)
                width = widths[index]
                x = {"left": self.x, "center": self.center_x - width / 2, "right": self.right - width}[self.align]
                for run, letters in line:
                    x += px(run.lead)
                    Color(*rgb(run.tone or self.tone))
                    texture = letters.texture
                    Rectangle(
                        texture=texture,
                        pos=(round(x) + letters.left_px, baseline - letters.top_px - texture.height),
                        size=texture.size,
                    )
                    x += letters.advance_px

    def _fitted(self, lines: list[list[Run]]) -> list[list[Run]]:
        """The lines as they are set: broken and made smaller as far as that is allowed and needed."""
        share = 1.0
        while True:
            smaller = [self._smaller(line, share) if share < 1.0 else line for line in lines]
            broken = self._broken(smaller)
            widest = max(sum(self._wide_px(run) for run in line) for line in broken)
            em, step = self._measures(broken)
            block = step * (len(broken) - 1) + em
            smallest = all(run.em <= EM_MIN for line in broken for run in line)
            if not self.fit or smallest or self.width <= 1 or (widest <= self.width - 1 and block <= self.height):
                return broken
            share *= 0.96

    @staticmethod
    def _wide_px(run: Run) -> float:
        return px(run.lead) + line_em(run.text, bold=run.bold) * px(run.em)

    def _broken(self, lines: list[list[Run]]) -> list[list[Run]]:
        """On a small panel, lines that are too long are broken where the catalogue allows it, or at a space."""
        if not self.wrap or self.width <= 1:
            return lines
        result: list[list[Run]] = []
        for line in lines:
            if len(line) != 1:
                result.append(line)
                continue
            run, now = line[0], ""
            for piece in pieces(run.text):
                wide = line_em(now + piece.rstrip(), bold=run.bold) * px(run.em)
                if now and wide > self.width:
                    result.append([replace(run, text=now.rstrip())])
                    now = ""
                now += piece
            result.append([replace(run, text=now.rstrip())])
        return result

    def _measures(self, lines: list[list[Run]]) -> tuple[int, int]:
        em = max(px(run.em) for run in lines[0])
        return em, round(em * self.pitch)

    @staticmethod
    def _letters(run: Run) -> Letters:
        return _written(run.text.replace(BREATH, ""), px(run.em), bold=run.bold)

    @staticmethod
    def _smaller(line: list[Run], share: float) -> list[Run]:
        """In steps of a quarter millimetre: each size is a face to open."""
        return [replace(run, em=max(EM_MIN, int(run.em * share * 4) / 4)) for run in line]


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
        if amount.unit_first:
            return [[unit, figures, suffix]]
        return [[figures, replace(unit, lead=UNIT_LEAD * self.em), suffix]]
