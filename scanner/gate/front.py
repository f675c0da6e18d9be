"""What staff see and press: the present answer, the list of the last ones, how many came in today, and which key means what.

Keys carry the id of the view they answer, so that a late finger never speaks for the next guest.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from datetime import date, datetime

import structlog
from sqlalchemy.exc import DBAPIError

from scanner.gate import ledger, views
from scanner.gate.answer import Answer
from scanner.gate.lane import Lane
from scanner.view import RECENT_MAX, GateView, Key, KeyPress, Recent, ViewKind
from sync.operation import ReleaseReason
from tickets.admission import Direction, Passage, VerdictKind
from tickets.clock import Clock

_log = structlog.get_logger()


@dataclass(slots=True)
class Line:
    """How the hub's data stands, as the sync daemon's health row says it."""

    heard_at: datetime | None = None
    unsent: int = 0


class Front:
    """One owner thread, the lane's."""

    def __init__(self, lane: Lane, *, clock: Clock, language: str, stays_ms: int) -> None:
        self._lane = lane
        self._clock = clock
        self._language = language
        self._stays_ms = stays_ms
        self._recent: deque[Recent] = deque(maxlen=RECENT_MAX)
        self._present: Answer | None = None
        self._day: date | None = None
        self._admitted = 0
        self.line = Line()
        self.note = ""
        """What staff should know that no guest asks about (a journal set aside)."""

    def scan(self, text: str, *, source: str) -> GateView:
        return self._answered(self._lane.scan(text, source=source))

    def press(self, press: KeyPress) -> GateView | None:
        """What a key leads to; None where it answers a view that is gone."""
        answer = self._present
        if answer is None or press.view != answer.op.hex():
            return None
        match press.key:
            case Key.CHOOSE:
                return self._choose(answer, press.count or 0)
            case Key.UNDO | Key.NOT_SEEN:
                return self._undo(answer)
            case Key.SEEN | Key.DISMISS:
                self._present = None
                return self.ready()

    def ready(self) -> GateView:
        """How things stand while nobody is at the gate."""
        catalogue = self._lane.store.known.catalogue
        view = GateView(
            kind=ViewKind.READY,
            gate=views.gate_name(self._lane.gate, catalogue, language=self._language),
            direction=self._lane.direction,
            language=self._language,
            note=self.note,
        )
        return self._dressed(view)

    def _choose(self, answer: Answer, count: int) -> GateView | None:
        if answer.verdict.kind is not VerdictKind.CHOOSE or not 1 <= count <= (answer.verdict.left or 1):
            return None
        return self._answered(self._lane.scan(answer.text, source=answer.source, count=count))

    def _undo(self, answer: Answer) -> GateView | None:
        """The use is given back; a late "not passed" by the turnstile finds nothing left to release."""
        if answer.claim is None or answer.verdict.kind is VerdictKind.REFUSE:
            return None
        self._present = None
        if self._lane.release(answer.op, ReleaseReason.UNDONE):
            self._admitted -= answer.claim.units
            if self._recent:
                self._recent.popleft()
        return self.ready()

    def _answered(self, answer: Answer) -> GateView:
        catalogue = self._lane.store.known.catalogue
        self._present = answer
        self._turn_day(answer.at)
        if answer.verdict.kind is not VerdictKind.CHOOSE:
            self._recent.appendleft(views.recent(answer, catalogue, language=self._language))
        if answer.claim is not None and answer.verdict.kind is not VerdictKind.REFUSE:
            self._admitted += answer.claim.units if answer.claim.passage is Passage.ENTRY else 0
        return self._dressed(views.verdict_view(answer, catalogue, language=self._language, stays_ms=self._stays_ms))

    def _dressed(self, view: GateView) -> GateView:
        now = self._clock.now_utc()
        self._turn_day(now)
        catalogue = self._lane.store.known.catalogue
        time_of_day_s = None
        if catalogue is not None:
            local = catalogue.venue.day.local(now)
            time_of_day_s = local.hour * 3600 + local.minute * 60 + local.second
        heard_at = self.line.heard_at
        return replace(
            view,
            data_age_s=None if heard_at is None else max(0.0, (now - heard_at).total_seconds()),
            unsent=self.line.unsent,
            time_of_day_s=time_of_day_s,
            admitted_today=self._admitted if self._lane.direction is Direction.ENTRY else None,
            recent=tuple(self._recent),
        )

    def _turn_day(self, at: datetime) -> None:
        """Count anew when the business day has changed, and at the start from what the journal says."""
        catalogue = self._lane.store.known.catalogue
        if catalogue is None:
            return
        today = catalogue.venue.day.of(at)
        if today == self._day:
            return
        try:
            with self._lane.store.journal.read() as connection:
                self._admitted = ledger.units_since(connection, catalogue.venue.day.starts(today))
        except DBAPIError as error:
            _log.error("count_unread", why=str(error.orig))  # a number on the screen never keeps a verdict from it
            return
        self._day = today
