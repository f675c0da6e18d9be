"""A document: what stands on one piece of paper, before anyone knows which printer.

It is stored in the journal as JSON and not as bytes, so that another printer, of another model, can print it again. One piece
of paper is one document is one process id: nothing here may ever hold two tickets. Sizes are in dots of 203 dpi (8 a
millimetre); the layout converts them to the printer's own dots.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from printer.errors import DocumentError

VERSION = 1
QR_CHARS_MAX = 4296
BLOCKS_MAX = 400
"""A receipt of twenty lines in two languages has about 120 blocks."""


class Size(StrEnum):
    """Sizes of type by what they are for; `DOTS` has the height of an em."""

    SMALL = "small"
    BODY = "body"
    LABEL = "label"
    NAME = "name"
    HEAD = "head"
    DATE = "date"
    TITLE = "title"
    TIME = "time"
    FIGURE = "figure"
    NUMBER = "number"


DOTS = {
    Size.SMALL: 22,
    Size.BODY: 25,
    Size.LABEL: 28,
    Size.NAME: 31,
    Size.HEAD: 36,
    Size.DATE: 44,
    Size.TITLE: 56,
    Size.TIME: 62,
    Size.FIGURE: 88,
    Size.NUMBER: 100,
}
"""Below 22 dots the strokes of kanji close up in one bit."""


class Align(StrEnum):
    LEFT = "left"
    CENTER = "center"
    RIGHT = "right"


class RowAlign(StrEnum):
    """How cells stand to each other: by their last line's BASELINE, their TOP or their MIDDLE."""

    BASELINE = "baseline"
    TOP = "top"
    MIDDLE = "middle"


class Weight(StrEnum):
    """A rule: THIN 3 dots, THICK 5, DASHED 3 (between parts of a receipt), CUT 4 with a label in its middle."""

    THIN = "thin"
    THICK = "thick"
    DASHED = "dashed"
    CUT = "cut"


class CutKind(StrEnum):
    PARTIAL = "partial"
    FULL = "full"


class Look(StrEnum):
    """A box: FRAME is a border, SOLID is white on black."""

    FRAME = "frame"
    SOLID = "solid"


@dataclass(frozen=True, slots=True)
class Run:
    """Text of one size and weight. `spacing` is extra room after each character, for digits that are read aloud."""

    text: str
    size: Size = Size.BODY
    bold: bool = False
    spacing: int = 0

    def __post_init__(self) -> None:
        for character in self.text:
            if unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp"):
                raise DocumentError(f"text with U+{ord(character):04X}, which cannot be printed")


@dataclass(frozen=True, slots=True)
class Text:
    """One paragraph; its runs stand on one baseline and wrap together."""

    runs: tuple[Run, ...]
    align: Align = Align.LEFT
    indent: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    weight: Weight = Weight.THIN
    label: str = ""


@dataclass(frozen=True, slots=True)
class Qr:
    """A QR code at error correction M. `module_dots` is wished for; the layout may go down to 6 and no further."""

    text: str
    module_dots: int = 6

    def __post_init__(self) -> None:
        if not 0 < len(self.text) <= QR_CHARS_MAX:
            raise DocumentError(f"a QR of {len(self.text)} characters; 1 to {QR_CHARS_MAX} are allowed")
        if not self.text.isascii():
            raise DocumentError("a QR with a character outside ASCII, which two printers would not encode alike")


@dataclass(frozen=True, slots=True)
class Image:
    """A picture of one bit a dot, 1 is black, rows padded to whole bytes, most significant bit first (as PBM and GS v 0)."""

    width: int
    height: int
    bits: bytes
    align: Align = Align.LEFT

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0 or len(self.bits) != (self.width + 7) // 8 * self.height:
            raise DocumentError(f"an image of {self.width}x{self.height} with {len(self.bits)} bytes")


@dataclass(frozen=True, slots=True)
class Feed:
    """Empty paper, `dots` high."""

    dots: int


@dataclass(frozen=True, slots=True)
class Reissue:
    """The place of the words 再発行. Nothing is drawn while `count` is 0."""

    count: int = 0
    align: Align = Align.LEFT


@dataclass(frozen=True, slots=True)
class Cut:
    kind: CutKind = CutKind.PARTIAL


@dataclass(frozen=True, slots=True)
class Mark:
    """The slot where the spool puts this attempt's process id (GS ( H). It comes last: after it the paper is the guest's."""


@dataclass(frozen=True, slots=True)
class Box:
    """`tight`: no wider than what stands in it."""

    blocks: tuple[Block, ...]
    look: Look = Look.FRAME
    tight: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A part of a row: `percent` of the row's width, or what is left (`rest`), or as wide as its content. Where no cell is marked as
    the rest, the first without a percentage is.
    """

    blocks: tuple[Block, ...]
    percent: int | None = None
    rest: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Cells side by side. Where they do not fit, or the printer cannot (QR beside text), they stand one below the other."""

    cells: tuple[Cell, ...]
    align: RowAlign = RowAlign.BASELINE


Block: TypeAlias = Text | Row | Rule | Qr | Image | Feed | Cut | Mark | Box | Reissue


@dataclass(frozen=True, slots=True)
class Document:
    """`kind` is what it is for (ticket, coupon, goods, receipt, claim), `id` names it in the journal (derived from the sale), `lang`
    is the guest's language. Ends with at most one Cut, then at most one Mark.
    """

    kind: str
    id: str
    lang: str
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        if sum(1 for _ in _walk(self.blocks)) > BLOCKS_MAX:
            raise DocumentError(f"document '{self.id}': more than {BLOCKS_MAX} blocks")
        body = list(self.blocks)
        for last in (Mark, Cut):
            if body and isinstance(body[-1], last):
                body.pop()
        if any(isinstance(block, Cut | Mark) for block in _walk(tuple(body))):
            raise DocumentError(
                f"document '{self.id}': one piece of paper ends with one cut and one mark, in this order"
            )

    @property
    def cut(self) -> CutKind | None:
        return next((block.kind for block in self.blocks if isinstance(block, Cut)), None)

    def texts(self) -> Iterator[str]:
        """Every text on the paper, in order, for whoever checks that nothing is missing."""
        for block in _walk(self.blocks):
            match block:
                case Text(runs=runs):
                    yield "".join(run.text for run in runs)
                case Rule(label=label) if label:
                    yield label
                case _:
                    pass

    def codes(self) -> tuple[str, ...]:
        """The contents of its QR codes."""
        return tuple(block.text for block in _walk(self.blocks) if isinstance(block, Qr))


def reissued(document: Document, *, count: int) -> Document:
    """The same paper, marked 再発行 as its `count`-th copy. Code and digits stay: an admission is counted once a ticket anyway."""

    def mark(block: Block) -> Block:
        match block:
            case Reissue():
                return dataclasses.replace(block, count=count)
            case Row(cells=cells):
                marked = tuple(dataclasses.replace(cell, blocks=tuple(map(mark, cell.blocks))) for cell in cells)
                return dataclasses.replace(block, cells=marked)
            case Box(blocks=blocks):
                return dataclasses.replace(block, blocks=tuple(map(mark, blocks)))
            case _:
                return block

    return dataclasses.replace(document, blocks=tuple(map(mark, document.blocks)))


def _walk(blocks: tuple[Block, ...]) -> Iterator[Block]:
    for block in blocks:
        yield block
        match block:
            case Row(cells=cells):
                for cell in cells:
                    yield from _walk(cell.blocks)
            case Box(blocks=inner):
                yield from _walk(inner)
            case _:
                pass


# --- JSON ---------------------------------------------------------------------------------------------------------------------

_BLOCKS: dict[str, type[Block]] = {
    kind.__name__.lower(): kind for kind in (Text, Row, Rule, Qr, Image, Feed, Cut, Mark, Box, Reissue)
}


def to_json(document: Document) -> str:
    """The document as one line of JSON. Values equal to their default are left out, so that a ride book stays small."""
    value = {
        "v": VERSION,
        "kind": document.kind,
        "id": document.id,
        "lang": document.lang,
        "blocks": [_block_out(block) for block in document.blocks],
    }
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def from_json(text: str) -> Document:
    """The document that `to_json` wrote. Raises DocumentError for anything else."""
    try:
        value = json.loads(text)
        if value["v"] != VERSION:
            raise DocumentError(f"a document of version {value['v']}; this program knows {VERSION}")
        return Document(
            kind=_text(value["kind"]),
            id=_text(value["id"]),
            lang=_text(value["lang"]),
            blocks=tuple(_block_in(block) for block in value["blocks"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise DocumentError(f"no document ({type(error).__name__}: {error})") from error


def _block_out(block: Block) -> dict[str, Any]:
    out: dict[str, Any] = {"t": type(block).__name__.lower()}
    out.update(_fields_out(block))
    return out


def _fields_out(value: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if field.default is dataclasses.MISSING or item != field.default:
            out[field.name] = _FIELD_OUT.get(field.name, _same)(item)
    return out


def _same(value: Any) -> Any:
    return value


_FIELD_OUT: dict[str, Callable[[Any], Any]] = {
    "bits": lambda bits: base64.b64encode(bits).decode(),
    "runs": lambda runs: [_fields_out(run) for run in runs],
    "cells": lambda cells: [_fields_out(cell) for cell in cells],
    "blocks": lambda blocks: [_block_out(block) for block in blocks],
}


def _block_in(value: dict[str, Any]) -> Block:
    fields = dict(value)
    kind = _BLOCKS.get(fields.pop("t"))
    if kind is None:
        raise DocumentError(f"unknown block '{value['t']}'; known: {', '.join(_BLOCKS)}")
    return kind(**_fields_in(kind, fields))


def _fields_in(kind: type, fields: dict[str, Any]) -> dict[str, Any]:
    """Field values by the name of their declared type; a key that `kind` does not have fails in its constructor."""
    declared = {field.name: str(field.type) for field in dataclasses.fields(kind)}
    return {name: _FIELD_IN.get(declared.get(name, ""), _same)(item) for name, item in fields.items()}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is expected, found {type(value).__name__}")
    return value


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"a whole number is expected, found {type(value).__name__}")
    return value


_FIELD_IN: dict[str, Callable[[Any], Any]] = {
    "str": _text,
    "int": _integer,
    "int | None": lambda value: None if value is None else _integer(value),
    "bool": bool,
    "bytes": lambda value: base64.b64decode(value, validate=True),
    "Size": Size,
    "Align": Align,
    "RowAlign": RowAlign,
    "Weight": Weight,
    "CutKind": CutKind,
    "Look": Look,
    "tuple[Run, ...]": lambda value: tuple(Run(**_fields_in(Run, item)) for item in value),
    "tuple[Cell, ...]": lambda value: tuple(Cell(**_fields_in(Cell, item)) for item in value),
    "tuple[Block, ...]": lambda value: tuple(_block_in(item) for item in value),
}
