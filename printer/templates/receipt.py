"""領収書, and 適格簡易請求書 where the issuer is registered: issuer and number, day, lines with ※, total and tax of each rate.

It only lays out what the ledger fixed: no amount is computed here but a line's own unit times quantity.
"""

from __future__ import annotations

from printer.document import Align, Block, Box, Cell, CutKind, Document, Feed, Look, Row, Rule, Run, Size, Text, Weight
from printer.templates import parts
from printer.templates.data import ReceiptLine, ReceiptPaper, TenderPaper
from printer.templates.words import REDUCED_MARK, REDUCED_RATE_BP, other, percent, signed, stamp, yen


def document(paper: ReceiptPaper) -> Document:
    lang = paper.lang
    blocks: list[Block] = [*_issuer(paper), Rule(Weight.THICK), Feed(12)]
    if paper.copy:
        words = f"再発行（{paper.copy}）" + ("" if lang == "ja" else f" Reissue {paper.copy}")
        blocks += [Box((parts.text(words, Size.LABEL, bold=True, align=Align.CENTER),), Look.SOLID), Feed(8)]
    blocks += [
        Text((Run("領収書", Size.TITLE, bold=True, spacing=12),), Align.CENTER),
        *((parts.text("Receipt", Size.LABEL, bold=True, align=Align.CENTER),) if lang != "ja" else ()),
        parts.ends(stamp(paper.issued_at), paper.device["ja"]),
        parts.ends(f"No. {paper.number}", "適格簡易請求書" if paper.venue.issuer.registration else ""),
        Feed(8),
        Rule(Weight.DASHED),
        Feed(8),
    ]
    for line in paper.lines:
        blocks += _line(line, lang)
    blocks += [Feed(6), Rule(), Feed(4), *_total(paper), Feed(8), Rule(Weight.DASHED), Feed(8)]
    for tender in paper.tenders:
        blocks += _tender(tender, lang)
    blocks += [
        Feed(8),
        Rule(),
        Feed(8),
        parts.text(f"但し {paper.purpose['ja']}として", Size.SMALL),
        parts.text("上記正に領収いたしました。" + (_reduced_note(paper)), Size.SMALL),
    ]
    if lang != "ja":
        blocks.append(parts.text("Received with thanks. Prices include tax.", Size.SMALL))
        if _has_reduced(paper):
            blocks.append(parts.text(f"{REDUCED_MARK} reduced tax rate (8%)", Size.SMALL))
    blocks.append(Feed(24))
    return Document("receipt", paper.id, lang, (*blocks, *parts.end(CutKind.FULL)))


def _issuer(paper: ReceiptPaper) -> tuple[Block, ...]:
    venue, issuer = paper.venue, paper.venue.issuer
    logo: tuple[Block, ...] = () if venue.logo is None else (_centred_logo(paper),)
    registered = f"　登録番号 {issuer.registration}" if issuer.registration else ""
    english = other(venue.name, paper.lang)
    return (
        Feed(8),
        *logo,
        Feed(4),
        parts.text(venue.name["ja"], Size.NAME, bold=True, align=Align.CENTER),
        *((parts.text(english, Size.SMALL, align=Align.CENTER),) if english else ()),
        parts.text(f"{issuer.name}{registered}", Size.SMALL, align=Align.CENTER),
        parts.text(f"{issuer.address}　{issuer.phone}", Size.SMALL, align=Align.CENTER),
        Feed(8),
    )


def _centred_logo(paper: ReceiptPaper) -> Block:
    import dataclasses

    assert paper.venue.logo is not None
    return dataclasses.replace(paper.venue.logo, align=Align.CENTER)


def _line(line: ReceiptLine, lang: str) -> tuple[Block, ...]:
    mark = f" {REDUCED_MARK}" if line.tax_bp == REDUCED_RATE_BP else ""
    english = other(line.name, lang)
    amount = Row(
        (
            Cell((parts.text(f"{yen(line.unit)} × {line.quantity}", indent=24),)),
            Cell((parts.text(signed(line.amount), bold=True, align=Align.RIGHT),)),
        )
    )
    return (
        parts.text(line.name["ja"] + mark),
        *((parts.text(english, Size.SMALL),) if english else ()),
        amount,
        Feed(4),
    )


def _total(paper: ReceiptPaper) -> tuple[Block, ...]:
    words = "合計" if paper.lang == "ja" else "合計 Total"
    rows: list[Block] = [
        parts.ends(words, signed(paper.total), size=Size.HEAD, bold=True, right_size=Size.TIME),
        Feed(4),
    ]
    for tax in paper.taxes:
        mark = f" {REDUCED_MARK}" if tax.rate_bp == REDUCED_RATE_BP else ""
        rows.append(
            Row(
                (
                    Cell((parts.ends(f"{percent(tax.rate_bp)}対象{mark}", signed(tax.gross)),), percent=55),
                    Cell((parts.text(f"内消費税{signed(tax.tax)}", align=Align.RIGHT),), percent=45),
                )
            )
        )
    return tuple(rows)


def _tender(tender: TenderPaper, lang: str) -> tuple[Block, ...]:
    english = other(tender.name, lang)
    name = f"{tender.name['ja']} 利用" + (f" {english}" if english else "")
    rows: list[Block] = [parts.ends(name, signed(tender.amount), right_bold=True)]
    if tender.card or tender.slip:
        card = "カード番号\N{IDEOGRAPHIC SPACE}" + tender.card.replace(" ", "\N{NO-BREAK SPACE}") if tender.card else ""
        rows.append(parts.ends(card, f"伝票 {tender.slip}" if tender.slip else "", size=Size.SMALL))
    if tender.balance is not None:
        words = "取引後残高" if lang == "ja" else "取引後残高 Balance"
        rows.append(parts.ends(words, signed(tender.balance), size=Size.SMALL))
    return tuple(rows)


def _has_reduced(paper: ReceiptPaper) -> bool:
    return any(line.tax_bp == REDUCED_RATE_BP for line in paper.lines)


def _reduced_note(paper: ReceiptPaper) -> str:
    return f"{REDUCED_MARK}は軽減税率（{percent(REDUCED_RATE_BP)}）対象" if _has_reduced(paper) else ""
