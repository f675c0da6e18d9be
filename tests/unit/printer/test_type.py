"""Where lines break, which characters a printer's own font is trusted with, and what does not fit."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printer import layout, profile, templates
from printer.document import Align, Cell, Document, Image, Mark, Qr, Row, Run, Size, Text
from printer.encode import native, sjis
from printer.encode.canvas import RasterMetrics
from printer.encode.native import CellMetrics
from printer.encode.qr import side
from printer.errors import EncodeError, LayoutError
from printer.kinsoku import NOT_FIRST, NOT_LAST, breakable, units
from printer.layout import Glyphs, QrBox, lay_out
from printer.profile import Gaiji
from tests.unit.printer import papers

WIDE = RasterMetrics(width_dots=576, dpi=203)
NARROW = RasterMetrics(width_dots=384, dpi=203)
SERIAL = profile.load("generic-80-serial")


def pieces(text: str) -> list[str]:
    return ["".join(run.text for run in unit) for unit in units([Run(text)])]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("払い戻し・再発行", ["払", "い", "戻", "し・", "再", "発", "行"]),
        ("「入園券」です。", ["「入", "園", "券」", "で", "す。"]),
        ("3,600円（税込）", ["3,600円", "（税", "込）"]),
        ("2027年5月22日まで", ["2027年", "5月22日まで"]),
        ("チケット", ["チ", "ケッ", "ト"]),
        ("Park admission", ["Park ", "admission"]),
        ("No. K2-26112300417", ["No. ", "K2-26112300417"]),
        ("大人2名", ["大", "人", "2名"]),
    ],
)
def test_kinsoku(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


@given(st.text(st.sampled_from("あア漢a1、。）（「円年ー ッ"), min_size=1, max_size=40))
def test_units_lose_nothing_and_break_nowhere_forbidden(text: str) -> None:
    found = pieces(text)
    assert "".join(found) == text
    for before, after in pairwise(found):
        assert after[0] not in NOT_FIRST
        assert before[-1] not in NOT_LAST
        assert breakable(before[-1], after[0])


def lines(text: Text, metrics: layout.Metrics) -> list[str]:
    page = lay_out(Document("t", "i", "ja", (text,)), metrics)
    found: dict[int, str] = {}
    for box in page.boxes:
        assert isinstance(box, Glyphs)
        found[box.baseline] = found.get(box.baseline, "") + box.run.text
    return list(found.values())


def test_a_paragraph_breaks_where_a_reader_breathes() -> None:
    assert lines(Text((Run("お支払いは済んでいます。", Size.NAME, bold=True),)), NARROW) == [
        "お支払いは",
        "済んでいます。",
    ]


@given(st.text(st.sampled_from("あア漢a1、。）（「円年ー ッ"), min_size=1, max_size=120))
def test_wrapping_loses_nothing_and_stays_on_the_paper(text: str) -> None:
    page = lay_out(Document("t", "i", "ja", (Text((Run(text),)),)), NARROW)
    set_text = "".join(box.run.text for box in page.boxes if isinstance(box, Glyphs))
    assert set_text.replace(" ", "") == text.replace(" ", "")
    assert all(box.x + box.width <= NARROW.width_dots for box in page.boxes if isinstance(box, Glyphs))


def test_a_number_shrinks_before_it_is_torn() -> None:
    assert lines(Text((Run("K2-4172", Size.NUMBER, bold=True),)), NARROW) == ["K2-4172"]


def test_what_does_not_fit_is_an_error() -> None:
    tiny = RasterMetrics(width_dots=256, dpi=203)
    with pytest.raises(LayoutError, match=r"'ticket-7'.*318 dots"):
        lay_out(Document("t", "ticket-7", "ja", (Qr(papers.code(1)),)), tiny)
    with pytest.raises(LayoutError, match="image 600 dots"):
        lay_out(Document("t", "i", "ja", (Image(600, 1, bytes(75)),)), WIDE)
    with pytest.raises(LayoutError, match="dots high"):
        lay_out(Document("t", "i", "ja", tuple(Text((Run("あ" * 2000),)) for _ in range(10))), WIDE)


def test_the_largest_code_is_45_modules_of_6_dots_with_its_quiet_zone() -> None:
    text = papers.code(1)
    assert len(text) == 177
    assert side(text) == 45
    for metrics in (WIDE, NARROW, RasterMetrics(width_dots=512, dpi=180), CellMetrics(SERIAL)):
        (box,) = lay_out(Document("t", "i", "ja", (Qr(text),)), metrics).boxes
        assert isinstance(box, QrBox)
        assert box.module_dots >= 6
        assert box.x >= 4 * box.module_dots
        assert box.y == 4 * box.module_dots
        assert box.x + box.side + 4 * box.module_dots <= metrics.width_dots


def test_cells_stand_one_below_the_other_where_they_do_not_fit() -> None:
    row = Row(
        (Cell((Text((Run("発券 11/23 10:23 2号機"),)),)), Cell((Text((Run("No. K2-26112300417"),), Align.RIGHT),)))
    )
    wide = {box.baseline for box in lay_out(Document("t", "i", "ja", (row,)), WIDE).boxes if isinstance(box, Glyphs)}
    narrow = {
        box.baseline for box in lay_out(Document("t", "i", "ja", (row,)), NARROW).boxes if isinstance(box, Glyphs)
    }
    assert (len(wide), len(narrow)) == (1, 2)


def said_on(paper: templates.Paper, metrics: RasterMetrics) -> list[str]:
    """The paper's lines, as they stand on it."""
    found: dict[int, str] = {}
    page = lay_out(templates.document(paper), metrics)
    for box in sorted((box for box in page.boxes if isinstance(box, Glyphs)), key=lambda box: (box.baseline, box.x)):
        found[box.baseline] = found.get(box.baseline, "") + box.run.text
    return list(found.values())


def test_no_amount_and_no_number_is_torn_on_narrow_paper() -> None:
    """¥7,50 on one line and 0 on the next is another amount."""
    said = said_on(papers.receipt(), NARROW)
    for whole in (
        "10%対象¥7,500内消費税¥681",
        "8%対象 ※¥432内消費税¥32",
        "JE*** **** **** 2204",
        "しおさい市海岸通1-2-3",
        "03-0000-0000",
    ):
        assert any(whole in line.replace("\N{NO-BREAK SPACE}", " ") for line in said), (whole, said)


def test_a_share_of_a_row_never_tears_a_number() -> None:
    row = Row((Cell((Text((Run("合計"),)),), percent=80), Cell((Text((Run("1,234,567"),), Align.RIGHT),), percent=20)))
    page = lay_out(Document("t", "i", "ja", (row,)), NARROW)
    assert "1,234,567" in {box.run.text for box in page.boxes if isinstance(box, Glyphs)}


def test_a_name_in_large_type_is_not_torn_within_its_katakana() -> None:
    assert "ラムネ ※" in said_on(papers.goods(), NARROW)


def test_a_receipt_and_a_goods_paper_say_whole_sentences() -> None:
    said = "\n".join(said_on(papers.goods(lang="en"), WIDE))
    assert "お渡し　売店" in said
    assert "Collect 2 at: Shop, until Mon, Nov 23, 2026" in said
    paper = replace(papers.receipt(), purpose={"ja": "入園料・利用券代", "en": "Admission and tickets"})
    assert "但し 入園料・利用券代として" in said_on(paper, WIDE)


# --- Shift_JIS ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("入場券", "93fc8fea8c94"),
        ("ｶﾅ", "b6c5"),
        ("A 1", "412031"),
        ("¥1,800", "818f312c383030"),
        ("￥", "818f"),
        ("〜", "8160"),
        ("～", "8160"),
        ("~", "8160"),
        ("—", "815c"),
        ("―", "815c"),
        ("−", "817c"),
        ("※", "81a6"),
        ("a\N{NO-BREAK SPACE}b", "612062"),
    ],
)
def test_characters_of_the_printer(text: str, expected: str) -> None:
    assert sjis.encode(text, Gaiji.JIS0208) == bytes.fromhex(expected)


@pytest.mark.parametrize("text", ["髙", "﨑", "𠮷", "①", "㈱", "😀", "é", "\\", "한", "简", "ｶ髙"])
def test_characters_that_are_drawn(text: str) -> None:
    assert sjis.encode(text, Gaiji.JIS0208) is None


def test_necs_row_where_the_profile_says_so() -> None:
    assert sjis.encode("①", Gaiji.NEC) == bytes.fromhex("8740")
    assert sjis.encode("髙", Gaiji.NEC) is None


@given(st.text(max_size=30))
def test_encoded_text_holds_no_control_byte(text: str) -> None:
    """No byte below 20h, so no command and no real-time sequence can hide in a text."""
    raw = sjis.encode(text, Gaiji.NEC)
    assert raw is None or all(byte >= 0x20 for byte in raw)
    assert raw is None or len(raw) == sjis.cells(text)


def test_a_line_that_the_font_lacks_is_drawn_and_nothing_is_dropped() -> None:
    plain, _ = native.encode(Document("t", "i", "ja", (Text((Run("高島屋"),)), Mark())), SERIAL, process_id="0001")
    drawn, _ = native.encode(Document("t", "i", "ja", (Text((Run("髙島屋"),)), Mark())), SERIAL, process_id="0001")
    assert "高島屋".encode("cp932") in plain
    assert b"\x1dv0" not in plain
    assert b"\x1dv0" in drawn
    assert "島屋".encode("cp932") not in drawn
    assert b"?" not in drawn.split(b"\x1dv0")[0]


def test_no_native_type_without_a_kanji_font() -> None:
    with pytest.raises(EncodeError):
        native.encode(Document("t", "i", "ja", (Mark(),)), profile.load("generic-58"), process_id="0001")
