"""What the table says next follows from what has happened, also when things happen in another order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from script.story.table.standing import Answer, Hint, Piece, Standing, Step
from script.story.table.words import CARDS, HINTS, STATIONS
from tickets.admission import VerdictKind

ADMIT, REFUSE = Answer(VerdictKind.ADMIT, "入場OK"), Answer(VerdictKind.REFUSE, "使用済み")
PIECE = Piece(Path("ticket-0001.png"))


def test_a_first_visit_from_hint_to_hint():
    here = Standing()
    assert (here.hint, here.done) == (Hint.BUY, frozenset())
    here = replace(here, pieces=(PIECE,))
    assert (here.hint, here.done) == (Hint.SHOW, {Step.BUY})
    here = replace(here, pieces=(PIECE.told(ADMIT),))
    assert (here.hint, here.done) == (Hint.TWICE, set(Step))
    here = replace(here, pieces=(PIECE.told(ADMIT).told(REFUSE),))
    assert (here.hint, here.done) == (Hint.CUT_LINE, set(Step))
    here = replace(here, line_up=False, line_was_cut=True)
    assert here.hint is Hint.BUY_UNSEEN
    unseen = Piece(Path("ticket-0002.png"), offline=True)
    assert replace(here, pieces=(unseen, *here.pieces)).hint is Hint.SHOW_UNSEEN
    here = replace(here, pieces=(unseen.told(ADMIT), *here.pieces))
    assert here.hint is Hint.MEND_LINE
    assert replace(here, line_up=True).hint is Hint.FREE


def test_a_receipt_is_no_admission():
    assert Step.ENTER not in Standing(pieces=(PIECE.told(Answer(None)),)).done


def test_without_paper_nothing_else_matters():
    assert Standing(paper_in=False, pieces=(PIECE.told(ADMIT),), line_up=False).hint is Hint.NEW_ROLL


def test_everything_that_can_be_said_has_its_words():
    assert set(HINTS) == set(Hint)
    assert set(STATIONS) == set(Step)
    assert all(japanese and english for japanese, english in [*HINTS.values(), *STATIONS.values(), *CARDS.values()])
