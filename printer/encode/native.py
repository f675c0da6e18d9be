"""A document in the printer's own type: a coupon in a few hundred bytes, for serial lines.

The text is Shift_JIS in cells of 12 dots, the QR is the printer's (GS ( k). A line with a character that the printer's font may
lack is drawn instead, in the same place and size: nothing is dropped and nothing becomes a question mark.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from printer.document import Align, Document, Run, Size, Weight
from printer.encode import commands, sjis
from printer.encode.qr import side
from printer.encode.strips import rows_of, strips
from printer.errors import EncodeError
from printer.layout import QR_QUIET_MODULES, Drawn, Glyphs, Page, Picture, QrBox, RuleBox, lay_out
from printer.profile import Profile

CELL_DOTS = 12
EM_DOTS = 24
_LEAD_DOTS = 6
_QR_MODULE_MAX = 16
_FEED_MIN = 8
"""Less air than this is not worth three bytes: the lines have their own."""
_FACTORS = {
    Size.HEAD: (2, 2),
    Size.DATE: (2, 2),
    Size.TITLE: (2, 2),
    Size.TIME: (2, 2),
    Size.FIGURE: (3, 3),
    Size.NUMBER: (3, 3),
}
"""Width and height in cells (GS !); every other size is 1 x 1."""

_RULE_DOTS = 2


@dataclass(frozen=True, slots=True)
class CellMetrics:
    """The printer's own type: cells of 12 x 24 dots and their multiples, whatever the resolution."""

    profile: Profile
    margin_dots: int = 0
    graphics: bool = False

    @property
    def width_dots(self) -> int:
        return self.profile.cells * CELL_DOTS

    def scale(self, dots_203: int) -> int:
        if dots_203 == 24:
            return 2 * CELL_DOTS  # the indent of a receipt's line stays on the grid
        return round(dots_203 * self.profile.dpi / 203 / 2) if dots_203 >= _FEED_MIN else 0

    def module(self, dots_203: int) -> int:
        return min(dots_203, _QR_MODULE_MAX)

    def advance(self, run: Run) -> int:
        return sjis.cells(run.text) * _factors(run.size)[0] * CELL_DOTS

    def ascent(self, size: Size) -> int:
        return _factors(size)[1] * EM_DOTS

    def height(self, size: Size) -> int:
        return _factors(size)[1] * EM_DOTS + _LEAD_DOTS

    def rule(self, weight: Weight) -> int:
        return EM_DOTS + _LEAD_DOTS if weight is Weight.CUT else _RULE_DOTS

    def qr_modules(self, text: str) -> int:
        return side(text)


def _factors(size: Size) -> tuple[int, int]:
    return _FACTORS.get(size, (1, 1))


def encode(document: Document, profile: Profile, *, process_id: str) -> tuple[bytes, int]:
    """The bytes for the printer, and how many dots of paper they are. Raises LayoutError, EncodeError."""
    _can(profile)
    metrics = CellMetrics(profile)
    page = lay_out(document, metrics)
    pen = _Pen(profile)
    for top, boxes in _lines(page.boxes):
        pen.down_to(top)
        pen.line(boxes)
    pen.down_to(page.height)
    body = commands.preamble(profile) + bytes(pen.out)
    return body + commands.ending(document.cut, profile, process_id), pen.dots


def check(page: Page, profile: Profile) -> None:
    """Raises EncodeError for a page that `encode` would raise it for; draws nothing."""
    _can(profile)
    for _, line in _lines(page.boxes):
        if not _stands_alone(line):
            _drawable(line, profile)


def _can(profile: Profile) -> None:
    if not (profile.kanji and profile.native_qr):
        raise EncodeError(f"profile '{profile.name}' has no kanji font or no QR of its own")


def _stands_alone(line: list[Drawn]) -> bool:
    """A line is either one thing that is not text, or text alone."""
    if all(isinstance(box, Glyphs) for box in line):
        return False
    if len(line) == 1 and isinstance(line[0], QrBox | Picture | RuleBox):
        return True
    raise EncodeError("text and graphics on one line of the printer's own type")


def _drawable(line: list[Drawn], profile: Profile) -> None:
    """What the printer's own font may lack needs ours."""
    for box in line:
        if isinstance(box, Glyphs) and sjis.encode(box.run.text, profile.gaiji) is None:
            from printer.encode.canvas import width

            width(box.run.text, em=EM_DOTS, bold=box.run.bold)


def _lines(boxes: tuple[Drawn, ...]) -> Iterator[tuple[int, list[Drawn]]]:
    """What stands on one line, from the top of the paper down, with the line's upper edge."""

    def bottom(box: Drawn) -> int:
        return box.baseline if isinstance(box, Glyphs) else box.y

    for _, group in groupby(sorted(boxes, key=lambda box: (bottom(box), box.x)), key=bottom):
        line = list(group)
        yield min(_top(box) for box in line), line


def _top(box: Drawn) -> int:
    return box.baseline - _factors(box.run.size)[1] * EM_DOTS if isinstance(box, Glyphs) else box.y


class _Pen:
    """Writes commands and knows where on the paper the next line begins."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._slip = 0
        self.dots = 0
        self._factors = (1, 1)
        self._bold = False
        self._spacing = 0
        self.out = bytearray()

    def down_to(self, y: int) -> None:
        """Feed to `y` of the page. Lines that the page lets overlap (a tall figure beside two lines) cannot; what follows slips down."""
        self._slip = max(self._slip, self.dots - y)
        missing = y + self._slip - self.dots
        if missing:
            self.out += commands.feed(missing, self._profile)
            self.dots += missing

    def line(self, boxes: list[Drawn]) -> None:
        """One line: text, or one thing of another kind."""
        if not _stands_alone(boxes):
            self._text([box for box in boxes if isinstance(box, Glyphs)])
            return
        match boxes[0]:
            case QrBox() as qr:
                self._qr(qr)
            case Picture() as picture:
                self._picture(picture)
            case RuleBox() as rule:
                self._rule(rule)

    def _text(self, line: list[Glyphs]) -> None:
        encoded = [sjis.encode(glyphs.run.text, self._profile.gaiji) for glyphs in line]
        high = max(_factors(glyphs.run.size)[1] for glyphs in line) * EM_DOTS
        if any(raw is None for raw in encoded):
            self._drawn(line, high)
            return
        x = 0
        for glyphs, raw in zip(line, encoded, strict=True):
            assert raw is not None
            if glyphs.x > x:
                self.out += b"\x1b\x24" + glyphs.x.to_bytes(2, "little")
            self._size(_factors(glyphs.run.size))
            self._emphasis(bold=glyphs.run.bold)
            self.out += raw
            x = glyphs.x + glyphs.width
        self._feed_line(high + _LEAD_DOTS)

    def _feed_line(self, dots: int) -> None:
        """LF with the line spacing that leads to the next line (ESC 3)."""
        if dots != self._spacing:
            self.out += bytes((0x1B, 0x33, min(dots * self._profile.feed_units_per_dot, 255)))
            self._spacing = dots
        self.out += b"\n"
        self.dots += dots

    def _size(self, factors: tuple[int, int]) -> None:
        if factors != self._factors:
            self.out += bytes((0x1D, 0x21, (factors[0] - 1) << 4 | (factors[1] - 1)))
            self._factors = factors

    def _emphasis(self, *, bold: bool) -> None:
        if bold != self._bold:
            self.out += bytes((0x1B, 0x45, bold))
            self._bold = bold

    def _rule(self, rule: RuleBox) -> None:
        """A rule as one row of half the width, doubled both ways by GS v 0; the cut line is text."""
        if rule.weight is Weight.CUT:
            self._size((1, 1))
            self._emphasis(bold=False)
            label = sjis.encode(rule.label, self._profile.gaiji) or b""
            self.out += b"\x1b\x61\x01----" + (b" " + label + b" " if label else b"--") + b"----"
            self._feed_line(EM_DOTS + _LEAD_DOTS)
            self.out += b"\x1b\x61\x00"
            return
        across = self._profile.width_dots // 16
        pattern = b"\xee" if rule.weight is Weight.DASHED else b"\xff"
        self.out += b"\x1d\x76\x30\x03" + across.to_bytes(2, "little") + b"\x01\x00" + pattern * across
        self.dots += _RULE_DOTS

    def _qr(self, qr: QrBox) -> None:
        """GS ( k: module size, level M, store, print; centred. Model 2 is what ESC @ sets."""
        data = qr.text.encode("ascii")
        length = (len(data) + 3).to_bytes(2, "little")
        self.out += b"\x1b\x61\x01\x1d\x28\x6b\x03\x00\x31\x43" + bytes((qr.module_dots,))
        self.out += b"\x1d\x28\x6b\x03\x00\x31\x45\x31\x1d\x28\x6b" + length + b"\x31\x50\x30" + data
        self.out += b"\x1d\x28\x6b\x03\x00\x31\x51\x30\x1b\x61\x00"
        self.dots += qr.side
        assert qr.y >= QR_QUIET_MODULES * qr.module_dots

    def _picture(self, picture: Picture) -> None:
        """A picture of the document, placed by ESC a where it stands at an edge or in the middle, else by white on its left."""
        rows = rows_of(picture.image.bits, picture.width, picture.height)
        place = {Align.CENTER: b"\x1b\x61\x01", Align.RIGHT: b"\x1b\x61\x02"}.get(picture.image.align)
        if place is None:
            rows = [_shifted(row, picture.x, self._profile.width_dots) for row in rows]
        drawn = strips(rows, self._profile)
        self.out += drawn if place is None else place + drawn + b"\x1b\x61\x00"
        self.dots += picture.height

    def _drawn(self, line: list[Glyphs], high: int) -> None:
        """A line that the printer's font may lack, as a picture of the same cells."""
        from PIL import Image as Pillow

        from printer.encode.canvas import BLACK, WHITE, as_bits, width, write

        across = self._profile.cells * CELL_DOTS
        canvas = Pillow.new("L", (across, high + _LEAD_DOTS), WHITE)
        for glyphs in line:
            wide, tall = _factors(glyphs.run.size)
            em = min(wide, tall) * EM_DOTS
            x = glyphs.x
            for character in glyphs.run.text:
                span = sjis.cells(character) * wide * CELL_DOTS
                left = x + (span - width(character, em=em, bold=glyphs.run.bold)) // 2
                write(canvas, left, high - 3, character, em=em, bold=glyphs.run.bold, ink=BLACK)
                x += span
        self.out += strips(rows_of(as_bits(canvas).tobytes(), across, canvas.height), self._profile)
        self.dots += canvas.height


def _shifted(row: bytes, x: int, width: int) -> bytes:
    """A packed row moved `x` dots to the right on paper of `width` dots."""
    stride = (width + 7) // 8
    return ((int.from_bytes(row, "big") << (stride * 8 - len(row) * 8)) >> x).to_bytes(stride, "big")
