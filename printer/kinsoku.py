"""Where a line of Japanese and Latin text may break (禁則処理), and where it may not.

Between two wide characters nearly always; never before a closing mark or a small kana, never after an opening one, never inside
a Latin word or a number, and never between a number and its unit: 「3,600」 on one line and 「円」 on the next is how money is
misread.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace

from printer.document import Run

NOT_FIRST = frozenset(
    "、。，．,.・：；:;？！?!゛゜ヽヾゝゞ々〃ー〜～）)〕］]｝}〉》」』】’”％%‰℃°′″"
    "ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ｡｣､･ｧｨｩｪｫｬｭｮｯｰﾞﾟ…‥／"
)
"""行頭禁則: JIS X 4051 classes of closing brackets, full stops, commas, small kana, repetition marks and the long sound."""

NOT_LAST = frozenset("（(〔［[｛{〈《「『【‘“￥¥＄$№＃#")
"""行末禁則: opening brackets and signs that belong to the number after them."""

COUNTERS = frozenset("円年月日時分秒名人枚回個本点階号歳才倍割種")
"""Units that stay with the number before them."""
TOGETHER = frozenset(("まで", "から", "日ま", "日か", "時ま", "時か", "分ま", "分か"))
"""まで and から belong to the day or the hour before them; alone on a line they mean nothing."""

BREATHS = frozenset("、。，．・）」』】はをが")
"""After these a reader may pause; の and に too often stand within a word or before another particle."""


def units(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """The runs in pieces that must stay together on a line; a piece may span runs of different sizes."""
    unit: list[Run] = []
    previous = ""
    for run in runs:
        start = 0
        for index, character in enumerate(run.text):
            if previous and breakable(previous, character):
                if index > start:
                    unit.append(replace(run, text=run.text[start:index]))
                if unit:
                    yield unit
                unit, start = [], index
            previous = character
        if start < len(run.text):
            unit.append(replace(run, text=run.text[start:]))
    if unit:
        yield unit


def breakable(before: str, after: str) -> bool:
    """Whether a line may end after `before` and the next begin with `after` (one character each)."""
    if after in NOT_FIRST or before in NOT_LAST or after in " \N{IDEOGRAPHIC SPACE}":
        return False
    if before in " \N{IDEOGRAPHIC SPACE}":
        return True
    if before.isdecimal() and after in COUNTERS:
        return False
    if before + after in TOGETHER:
        return False
    if before in "年月" and after.isdecimal():
        return before == "年"  # 2027年 | 5月22日
    if unicodedata.combining(after):
        return False
    return _wide(before) or _wide(after)


def breathes(before: str, after: str) -> bool:
    """Whether a line that ends between these two reads well: behind a mark, a space or a topic, or where kana ends, or katakana
    begins, and with it a word.
    """
    if not _wide(before) or before in BREATHS or before == "\N{IDEOGRAPHIC SPACE}":
        return True
    if _katakana(after) and not _katakana(before):
        return True  # 名物 | ラムネ
    return _hiragana(before) and not _hiragana(after)


def _katakana(character: str) -> bool:
    return "ァ" <= character <= "ー"


def _hiragana(character: str) -> bool:
    return "ぁ" <= character <= "ゖ"


def _wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WFA" or "｡" <= character <= "ﾟ"
