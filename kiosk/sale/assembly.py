"""Puts the sale engine together from a device's files, or says in one word why this kiosk cannot sell."""

from __future__ import annotations

import os
import queue
from dataclasses import dataclass
from pathlib import Path

import structlog

from kiosk.payment.contract import Terminal
from kiosk.sale.engine import SaleEngine
from kiosk.sale.errors import NotReady
from kiosk.sale.issue import Seller
from kiosk.sale.ledger import Ledger
from kiosk.sale.outlook import Outlook
from kiosk.sale.papers import Papers
from kiosk.visit.effect import EngineEffect
from kiosk.visit.event import EngineEvent
from kiosk.visit.port import Engine
from kiosk.visit.situation import BlockReason, Situation
from sync import granted
from sync.errors import JournalBroken, NewerFile, NotEnrolled
from sync.journal import open_journal
from sync.service.health import Board, Health, State
from sync.state import StateDir
from tickets.clock import Clock, SystemClock
from tickets.ids import Kid, RandomBytes

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Closed:
    """Stands where the engine would, when nothing can be sold: it tells the reason once and takes effects without doing any."""

    reason: BlockReason
    _outbox: queue.SimpleQueue[Situation]

    def start(self) -> None:
        self._outbox.put(Situation(blocked=self.reason))

    def perform(self, effect: EngineEffect) -> None:
        log.info("effect_while_closed", effect=type(effect).__name__)

    def take(self) -> Situation | EngineEvent | None:
        try:
            return self._outbox.get_nowait()
        except queue.Empty:
            return None

    def stop(self) -> None:
        return


def build(
    *,
    state_dir: Path,
    run_dir: Path,
    terminal: Terminal,
    clock: Clock | None = None,
    random_bytes: RandomBytes = os.urandom,
) -> Engine:
    """The engine of the device in `state_dir`. A journal whose chain fails, or a device that is not enrolled, gives one that only
    says so: nothing may be sold that could not be kept on record.
    """
    clock = clock or SystemClock()
    board = Board(run_dir / "health.db")
    state = StateDir(state_dir)
    try:
        identity = state.identity()
        journal = open_journal(state, clock=clock, random_bytes=random_bytes)
        boot = random_bytes(8).hex()
        ledger = Ledger(journal, label=identity.label, boot=boot, clock=clock, random_bytes=random_bytes)
    except (JournalBroken, NewerFile, NotEnrolled) as error:
        log.error("kiosk_cannot_sell", code=error.code, why=str(error))  # noqa: TRY400 one line is what a technician needs
        broken = not isinstance(error, NotEnrolled)
        board.publish(
            Health(part="sale", state=State.ERROR, at=clock.now_utc(), stops="sales", facts={"why": error.code})
        )
        return Closed(BlockReason.JOURNAL if broken else BlockReason.NO_CATALOGUE, queue.SimpleQueue())

    def seller() -> Seller:
        """Read for each sale, so that a renewed or revoked key counts at once."""
        if identity.kid is None:
            raise NotReady("key")
        kid = Kid(identity.kid)
        with journal.read() as connection:
            key = granted.key(connection, kid)
        now = int(clock.now_utc().timestamp())
        if key is None or key.revoked_at is not None or not key.not_before <= now < key.expires:
            raise NotReady("key")
        return Seller(kid=kid, key=state.selling_key())

    def papers() -> Papers:
        with journal.read() as connection:
            catalogue = granted.catalogue(connection)
        if catalogue is None:
            raise NotReady("catalogue")
        return Papers(catalogue=catalogue, device={"ja": identity.label, "en": identity.label})

    return SaleEngine(
        ledger=ledger,
        terminal=terminal,
        outlook=Outlook(journal, board, clock=clock),
        board=board,
        seller=seller,
        papers=papers,
        run_dir=run_dir,
        clock=clock,
        random_bytes=random_bytes,
    )
