"""What characters become: cells, pages, kanji, sizes, wrapping."""

import numpy as np
import pytest

from emulators.printer import charset, glyphs

CUT = b"\x1dVB\x00"
SJIS = b"\x1b@\x1bR\x08\x1bt\x01\x1cC\x01"


def lines(picture: np.ndarray, spacing: int = 30) -> list[np.ndarray]:
    return [picture[i : i + spacing] for i in range(0, len(picture), spacing)]


def test_kanji_take_24_dots_and_narrow_characters_12(bench) -> None:
    printer = bench(gap_dots=0)
    printer.give(SJIS + "券A券".encode("cp932") + b"\n" + CUT)
    row = printer.picture()[:24]
    kanji, narrow = glyphs.kanji("券"), glyphs.narrow("A", small=False)
    assert np.array_equal(row[:, :24], kanji)
    assert np.array_equal(row[:, 24:36], narrow)
    assert np.array_equal(row[:, 36:60], kanji)
    assert kanji.sum() > 80


def test_second_bytes_that_look_like_ascii_belong_to_their_kanji(bench) -> None:
    # 表 is 95 5C, ソ is 83 5C, 能 is 94 5C: the classic place to lose half a character.
    printer = bench(gap_dots=0)
    printer.give(SJIS + "表ソ能".encode("cp932") + b"\n" + CUT)
    assert printer.seen("error") == []
    for i, text in enumerate("表ソ能"):
        assert np.array_equal(printer.picture()[:24, 24 * i : 24 * i + 24], glyphs.kanji(text))


def test_without_shift_jis_mode_the_same_bytes_are_single_characters(bench) -> None:
    printer = bench(gap_dots=0)
    printer.give(b"\x1b@\x1bt\x01" + "ｶﾅ".encode("cp932") + b"\n" + CUT)
    assert np.array_equal(printer.picture()[:24, :12], glyphs.narrow("ｶ", small=False))


def test_jis_kanji_mode(bench) -> None:
    printer = bench(gap_dots=0)
    printer.give(b"\x1b@\x1c&" + "券表".encode("iso2022_jp")[3:-3] + b"\x1c.A\n" + CUT)
    assert printer.seen("error") == []
    assert np.array_equal(printer.picture()[:24, :24], glyphs.kanji("券"))
    assert np.array_equal(printer.picture()[:24, 24:48], glyphs.kanji("表"))
    assert np.array_equal(printer.picture()[:24, 48:60], glyphs.narrow("A", small=False))


def test_all_of_jis_x_0208_maps_the_same_by_jis_and_shift_jis() -> None:
    count = 0
    for row in range(1, 85):
        for cell in range(1, 95):
            text = charset.jis(row + 0x20, cell + 0x20)
            if text is None or row == charset.NEC_ROW:
                continue
            count += 1
            assert text == bytes([0x1B, 0x24, 0x42, row + 0x20, cell + 0x20]).decode("iso2022_jp_ext", "replace") or (
                row <= 2  # where Microsoft's table names a wave dash and its like differently
            )
    assert count == 6879  # JIS X 0208's own count


@pytest.mark.parametrize(
    ("pair", "text"),
    [
        ("87 40", "①"),
        ("87 8a", "㈱"),
        ("ee e0", None),
        ("fb fc", None),
        ("fa b1", None),
        ("ec 40", None),
        ("85 40", None),
    ],
)
def test_the_rom_holds_jis_x_0208_and_nec_row_13_and_no_more(pair, text) -> None:
    assert charset.two_byte(*bytes.fromhex(pair)) == text


@pytest.mark.parametrize(("international", "text"), [(0, "\\"), (8, "¥")])
def test_yen_at_5c(international, text) -> None:
    assert charset.one_byte(0x5C, page=0, international=international) == text


def test_sizes_scale_both_kinds_of_cell(bench) -> None:
    printer = bench(gap_dots=0)
    printer.give(SJIS + b"\x1d!\x21" + "券A".encode("cp932") + b"\n" + CUT)
    expected = np.concatenate([glyphs.kanji("券"), glyphs.narrow("A", small=False)], axis=1)
    shown = printer.picture()[:48, : 36 * 3]
    assert np.array_equal(shown, expected.repeat(2, axis=0).repeat(3, axis=1))


def test_esc_bang_is_for_narrow_and_fs_bang_for_kanji(bench) -> None:
    printer = bench(gap_dots=0)
    printer.give(SJIS + b"\x1b!\x20\x1c!\x08" + "A券".encode("cp932") + b"\n" + CUT)
    picture = printer.picture()[:48]
    assert np.array_equal(picture[24:, :24], glyphs.narrow("A", small=False).repeat(2, axis=1))
    assert np.array_equal(picture[:, 24:48], glyphs.kanji("券").repeat(2, axis=0))


def test_a_line_wraps_where_the_next_cell_does_not_fit(bench) -> None:
    printer = bench(gap_dots=0)
    printer.give(SJIS + b"A" * 47 + "券".encode("cp932") + b"\n" + CUT)
    first, second = lines(printer.picture())[:2]
    assert first[:24, 46 * 12 : 47 * 12].any()
    assert not first[:24, 47 * 12 :].any()
    assert np.array_equal(second[:24, :24], glyphs.kanji("券"))


@pytest.mark.parametrize(("n", "left"), [(0, 0), (1, (576 - 48) // 2), (2, 576 - 48)])
def test_justification(bench, n, left) -> None:
    printer = bench(gap_dots=0)
    printer.give(SJIS + bytes([0x1B, 0x61, n]) + "券券".encode("cp932") + b"\n" + CUT)
    assert np.array_equal(printer.picture()[:24, left : left + 24], glyphs.kanji("券"))


def test_feeds_are_dots_and_lines_are_the_spacing(bench) -> None:
    for command, dots in ((b"\x1bJ\x50", 80), (b"\x1bd\x03", 90), (b"\x1b3\x28\n\n", 80), (b"\x1b3\x10\x1b2\n", 30)):
        printer = bench(gap_dots=0)
        printer.give(b"\x1b@" + command + CUT)
        assert printer.seen("cut")[0]["dots"] == dots, command


def test_bold_underline_and_upside_down_change_the_dots(bench) -> None:
    printer = bench(gap_dots=0)
    printer.give(b"\x1b@H\n\x1bE\x01H\n\x1bE\x00\x1b-\x02H\n\x1b-\x00\x1b{\x01H\n" + CUT)
    plain, bold, under, turned = (row[:24] for row in lines(printer.picture()))
    assert bold.sum() > plain.sum()
    assert under[22:24, :12].all()
    assert np.array_equal(turned, plain[::-1, ::-1])


def test_box_lines_touch_their_neighbours(bench) -> None:
    printer = bench(gap_dots=0)
    printer.give(b"\x1b@\x1bt\x01\x1b3\x18\x98\x95\x95\x99\n\x96  \x96\n\x9a\x95\x95\x9b\n" + CUT)
    picture = printer.picture()[:, :48]
    assert picture[11:13, 6:42].all()  # the upper line has no gap
    assert picture[12:60, 5:7].all()  # nor has the left one
