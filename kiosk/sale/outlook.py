"""How the kiosk stands, as one value for its screens: what is sold, what is left, what works. Told when it changes.

Looked at by the engine's thread between effects; the terminal is asked at most every few seconds and never while it works.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from kiosk.payment.contract import Terminal
from kiosk.sale import stock
from kiosk.sale.readiness import printer_trouble, terminal_trouble
from kiosk.visit.situation import BlockReason, Situation, SlotStock, Tender, TenderState, TenderTrouble
from sync import granted
from sync.journal import Journal
from sync.room import Level
from sync.service.health import Board, Health, State
from tickets.catalogue import Catalogue, CatalogueError
from tickets.clock import Clock

log = structlog.get_logger()

TERMINAL_EVERY_S = 10.0
CLEAR_UP_EVERY_S = 5.0
ROWS_EVERY_S = 1.0
HUB_AGE_S_MAX = 5.0
"""What the sync daemon said is news for so long; it says it once a second."""


class Outlook:
    """Reads rows and asks the terminal; decides nothing about a sale."""

    def __init__(self, journal: Journal, board: Board, *, clock: Clock) -> None:
        self._journal = journal
        self._board = board
        self._clock = clock
        self._told: Situation | None = None
        self._terminal_at = float("-inf")
        self._tenders: tuple[TenderState, ...] = (TenderState(Tender.CARD, TenderTrouble.NOT_CONNECTED),)
        self._rows_at = float("-inf")
        self._rows: tuple[Catalogue | None, tuple[SlotStock, ...]] = (None, ())
        self._catalogue_text = ""
        self._is_forked = False
        self._no_room = False
        self._open_attempts = 0
        self._clear_up_at: float | None = None

    def look(self, terminal: Terminal, *, busy: bool) -> Situation | None:
        """The situation if it differs from the one told last."""
        catalogue, slots = self._read_rows()
        now = self._situation(catalogue, slots, tenders=self._ask(terminal, busy=busy))
        if now == self._told:
            return None
        self._told = now
        return now

    def line_is_up(self) -> bool:
        """Whether somebody who lends stock answered a moment ago, as the sync daemon says."""
        hub = self._board.read("hub", now=self._clock.now_utc(), age_s_max=HUB_AGE_S_MAX)
        return hub.state is not State.UNKNOWN and hub.facts.get("line") is True

    def unsettled(self, orders: Sequence[str]) -> None:
        """These orders stay open after clearing up: no card is taken, and it is tried again."""
        self._open_attempts = len(orders)
        self._clear_up_at = self._clock.monotonic_s() + CLEAR_UP_EVERY_S if orders else None
        self._publish(State.WARNING if orders else State.OK)

    def clearing_up_is_wanted(self) -> None:
        self._clear_up_at = self._clock.monotonic_s()
        self._open_attempts = max(1, self._open_attempts)

    def wants_clearing_up(self) -> bool:
        return self._clear_up_at is not None and self._clock.monotonic_s() >= self._clear_up_at

    def call_staff(self, screen: str) -> None:
        """Put the call where the desk looks; in this version the device's own health board, and the log."""
        log.warning("staff_called", screen=screen)
        self._board.publish(
            Health(part="staff", state=State.WARNING, at=self._clock.now_utc(), facts={"called_from": screen})
        )

    def _publish(self, state: State) -> None:
        stops = "sales.card" if self._open_attempts else ""
        facts: dict[str, object] = {"open_attempts": self._open_attempts}
        if self._no_room:
            state, stops = State.ERROR, "sales"
            facts["why"] = "the disk is nearly full: nothing is sold that might not be kept on record; make room"
        self._board.publish(Health(part="sale", state=state, at=self._clock.now_utc(), stops=stops, facts=facts))

    def _ask(self, terminal: Terminal, *, busy: bool) -> tuple[TenderState, ...]:
        elapsed = self._clock.monotonic_s()
        if busy or elapsed - self._terminal_at < TERMINAL_EVERY_S:
            return self._with_attempts()
        self._terminal_at = elapsed
        trouble = terminal_trouble(terminal.open())
        before = self._tenders[0]
        kind = None
        if trouble is not None:
            kind = TenderTrouble.NOT_CONNECTED if trouble == "method.offline" else TenderTrouble.OUT_OF_ORDER
        since = before.since if kind is not None and before.trouble is kind else None
        if kind is not None and since is None:
            since = self._clock.now_utc()
        self._tenders = (TenderState(Tender.CARD, kind, since),)
        return self._with_attempts()

    def _with_attempts(self) -> tuple[TenderState, ...]:
        """A terminal with an open attempt takes no card: it can only be asked about its last payment."""
        if self._open_attempts and self._tenders[0].trouble is None:
            return (TenderState(Tender.CARD, TenderTrouble.OUT_OF_ORDER, None),)
        return self._tenders

    def _read_rows(self) -> tuple[Catalogue | None, tuple[SlotStock, ...]]:
        elapsed = self._clock.monotonic_s()
        if elapsed - self._rows_at < ROWS_EVERY_S:
            return self._rows
        self._rows_at = elapsed
        self._is_forked = self._journal.forked() != ""
        no_room = self._journal.room() is Level.STOP
        if no_room is not self._no_room:
            self._no_room = no_room
            log.log(logging.ERROR if no_room else logging.INFO, "disk_room", sells=not no_room)
            self._publish(State.WARNING if self._open_attempts else State.OK)
        with self._journal.read() as connection:
            text = granted.catalogue_text(connection)
            catalogue = self._rows[0]
            if text is not None and text[0] != self._catalogue_text:
                try:
                    catalogue, self._catalogue_text = granted.catalogue(connection), text[0]
                except CatalogueError as error:
                    log.error("catalogue_unusable", why=str(error))  # noqa: TRY400 the reason is the whole story
            day = catalogue.venue.day if catalogue is not None else None
            now = self._clock.now_utc()
            line, current_at = self._line(now)
            slots = tuple(
                self._stock(connection, lease, line=line, current_at=current_at)
                for lease in granted.slot_leases(connection)
                if lease.slot.ends_at > now and (day is None or day.of(lease.slot.starts_at) == day.of(now))
            )
        self._rows = (catalogue, slots)
        return self._rows

    def _stock(
        self, connection: Connection, lease: granted.SlotLease, *, line: bool, current_at: datetime | None
    ) -> SlotStock:
        """What a guest can have of a slot: what this kiosk holds, which nobody else sells; and with a line what the hub has besides, which
        is asked for when the guest picks it. Its age is that of the last word about it.
        """
        left = max(0, stock.left(connection, lease))
        as_of = lease.at if current_at is None else max(lease.at, current_at)
        return SlotStock(slot=lease.slot, remaining=left + (lease.free if line else 0), as_of=_minute(as_of))

    def _line(self, now: datetime) -> tuple[bool, datetime | None]:
        """(whether the line is up, when everything here was last as the hub has it)."""
        hub = self._board.read("hub", now=now, age_s_max=HUB_AGE_S_MAX)
        age_s = hub.facts.get("age_s")
        known = hub.state is not State.UNKNOWN and isinstance(age_s, int | float)
        current_at = hub.at - timedelta(seconds=float(age_s)) if known and age_s is not None else None
        return hub.state is not State.UNKNOWN and hub.facts.get("line") is True, current_at

    def _situation(
        self,
        catalogue: Catalogue | None,
        slots: tuple[SlotStock, ...],
        *,
        tenders: tuple[TenderState, ...],
    ) -> Situation:
        blocked: BlockReason | None = None
        if self._no_room or self._is_forked:  # what is sold now could perhaps not be written down
            blocked = BlockReason.JOURNAL
        elif catalogue is None:
            blocked = BlockReason.NO_CATALOGUE
        else:
            trouble = printer_trouble(self._board, now=self._clock.now_utc())
            if trouble is not None:
                blocked = BlockReason.PAPER if trouble == "paper.out" else BlockReason.PRINTER
        return Situation(catalogue=catalogue, slots=slots, tenders=tenders, blocked=blocked)


def _minute(at: datetime) -> datetime:
    """To the minute: a fresher second is no news to a guest."""
    return at.replace(second=0, microsecond=0)
