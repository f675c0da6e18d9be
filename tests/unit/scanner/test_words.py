"""The gate has a word for everything it can decide, in both languages, in letters that its font has."""

from __future__ import annotations

from pathlib import Path

import pytest
from fontTools.ttLib import TTCollection

from scanner.words import CATALOGUES, LABELS, LANGUAGES, data_age, label, wording
from tickets.admission import Direction, Reason, VerdictKind

FONTS = Path("/usr/share/fonts/opentype/noto")
ATTENTIONS = {Reason.PROOF, Reason.CLOCK_UNSURE, Reason.ISSUER_UNKNOWN}


def needed() -> set[tuple[VerdictKind, Reason | None]]:
    """Every verdict that the rules can make."""
    plain = {(kind, None) for kind in (VerdictKind.ADMIT, VerdictKind.ADMIT_AGAIN, VerdictKind.CHOOSE)}
    attentions = {(VerdictKind.ATTENTION, reason) for reason in ATTENTIONS}
    refusals = {(VerdictKind.REFUSE, reason) for reason in Reason if reason not in ATTENTIONS}
    return plain | attentions | refusals


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_verdict_has_words(language: str) -> None:
    assert set(CATALOGUES[language]) == needed()
    for words in CATALOGUES[language].values():
        assert words.word
        assert words.line


def test_labels_are_the_same_in_all_languages() -> None:
    assert {frozenset(labels) for labels in LABELS.values()} == {frozenset(LABELS["ja"])}
    assert set(LABELS) == set(CATALOGUES) == set(LANGUAGES)


@pytest.mark.parametrize("weight", ["Regular", "Bold"])
def test_the_font_has_every_letter(weight: str) -> None:
    """Kivy draws face 0 of the collection and has no fallback font: a missing glyph is a box on the screen."""
    font = TTCollection(str(FONTS / f"NotoSansCJK-{weight}.ttc"), lazy=True).fonts[0]
    assert "JP" in font["name"].getDebugName(4)
    has = font.getBestCmap()
    texts = [text for labels in LABELS.values() for text in labels.values()]
    for catalogue in CATALOGUES.values():
        texts += [text for words in catalogue.values() for text in (words.word, words.line, words.note)]
    texts += ["…–0123456789:,↑"]
    missing = {letter for text in texts for letter in text if letter != "\n" and ord(letter) not in has}
    assert not missing


def test_words_of_the_look_are_used() -> None:
    def word(kind: VerdictKind, reason: Reason | None = None) -> str:
        return wording(kind, reason, language="ja").word

    assert word(VerdictKind.ADMIT) == "入場OK"
    assert word(VerdictKind.REFUSE, Reason.ALREADY_USED) == "使用済み"
    assert word(VerdictKind.REFUSE, Reason.FORGED) == "不正券"
    assert word(VerdictKind.CHOOSE) == "何名？"


def test_no_word_is_longer_than_four_kanji() -> None:
    for words in CATALOGUES["ja"].values():
        assert sum(0.62 if letter.isascii() else 1 for letter in words.word) <= 4, words.word


def test_tone() -> None:
    for catalogue in CATALOGUES.values():
        for words in catalogue.values():
            for text in (words.word, words.line, words.note):
                assert "!" not in text
                assert "！" not in text
                assert "エラー" not in text
                assert "error" not in text.lower()


def test_leaving_has_words_of_its_own() -> None:
    assert wording(VerdictKind.ADMIT, None, language="ja", direction=Direction.EXIT).word == "退場OK"


def test_a_pair_that_the_rules_do_not_make_still_says_something() -> None:
    assert wording(VerdictKind.REFUSE, None, language="ja").word == "該当なし"
    assert wording(VerdictKind.ADMIT, Reason.PROOF, language="xx").word == "Enter"


def test_a_label_that_does_not_exist_is_a_bug() -> None:
    with pytest.raises(KeyError):
        label("nonsense", language="ja")


@pytest.mark.parametrize(
    ("age_s", "ja", "en"),
    [
        (None, "データなし", "No data"),
        (0, "データ 0秒前", "Data 0s ago"),
        (59.9, "データ 59秒前", "Data 59s ago"),
        (60, "データ 1分前", "Data 1m ago"),
        (6 * 60 + 59, "データ 6分前", "Data 6m ago"),
        (3600, "データ 1時間前", "Data 1h ago"),
        (47 * 3600, "データ 47時間前", "Data 47h ago"),
        (50 * 3600, "データ 2日前", "Data 2d ago"),
    ],
)
def test_data_age(age_s: float | None, ja: str, en: str) -> None:
    assert data_age(age_s, language="ja") == ja
    assert data_age(age_s, language="en") == en
