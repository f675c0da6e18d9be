"""Dots of characters: 24x24 kanji cells, 12x24 and 9x17 one-byte cells, drawn once each from Noto Sans CJK.

The printer's ROM font is not ours to copy; Noto in the same cells gives pictures that a person can read.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from emulators.errors import BadSetting

Dots = npt.NDArray[np.bool_]

FONTS = ("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc")
MONO_JP = 5  # the face "Noto Sans Mono CJK JP" within the collection: half-width is exactly half

KANJI_DOTS = 24
FONT_A = (12, 24)
FONT_B = (9, 17)
INK = 104  # of 255: a thermal dot is on or off; a little under the middle keeps thin strokes

# Box-drawing characters that must touch their neighbours: arms as (left, right, up, down).
_ARMS = {
    "─": (1, 1, 0, 0), "│": (0, 0, 1, 1), "┌": (0, 1, 0, 1), "┐": (1, 0, 0, 1), "└": (0, 1, 1, 0), "┘": (1, 0, 1, 0),
    "├": (0, 1, 1, 1), "┤": (1, 0, 1, 1), "┬": (1, 1, 0, 1), "┴": (1, 1, 1, 0), "┼": (1, 1, 1, 1),
    "╭": (0, 1, 0, 1), "╮": (1, 0, 0, 1), "╰": (0, 1, 1, 0), "╯": (1, 0, 1, 0),
}  # fmt: skip
_LOWER = "▁▂▃▄▅▆▇█"
_LEFT = "▏▎▍▌▋▊▉█"


@lru_cache(maxsize=1)
def font_file() -> str:
    for path in FONTS:
        if Path(path).exists():
            return path
    raise BadSetting(f"no Noto Sans CJK font at {' or '.join(FONTS)} (Debian: fonts-noto-cjk)")


@lru_cache(maxsize=4)
def face(size_px: int) -> ImageFont.FreeTypeFont:
    # The basic layout engine: single characters need no shaping, and raqm refuses control characters.
    return ImageFont.truetype(font_file(), size_px, index=MONO_JP, layout_engine=ImageFont.Layout.BASIC)


def draw(text: str, *, width: int, height: int, size_px: int, baseline: int) -> Dots:
    """One character in the middle of a cell, as dots."""
    picture = Image.new("L", (width, height), 0)
    font = face(size_px)
    ImageDraw.Draw(picture).text(((width - font.getlength(text)) / 2, baseline), text, fill=255, font=font, anchor="ls")
    return np.asarray(picture) >= INK


def box(text: str, width: int, height: int) -> Dots | None:
    """Lines and blocks of the katakana page, exactly to the cell's edge; None for other characters."""
    cell = np.zeros((height, width), dtype=bool)
    middle, centre = height // 2, width // 2
    if text in _ARMS:
        left, right, up, down = _ARMS[text]
        cell[middle - 1 : middle + 1, centre * (1 - left) : width if right else centre + 1] |= bool(left or right)
        cell[middle * (1 - up) : height if down else middle + 1, centre - 1 : centre + 1] |= bool(up or down)
    elif text in _LOWER:
        cell[height - height * (_LOWER.index(text) + 1) // 8 :] = True
    elif text in _LEFT:
        cell[:, : width * (_LEFT.index(text) + 1) // 8] = True
    elif text == "▔":
        cell[: height // 8] = True
    elif text == "▕":
        cell[:, width - width // 8 :] = True
    elif text == "═":
        cell[[middle - 3, middle + 2]] = True
    elif text == "▒":
        cell[::2, ::2] = cell[1::2, 1::2] = True
    else:
        return None
    return cell


@lru_cache(maxsize=8192)
def narrow(text: str, *, small: bool) -> Dots:
    """A one-byte character: font A, or font B if `small`. Treat the array as read-only."""
    width, height = FONT_B if small else FONT_A
    found = box(text, width, height)
    if found is not None:
        return found
    if small:
        return draw(text, width=width, height=height, size_px=16, baseline=13)
    wide = face(22).getlength(text) > width + 1
    return draw(text, width=width, height=height, size_px=12 if wide else 22, baseline=17 if wide else 19)


@lru_cache(maxsize=8192)
def kanji(text: str) -> Dots:
    """A two-byte character in its 24x24 cell. Treat the array as read-only."""
    return draw(text, width=KANJI_DOTS, height=KANJI_DOTS, size_px=KANJI_DOTS, baseline=21)


def style(cell: Dots, *, wide: int, high: int, bold: bool, underline: int) -> Dots:
    """A cell with emphasis, underline (dots, before scaling) and scaling applied, as a new array."""
    dots = cell.copy()
    if bold:
        dots[:, 1:] |= cell[:, :-1]
    if underline:
        dots[-underline:] = True
    if high > 1:
        dots = dots.repeat(high, axis=0)
    return dots.repeat(wide, axis=1) if wide > 1 else dots
