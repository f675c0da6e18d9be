"""Admission and timed tickets. In the order in which gate and guest look: what and how many, day, time, code; then money and rules."""

from __future__ import annotations

from printer.document import (
    Align,
    Block,
    Box,
    Cell,
    CutKind,
    Document,
    Feed,
    Look,
    Qr,
    Reissue,
    Row,
    RowAlign,
    Rule,
    Run,
    Size,
    Text,
)
from printer.templates import parts
from printer.templates.data import TicketPaper
from printer.templates.words import clock, day_en, day_ja, other, short_stamp, signed, weekday_ja, yen


def document(paper: TicketPaper) -> Document:
    lang = paper.lang
    blocks: list[Block] = [
        *parts.head(paper.venue, lang),
        Reissue(align=Align.RIGHT),
        Feed(10),
        _what(paper),
        Feed(4),
        *_when(paper),
        Qr(paper.code, module_dots=7),
        parts.digits(paper.short_id),
        Feed(8),
        Rule(),
        Feed(10),
    ]
    if paper.attention is not None:
        blocks += [Box(parts.texts(paper.attention, lang, Size.LABEL, bold=True), Look.FRAME), Feed(8)]
    blocks += [
        parts.ends(f"{yen(paper.price)}（税込）", f"No. {paper.serial}"),
        parts.ends(f"発券 {short_stamp(paper.issued_at)}　{paper.device['ja']}", f"{paper.part}／{paper.parts}"),
    ]
    if lang != "ja":
        device = other(paper.device, lang) or paper.device["ja"]
        blocks.append(
            parts.text(f"{signed(paper.price)} incl. tax, issued {short_stamp(paper.issued_at)}, {device}", Size.SMALL)
        )
    blocks += [Feed(6), *parts.notes(paper.conditions, lang), parts.text(contact(paper), Size.SMALL), Feed(24)]
    return Document("ticket", paper.id, lang, (*blocks, *parts.end(CutKind.PARTIAL)))


def contact(paper: TicketPaper) -> str:
    words = "総合案内" if paper.lang == "ja" else "総合案内 Information"
    return f"{words}　{paper.venue.issuer.phone}"


def _what(paper: TicketPaper) -> Row:
    lang = paper.lang
    left: list[Block] = [parts.text(paper.product["ja"], Size.TITLE, bold=True)]
    english = other(paper.product, lang)
    if english:
        left.append(parts.text(english, Size.LABEL, bold=True))
    people = f"{paper.people}名"
    who = people if paper.variant is None else f"{paper.variant['ja']} {people}"
    right: list[Block] = [parts.tag(who)]
    if lang != "ja":
        variant = other(paper.variant, lang) if paper.variant is not None else ""
        right.append(parts.text(f"{variant} x{paper.people}".strip(), Size.LABEL, bold=True, align=Align.CENTER))
    return Row((Cell(tuple(left)), Cell(tuple(right))), RowAlign.MIDDLE if lang == "ja" else RowAlign.BASELINE)


def _when(paper: TicketPaper) -> tuple[Block, ...]:
    day = paper.day
    runs = (
        Run(f"{day.year}年 ", Size.LABEL, bold=True),
        Run(f"{day.month}月{day.day}日", Size.DATE, bold=True),
        Run(weekday_ja(day, holiday=paper.holiday), Size.LABEL, bold=True),
    )
    blocks: list[Block] = [Text(runs)]
    if paper.valid_until is not None and paper.valid_until != day:
        blocks.append(parts.text(f"{day_ja(paper.valid_until)}まで", Size.HEAD, bold=True))
    elif paper.starts is not None:
        blocks.append(Text((Run(clock(paper.starts), Size.TIME, bold=True), Run(" から入場", Size.LABEL, bold=True))))
    else:
        blocks.append(parts.text("当日限り有効", Size.HEAD, bold=True))
    if paper.lang != "ja":
        blocks.append(parts.text(_when_en(paper), Size.LABEL))
    return tuple(blocks)


def _when_en(paper: TicketPaper) -> str:
    if paper.valid_until is not None and paper.valid_until != paper.day:
        return f"Valid {day_en(paper.day)} to {day_en(paper.valid_until)}"
    if paper.starts is not None:
        return f"{day_en(paper.day)}, from {clock(paper.starts)}"
    return f"{day_en(paper.day)} only"
