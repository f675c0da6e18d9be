"""An exchange ticket (引換券): what, how many, where. At the reduced rate the thing carries ※, as on the receipt."""

from __future__ import annotations

from printer.document import Align, Block, Cell, CutKind, Document, Feed, Qr, Reissue, Row, RowAlign, Rule, Size
from printer.templates import parts
from printer.templates.data import GoodsPaper
from printer.templates.words import (
    REDUCED_MARK,
    REDUCED_RATE_BP,
    day_en,
    day_ja,
    other,
    percent,
    short_stamp,
    signed,
    weekday_ja,
    yen,
)


def document(paper: GoodsPaper) -> Document:
    lang = paper.lang
    reduced = paper.tax_bp == REDUCED_RATE_BP
    name = paper.product["ja"] + (f" {REDUCED_MARK}" if reduced else "")
    left: list[Block] = [parts.text("引換券" + ("" if lang == "ja" else " Exchange ticket"), Size.LABEL, bold=True)]
    left.append(parts.text(name, Size.TITLE, bold=True))
    if other(paper.product, lang):
        left.append(parts.text(other(paper.product, lang), Size.LABEL, bold=True))
    blocks: list[Block] = [
        *parts.head(paper.venue, lang),
        Reissue(align=Align.RIGHT),
        Feed(8),
        Row((Cell(tuple(left)), Cell((parts.tag(f"{paper.quantity}個"),))), RowAlign.MIDDLE),
        Feed(4),
        parts.text(f"お渡し　{paper.where['ja']}", Size.HEAD, bold=True),
        parts.text(f"{day_ja(paper.valid_until)}{weekday_ja(paper.valid_until)}まで", Size.LABEL, bold=True),
    ]
    if lang != "ja":
        where = other(paper.where, lang) or paper.where["ja"]
        blocks.append(
            parts.text(f"Collect {paper.quantity} at: {where}, until {day_en(paper.valid_until)}", Size.SMALL)
        )
    blocks += [
        Qr(paper.code),
        parts.digits(paper.short_id),
        Feed(8),
        Rule(),
        Feed(8),
        parts.ends(f"{yen(paper.price)}（税込）", f"No. {paper.serial}"),
        parts.ends(f"発券 {short_stamp(paper.issued_at)}　{paper.device['ja']}", f"{paper.part}／{paper.parts}"),
    ]
    if lang != "ja":
        blocks.append(parts.text(f"{signed(paper.price)} incl. tax", Size.SMALL))
    if reduced:
        blocks.append(parts.text(f"{REDUCED_MARK}は軽減税率（{percent(paper.tax_bp)}）対象", Size.SMALL))
    blocks += [*parts.notes(paper.conditions, lang), Feed(24)]
    return Document("goods", paper.id, lang, (*blocks, *parts.end(CutKind.PARTIAL)))
