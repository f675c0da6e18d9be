"""kaisatsu-gate: one thread owns the lane; sockets are its inbox, bounded by the kernel and by `INBOX_MAX`.

A verdict is on its way to the screen before anything else is done: chaining, the bell for the sync daemon, health and counts follow
the light. A read that has waited longer than a guest stands still is dropped, never answered late.
"""

from __future__ import annotations

import selectors
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import DBAPIError

from scanner.gate import ledger
from scanner.gate.claim_client import ClaimClient, Line
from scanner.gate.errors import JournalDamaged, NotDurable
from scanner.gate.front import Front
from scanner.gate.lane import Lane
from scanner.gate.rescue import SetAside, open_or_set_aside
from scanner.gate.settings import NOBODY, Settings
from scanner.gate.sockets import Listener
from scanner.gate.store import Store
from scanner.view import PACKET_BYTES_MAX as VIEW_BYTES_MAX
from scanner.view import GateView, KeyPress, ViewError
from sync.arbiter import Arbiter
from sync.claim import EPOCH_FIRST
from sync.pruning import KEPT_DAYS, LOW_KEPT_DAYS
from sync.room import Level
from sync.service import notify
from sync.service.doorbell import Doorbell, ring
from sync.service.health import Board, Health, State
from sync.state import StateDir
from tickets.clock import Clock
from tickets.ids import RandomBytes
from tickets.read import PACKET_BYTES_MAX as READ_BYTES_MAX
from tickets.read import Read, ReadError

TURN_S = 0.5
HEALTH_EVERY_S = 5.0
READY_EVERY_S = 2.0
MEND_EVERY_S = 30.0
PRUNE_EVERY_S = 600.0
CHAIN_AGAIN_EVERY_S = 2.0
FORGET_EVERY_S = 60.0
READ_AGE_S_MAX = 3.0
"""Frames are stamped by the same machine; an older read belongs to a guest who has walked on."""
INBOX_MAX = 8
FORK_PAUSE_S, FORK_PAUSE_S_MAX = 15.0, 3600.0
SYNC_AGE_S_MAX = 60.0
SET_ASIDE_NOTE = {
    "ja": "記録を新しく始めました。責任者に知らせてください",
    "en": "A new record was started. Tell the supervisor",
}

_log = structlog.get_logger()


class Gate:
    """Everything of one gate, opened in order and closed in reverse."""

    def __init__(self, settings: Settings, *, clock: Clock, random_bytes: RandomBytes) -> None:
        """Raises NotEnrolled, JournalBroken (not even a fresh one can be made), OSError for the run-time directory."""
        self._settings = settings
        self._clock = clock
        self._random_bytes = random_bytes
        self._state = StateDir(settings.state_dir)
        self._identity = self._state.identity()
        self._statement: Arbiter | None = None
        self._arbiter = self._client()
        self._stopping = False
        self._inbox: deque[Read | KeyPress] = deque()
        self._told_s: dict[str, float] = {}
        self._interrupted = 0
        self._set_aside: SetAside | None = None
        self._fork_pause_s = FORK_PAUSE_S
        self._fork_not_before_s = float("-inf")
        self._open_lane()
        self._board = Board(settings.health_db)
        self._selector = selectors.DefaultSelector()
        self._reads = Listener(settings.reads_socket, self._selector, packet_bytes_max=READ_BYTES_MAX)
        self._screens = Listener(settings.view_socket, self._selector, packet_bytes_max=VIEW_BYTES_MAX)
        self._bell = Doorbell(settings.own_bell)
        self._selector.register(self._bell, selectors.EVENT_READ, self._bell)

    def stop(self) -> None:
        """Ask the loop to end; safe in a signal handler."""
        self._stopping = True

    def run(self) -> None:
        notify.ready("gate open")
        _log.info("gate_open", gate=self._lane.gate, direction=self._lane.direction)
        try:
            while not self._stopping:
                self._turn()
        finally:
            notify.stopping()
            self._close()

    def _turn(self) -> None:
        busy = bool(self._inbox)
        for key, _ in self._selector.select(0 if busy else TURN_S):
            if key.data is self._bell:
                self._bell.wait(timeout_s=0.001)
                self._look_around()
            elif isinstance(key.data, Listener):
                before = key.data.connected
                for packet in key.data.accept_or_receive(key.fd):
                    self._take(key.data, packet)
                if key.data is self._screens and key.data.connected > before:
                    self._told_s.pop("ready", None)
        answered = bool(self._inbox)
        if answered:
            self._answer(self._inbox.popleft())
        if not self._inbox and (answered or self._due("chain", CHAIN_AGAIN_EVERY_S)):
            self._after_the_light()
        if self._due("mend", MEND_EVERY_S):
            self._lane.store.reopen_cache()
        if self._due("ready", READY_EVERY_S):
            self._look_around()
        if self._due("health", HEALTH_EVERY_S):
            self._tell()
        if not answered and self._due("forget", FORGET_EVERY_S):
            self._lane.forget_settled()
        notify.alive()

    def _take(self, source: Listener, packet: bytes) -> None:
        if len(self._inbox) >= INBOX_MAX:
            _log.warning("packet_dropped", socket=source.name, why="too many at once")
            return
        try:
            if source is self._reads:
                self._inbox.append(Read.from_packet(packet))
            else:
                self._inbox.append(KeyPress.from_packet(packet))
        except (ReadError, ViewError) as error:
            _log.warning("packet_refused", socket=source.name, why=str(error))

    def _answer(self, item: Read | KeyPress) -> None:
        """One item to its end: the view is sent before anything else is done."""
        try:
            view = self._view_of(item)
        except JournalDamaged as error:
            _log.error("journal_damaged", why=str(error))
            self._reopen_lane(condemned=str(error))
            view = self._view_of(item)
        if view is not None:
            self._screens.send(view.to_packet())

    def _view_of(self, item: Read | KeyPress) -> GateView | None:
        if isinstance(item, KeyPress):
            return self._front.press(item)
        age_s = (self._clock.now_utc() - item.at).total_seconds()
        if age_s > READ_AGE_S_MAX:
            _log.warning("read_too_old", source=item.source, age_s=round(age_s, 1))
            return None
        view = self._front.scan(item.text, source=item.source)
        _log.info("scanned", op=view.id, source=item.source, verdict=view.verdict, reason=view.reason)
        return view

    def _after_the_light(self) -> None:
        """Chain what was shown, unless the next guest is already there; then ring for the sync daemon."""
        try:
            self._lane.finish()
        except JournalDamaged as error:
            self._reopen_lane(condemned=str(error))
        if self._lane.take_chained():
            ring(self._settings.sync_bell)

    def _look_around(self) -> None:
        """Take in new grants, see that the journal is still the one to write in, and show how things stand."""
        try:
            self._mend_journal()
            self._lane.store.refresh()
            if self._due("prune", PRUNE_EVERY_S):
                self._prune()
            self._follow_arbiter()
            self._front.line.unsent = self._lane.store.journal.unsent()
            self._front.line.heard_at = self._heard_at()
            self._screens.send(self._front.ready().to_packet())
        except DBAPIError as error:
            _log.error("journal_unread", why=str(error.orig))

    def _prune(self) -> None:
        """Old scans that are safe elsewhere, between two guests. A full disk keeps them: then there is nothing to write with either."""
        journal = self._lane.store.journal
        days = KEPT_DAYS if journal.room() is Level.AMPLE else LOW_KEPT_DAYS
        with suppress(NotDurable, JournalDamaged), ledger.durable(journal) as connection:
            gone = ledger.prune(connection, journal, before=self._clock.now_utc() - timedelta(days=days))
            if gone:
                _log.info("pruned", scans=gone)

    def _mend_journal(self) -> None:
        """On with another journal where the hub contradicts this one, or where somebody has set it aside under us.

        A hub that contradicts every journal must not fill the disk: each time is twice as long after the last.
        """
        journal = self._lane.store.journal
        if not journal.is_in_place(self._state):
            _log.warning("journal_replaced")
            self._reopen_lane(once_more=True)
        elif journal.forked() and self._clock.monotonic_s() >= self._fork_not_before_s:
            self._fork_pause_s = min(2 * self._fork_pause_s, FORK_PAUSE_S_MAX)
            self._fork_not_before_s = self._clock.monotonic_s() + self._fork_pause_s
            self._reopen_lane()

    def _heard_at(self) -> datetime | None:
        """When this device last had all that the hub knew, as the sync daemon says; else the newest time in the grants."""
        fallback = self._lane.store.known.heard_at
        if self._board is None:
            return fallback
        try:
            row = self._board.read("hub", now=self._clock.now_utc(), age_s_max=SYNC_AGE_S_MAX)
        except ValueError:
            return fallback
        age_s = row.facts.get("age_s")
        return row.at - timedelta(seconds=age_s) if isinstance(age_s, int | float) else fallback

    def _tell(self) -> None:
        if self._board is None:
            return
        self._board.publish(self._health())

    def _health(self) -> Health:
        store = self._lane.store
        facts = {
            "gate": self._lane.gate,
            "incarnation": store.journal.incarnation,
            "unsent": self._front.line.unsent,
            "unchained": self._lane.unchained,
            "interrupted": self._interrupted,
            "readers": self._reads.connected,
            "screens": self._screens.connected,
            "epoch": store.known.epoch,
            "arbiter": "none" if self._arbiter is None else self._arbiter.state,
            "cache": store.cache_trouble or ("none" if store.known.generation is None else "ok"),
        }
        if self._set_aside is not None:
            facts["journal_set_aside"] = self._set_aside.path.name
        room = store.journal.room()
        if room is not Level.AMPLE:
            facts["room"] = room
        at = self._clock.now_utc()
        if store.known.catalogue is None:
            return Health(part="gate", state=State.ERROR, at=at, stops="admit", facts=facts)
        if self._lane.unchained:
            return Health(
                part="gate", state=State.ERROR, at=at, stops="admit", facts={**facts, "journal": "unwritable"}
            )
        wrong_line = self._arbiter is not None and self._arbiter.trouble
        troubled = (
            room is not Level.AMPLE
            or store.cache_trouble
            or self._set_aside is not None
            or self._interrupted
            or wrong_line
        )
        return Health(part="gate", state=State.WARNING if troubled else State.OK, at=at, facts=facts)

    def _open_lane(self, *, condemned: str = "", once_more: bool = False) -> None:
        journal, aside = open_or_set_aside(
            self._state,
            clock=self._clock,
            random_bytes=self._random_bytes,
            condemned=condemned,
            once_more=once_more,
        )
        self._set_aside = aside or self._set_aside
        store = Store(self._state, journal, issuer_unknown=self._settings.issuer_unknown)
        try:
            store.refresh()
        except DBAPIError as error:
            if condemned:
                raise
            # The chain held, but what the hub granted cannot be read: a page of the file is gone.
            store.close()
            self._open_lane(condemned=f"journal: cannot be read ({error.orig})")
            return
        self._lane = Lane(
            store,
            gate=self._settings.gate or self._identity.gate or "",
            label=self._identity.label,
            clock=self._clock,
            random_bytes=self._random_bytes,
            arbiter=self._arbiter,
            direction=self._settings.direction,
            heard_at=self._heard_at,
            offline_minutes_max=self._settings.offline_minutes_max,
        )
        self._follow_arbiter()
        try:
            self._lane.settle_interrupted()
        except NotDurable as error:
            _log.error("interrupted_scans_left", why=str(error))
        with journal.read() as connection:
            self._interrupted = ledger.interrupted_count(connection)
        self._front = Front(
            self._lane, clock=self._clock, language=self._settings.language, stays_ms=self._settings.verdict_stays_ms
        )
        if self._set_aside is not None:
            self._front.note = SET_ASIDE_NOTE[self._settings.language]

    def _reopen_lane(self, *, condemned: str = "", once_more: bool = False) -> None:
        """On with what is there now, or with a new journal: see `open_or_set_aside`. What was shown and not chained yet is first."""
        with suppress(JournalDamaged):
            self._lane.finish()
        self._lane.store.close()
        self._lane.store.journal.engine.dispose()
        self._open_lane(condemned=condemned, once_more=once_more)
        ring(self._settings.sync_bell)

    def _client(self) -> ClaimClient | None:
        if self._settings.arbiter_url == NOBODY:
            return None
        return ClaimClient(
            self._lines,
            deadline_ms=self._settings.arbiter_deadline_ms,
            epoch=lambda: EPOCH_FIRST if self._statement is None else self._statement.epoch,
            random_bytes=self._random_bytes,
        )

    def _lines(self) -> Iterator[Line]:
        """Where the arbiter may be, best first. Runs on the client's thread."""
        from scanner.gate.whereabouts import lines  # not loaded where nobody is asked

        return lines(
            self._statement,
            override=self._settings.arbiter_url,
            identity=self._identity,
            key=self._state.identity_key(),
            clock=self._clock,
            random_bytes=self._random_bytes,
            hub_pins=lambda: self._state.hub_pins(self._identity),
            deadline_s=self._settings.arbiter_deadline_ms / 1000,
        )

    def _follow_arbiter(self) -> None:
        """The newest statement decides whom the client asks, and in which reign."""
        found = self._lane.store.known.arbiter
        if found != self._statement:
            self._statement = found
            if self._arbiter is not None:
                self._arbiter.move()

    def _due(self, what: str, every_s: float) -> bool:
        now_s = self._clock.monotonic_s()
        if now_s - self._told_s.get(what, float("-inf")) < every_s:
            return False
        self._told_s[what] = now_s
        return True

    def _close(self) -> None:
        try:
            self._lane.finish()
        except JournalDamaged as error:
            _log.error("journal_damaged", why=str(error))
        self._selector.unregister(self._bell)
        self._bell.close()
        self._screens.close()
        self._reads.close()
        self._selector.close()
        if self._arbiter is not None:
            self._arbiter.close()
        self._lane.store.close()
        if self._board is not None:
            self._board.close()
