"""Document and paper to a page of boxes: where everything stands, in the printer's own dots.

One algorithm serves two kinds of type: a raster, where every size and place is free, and the printer's own character cells,
where a QR cannot stand beside text and white on black becomes 【brackets】. What does not fit wraps, then stands one below the
other, and then is an error. Nothing is ever cut off silently.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol, TypeAlias, assert_never

from printer.document import (
    DOTS,
    Align,
    Block,
    Box,
    Cell,
    Cut,
    Document,
    Feed,
    Image,
    Look,
    Mark,
    Qr,
    Reissue,
    Row,
    RowAlign,
    Rule,
    Run,
    Size,
    Text,
    Weight,
)
from printer.errors import LayoutError
from printer.kinsoku import breathes, units

QR_MODULE_DOTS_MIN = 6
"""At 203 dpi 0.75 mm: what a cheap camera reads at arm's length under a hall's light."""

QR_QUIET_MODULES = 4
"""ISO/IEC 18004, 6.3.8."""

HEIGHT_DOTS_MAX = 12_000
"""1.5 m of paper: a limit against a loop, not against a long receipt."""

_SHRINK = (Size.FIGURE, Size.TIME, Size.TITLE, Size.DATE, Size.HEAD, Size.LABEL)
_BALANCED_UNITS_MAX = 150
"""Longer paragraphs are filled line by line."""

_GAP_DOTS = 14
_PAD_DOTS = 16
_LEFT_PERCENT_MIN, _REST_PERCENT_MIN = 45, 30
"""A first cell that would wrap in less than this share of its row stands above its neighbours instead of beside them; less still
for a cell that is marked as the rest."""


class Metrics(Protocol):
    """What the layout must know of the type it sets. All results in the printer's dots. Hashable: what was set once is set alike again."""

    def __hash__(self) -> int: ...

    @property
    def width_dots(self) -> int:
        """The paper's printable width."""

    @property
    def margin_dots(self) -> int: ...

    @property
    def graphics(self) -> bool:
        """Whether boxes can be drawn and things can stand beside a QR."""

    def scale(self, dots_203: int) -> int:
        """A length of the document."""

    def module(self, dots_203: int) -> int:
        """A QR module of the document, not yet limited."""

    def advance(self, run: Run) -> int:
        """The width of a run's text."""

    def ascent(self, size: Size) -> int:
        """From the top of a line of `size` to its baseline."""

    def height(self, size: Size) -> int:
        """From line to line."""

    def rule(self, weight: Weight) -> int:
        """The height of a rule with the air around it."""

    def qr_modules(self, text: str) -> int:
        """Modules a side of the code for `text` at error correction M."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """A run of text. `baseline` is the y of its baseline; `white` on black."""

    x: int
    baseline: int
    run: Run
    width: int
    white: bool = False


@dataclass(frozen=True, slots=True)
class RuleBox:
    x: int
    y: int
    width: int
    height: int
    weight: Weight
    label: str


@dataclass(frozen=True, slots=True)
class Border:
    x: int
    y: int
    width: int
    height: int
    look: Look


@dataclass(frozen=True, slots=True)
class QrBox:
    """The dark square: `modules` a side of `module_dots` each. Its quiet zone around it is kept empty by the layout."""

    x: int
    y: int
    module_dots: int
    modules: int
    text: str

    @property
    def side(self) -> int:
        return self.module_dots * self.modules


@dataclass(frozen=True, slots=True)
class Picture:
    x: int
    y: int
    width: int
    height: int
    image: Image


Drawn: TypeAlias = Glyphs | RuleBox | Border | QrBox | Picture


@dataclass(frozen=True, slots=True)
class Page:
    """What one piece of paper looks like, from its first dot to the cut."""

    width: int
    height: int
    boxes: tuple[Drawn, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Laid-out blocks before they have their place: boxes from (0, 0), the height they take, the last line's baseline."""

    boxes: tuple[Drawn, ...]
    height: int
    baseline: int | None
    width: int

    def moved(self, x: int, y: int) -> Iterator[Drawn]:
        for box in self.boxes:
            if isinstance(box, Glyphs):
                yield replace(box, x=box.x + x, baseline=box.baseline + y)
            else:
                yield replace(box, x=box.x + x, y=box.y + y)


def lay_out(document: Document, metrics: Metrics) -> Page:
    """The page of `document`. Raises LayoutError, naming document and block, for what does not fit the paper."""
    width = metrics.width_dots - 2 * metrics.margin_dots
    try:
        piece = _stack(document.blocks, width, metrics)
    except LayoutError as error:
        raise LayoutError(f"document '{document.id}': {error}") from error
    if piece.height > HEIGHT_DOTS_MAX:
        raise LayoutError(f"document '{document.id}': {piece.height} dots high; {HEIGHT_DOTS_MAX} are allowed")
    boxes = tuple(piece.moved(metrics.margin_dots, 0))
    return Page(width=metrics.width_dots, height=piece.height, boxes=boxes)


def _stack(blocks: Sequence[Block], width: int, metrics: Metrics, *, white: bool = False) -> _Piece:
    boxes: list[Drawn] = []
    y = 0
    baseline: int | None = None
    widest = 0
    for block in blocks:
        piece = _block(block, width, metrics, white=white)
        boxes.extend(piece.moved(0, y))
        if piece.baseline is not None:
            baseline = y + piece.baseline
        y += piece.height
        widest = max(widest, piece.width)
    return _Piece(tuple(boxes), y, baseline, widest)


def _block(block: Block, width: int, metrics: Metrics, *, white: bool) -> _Piece:
    match block:
        case Text():
            return _text(block, width, metrics, white=white)
        case Row():
            return _row(block, width, metrics, white=white)
        case Rule():
            height = metrics.rule(block.weight)
            return _Piece((RuleBox(0, 0, width, height, block.weight, block.label),), height, None, width)
        case Qr():
            return _qr(block, width, metrics)
        case Image():
            return _image(block, width)
        case Feed():
            return _Piece((), metrics.scale(block.dots), None, 0)
        case Box():
            return _box(block, width, metrics)
        case Reissue():
            return _reissue(block, width, metrics)
        case Cut() | Mark():
            return _Piece((), 0, None, 0)
        case never:
            assert_never(never)


# --- text ---------------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def _text(text: Text, width: int, metrics: Metrics, *, white: bool) -> _Piece:
    indent = metrics.scale(text.indent)
    boxes: list[Drawn] = []
    y = baseline = widest = 0
    for line in _balanced(_fitting(text.runs, width - indent, metrics), width - indent, metrics):
        used = sum(advance for _, advance in line)
        ascent = max((metrics.ascent(run.size) for run, _ in line), default=0)
        below = max((metrics.height(run.size) - metrics.ascent(run.size) for run, _ in line), default=0)
        x = indent + _shift(text.align, width - indent - used)
        for run, advance in line:
            boxes.append(Glyphs(x, y + ascent, run, advance, white=white))
            x += advance
        baseline = y + ascent
        y += ascent + below
        widest = max(widest, indent + used)
    return _Piece(tuple(boxes), y, baseline, widest)


_Line: TypeAlias = list[tuple[Run, int]]


def _fitting(runs: Sequence[Run], width: int, metrics: Metrics) -> Sequence[Run]:
    """Large type gets smaller before a number or a word of it is torn apart: K2-4172 is never K2-4 and 172."""
    fitted = list(runs)
    for size in _SHRINK:
        if all(sum(metrics.advance(run) for run in unit) <= width for unit in units(fitted)):
            return fitted
        fitted = [replace(run, size=size) if DOTS[run.size] > DOTS[size] else run for run in fitted]
    return fitted


def _balanced(runs: Sequence[Run], width: int, metrics: Metrics) -> list[_Line]:
    """Lines that fit, as few as possible, and among those the ones that end where a reader would breathe."""
    greedy = _wrapped(runs, width, metrics)
    pieces = list(units(runs))
    advances = [sum(metrics.advance(run) for run in piece) for piece in pieces]
    if len(greedy) == 1 or len(pieces) > _BALANCED_UNITS_MAX or max(advances) > width:
        return greedy
    # From the end: the cost of setting everything from piece i on, and where its first line ends.
    cost = [0.0] * (len(pieces) + 1)
    ends = [len(pieces)] * (len(pieces) + 1)
    for start in range(len(pieces) - 1, -1, -1):
        cost[start] = float("inf")
        used = 0
        for end in range(start + 1, len(pieces) + 1):
            used += advances[end - 1]
            if used > width:
                break
            here = cost[end] + _line_cost(pieces, end, used, width)
            if here <= cost[start]:
                cost[start], ends[start] = here, end
    lines: list[_Line] = []
    at = 0
    while at < len(pieces):
        lines.append(_measured([run for piece in pieces[at : ends[at]] for run in piece], metrics))
        at = ends[at]
    return lines


def _line_cost(pieces: Sequence[list[Run]], end: int, used: int, width: int) -> float:
    """One more line costs most, a line that ends within a word less, an uneven edge least. A wide space parts what does not belong
    together, so it is the best place of all.
    """
    if end == len(pieces):
        return 100.0 + (5.0 if used < width // 5 else 0.0)
    last = pieces[end - 1][-1].text[-1]
    torn = not breathes(last, pieces[end][0].text[0])
    parted = last == "\N{IDEOGRAPHIC SPACE}"
    return 100.0 - 5.0 * parted + 10.0 * torn + 4.0 * ((width - used) / width) ** 2


def _wrapped(runs: Sequence[Run], width: int, metrics: Metrics) -> list[_Line]:
    lines: list[_Line] = []
    line: list[Run] = []
    used = 0
    for whole in units(runs):
        unit = whole
        advance = sum(metrics.advance(run) for run in unit)
        if used + advance > width and used > 0:
            lines.append(_measured(line, metrics))
            line, used = [], 0
        if advance > width:
            unit = _split(unit, width, metrics, lines)
            advance = sum(metrics.advance(run) for run in unit)
        line.extend(unit)
        used += advance
    if line:
        lines.append(_measured(line, metrics))
    return lines


def _split(unit: list[Run], width: int, metrics: Metrics, lines: list[_Line]) -> list[Run]:
    """A word longer than the paper is broken between characters; what is left of it starts the next line."""
    rest: list[Run] = []
    used = 0
    for run in unit:
        for character in run.text:
            piece = replace(run, text=character)
            advance = metrics.advance(piece)
            if advance > width:
                raise LayoutError(f"a character of size {run.size} is wider than {width} dots")
            if used + advance > width:
                lines.append(_measured(rest, metrics))
                rest, used = [], 0
            rest.append(piece)
            used += advance
    return rest


def _measured(line: Sequence[Run], metrics: Metrics) -> _Line:
    """Neighbours of one style joined again, without the spaces at the end of the line, each with its width."""
    joined: list[Run] = []
    for run in line:
        last = joined[-1] if joined else None
        if last is not None and (last.size, last.bold, last.spacing) == (run.size, run.bold, run.spacing):
            joined[-1] = replace(last, text=last.text + run.text)
        else:
            joined.append(run)
    if joined:
        joined[-1] = replace(joined[-1], text=joined[-1].text.rstrip(" \N{IDEOGRAPHIC SPACE}"))
    return [(run, metrics.advance(run)) for run in joined if run.text]


def _shift(align: Align, free: int) -> int:
    match align:
        case Align.LEFT:
            return 0
        case Align.CENTER:
            return max(free // 2, 0)
        case Align.RIGHT:
            return max(free, 0)
        case never:
            assert_never(never)


# --- things -------------------------------------------------------------------------------------------------------------------


def _qr(qr: Qr, width: int, metrics: Metrics) -> _Piece:
    modules = metrics.qr_modules(qr.text)
    whole = modules + 2 * QR_QUIET_MODULES
    module = min(max(metrics.module(qr.module_dots), QR_MODULE_DOTS_MIN), width // whole)
    if module < QR_MODULE_DOTS_MIN:
        raise LayoutError(
            f"a QR of {modules} modules needs {whole * QR_MODULE_DOTS_MIN} dots at {QR_MODULE_DOTS_MIN} a module; {width} are there"
        )
    side, quiet = module * modules, module * QR_QUIET_MODULES
    box = QrBox((width - side) // 2, quiet, module, modules, qr.text)
    return _Piece((box,), side + 2 * quiet, None, side + 2 * quiet)


def _image(image: Image, width: int) -> _Piece:
    if image.width > width:
        raise LayoutError(f"an image {image.width} dots wide; {width} are there")
    box = Picture(_shift(image.align, width - image.width), 0, image.width, image.height, image)
    return _Piece((box,), image.height, None, image.width)


def _box(box: Box, width: int, metrics: Metrics) -> _Piece:
    if not metrics.graphics:
        return _stack(_plain(box), width, metrics)
    white = box.look is Look.SOLID
    pad = metrics.scale(_PAD_DOTS)
    if box.tight:
        width = min(width, _stack(box.blocks, width - 2 * pad, metrics).width + 2 * pad)
    rise = metrics.scale(6 if white else _PAD_DOTS)
    inner = _stack(box.blocks, width - 2 * pad, metrics, white=white)
    height = inner.height + 2 * rise
    boxes = (Border(0, 0, width, height, box.look), *inner.moved(pad, rise))
    baseline = None if inner.baseline is None else inner.baseline + rise
    return _Piece(boxes, height, baseline, inner.width + 2 * pad)


def _plain(box: Box) -> Sequence[Block]:
    """A box without graphics: white on black becomes brackets, a frame becomes two rules."""
    if box.look is Look.FRAME:
        return (Rule(Weight.THIN), *box.blocks, Rule(Weight.THIN))
    return tuple(
        replace(block, runs=(replace(block.runs[0], text="【"), *block.runs, replace(block.runs[-1], text="】")))
        if isinstance(block, Text) and block.runs
        else block
        for block in box.blocks
    )


def _reissue(reissue: Reissue, width: int, metrics: Metrics) -> _Piece:
    if reissue.count == 0:
        return _Piece((), 0, None, 0)
    words = "再発行" if reissue.count == 1 else f"再発行（{reissue.count}）"
    tag = Box((Text((Run(words, Size.BODY, bold=True),)),), Look.SOLID, tight=True)
    piece = _box(tag, width, metrics)
    return replace(piece, boxes=tuple(piece.moved(_shift(reissue.align, width - piece.width), 0)))


# --- rows ---------------------------------------------------------------------------------------------------------------------


def _row(row: Row, width: int, metrics: Metrics, *, white: bool) -> _Piece:
    if not metrics.graphics and any(_needs_graphics(cell.blocks) for cell in row.cells):
        return _column(row, width, metrics, white=white)
    try:
        widths = _widths(row.cells, width, metrics, white=white)
        if widths is None:
            return _column(row, width, metrics, white=white)
        pieces = [_stack(cell.blocks, span, metrics, white=white) for cell, span in zip(row.cells, widths, strict=True)]
    except LayoutError:  # something in a cell needs more than the cell; the whole width may do
        return _column(row, width, metrics, white=white)
    if any(piece.width > span for piece, span in zip(pieces, widths, strict=True)):
        return _column(row, width, metrics, white=white)
    if any(_tears(cell, span, metrics) for cell, span in zip(row.cells, widths, strict=True)):
        # An amount is never torn apart to keep its share of the row: ¥7,50 on one line and 0 on the next is another amount.
        if any(cell.percent is not None for cell in row.cells):
            free = tuple(replace(cell, percent=None) for cell in row.cells)
            return _row(replace(row, cells=free), width, metrics, white=white)
        return _column(row, width, metrics, white=white)
    lowest = max((piece.baseline or 0 for piece in pieces), default=0)
    tallest = max((piece.height for piece in pieces), default=0)
    boxes: list[Drawn] = []
    x = height = 0
    for piece, span in zip(pieces, widths, strict=True):
        y = _drop(row.align, piece, lowest, tallest)
        boxes.extend(piece.moved(x, y))
        height = max(height, y + piece.height)
        x += span + _gap(metrics)
    baseline = lowest if any(piece.baseline is not None for piece in pieces) else None
    return _Piece(tuple(boxes), height, baseline, x - _gap(metrics))


def _gap(metrics: Metrics) -> int:
    return metrics.scale(_GAP_DOTS) if metrics.graphics else metrics.advance(Run(" "))


def _drop(align: RowAlign, piece: _Piece, lowest: int, tallest: int) -> int:
    match align:
        case RowAlign.BASELINE:
            return 0 if piece.baseline is None else lowest - piece.baseline
        case RowAlign.TOP:
            return 0
        case RowAlign.MIDDLE:
            return (tallest - piece.height) // 2
        case never:
            assert_never(never)


def _widths(cells: Sequence[Cell], width: int, metrics: Metrics, *, white: bool) -> list[int] | None:
    """The width of each cell, or None where they cannot stand side by side."""
    room = width - _gap(metrics) * (len(cells) - 1)
    step = 1 if metrics.graphics else metrics.advance(Run(" "))
    free = [index for index, cell in enumerate(cells) if cell.percent is None]
    first = next((index for index in free if cells[index].rest), next(iter(free), None))
    widths = [0] * len(cells)
    for index, cell in enumerate(cells):
        if cell.percent is not None:
            widths[index] = room * cell.percent // 100 // step * step
        elif index != first:
            widths[index] = _stack(cell.blocks, room, metrics, white=white).width
    if first is not None:
        rest = room - sum(widths)
        needs = _stack(cells[first].blocks, room, metrics, white=white).width
        share = _REST_PERCENT_MIN if cells[first].rest else _LEFT_PERCENT_MIN
        if rest < min(needs, room * share // 100):
            return None
        widths[first] = rest
    return widths if sum(widths) <= room else None


def _tears(cell: Cell, span: int, metrics: Metrics) -> bool:
    """Whether a word or a number of a cell is wider than the cell."""
    return any(
        sum(metrics.advance(run) for run in unit) > span - metrics.scale(block.indent)
        for block in cell.blocks
        if isinstance(block, Text)
        for unit in units(_fitting(block.runs, span - metrics.scale(block.indent), metrics))
    )


def _column(row: Row, width: int, metrics: Metrics, *, white: bool) -> _Piece:
    return _stack([block for cell in row.cells for block in cell.blocks], width, metrics, white=white)


def _needs_graphics(blocks: Sequence[Block]) -> bool:
    return any(
        isinstance(block, Qr | Image | Rule)
        or (isinstance(block, Box) and (block.look is Look.FRAME or _needs_graphics(block.blocks)))
        or (isinstance(block, Row) and any(_needs_graphics(cell.blocks) for cell in block.cells))
        for block in blocks
    )
