"""The slip for a bad minute: the payment's outcome is not known yet (処理未了), or paid tickets could not be printed.

It says what is so, that nobody pays twice, and whom to ask with which number. It is neither a ticket nor a receipt.
"""

from __future__ import annotations

from typing import assert_never

from printer.document import Align, Block, Box, CutKind, Document, Feed, Look, Reissue, Rule, Size, Weight
from printer.templates import parts
from printer.templates.data import ClaimKind, ClaimPaper
from printer.templates.words import clock, day_en, day_ja, other, signed, yen


def document(paper: ClaimPaper) -> Document:
    lang = paper.lang
    title, title_en = _title(paper.kind)
    unknown = paper.kind is ClaimKind.PAYMENT_UNKNOWN
    tender = paper.tender["ja"] + ("（処理未了）" if unknown else "")
    band = [parts.text(title, Size.HEAD, bold=True, align=Align.CENTER)]
    if lang != "ja":
        band.append(parts.text(title_en, Size.BODY, bold=True, align=Align.CENTER))
    blocks: list[Block] = [
        *parts.head(paper.venue, lang)[:-1],
        Box(tuple(band), Look.SOLID),
        Reissue(align=Align.RIGHT),
        Feed(14),
        parts.text("受付番号" if lang == "ja" else "受付番号 Claim number", Size.SMALL),
        parts.text(paper.number, Size.NUMBER, bold=True),
        Feed(10),
        Rule(Weight.DASHED),
        Feed(10),
        parts.ends(_word("日時", "Date", lang), f"{day_ja(paper.at)} {clock(paper.at)}", right_bold=True),
        parts.ends(_word("券売機", "Kiosk", lang), paper.device["ja"], right_bold=True),
        parts.ends(_word("お支払い方法", "Payment", lang), tender, right_bold=True),
    ]
    if paper.card:
        blocks.append(parts.ends(_word("カード番号", "Card", lang), paper.card, right_bold=True))
    if paper.owed:
        blocks.append(
            parts.ends(_word("未発券", "Not printed", lang), f"{paper.tickets}枚中 {paper.owed}枚", right_bold=True)
        )
    blocks += [
        parts.ends(_word("金額", "Amount", lang), yen(paper.amount), right_size=Size.DATE, right_bold=True),
        Feed(8),
        Rule(),
        Feed(12),
        *_explanation(paper),
        Feed(12),
        Box(_desk(paper), Look.FRAME),
        Feed(14),
        parts.text("この紙は、きっぷ・領収書ではありません。", Size.SMALL, align=Align.CENTER),
    ]
    if lang != "ja":
        blocks.append(parts.text("This is neither a ticket nor a receipt.", Size.SMALL, align=Align.CENTER))
    blocks.append(Feed(24))
    return Document("claim", paper.id, lang, (*blocks, *parts.end(CutKind.FULL)))


def _word(ja: str, en: str, lang: str) -> str:
    return ja if lang == "ja" else f"{ja} {en}"


def _title(kind: ClaimKind) -> tuple[str, str]:
    match kind:
        case ClaimKind.PAYMENT_UNKNOWN:
            return "お支払い確認中の控え", "Payment being checked"
        case ClaimKind.TICKETS_OWED:
            return "未発券分の控え", "Tickets still owed to you"
        case never:
            assert_never(never)


def _explanation(paper: ClaimPaper) -> tuple[Block, ...]:
    match paper.kind:
        case ClaimKind.PAYMENT_UNKNOWN:
            strong, lines = "二重のお支払いにはなりません。", ["結果がわかりしだい、きっぷをお渡しします。"]
            english = [
                "You will not pay twice. As soon as the result is known you get your tickets, or your money stays yours."
            ]
        case ClaimKind.TICKETS_OWED:
            strong, lines = "お支払いは済んでいます。", ["残りのきっぷは、下の窓口でお渡しします。"]
            english = ["You have paid. The rest of your tickets is given to you at the desk below."]
        case never:
            assert_never(never)
    if paper.lang == "ja":
        english = []
    return (
        parts.text(strong, Size.NAME, bold=True),
        *(parts.text(line) for line in lines),
        *(parts.text(line, Size.SMALL) for line in english),
    )


def _desk(paper: ClaimPaper) -> tuple[Block, ...]:
    lang = paper.lang
    until = f"お問い合わせ期限 {day_ja(paper.ask_until)}"
    blocks: list[Block] = [
        parts.text("この紙をお持ちください", Size.BODY, bold=True),
        parts.text(f"{paper.desk['ja']}　{paper.venue.issuer.phone}"),
        parts.text(until, Size.SMALL),
    ]
    if lang != "ja":
        desk = other(paper.desk, lang) or paper.desk["ja"]
        blocks.append(
            parts.text(
                f"Show this slip at: {desk}, until {day_en(paper.ask_until)}. Amount {signed(paper.amount)}.",
                Size.SMALL,
            )
        )
    return tuple(blocks)
