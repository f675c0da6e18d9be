"""What each paper must say, and that it looks as it did: pictures in golden/, drawn again by `python -m tests.unit.printer.golden`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import zxingcpp
from PIL import Image, ImageChops

from printer import encode, profile, templates
from printer.document import reissued
from printer.encode import png
from printer.templates import ClaimKind, PaperError, ReceiptLine, ReceiptPaper
from printer.templates.coupon import LENGTH_MM_MAX
from printer.templates.words import day_en, signed, weekday_ja, yen
from tests.unit.printer import papers
from tests.unit.printer.golden import DIRECTORY, PICTURES, draw
from tickets.money import Money, tax_lines

RASTER = profile.load("generic-80")


def said(paper: templates.Paper) -> str:
    return "\n".join(templates.document(paper).texts())


def test_a_ticket_says_what_a_gate_and_a_guest_look_for() -> None:
    words = said(papers.ticket(people=2))
    for fact in (
        "入園券",
        "大人 2名",
        "2026年 11月23日（月・祝）",
        "10:30 から入場",
        "418 152",
        "3,600円（税込）",
        "K2-26112300417",
        "1／13",
        "2号機",
        "11/23 10:23",
        "03-0000-0000",
        "しおさい海浜公園",
    ):
        assert fact in words
    assert "Park" not in words


def test_a_guest_from_abroad_reads_english_below_the_japanese() -> None:
    words = said(papers.ticket(lang="ko", slot=False))
    for fact in (
        "入園券",
        "Park admission",
        "Adult x1",
        "当日限り有効",
        "Mon, Nov 23, 2026 only",
        "¥1,800 incl. tax",
        "No refund, no reissue.",
    ):
        assert fact in words


@pytest.mark.parametrize("lang", ["ja", "en"])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_coupon_is_at_most_72_mm(lang: str, count: int) -> None:
    for part in (1, 10):
        document = reissued(templates.document(papers.coupon(part, lang=lang)), count=count)
        assert encode.length_mm(document, RASTER) <= LENGTH_MM_MAX


def test_a_coupon_with_nine_digits_fits() -> None:
    paper = dataclasses.replace(papers.coupon(), short_id="123456782")
    assert "123 456 782" in said(paper)
    assert encode.length_mm(templates.document(paper), RASTER) <= LENGTH_MM_MAX


def test_an_exchange_ticket_carries_the_reduced_rate_mark() -> None:
    assert "名物ラムネ ※" in said(papers.goods())
    assert "軽減税率（8%）対象" in said(papers.goods())
    assert "※" not in said(dataclasses.replace(papers.goods(), tax_bp=1000))


def test_a_receipt_is_a_simplified_invoice() -> None:
    words = said(papers.receipt())
    for fact in (
        "領収書",
        "適格簡易請求書",
        "登録番号 T9999999999999",
        "株式会社しおさい観光",
        "2026年11月23日（月）10:24",
        "No. 2-000417",
        "名物ラムネ（お持ち帰り） ※",
        "216円 × 2",
        "10%対象",
        "¥7,500",
        "¥681",
        "8%対象 ※",
        "¥432",
        "¥32",
        "¥7,932",
        "交通系IC 利用",
        "伝票 04172",
        "取引後残高",
        "但し 入園料・回数券代ほかとして",
        "※は軽減税率（8%）対象",
    ):
        assert fact in words
    assert "再発行" not in words


def test_a_copy_says_so() -> None:
    assert "再発行（2）" in said(papers.receipt(copy=2))


def test_an_issuer_without_a_number_gives_no_invoice() -> None:
    issuer = dataclasses.replace(papers.ISSUER, registration="")
    words = said(dataclasses.replace(papers.receipt(), venue=dataclasses.replace(papers.VENUE, issuer=issuer)))
    assert "適格" not in words
    assert "登録番号" not in words
    assert "領収書" in words


def test_tax_is_rounded_once_a_rate_and_not_a_line() -> None:
    """Three lines of 105 yen: 28 yen within 315, not three times 9."""
    lines = tuple(ReceiptLine({"ja": name}, Money(105, "JPY"), 1, 1000) for name in "abc")
    taxes = tax_lines(((line.tax_bp, line.amount) for line in lines), currency="JPY")
    tender = dataclasses.replace(papers.receipt().tenders[0], amount=Money(315, "JPY"))
    paper = dataclasses.replace(papers.receipt(), lines=lines, taxes=taxes, total=Money(315, "JPY"), tenders=(tender,))
    assert "¥28" in said(paper)


def test_a_receipt_that_does_not_add_up_is_never_printed() -> None:
    good = papers.receipt()
    for wrong in (
        {"total": Money(7931, "JPY")},
        {"lines": good.lines[1:]},
        {"taxes": good.taxes[:1]},
        {"tenders": ()},
        {"taxes": (good.taxes[0], *tax_lines([(1000, Money(432, "JPY"))], currency="JPY"))},
    ):
        with pytest.raises(PaperError):
            dataclasses.replace(good, **wrong)
    assert isinstance(good, ReceiptPaper)


def test_a_claim_slip_says_what_is_so_and_whom_to_ask() -> None:
    words = said(papers.claim())
    for fact in (
        "お支払い確認中の控え",
        "K2-4172",
        "処理未了",
        "二重のお支払いにはなりません",
        "総合案内（2階）",
        "2027年1月17日",
        "7,932円",
        "きっぷ・領収書ではありません",
    ):
        assert fact in words
    owed = said(papers.claim(kind=ClaimKind.TICKETS_OWED, lang="en"))
    for fact in (
        "未発券分の控え",
        "Tickets still owed to you",
        "13枚中 6枚",
        "お支払いは済んでいます",
        "neither a ticket nor a receipt",
    ):
        assert fact in owed
    assert not templates.document(papers.claim()).codes()


def test_money_and_days() -> None:
    assert yen(Money(1234567, "JPY")) == "1,234,567円"
    assert signed(Money(-500, "JPY")) == "-¥500"
    assert yen(Money(1205, "EUR")) == "€12.05"
    assert day_en(papers.ticket().day) == "Mon, Nov 23, 2026"
    assert weekday_ja(papers.ticket().day, holiday=False) == "（月）"


# --- pictures -----------------------------------------------------------------------------------------------------------------

DIFFERENT_MAX = 0.004
"""Of all dots. Another FreeType moves edges by a dot; another layout moves per cents."""


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_papers_look_as_they_did(name: str) -> None:
    want = Image.open(DIRECTORY / f"{name}.png").convert("L")
    got = draw(name).convert("L")
    assert got.size == want.size
    different = ImageChops.difference(got, want).histogram()[255] / (want.width * want.height)
    assert different <= DIFFERENT_MAX


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_each_code_on_paper_can_be_read(name: str) -> None:
    paper, _ = PICTURES[name]
    expected = list(templates.document(paper).codes())
    found = zxingcpp.read_barcodes(draw(name).convert("L"))
    assert [code.text for code in found] == expected


def test_the_png_names_its_resolution(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png.encode(templates.document(papers.coupon()), RASTER))
    assert round(Image.open(file).info["dpi"][0]) == 203
