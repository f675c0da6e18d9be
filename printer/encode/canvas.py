"""Drawing a page in one bit: the only place that knows fonts. Imported when something is drawn, not before.

Text is drawn smooth and cut at a threshold, never dithered: a dithered area breaks strokes and makes byte pairs that a printer
takes for real-time commands.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from printer.document import DOTS, Look, Run, Size, Weight
from printer.encode.qr import modules, side
from printer.errors import EncodeError
from printer.layout import Border, Glyphs, Page, Picture, QrBox, RuleBox
from printer.profile import Profile

FONTS = Path("/usr/share/fonts/opentype/noto")
"""Debian's fonts-noto-cjk. Index 0 of each collection is the Japanese face."""

THRESHOLD = 140
EM_DOTS_MIN = 20
_RULES = {Weight.THIN: 3, Weight.THICK: 5, Weight.DASHED: 3, Weight.CUT: 4}
_DASHES = {Weight.DASHED: (6, 4), Weight.CUT: (10, 6)}
BLACK, WHITE = 0, 255
_TABLE = [WHITE if level < THRESHOLD else BLACK for level in range(256)]


@lru_cache(maxsize=2)
def _face(em: int, bold: bool) -> ImageFont.FreeTypeFont:  # noqa: FBT001 a cache key
    """An open font of one size. Each costs three megabytes and two milliseconds, so few are kept; the glyphs are."""
    name = FONTS / f"NotoSansCJK-{'Bold' if bold else 'Regular'}.ttc"
    try:
        return ImageFont.truetype(str(name), em, index=0, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise EncodeError(f"{name}: the font cannot be opened (Debian package fonts-noto-cjk)") from error


@dataclass(frozen=True, slots=True)
class Glyph:
    """One character, smooth: `mask` stands at (left, top) from the origin on the baseline; None where there is nothing to see."""

    mask: Pillow.Image | None
    left: int
    top: int
    advance: int


@lru_cache(maxsize=4096)
def glyph(character: str, em: int, bold: bool) -> Glyph:  # noqa: FBT001 a cache key
    """Raises EncodeError where the font is not installed."""
    face = _face(em, bold)
    left, top, right, bottom = (int(edge) for edge in face.getbbox(character, anchor="ls"))
    advance = round(face.getlength(character))
    if right <= left or bottom <= top:
        return Glyph(None, 0, 0, advance)
    mask = Pillow.new("L", (right - left, bottom - top), 0)
    ImageDraw.Draw(mask).text((-left, -top), character, fill=255, font=face, anchor="ls")
    return Glyph(mask, left, top, advance)


def close_fonts() -> None:
    """For a process that lays papers out now and then but prints none: it need not keep open fonts and drawn letters in between."""
    _face.cache_clear()
    glyph.cache_clear()


def write(
    canvas: Pillow.Image, x: int, baseline: int, text: str, *, em: int, bold: bool, ink: int, spacing: int = 0
) -> None:
    """Set `text` on a canvas of mode L, character by character; the font has no kerning for what stands on paper."""
    for character in text:
        found = glyph(character, em, bold)
        if found.mask is not None:
            canvas.paste(ink, (x + found.left, baseline + found.top), found.mask)
        x += found.advance + spacing


def width(text: str, *, em: int, bold: bool) -> int:
    return sum(glyph(character, em, bold).advance for character in text)


def as_bits(canvas: Pillow.Image) -> Pillow.Image:
    """Mode L to mode 1, in which 1 is black."""
    return canvas.point(_TABLE, "1")


@dataclass(frozen=True, slots=True)
class RasterMetrics:
    """Free type at any resolution: lengths of the document are kept in millimetres."""

    width_dots: int
    dpi: int
    margin_dots: int = 8
    graphics: bool = True

    @classmethod
    def of(cls, profile: Profile) -> RasterMetrics:
        return cls(width_dots=profile.width_dots, dpi=profile.dpi)

    def scale(self, dots_203: int) -> int:
        return round(dots_203 * self.dpi / 203)

    def module(self, dots_203: int) -> int:
        return self.scale(dots_203)

    def em(self, size: Size) -> int:
        return max(self.scale(DOTS[size]), EM_DOTS_MIN)

    def advance(self, run: Run) -> int:
        long = width(run.text, em=self.em(run.size), bold=run.bold)
        return long + self.scale(run.spacing) * max(len(run.text) - 1, 0)

    def ascent(self, size: Size) -> int:
        em = self.em(size)
        return round(em * 0.88) + self._lead(em) // 2  # the em box of Noto Sans CJK stands 0.88 above its baseline

    def height(self, size: Size) -> int:
        em = self.em(size)
        return em + self._lead(em)

    @staticmethod
    def _lead(em: int) -> int:
        return round(em * (0.30 if em <= 26 else 0.2 if em <= 40 else 0.1))

    def rule(self, weight: Weight) -> int:
        if weight is Weight.CUT:
            return self.height(Size.SMALL)
        return _RULES[weight]

    def qr_modules(self, text: str) -> int:
        return side(text)


def draw(page: Page, metrics: RasterMetrics) -> Pillow.Image:
    """The page as a picture of mode 1 in which 1 is black (so that its bytes are what GS v 0 takes)."""
    canvas = Pillow.new("L", (page.width, max(page.height, 1)), WHITE)
    pen = ImageDraw.Draw(canvas)
    for box in page.boxes:
        match box:
            case Border():
                _border(pen, box, metrics)
            case RuleBox():
                _rule(canvas, pen, box, metrics)
            case Glyphs():
                write(
                    canvas,
                    box.x,
                    box.baseline,
                    box.run.text,
                    em=metrics.em(box.run.size),
                    bold=box.run.bold,
                    ink=WHITE if box.white else BLACK,
                    spacing=metrics.scale(box.run.spacing),
                )
            case QrBox():
                canvas.paste(_qr(box), (box.x, box.y))
            case Picture():
                canvas.paste(BLACK, (box.x, box.y), Pillow.frombytes("1", (box.width, box.height), box.image.bits))
    return as_bits(canvas)


def _rule(canvas: Pillow.Image, pen: ImageDraw.ImageDraw, box: RuleBox, metrics: RasterMetrics) -> None:
    thick = _RULES[box.weight]
    y = box.y + (box.height - thick) // 2
    right = box.x + box.width
    if box.weight not in _DASHES:
        pen.rectangle((box.x, y, right - 1, y + thick - 1), fill=BLACK)
        return
    gap = range(0)
    if box.label:
        em = metrics.em(Size.SMALL)
        long = width(box.label, em=em, bold=False)
        x = box.x + (box.width - long) // 2
        write(canvas, x, box.y + metrics.ascent(Size.SMALL), box.label, em=em, bold=False, ink=BLACK)
        gap = range(x - 14, x + long + 14)
    on, off = _DASHES[box.weight]
    for x in range(box.x, right, on + off):
        end = min(x + on, right)
        if x not in gap and end not in gap:
            pen.rectangle((x, y, end - 1, y + thick - 1), fill=BLACK)


def _border(pen: ImageDraw.ImageDraw, box: Border, metrics: RasterMetrics) -> None:
    edges = (box.x, box.y, box.x + box.width - 1, box.y + box.height - 1)
    if box.look is Look.SOLID:
        pen.rectangle(edges, fill=BLACK)
    else:
        pen.rectangle(edges, outline=BLACK, width=max(metrics.scale(4), 3))


def _qr(box: QrBox) -> Pillow.Image:
    rows = modules(box.text)
    small = Pillow.frombytes(
        "L", (len(rows), len(rows)), bytes(BLACK if dark else WHITE for row in rows for dark in row)
    )
    return small.resize((box.side, box.side), Pillow.Resampling.NEAREST)
