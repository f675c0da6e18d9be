"""The colour table keeps its promises: every pair that a screen uses can be read."""

import pytest

from tickets import look


@pytest.mark.parametrize(("text", "ground"), look.TEXT_PAIRS)
def test_text_can_be_read(text: str, ground: str) -> None:
    assert look.contrast(text, ground) >= look.TEXT_CONTRAST_MIN


@pytest.mark.parametrize(("mark", "ground"), look.MARK_PAIRS)
def test_a_mark_can_be_seen(mark: str, ground: str) -> None:
    assert look.contrast(mark, ground) >= look.MARK_CONTRAST_MIN


def test_contrast_is_that_of_wcag() -> None:
    assert look.contrast("#FFFFFF", "#000000") == pytest.approx(21)
    assert look.contrast("#777777", "#FFFFFF") == pytest.approx(4.478, abs=0.001)  # the well-known near miss
    assert look.contrast("ink", "yama") == look.contrast("yama", "ink") == pytest.approx(9.9, abs=0.05)


def test_sizes_hold_the_rules_of_reading() -> None:
    assert min(look.TYPE_EM_MM.values()) * look.CAPITAL_PER_EM >= 4.8
    assert look.GATE_TYPE_EM_MM["word"] * look.KANJI_INK_PER_EM >= look.WORD_MM_MIN


def test_a_panel_knows_its_millimetres() -> None:
    gate = look.GATE_PANELS[0]
    assert gate.portrait
    assert (gate.width_mm, gate.height_mm) == (pytest.approx(68.5, abs=0.1), pytest.approx(121.8, abs=0.1))


def test_a_name_that_is_no_token_is_refused() -> None:
    with pytest.raises(KeyError):
        look.rgb("purple")
