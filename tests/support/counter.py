"""A selling counter of real parts: the sale engine here, terminal, printer and spool as processes behind real wires."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from pathlib import Path

from kiosk.payment.zvt import Options, TcpLink, ZvtTerminal
from kiosk.sale.assembly import build
from kiosk.visit import effect, event
from kiosk.visit.situation import Situation, Tender
from script.story.processes import ROOT, Program
from tests.support.device import Device, selling_kiosk
from tickets.language import Language
from tickets.order import Order, order_of

__all__ = ["FAMILY", "ROOT", "Counter", "counter"]

FAMILY = [(1, 2, None), (2, 1, None), (10, 1, None)]
"""2 adults, 1 child, one ride book: 13 tickets, 7 500 yen."""


class Counter:
    def __init__(self, directory: Path, *, terminal: list[str], printer: list[str], spool: bool = True) -> None:
        self.directory = directory
        self.logs = directory / "logs"
        self.logs.mkdir(parents=True)
        self.device: Device = selling_kiosk(directory / "device")
        self.ledger_file = directory / "ledger.jsonl"
        self.paper = directory / "paper"
        self._terminal_faults, self._programs = terminal, {}
        self.port_of = {}
        self.start_terminal(terminal)
        self._printer_arguments = printer
        self.start_printer(printer)
        if spool:
            self.start_spool()
        self.engine = None
        self.situation: Situation | None = None
        self.turn = 0

    # --- the parts

    def start_terminal(self, arguments: list[str]) -> None:
        self._start(
            "terminal",
            [
                "emulators",
                "terminal",
                "--ledger",
                str(self.ledger_file),
                "--pause-ms",
                "20",
                "--host-ms",
                "20",
                *arguments,
            ],
        )

    def start_printer(self, arguments: list[str]) -> None:
        self._start("printer", ["emulators", "printer", "--out", str(self.paper), "--speed", "0", *arguments])

    def _start(self, name: str, arguments: list[str]) -> None:
        listen = f"127.0.0.1:{self.port_of.get(name, 0)}"
        program = Program(name, [*arguments, "--listen", listen], logs=self.logs)
        self._programs[name] = program
        self.port_of[name] = program.wait_line("listening")["port"]

    def start_spool(self) -> None:
        settings = {
            "journal": str(self.device.state.journal),
            "health": str(self.device.run_dir / "health.db"),
            "doorbell": str(self.device.run_dir / "printer.bell"),
            "link": "tcp",
            "address": f"127.0.0.1:{self.port_of['printer']}",
        }
        file = self.directory / "printer.json"
        file.write_text(json.dumps(settings))
        self._programs["spool"] = Program("spool", ["printer", str(file)], logs=self.logs, notifies=True)
        self._programs["spool"].wait_ready()

    def program(self, name: str) -> Program:
        return self._programs[name]

    def kill(self, name: str) -> None:
        self._programs[name].process.kill()
        self._programs[name].process.wait()

    def start_engine(self) -> None:
        terminal = ZvtTerminal(TcpLink("127.0.0.1", self.port_of["terminal"]), Options(password=123456))
        self.engine = build(state_dir=self.device.state.path, run_dir=self.device.run_dir, terminal=terminal)
        self.engine.start()

    def stop(self) -> None:
        if self.engine is not None:
            self.engine.stop()
        for program in self._programs.values():
            program.process.kill()
            program.stop()

    # --- the guest

    def wait(self, *kinds, timeout_s: float = 20.0):
        """The next event of one of `kinds`; everything else that comes is kept in order, Situations replace each other."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            said = self.engine.take()
            if said is None:
                time.sleep(0.005)
            elif isinstance(said, Situation):
                self.situation = said
                if Situation in kinds:
                    return said
            elif isinstance(said, kinds):
                return said
        raise AssertionError(f"none of {[kind.__name__ for kind in kinds]} within {timeout_s} s")

    def wait_open(self) -> None:
        while self.situation is None or self.situation.block_reason is not None:
            self.wait(Situation)

    def order(self, wanted=FAMILY) -> Order:
        assert self.situation is not None
        assert self.situation.catalogue is not None
        return order_of(self.situation.catalogue, list(wanted))

    def buy(self, wanted=FAMILY, *, tender: Tender | None = Tender.CARD) -> None:
        self.turn += 1
        self.engine.perform(
            effect.BeginPayment(turn=self.turn, order=self.order(wanted), tender=tender, language=Language.JA)
        )

    def outcome(self, *, timeout_s: float = 30.0):
        return self.wait(
            event.Paid, event.Declined, event.Cancelled, event.Unknown, event.StockRefused, timeout_s=timeout_s
        )

    # --- what is true afterwards

    def charged_minor(self) -> int:
        """What the terminal holds, by its own ledger's rule (emulators/terminal/ledger.py): stored, and not taken back since."""
        if not self.ledger_file.exists():
            return 0
        held: dict[int, int] = {}
        for row in map(json.loads, self.ledger_file.read_text().splitlines()):
            if row["event"] == "stored":
                held[row["trace"]] = row["amount"]
            elif row["event"] == "reversed":
                held.pop(row["trace"], None)
            elif row["event"] == "reversal":
                held.pop(row["orig_trace"], None)
        return sum(held.values())

    def operations(self, kind: str) -> list[dict]:
        with self.device.journal.read() as connection:
            rows = connection.exec_driver_sql("SELECT body FROM operation WHERE kind = ? ORDER BY seq", (kind,)).all()
        return [json.loads(row[0]) for row in rows]

    def states(self) -> list[str]:
        with self.device.journal.read() as connection:
            return [
                row[0] for row in connection.exec_driver_sql("SELECT state FROM payment_event ORDER BY rowid").all()
            ]

    def sold_minor(self) -> int:
        """The price of sales that stand."""
        reversed_orders = {row["order"] for row in self.operations("sale_reversed")}
        return sum(row["total_minor"] for row in self.operations("sale") if row["order"] not in reversed_orders)

    def papers(self) -> list[Path]:
        return sorted(self.paper.glob("*.png"))


@contextmanager
def counter(directory: Path, *, terminal: list[str] | None = None, printer: list[str] | None = None):
    made = Counter(directory, terminal=terminal or [], printer=printer or [])
    try:
        yield made
    finally:
        made.stop()
