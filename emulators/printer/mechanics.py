"""Head, motor and cutter: takes finished rows in order and moves paper, so many dots at a time.

Everything with a place on the paper (rows, cuts, process ids) waits in one queue, so a process id can only be
reached when what stands before it has been printed. Time is not known here: the caller says how many dots may pass.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import numpy as np

from emulators.printer.faults import Fault, FaultName, Schedule, Trigger
from emulators.printer.glyphs import Dots
from emulators.printer.paper import Paper
from emulators.printer.status import Condition


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of dots to burn; blank rows are a feed."""

    dots: Dots


@dataclass(frozen=True, slots=True)
class Cut:
    full: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """A process id (GS ( H fn 48), four bytes."""

    mark: bytes


Step = Rows | Cut | Mark


@dataclass(frozen=True, slots=True)
class CutDone:
    file: Path
    full: bool
    n: int
    dots: int


@dataclass(frozen=True, slots=True)
class MarkReached:
    mark: bytes


Happening = CutDone | MarkReached


class Mechanics:
    """The queue between interpreter and paper. `strike` is called with each fault that falls due."""

    def __init__(self, paper: Paper, condition: Condition, schedule: Schedule, strike: Callable[[Fault], None]) -> None:
        self._paper = paper
        self._condition = condition
        self._schedule = schedule
        self._strike = strike
        self._queue: deque[Step] = deque()
        self.queued_dots = 0
        self.dots = 0
        self._marks = 0

    @property
    def idle(self) -> bool:
        return not self._queue

    def push(self, step: Step) -> None:
        if isinstance(step, Rows):
            if not len(step.dots):
                return
            self.queued_dots += len(step.dots)
        self._queue.append(step)

    def clear(self) -> int:
        """Forget everything not printed yet; how many process ids were dropped without a reply."""
        dropped = sum(isinstance(step, Mark) for step in self._queue)
        self._queue.clear()
        self.queued_dots = 0
        return dropped

    def run(self, budget_dots: int | None, happened: Callable[[Happening], None]) -> int:
        """Move up to `budget_dots` rows (None: all there are). Returns how many; stops where the machine stops."""
        moved = 0
        while self._queue and not self._condition.stopped:
            step = self._queue[0]
            match step:
                case Rows(dots):
                    room = len(dots) if budget_dots is None else min(len(dots), budget_dots - moved)
                    ahead = self._schedule.distance(Trigger.DOTS, self.dots)
                    n = room if ahead is None else min(room, ahead)
                    if n == 0 and ahead != 0:
                        break
                    self._burn(dots, n)
                    moved += n
                case Cut():
                    self._cut(step, happened)
                case Mark(mark):
                    self._queue.popleft()
                    self._marks += 1
                    if not self._fire(Trigger.MARK, self._marks):
                        happened(MarkReached(mark))
                case _:
                    assert_never(step)
        return moved

    def _burn(self, dots: Dots, n: int) -> None:
        if n:
            self._paper.add(dots[:n])
            self.dots += n
            self.queued_dots -= n
        if n == len(dots):
            self._queue.popleft()
        else:
            self._queue[0] = Rows(dots[n:])
        self._fire(Trigger.DOTS, self.dots)

    def _cut(self, cut: Cut, happened: Callable[[Happening], None]) -> None:
        jam = self._schedule.take(FaultName.CUTTER, self._paper.cuts + 1)
        if jam is not None:
            self._strike(jam)
            return
        self._queue.popleft()
        file, length = self._paper.cut()
        happened(CutDone(file, cut.full, self._paper.cuts, length))
        self._fire(Trigger.CUT, self._paper.cuts)

    def _fire(self, trigger: Trigger, count: int) -> bool:
        """Strike what is due; True if the machine lost its power by it."""
        for fault in self._schedule.due(trigger, count):
            self._strike(fault)
        return not self._condition.powered


def blank(rows: int, width_dots: int) -> Rows:
    """A feed of `rows`."""
    return Rows(np.zeros((rows, width_dots), dtype=bool))
