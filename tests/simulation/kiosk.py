"""A kiosk as an actor: the real sale engine (stock, numbers, charge, ruling, ledger) at a simulated terminal, and the spool's real
ledger at simulated paper. Guests choose, pay, wait for their paper or leave.
"""

from __future__ import annotations

import re
import threading
from unittest import mock

from sqlalchemy import Engine

from kiosk.sale import assembly, engine
from kiosk.visit import effect, event
from kiosk.visit.situation import Situation, Tender
from printer.spool import job as spool_job
from printer.spool import ledger as spool
from printer.spool.schema import Grade, create
from sync.service.health import Board, Health, State
from sync.store import open_engine
from tests.simulation.device import Site
from tests.simulation.disk import RUN
from tests.simulation.outside import SimulatedTerminal, TerminalBook
from tests.simulation.witness import Paper, Witness
from tests.simulation.world import Process, World, seeded
from tickets.language import Language
from tickets.order import Order, order_of

VARIANTS = (1, 1, 1, 2, 4, 40, 40, 50, 50, 50, 60, 60, 60, 60, 60, 70, 71)
BOOK = 10
SLOT_VARIANTS = (20, 21)
CODE = re.compile(r"T1:[0-9A-Z $%*+\-./:]+")
ROUNDS_AT_REST = 30


class _Pause(threading.Event):
    """The engine's waiting, in virtual time."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def wait(self, timeout: float | None = None) -> bool:
        self._world.wait(timeout or 0)
        self._world.point()
        return self.is_set()


class EngineProcess(Process):
    """The sale engine's thread, a turn at a time, and the guest in front of it."""

    def __init__(self, site: Site, witness: Witness) -> None:
        super().__init__(site.machine, f"{site.label}.sale")
        self._site, self._witness = site, witness
        self.book = TerminalBook(self.world)
        self.paper_out = False
        self._engine: engine.SaleEngine | None = None
        self._situation: Situation | None = None
        self._guest = "none"
        self._turn_no = 0
        self._basket: Order | None = None

    def _start(self) -> None:
        run_dir = self.machine.folder / RUN
        run_dir.mkdir(exist_ok=True)
        built = assembly.build(
            state_dir=self.machine.folder,
            run_dir=run_dir,
            terminal=SimulatedTerminal(self.book),
            clock=self.machine.clock,
            random_bytes=seeded(self.world),
        )
        self._guest, self._situation = "none", None
        if not isinstance(built, engine.SaleEngine):
            self.world.seen["kiosk_closed"] += 1
            self._engine = None
            return
        self._engine = built
        built._stopping = _Pause(self.world)
        built._ledger.announce()
        built._clear_up()
        self._look()

    def _stop(self) -> None:
        if self._engine is not None:
            self._engine._ledger.journal.engine.dispose()
            self._engine._board.close()
            self.book.drop_holds()
        self._engine = None

    def step(self) -> None:
        self.world.run(self, self._step)

    def _step(self) -> None:
        if self._engine is None:
            return
        if not self.world.perfect and self.world.chance.random() < 0.04:
            self.book.away = not self.book.away
        match self._guest:
            case "none":
                self._choose()
            case "waits":
                self._wait_for_paper()
        self._look()

    def close(self) -> None:
        """The program is closed as it should be: who stands here leaves, and it says that it sells no more."""

        def close() -> None:
            if self._engine is None:
                return
            if self._guest == "waits":
                self._leave()
            self._engine._ledger.close()
            self.world.seen["kiosk_shut"] += 1
            self.world.note("closes")

        self.world.run(self, close)
        if self.up and not self.busy:
            self.die()

    def settle(self) -> None:
        """Nobody new comes; who stands here leaves; the engine clears up until nothing is open, or a person must decide."""

        def rest() -> None:
            self.paper_out = False
            for _ in range(ROUNDS_AT_REST):
                if self._engine is None:
                    return
                if self._guest == "waits":
                    self._leave()
                self.world.wait(11)
                self._look()
                if self._engine._outlook._clear_up_at is None:
                    return

        self.world.run(self, rest)

    def _choose(self) -> None:
        situation, chance, sale = self._situation, self.world.chance, self._engine
        assert sale is not None
        if situation is None or situation.catalogue is None or situation.blocked is not None:
            return
        wanted: list[tuple[int, int, object]] = [
            (number, 1 + (chance.random() < 0.3), None)
            for number in sorted(set(chance.choices(VARIANTS, k=chance.randrange(1, 3))))
        ]
        if chance.random() < 0.03:
            wanted.append((BOOK, 1, None))
        slots = [row for row in situation.slots if row.remaining]
        if slots and chance.random() < 0.5:
            slot = chance.choice(slots)
            wanted.append((chance.choice(SLOT_VARIANTS), chance.randrange(1, 4), slot.slot))
        order = order_of(situation.catalogue, wanted)  # type: ignore[arg-type]
        tender = Tender.CARD if order.total.minor else None
        if tender and (not situation.tenders or situation.tenders[0].trouble is not None):
            return
        self._turn_no += 1
        holds = tuple((slot.slot, count) for _, count, slot in wanted if slot is not None)  # type: ignore[attr-defined]
        if holds:
            self._do(effect.HoldStock(self._turn_no, holds))
            if chance.random() < 0.1:  # thinks better of it
                self._do(effect.ClearGuest())
                return
        leaves_early = chance.random() < 0.3
        said = self._do(
            effect.BeginPayment(self._turn_no, order, tender, Language.JA),
            *([effect.ClearGuest()] if leaves_early else []),
        )
        names = {type(item) for item in said}
        self.world.note(f"sale of {order.total.minor}: {', '.join(map(str, said))}")
        if event.Paid in names:
            self.world.seen["sales"] += 1
        for kind in (event.Declined, event.Cancelled, event.Unknown, event.StockRefused):
            self.world.seen[kind.__name__.lower()] += kind in names
        self._guest = "none" if leaves_early else "waits"
        if leaves_early:
            self._look()

    def _wait_for_paper(self) -> None:
        self._look()
        if self.world.chance.random() < 0.35:
            self._leave()

    def _leave(self) -> None:
        self._do(effect.ClearGuest())
        self._guest = "none"

    def _do(self, *what: effect.EngineEffect) -> list[object]:
        """Hand the engine these effects, let it take the first, and hear what it says."""
        sale = self._engine
        assert sale is not None
        for item in what:
            sale.perform(item)
        sale._turn()
        return self._hear()

    def _look(self) -> None:
        """A turn without an effect of its own."""
        sale = self._engine
        if sale is None:
            return
        sale._turn()
        self._hear()

    def _hear(self) -> list[object]:
        said: list[object] = []
        assert self._engine is not None
        while (item := self._engine.take()) is not None:
            if isinstance(item, Situation):
                self._situation = item
            else:
                said.append(item)
        return said


class SpoolProcess(Process):
    """The printer's process: the spool's own ledger decides what may be printed, the paper here remembers what was."""

    def __init__(self, site: Site, sale: EngineProcess, witness: Witness) -> None:
        super().__init__(site.machine, f"{site.label}.spool")
        self._site, self._sale, self._witness = site, sale, witness
        self._database: Engine | None = None
        self._board: Board | None = None
        self.world.tickers.append(self._say)
        sale.book.meanwhile = lambda: self.step() and None

    def _start(self) -> None:
        run_dir = self.machine.folder / RUN
        run_dir.mkdir(exist_ok=True)
        self._board = Board(run_dir / "health.db")
        self._database = open_engine(self.machine.folder / "journal.db")
        create(self._database)
        with self._database.begin() as connection:
            spool.recover(connection, now=self.machine.clock.now_utc())
        self._say()

    def _stop(self) -> None:
        if self._database is not None:
            self._database.dispose()
        if self._board is not None:
            self._board.close()
        self._database = self._board = None

    def _say(self) -> None:
        """The health row that the spool keeps fresh: how the printer is."""
        if self._board is None:
            return
        if self.world.happens(0.004):
            self._sale.paper_out = not self._sale.paper_out
        out = self._sale.paper_out
        facts = {"profile": "generic-80", "paper": "out" if out else "ok"}
        at = self.machine.clock.now_utc()
        self._board.publish(Health(part="printer", state=State.ERROR if out else State.OK, at=at, facts=facts))

    def step(self) -> bool | None:
        return self.world.run(self, self._step)

    def _step(self) -> bool:
        assert self._database is not None
        now, machine = self.machine.clock.now_utc(), self.machine.boot
        with self._database.begin() as connection:
            part = spool.peek(connection, machine=machine)
            if part is None or self._sale.paper_out:
                return False
        with self._database.begin() as connection:
            if not spool.begin(connection, part, process_id=1, machine=machine, now=now):
                return False
        self.world.point()
        if self.world.happens(0.03):
            with self._database.begin() as connection:
                spool.unsend(connection, part, now=now)
            return True
        self._print(part.document)
        self.world.point()
        with self._database.begin() as connection:
            if self.world.happens(0.04):
                spool.doubt(connection, part, "the line fell", now=now)
            elif self.world.happens(0.03):
                spool.again(connection, part, "torn", now=now)
            else:
                spool.confirm(connection, part, Grade.CONFIRMED, dots_203=100, now=now)
        return True

    def _print(self, document: str) -> None:
        found = CODE.search(document)
        if found is None:
            return  # a slip or a receipt
        from tickets.code import parse

        code = found[0].rstrip()
        ticket = parse(code).ticket.ticket_id.hex()
        self.world.note(f"paper {ticket[:8]}")
        self.world.seen["papers"] += 1
        self._witness.papers.setdefault(ticket, Paper(ticket, code, "", self._site.label))
        self._witness.printed_at(ticket, captured=self._sale.book.captured())


def patches(world: World) -> list[mock._patch[object]]:
    """The few waits and readings of the real machine that the sale engine makes, made in the world instead."""

    def boot() -> str:
        at_work = world.at_work
        assert at_work is not None
        return at_work.machine.boot

    return [
        mock.patch.object(engine.encode, "check"),  # whether a paper fits is no question here, and takes long
        mock.patch.object(engine, "IDLE_S", 0.0),
        mock.patch.object(engine, "PRINTING_S", 0.0),
        mock.patch.object(spool_job, "machine_boot", boot),
    ]
