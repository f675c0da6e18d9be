"""What lies on the table now, as one frozen value, and which hint follows from it. Pure: the window draws it and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from tickets.admission import VerdictKind

GONE_IN: Final = frozenset({VerdictKind.ADMIT, VerdictKind.ADMIT_AGAIN, VerdictKind.ATTENTION})


class Card(StrEnum):
    """What the next guest's card does; after one payment it is good again."""

    GOOD = "good"
    DECLINED = "declined"
    CANCELLED = "cancelled"


class Step(StrEnum):
    """The stations of a first visit."""

    BUY = "buy"
    SHOW = "show"
    ENTER = "enter"


class Hint(StrEnum):
    BUY = "buy"
    SHOW = "show"
    TWICE = "twice"
    CUT_LINE = "cut_line"
    BUY_UNSEEN = "buy_unseen"
    SHOW_UNSEEN = "show_unseen"
    MEND_LINE = "mend_line"
    NEW_ROLL = "new_roll"
    FREE = "free"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gate said of a piece of paper, in its own word; `verdict` None where it said nothing."""

    verdict: VerdictKind | None
    word: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of paper that was cut off. `offline`: it came out while the line to the hub was cut. `answer` is the gate's last word,
    `admitted` whether it ever let somebody in on it.
    """

    paper: Path
    offline: bool = False
    answer: Answer | None = None
    admitted: bool = False

    def told(self, answer: Answer) -> Piece:
        return replace(self, answer=answer, admitted=self.admitted or answer.verdict in GONE_IN)


@dataclass(frozen=True, slots=True)
class Standing:
    """`pieces` newest first; `held` is before the camera now."""

    pieces: tuple[Piece, ...] = ()
    held: Path | None = None
    line_up: bool = True
    line_was_cut: bool = False
    paper_in: bool = True
    card: Card = Card.GOOD
    url: str = ""
    user: str = ""
    password: str = ""
    browser: bool = False

    @property
    def done(self) -> frozenset[Step]:
        """Stations that have been passed."""
        passed = {
            Step.BUY: bool(self.pieces),
            Step.SHOW: any(piece.answer is not None for piece in self.pieces),
            Step.ENTER: self._admitted(),
        }
        return frozenset(step for step, so in passed.items() if so)

    @property
    def hint(self) -> Hint:
        if not self.paper_in:
            return Hint.NEW_ROLL
        if not self.pieces:
            return Hint.BUY if self.line_up else Hint.BUY_UNSEEN
        if not self._admitted():
            return Hint.SHOW
        if self.line_up and not self.line_was_cut:
            refused = any(
                piece.answer is not None and piece.answer.verdict is VerdictKind.REFUSE for piece in self.pieces
            )
            return Hint.CUT_LINE if refused else Hint.TWICE
        unseen = [piece for piece in self.pieces if piece.offline]
        if not self.line_up:
            if not unseen:
                return Hint.BUY_UNSEEN
            return Hint.MEND_LINE if any(piece.admitted for piece in unseen) else Hint.SHOW_UNSEEN
        return Hint.FREE

    def _admitted(self) -> bool:
        return any(piece.admitted for piece in self.pieces)
