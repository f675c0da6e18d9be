"""The printer as one machine: receive buffer, interpreter, mechanics, status. No wire and no clock.

`receive` takes bytes as the interface would, `work` lets a number of dots pass, `outbox` is what it has to say, and
`ended` tells that its power went. Everything that happened goes out as events through `say`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from emulators.errors import BadSpec
from emulators.printer import faults, status
from emulators.printer.faults import Fault, FaultName, Schedule, Trigger
from emulators.printer.interpreter import Interpreter
from emulators.printer.mechanics import CutDone, Happening, MarkReached, Mechanics, Step
from emulators.printer.paper import Paper
from emulators.printer.realtime import CLEAR, RealTime, Scanner


@dataclass(frozen=True, slots=True)
class Setup:
    """What model this printer is. Lengths in dots of 1/8 mm."""

    out: Path
    width_dots: int = 576
    gap_dots: int = 96
    rx_bytes: int = 65_536
    ahead_dots: int = 256
    scan_raster: bool = True


class ReplyKind(StrEnum):
    MARK = "mark"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Reply:
    data: bytes
    kind: ReplyKind


class Device:
    """One printer. `say(event, **fields)` is called for each event, in order."""

    def __init__(self, setup: Setup, first_faults: list[Fault], say: Callable[..., None]) -> None:
        self._setup = setup
        self._say = say
        self.condition = status.Condition()
        self.schedule = Schedule(first_faults)
        self._paper = Paper(setup.out, width_dots=setup.width_dots, gap_dots=setup.gap_dots)
        self._mechanics = Mechanics(self._paper, self.condition, self.schedule, self._strike)
        self._interpreter = Interpreter(
            self, self.condition, width_dots=setup.width_dots, gap_dots=setup.gap_dots,
            process_ids=lambda: not self.schedule.holds(FaultName.NO_PROCESS_ID),
        )  # fmt: skip
        self._scanner = Scanner(scan_raster=setup.scan_raster)
        self._asb_sent = status.asb(self.condition)
        self._was_offline = False
        self._told = self.condition.describe()
        self._offline_response = 0
        self._bytes = 0
        self._jammed = False
        self.outbox: list[Reply] = []
        self.stall_seconds = 0.0
        self.healing: list[tuple[float, str]] = []  # (seconds from now, a command that ends a fault)

    def start(self) -> None:
        """Strike the faults that are there from the start, or whose place has passed already."""
        for fault in self.schedule.due(None):
            self._strike(fault)
        for fault in self.schedule.due(Trigger.DOTS, self._mechanics.dots):
            self._strike(fault)

    # -- the interface ---------------------------------------------------------------------------------------------

    @property
    def room_bytes(self) -> int:
        """How many bytes the receive buffer can take now."""
        return max(0, self._setup.rx_bytes - len(self._interpreter.rx))

    @property
    def idle(self) -> bool:
        return self._mechanics.idle and not self._interpreter.wants

    @property
    def moving(self) -> bool:
        """Whether time is what it waits for."""
        return not self._mechanics.idle and not self.condition.stopped

    def receive(self, chunk: bytes) -> None:
        """Take bytes into the receive buffer and act on real-time commands among them. At most `room_bytes`."""
        if not self.condition.powered:
            return
        self._bytes += len(chunk)
        done = 0
        for found in self._scanner.scan(chunk):
            self._interpreter.rx += chunk[done : found.end]
            done = max(done, found.end)
            self._real_time(found)
        self._interpreter.rx += chunk[done:]
        for fault in self.schedule.due(Trigger.BYTE, self._bytes):
            self._strike(fault)

    def work(self, budget_dots: int | None) -> int:
        """Interpret and print, up to `budget_dots` of paper (None: as fast as it goes). Returns the dots moved."""
        moved = 0
        while True:
            interpreted = False
            while not self.condition.stopped and self._mechanics.queued_dots < self._setup.ahead_dots:
                if not self._interpreter.step(self._setup.ahead_dots - self._mechanics.queued_dots):
                    break
                interpreted = True
            left = None if budget_dots is None else budget_dots - moved
            step = self._mechanics.run(left, self._happened)
            moved += step
            if not interpreted and not step:
                return moved

    def _real_time(self, found: RealTime) -> None:
        command = found.command
        if command == CLEAR:
            self._clear("clear")
            if not self._jammed:
                self.condition.cutter_error = False
            self._changed()
            self.reply(status.CLEAR_REPLY)
        elif command.startswith(b"\x10\x04"):
            self.reply(status.dle_eot(self.condition, command[2]))
        elif self.condition.cutter_error:
            # DLE ENQ works on a recoverable error only, and only once the cause has been removed.
            if command[2] == 2:
                self._clear("enquiry")
            if not self._jammed:
                self.condition.cutter_error = False
                self._say("healed", fault="cutter")
            self._changed()

    def _clear(self, by: str) -> None:
        dropped = self._interpreter.clear()
        marks = self._mechanics.clear()
        self._say("clear", by=by, bytes_dropped=dropped, marks_dropped=marks)

    # -- what the interpreter asks for --------------------------------------------------------------------------

    def reply(self, data: bytes) -> None:
        self.outbox.append(Reply(data, ReplyKind.OTHER))

    def push(self, step: Step) -> None:
        self._mechanics.push(step)

    def complain(self, why: str, *, offset: int, data: bytes, lost: bool) -> None:
        self._say("error", why=why, offset=offset, bytes=data.hex(" "), lost=lost)

    def initialised(self) -> None:
        self._say("initialised")

    def asb_asked(self, mask: int) -> None:
        if mask:
            self._asb_sent = status.asb(self.condition)
            self.reply(self._asb_sent)

    def offline_response_asked(self, n: int) -> None:
        self._offline_response = n

    # -- what happens on paper ----------------------------------------------------------------------------------

    def _happened(self, what: Happening) -> None:
        match what:
            case CutDone(file, full, n, dots):
                self._say("cut", file=str(file), kind="full" if full else "partial", n=n, dots=dots)
            case MarkReached(mark):
                self._say("mark", id=mark.decode("ascii"))
                self.outbox.append(Reply(status.process_id(mark), ReplyKind.MARK))

    def _tear(self, reason: str) -> None:
        torn = self._paper.tear()
        if torn is not None:
            self._say("torn", file=str(torn[0]), dots=torn[1], reason=reason)

    def stop(self) -> None:
        """The program ends: show what hangs in the printer."""
        self._tear("end")

    def _changed(self) -> None:
        """Tell the host and the log about a change of condition, as far as they asked."""
        condition = self.condition
        now = status.asb(condition)
        if condition.powered:
            if self._interpreter.modes.asb_mask and status.asb_changed(
                self._asb_sent, now, self._interpreter.modes.asb_mask
            ):
                self.reply(now)
            if condition.offline and not self._was_offline and self._offline_response:
                self.reply(status.offline_response(condition, with_cause=self._offline_response == 2))
        self._asb_sent = now
        self._was_offline = condition.offline
        if condition.describe() != self._told:
            self._told = condition.describe()
            self._say("state", **self._told)

    # -- faults and healing --------------------------------------------------------------------------------------

    def _strike(self, fault: Fault) -> None:
        self._say("fault", fault=fault.name.value, spec=fault.spec, dots=self._mechanics.dots, cuts=self._paper.cuts)
        heal = {
            FaultName.PAPER_OUT: "load-paper", FaultName.NEAR_END: "load-paper", FaultName.COVER: "close-cover",
            FaultName.CUTTER: "clear-jam", FaultName.HEAD_HOT: "cool", FaultName.POWER: "power-on",
        }.get(fault.name)  # fmt: skip
        if heal is not None and "heal" in fault.options:
            self.healing.append((fault.options["heal"], heal))
        match fault.name:
            case FaultName.PAPER_OUT:
                self.condition.paper_end = True
            case FaultName.NEAR_END:
                self.condition.near_end = True
            case FaultName.COVER:
                self._open_cover()
            case FaultName.CUTTER:
                self._jammed = self.condition.cutter_error = True
            case FaultName.HEAD_HOT:
                self.condition.head_hot = True
            case FaultName.UNRECOVERABLE:
                self.condition.unrecoverable = True
            case FaultName.POWER:
                self._power_off()
                return
            case FaultName.STALL:
                self.stall_seconds = fault.options.get("seconds", 10.0)
                return
            case _:
                return
        self._changed()

    def _open_cover(self) -> None:
        self.condition.cover_open = True
        self.condition.opened_while_printing = not self._mechanics.idle

    def _power_off(self) -> None:
        self.condition.powered = False
        self._interpreter.power_off()
        self._mechanics.clear()
        self._scanner.forget()
        self._offline_response = 0
        self._tear("power")
        self._changed()

    def _load_paper(self) -> None:
        self._tear("paper-out" if self.condition.paper_end else "roll-changed")
        self._paper.fresh()
        self.condition.paper_end = self.condition.near_end = False

    def _power_on(self) -> None:
        # The cause of an unrecoverable error is gone by decree; a jam, an empty roll and an open cover stay.
        self.condition.powered = True
        self.condition.unrecoverable = self.condition.opened_while_printing = False
        self.condition.cutter_error = self._jammed

    def obey(self, command: dict[str, Any]) -> None:
        """Do what a line on standard input says. Raises BadSpec for one that is not understood."""
        verb = command.get("do")
        match verb:
            case "load-paper":
                self._load_paper()
            case "open-cover":
                self._open_cover()
            case "close-cover":
                self.condition.cover_open = self.condition.opened_while_printing = False
            case "clear-jam":
                self._jammed = False
            case "cool":
                self.condition.head_hot = False
            case "power-off":
                if self.condition.powered:
                    self._power_off()
            case "power-on":
                self._power_on()
            case "fault":
                fault = faults.parse(str(command.get("spec")))
                self.schedule.add(fault)
                self.start()
            case "heal":
                self.schedule.remove(self._name(command.get("fault")))
            case "status":
                self._say("state", **self.condition.describe())
            case _:
                allowed = (
                    "load-paper, open-cover, close-cover, clear-jam, cool, power-off, power-on, fault, heal, status"
                )
                raise BadSpec(f'unknown command {command}; {{"do": ...}} takes {allowed}')
        self._changed()

    @staticmethod
    def _name(text: object) -> FaultName:
        try:
            return FaultName(str(text))
        except ValueError:
            raise BadSpec(f"no fault {text!r}; one of {', '.join(FaultName)}") from None
