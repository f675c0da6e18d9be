"""What several papers share: the head, a line with two ends, digits to type, the end of a paper."""

from __future__ import annotations

from collections.abc import Sequence

from printer.document import (
    Align,
    Block,
    Box,
    Cell,
    Cut,
    CutKind,
    Feed,
    Look,
    Mark,
    Row,
    RowAlign,
    Rule,
    Run,
    Size,
    Text,
    Weight,
)
from printer.templates.data import PaperError, VenuePaper
from printer.templates.words import other
from tickets.language import Texts
from tickets.short_id import spaced


def text(words: str, size: Size = Size.BODY, *, bold: bool = False, align: Align = Align.LEFT, indent: int = 0) -> Text:
    return Text((Run(words, size, bold),), align, indent)


def texts(words: Texts, lang: str, size: Size = Size.BODY, *, bold: bool = False) -> tuple[Block, ...]:
    """A text in Japanese and, for guests of other languages, smaller in English below."""
    english = other(words, lang)
    lines: tuple[Block, ...] = (text(words["ja"], size, bold=bold),)
    return (*lines, text(english, Size.SMALL)) if english else lines


def ends(
    left: str,
    right: str,
    *,
    size: Size = Size.BODY,
    bold: bool = False,
    right_size: Size | None = None,
    right_bold: bool | None = None,
) -> Row:
    """One line with a left and a right end."""
    return Row(
        (
            Cell((text(left, size, bold=bold),)),
            Cell(
                (text(right, right_size or size, bold=bold if right_bold is None else right_bold, align=Align.RIGHT),)
            ),
        )
    )


def head(venue: VenuePaper, lang: str) -> tuple[Block, ...]:
    """Logo and name of the venue above a thick rule."""
    name = text(venue.name["ja"], Size.NAME, bold=True)
    english = other(venue.name, lang)
    words: tuple[Block, ...] = (name, text(english, Size.SMALL)) if english else (name,)
    if venue.logo is None:
        return (Feed(10), *words, Feed(10), Rule(Weight.THICK))
    percent = -(-(venue.logo.width + 8) * 100 // 540)
    row = Row((Cell((venue.logo,), percent=percent), Cell(words)), RowAlign.MIDDLE)
    return (Feed(8), row, Feed(10), Rule(Weight.THICK))


def tag(words: str, size: Size = Size.HEAD, *, align: Align = Align.CENTER) -> Box:
    """White on black: what the gate's staff look for first."""
    return Box((text(words, size, bold=True, align=align),), Look.SOLID)


def digits(short_id: str, *, size: Size = Size.DATE) -> Text:
    """The digits to type when the QR cannot be read, in groups of three and apart."""
    if not short_id.isdigit():
        raise PaperError("a short id is digits alone")
    return Text((Run(spaced(short_id), size, bold=True, spacing=4),), Align.CENTER)


def notes(lines: Sequence[Texts], lang: str) -> tuple[Block, ...]:
    return tuple(block for line in lines for block in texts(line, lang, Size.SMALL))


def end(kind: CutKind) -> tuple[Block, ...]:
    return (Cut(kind), Mark())
