"""One coupon of a ride book (綴り券): compact, at most 72 mm; k/N is its largest figure."""

from __future__ import annotations

from printer.document import (
    Align,
    Block,
    Cell,
    CutKind,
    Document,
    Feed,
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
from printer.templates import parts
from printer.templates.data import CouponPaper
from printer.templates.words import day_en, day_ja, other, signed, yen
from tickets.short_id import SIX

LENGTH_MM_MAX = 72


def document(paper: CouponPaper) -> Document:
    lang = paper.lang
    blocks: tuple[Block, ...] = (
        Feed(6),
        _head(paper),
        Feed(4),
        Rule(Weight.THICK),
        Row((Cell((Qr(paper.code), _digits(paper))), Cell(_facts(paper), rest=True)), RowAlign.TOP),
        Feed(4),
        *parts.notes(paper.conditions[:1] if lang == "ja" else (), lang),
        *(parts.text(other(line, lang) or line["ja"], Size.SMALL) for line in paper.conditions[:1] if lang != "ja"),
        Feed(6 if lang == "ja" else 2),
        Rule(Weight.CUT, "ここから切る" if lang == "ja" else "ここから切る cut here"),
    )
    return Document("coupon", paper.id, lang, (*blocks, *parts.end(CutKind.PARTIAL)))


def _head(paper: CouponPaper) -> Row:
    english = other(paper.product, paper.lang)
    left: list[Block] = [
        parts.text(paper.venue.name["ja"], Size.SMALL),
        parts.text(paper.product["ja"], Size.DATE, bold=True),
    ]
    if english:
        left[0] = parts.text(other(paper.venue.name, paper.lang) or paper.venue.name["ja"], Size.SMALL)
        left.append(parts.text(english, Size.BODY, bold=True))
    count = Text(
        (Run(str(paper.part), Size.FIGURE, bold=True), Run(f"／{paper.parts}", Size.HEAD, bold=True)), Align.RIGHT
    )
    return Row((Cell(tuple(left)), Cell((count,))))


def _facts(paper: CouponPaper) -> tuple[Block, ...]:
    """Beside the QR a narrow column, label above value; below a native QR one line each."""
    until = paper.valid_until
    english = paper.lang != "ja"
    rides = (
        f"{paper.rides}回分" if not english else f"{paper.rides}回 {paper.rides} ride{'s' if paper.rides > 1 else ''}"
    )
    blocks: list[Block] = [
        Feed(20),
        parts.tag(rides, Size.HEAD if not english else Size.BODY),
        Feed(5),
        Reissue(),
        Feed(5),
        _labelled("有効期限" if not english else "有効期限 Valid until", f"{day_ja(until)}まで"),
    ]
    if english:
        blocks.append(parts.text(day_en(until).partition(", ")[2], Size.SMALL))
    blocks += [
        Feed(6),
        _labelled("つづり番号" if not english else "つづり番号 Book", paper.book),
        Feed(12),
        parts.text(_price(paper), Size.SMALL, align=Align.RIGHT),
    ]
    return tuple(blocks)


def _labelled(label: str, value: str) -> Row:
    return Row((Cell((parts.text(label, Size.SMALL),)), Cell((parts.text(value, Size.NAME, bold=True),))))


def _digits(paper: CouponPaper) -> Text:
    return parts.digits(paper.short_id, size=Size.DATE if len(paper.short_id) == SIX else Size.HEAD)


def _price(paper: CouponPaper) -> str:
    if paper.lang == "ja":
        return f"{paper.parts}枚 {yen(paper.book_price)}（税込）"
    return f"{paper.parts} for {signed(paper.book_price)}"
