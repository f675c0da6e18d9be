"""One printer, one part at a time: what is sent, what proves it, and what an interruption makes of it.

The row says `sending` before the first byte leaves; it says `confirmed` only after the printer has named the part's process id.
There is no timer here that decides that something failed. When the link breaks within a part nobody can know, so the part is
in doubt and its job waits for a ruling of the sale engine; when the paper ends, the printer is told to forget, and the part is
printed again from its start.

A printer without process ids only says that it has come to a question (GS r), not to which one. So the press knows how many answers
to earlier questions may still come, at most, and a part is proven by one answer more than that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import structlog
from sqlalchemy import Connection, Engine

from printer.document import CutKind, from_json, reissued
from printer.encode import Encoded, commands, encode
from printer.errors import DocumentError, EncodeError, LayoutError
from printer.profile import Profile
from printer.spool import ledger
from printer.spool.ledger import Part
from printer.spool.line import Line
from printer.spool.schema import Grade
from printer.status import Cleared, Event, InOrder, Noise, Paper, Printed, WentOffline
from sync.store import reading
from tickets.clock import Clock

ASK_AGAIN_AFTER_S = 2.0
"""An answer that has not come by then is asked for once more; the printer answers in order, so nothing is assumed."""

ASKED_AGAIN_MAX = 3
"""For one part of a printer without process ids: a long paper may take its time, and each question has its answer."""

CLEAR_AGAIN_AFTER_S = 5.0
RECOVER_EVERY_S = 15.0

STALE_AT_START = 2 + ASKED_AGAIN_MAX
"""More than one part leaves unanswered when its process ends. An upper bound that is too high costs three bytes a question."""

log = structlog.get_logger()


class Phase(StrEnum):
    """idle: nothing of ours is at the printer. printing: a part is. clearing: Clear was sent, nothing else may be."""

    IDLE = "idle"
    PRINTING = "printing"
    CLEARING = "clearing"


@dataclass(frozen=True, slots=True)
class _Ready:
    """A part that is encoded, under the process id that it will be begun with."""

    part: Part
    process_id: int
    encoded: Encoded


@dataclass(slots=True)
class _Current:
    part: Part
    process_id: str
    dots_203: int
    began_at_s: float
    written_at_s: float | None = None
    interrupted: bool = False
    hangs: bool = False
    reloaded: bool = False
    probe: str | None = None
    asked: int = 0
    """Questions (GS r) sent with this part and after it."""
    asked_again: int = 0
    asked_at_s: float = 0.0
    answers: int = 0
    """Answers since its last byte was sent, to its own questions or to earlier ones."""


class Press:
    """Called from one thread. `changed` tells that rows of a job have changed since it was last asked."""

    def __init__(self, line: Line, profile: Profile, engine: Engine, clock: Clock, *, machine: str) -> None:
        self._line = line
        self._profile = profile
        self._engine = engine
        self._clock = clock
        self._machine = machine
        self._phase = Phase.IDLE
        self._current: _Current | None = None
        self._ready: _Ready | None = None
        self._cleared_at_s = 0.0
        self._recovered_at_s = 0.0
        self._paper_was_out = False
        self._changed = False
        self._hungry = True
        self._closing = False
        # Answers that earlier questions may still bring, at most. A line that stays up may bring those of the process before.
        self._stale = 0 if line.falls_with_power else STALE_AT_START
        with engine.begin() as connection:
            waiting = ledger.recover(connection, now=clock.now_utc())
            self._roll = ledger.roll(connection)
        if waiting:
            log.warning("jobs_wait_for_a_ruling", jobs=waiting)

    @property
    def grade(self) -> Grade:
        """The best evidence this printer gives."""
        if self._line.answers and self._profile.process_id:
            return Grade.CONFIRMED
        if self._line.answers and self._profile.answers_in_order:
            return Grade.PROCESSED
        return Grade.SENT

    @property
    def busy(self) -> bool:
        return self._current is not None or self._phase is Phase.CLEARING

    @property
    def paper_mm_used(self) -> int:
        return round(self._roll.used_dots_203 / 203 * 25.4)

    def changed(self) -> bool:
        result, self._changed = self._changed, False
        return result

    # --- what happens ---------------------------------------------------------------------------------------------------------

    def happened(self, event: Event) -> None:
        """Something the printer said; the line's state already holds it."""
        self._watch_paper()
        match event:
            case Printed(process_id=process_id):
                self._printed(process_id)
            case InOrder():
                self._answered()
            case Cleared():
                self._cleared()
            case WentOffline(causes=causes):
                log.info("printer_offline", causes=causes.hex())
            case Noise(data=data):
                log.warning("printer_noise", data=data.hex())
            case _:
                pass
        self._watch_interruption()

    def link_lost(self, why: str) -> None:
        """The link broke. A part of which a byte had left is in doubt; it is not printed again by itself."""
        current = self._leave()
        if self._line.falls_with_power:
            self._stale = 0  # the answers went with the connection
        untouched = self._line.untouched
        self._phase = Phase.IDLE
        self._line.lost(why)
        if current is None:
            return
        now = self._clock.now_utc()
        with self._engine.begin() as connection:
            if untouched and not current.interrupted:
                ledger.unsend(connection, current.part, now=now)
            elif ledger.doubt(connection, current.part, why, now=now):
                log.warning("in_doubt", job=current.part.job, seq=current.part.seq)
        self._changed = True

    def finish(self) -> None:
        """Begin nothing any more."""
        self._closing = True

    def stop(self, why: str) -> None:
        """The process ends: what is at the printer now is in doubt."""
        if self._current is not None:
            self.link_lost(why)

    # --- steps ----------------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Go on as far as can be gone now. Never waits."""
        self._watch_interruption()
        now = self._clock.monotonic_s()
        match self._phase:
            case Phase.IDLE:
                if self._line.ready and self._hungry:
                    self._start(None)
                elif self._line.state.cutter_error:
                    self._recover(now)
            case Phase.PRINTING:
                self._written(now)
            case Phase.CLEARING:
                if now - self._cleared_at_s > CLEAR_AGAIN_AFTER_S and self._line.ready:
                    # It prints again and never answered Clear: nobody knows what it still holds.
                    self.link_lost("Clear was not answered")

    def look(self) -> None:
        """A bell rang, or time passed: look for work, and whether a ruling has taken away what is being printed."""
        self._hungry = True
        if self._current is not None:
            with reading(self._engine) as connection:
                ours = ledger.still_sending(connection, self._current.part)
            if not ours:
                log.info("taken_away", job=self._current.part.job, seq=self._current.part.seq)
                self._leave()
                self._forget_at_printer()

    def _leave(self) -> _Current | None:
        """The part at the printer is no longer ours, or done. What it asked and has no answer to may be answered later."""
        current, self._current = self._current, None
        if current is not None:
            self._stale = max(0, self._stale + current.asked - current.answers)
        return current

    def _prepare(self) -> None:
        """Encode the part that comes next, while the printer is busy with this one. What cannot be printed is passed over."""
        process_id = ledger.following(self._roll.process_id)
        while True:
            with reading(self._engine) as connection:
                part = ledger.peek(connection, machine=self._machine)
            if part is None:
                self._ready = None
                return
            if self._ready is not None and (self._ready.part.key, self._ready.process_id) == (part.key, process_id):
                return
            self._ready = self._encoded(part, process_id)
            if self._ready is not None:
                return

    def _encoded(self, part: Part, process_id: int) -> _Ready | None:
        try:
            document = from_json(part.document)
            if part.tries:
                document = reissued(document, count=part.tries)
            return _Ready(part, process_id, encode(document, self._profile, process_id=f"{process_id:04d}"))
        except (DocumentError, LayoutError, EncodeError) as error:
            log.exception("unprintable", job=part.job, seq=part.seq, code=error.code)
            with self._engine.begin() as connection:
                ledger.unprintable(connection, part, str(error), now=self._clock.now_utc())
            self._changed = True
            return None

    def _start(self, settle: Callable[[Connection], None] | None) -> None:
        """Settle the part before and begin the next in one transaction (one wait for the disk), then send its first bytes."""
        if settle is None or self._ready is None:
            if settle is not None:
                with self._engine.begin() as connection:
                    settle(connection)
                settle = None
            self._prepare()
        ready, self._ready = self._ready, None
        begun = False
        if ready is not None or settle is not None:
            with self._engine.begin() as connection:
                if settle is not None:
                    settle(connection)
                if ready is not None and self._line.ready and not self._closing:
                    begun = ledger.begin(
                        connection,
                        ready.part,
                        process_id=ready.process_id,
                        machine=self._machine,
                        now=self._clock.now_utc(),
                    )
        self._hungry = begun
        if ready is None or not begun:
            return
        self._roll = ledger.Roll(ready.process_id, self._roll.used_dots_203)
        self._phase = Phase.PRINTING
        self._changed = True
        self._current = _Current(
            part=ready.part,
            process_id=f"{ready.process_id:04d}",
            dots_203=round(ready.encoded.length_mm * 203 / 25.4),
            began_at_s=self._clock.monotonic_s(),
        )
        self._line.put_document(ready.encoded.data)
        if self.grade is Grade.PROCESSED:
            self._current.asked = 1 + self._stale  # the first stands in the document
            self._line.put(commands.PROCESSED * self._stale)
        self._line.write()

    def _written(self, now: float) -> None:
        current = self._current
        if current is None or self._line.unsent:
            return
        if current.written_at_s is None:
            current.written_at_s = current.asked_at_s = now
            if self.grade is Grade.SENT:
                self._evidence(Grade.SENT)
            else:
                self._prepare()
        elif not current.interrupted and self._line.ready and now - current.asked_at_s > ASK_AGAIN_AFTER_S:
            self._ask_again(current, now)

    def _ask_again(self, current: _Current, now: float) -> None:
        if self._profile.process_id and current.probe is None:
            with self._engine.begin() as connection:
                number = ledger.take_process_id(connection)
            self._roll = ledger.Roll(number, self._roll.used_dots_203)
            current.probe = f"{number:04d}"
            self._line.put(commands.mark(current.probe))
        elif self.grade is Grade.PROCESSED and current.asked_again < ASKED_AGAIN_MAX:
            current.asked += 1
            current.asked_again += 1
            self._line.put(commands.PROCESSED)
        else:
            return
        current.asked_at_s = now
        log.warning("asking_again", job=current.part.job, seq=current.part.seq)

    # --- evidence -------------------------------------------------------------------------------------------------------------

    def _printed(self, process_id: str) -> None:
        current = self._current
        if current is not None and process_id == current.process_id:
            self._evidence(Grade.CONFIRMED)
        elif current is not None and process_id == current.probe:
            # A later id implies the earlier one, if the printer has been the same since: a line that stays up when the
            # printer loses its power cannot promise that.
            if self._line.falls_with_power:
                self._evidence(Grade.CONFIRMED)
            else:
                self._settle(lambda connection: self._doubt(connection, current, "its process id was lost"))
        else:
            with self._engine.begin() as connection:
                if ledger.late(connection, process_id, now=self._clock.now_utc()):
                    self._changed = True

    def _answered(self) -> None:
        """The printer has come to a question: one of the current part's, or an earlier one's."""
        current = self._current
        if current is None or self.grade is not Grade.PROCESSED or self._line.unsent:
            self._stale = max(0, self._stale - 1)
            return
        current.answers += 1
        if current.answers > self._stale:
            self._evidence(Grade.PROCESSED)

    def _doubt(self, connection: Connection, current: _Current, why: str) -> None:
        ledger.doubt(connection, current.part, why, now=self._clock.now_utc())

    def _evidence(self, grade: Grade) -> None:
        """The printer says that the current part is done. After an interruption that has ended, it is done on two pieces of paper."""
        current = self._current
        assert current is not None
        if current.interrupted and current.reloaded:
            self._ready = None  # this part comes first again
            self._settle(lambda connection: self._again(connection, current, "it was interrupted and went on"))
        else:
            self._settle(lambda connection: self._confirm(connection, current, grade))

    def _confirm(self, connection: Connection, current: _Current, grade: Grade) -> None:
        if ledger.confirm(connection, current.part, grade, dots_203=current.dots_203, now=self._clock.now_utc()):
            self._roll = ledger.Roll(self._roll.process_id, self._roll.used_dots_203 + current.dots_203)

    def _again(self, connection: Connection, current: _Current, why: str) -> None:
        ledger.again(connection, current.part, why, now=self._clock.now_utc())

    def _settle(self, settle: Callable[[Connection], None]) -> None:
        self._leave()
        self._changed = True
        if self._phase is Phase.PRINTING:
            self._phase = Phase.IDLE
            self._line.patient(on=False)
            self._start(settle)
        else:  # Clear is still unanswered: nothing may be sent
            with self._engine.begin() as connection:
                settle(connection)

    # --- interruptions ----------------------------------------------------------------------------------------------------------

    def _watch_interruption(self) -> None:
        current, state = self._current, self._line.state
        if current is None:
            return
        if not current.interrupted and state.interrupted:
            current.interrupted = True
            # Under an opened cover the begun piece stays on the roll; at paper end it comes out with the old one.
            current.hangs = bool(state.cover_open) and state.paper is not Paper.OUT
            self._changed = True
            log.warning("interrupted", job=current.part.job, seq=current.part.seq, paper=state.paper)
            self._line.patient(on=True)
            self._forget_at_printer()
        elif current.interrupted and not state.interrupted:
            current.reloaded = True
            self._line.patient(on=False)

    def _forget_at_printer(self) -> None:
        """Have the printer drop what it holds, where it can; else it must get the whole rest, or the next part would be its pixels."""
        if self._profile.clear and self._line.answers:
            self._line.discard()
            self._line.put(commands.CLEAR)
            self._phase = Phase.CLEARING
            self._cleared_at_s = self._clock.monotonic_s()
        elif self._current is None:
            self._phase = Phase.IDLE

    def _cleared(self) -> None:
        if self._phase is not Phase.CLEARING:
            return
        self._phase = Phase.IDLE
        self._hungry, self._ready = True, None
        self._line.patient(on=False)
        current = self._leave()
        self._stale = 0  # what was asked before Clear has been answered or dropped
        if current is not None:
            with self._engine.begin() as connection:
                self._again(connection, current, "the printer stopped and dropped it")
            self._changed = True
        self._line.greet()
        if current is not None and current.hangs and self._profile.cutter:
            self._line.put(commands.cut(CutKind.PARTIAL))  # the begun piece must not hang on the whole one

    def _recover(self, now: float) -> None:
        """After a cutter error: have the printer try its cutter again, at once when the cover has been closed, else now and then.

        While it is still jammed the printer refuses; while the cover is open a hand may be inside, so nothing is asked.
        """
        if self._line.state.cover_open:
            self._recovered_at_s = 0.0
        elif now - self._recovered_at_s > RECOVER_EVERY_S:
            self._recovered_at_s = now
            self._line.put(commands.RECOVER)
            self._line.greet()

    def _watch_paper(self) -> None:
        paper = self._line.state.paper
        if paper is Paper.OUT:
            self._paper_was_out = True
        elif self._paper_was_out and paper in (Paper.OK, Paper.NEAR_END):
            self._paper_was_out = False
            self._roll = ledger.Roll(self._roll.process_id, 0)
            with self._engine.begin() as connection:
                ledger.new_roll(connection, now=self._clock.now_utc())
