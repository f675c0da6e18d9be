"""The grammar of `--fault SPEC`, and when each fault is due. It decides nothing about paper.

SPEC   = NAME ["=" VALUE] ["@" TRIGGER "=" N] {":" KEY "=" VALUE}

TRIGGER counts since the program started: dots (of paper moved), cut (cuts made), mark (process ids reached; the fault
comes before the reply), byte (bytes received). Without a trigger the fault is there from the start, or, given on
standard input, at once. Every fault but the reply faults takes `:heal=SECONDS`, after which it ends by itself.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from emulators.errors import BadSpec

GRAMMAR = """faults (--fault SPEC, repeatable; also {"do": "fault", "spec": SPEC} on standard input):
  paper-out[@T]        the roll ends: printing stops there, offline, data kept; healed by {"do": "load-paper"}
  near-end[@T]         the near-end sensor; printing goes on; healed by load-paper
  cover[@T]            the cover is opened; healed by {"do": "close-cover"}
  cutter[@cut=N]       the cutter jams when it should make cut N (or the next one); {"do": "clear-jam"}, then the host's
                       DLE ENQ 1 (makes the cut) or DLE ENQ 2 (clears)
  head-hot[@T]         the head is too hot; healed by {"do": "cool"}
  unrecoverable[@T]    only power off and on helps
  power[@T]            power lost: link reset, buffers and modes forgotten; healed by {"do": "power-on"}
  stall[@T]:seconds=S  nothing is read or answered for S seconds (10); what was read is printed
  no-process-id        GS ( H is skipped and never answered, as by older models
  mute                 nothing is ever answered, as by one-way clones
  reply-late=MS        each process id reply comes MS later, other replies overtake it
  reply-lost@n=K       the K-th process id reply is lost (without @n: the next one)
  reply-split          replies come byte by byte
  reply-merge          process id replies wait for the next other reply or 200 ms, then come in one piece with it
where @T is @dots=N, @cut=N, @mark=N or @byte=N (see emulators/printer/faults.py); every mechanical fault and power
take :heal=SECONDS"""


class FaultName(StrEnum):
    PAPER_OUT = "paper-out"
    NEAR_END = "near-end"
    COVER = "cover"
    CUTTER = "cutter"
    HEAD_HOT = "head-hot"
    UNRECOVERABLE = "unrecoverable"
    POWER = "power"
    STALL = "stall"
    NO_PROCESS_ID = "no-process-id"
    MUTE = "mute"
    REPLY_LATE = "reply-late"
    REPLY_LOST = "reply-lost"
    REPLY_SPLIT = "reply-split"
    REPLY_MERGE = "reply-merge"


class Trigger(StrEnum):
    DOTS = "dots"
    CUT = "cut"
    MARK = "mark"
    BYTE = "byte"
    N = "n"


MOVING = (Trigger.DOTS, Trigger.CUT, Trigger.MARK, Trigger.BYTE)
ALLOWED: dict[FaultName, tuple[Trigger, ...]] = {
    FaultName.PAPER_OUT: MOVING,
    FaultName.NEAR_END: MOVING,
    FaultName.COVER: MOVING,
    FaultName.CUTTER: (Trigger.CUT,),
    FaultName.HEAD_HOT: MOVING,
    FaultName.UNRECOVERABLE: MOVING,
    FaultName.POWER: MOVING,
    FaultName.STALL: MOVING,
    FaultName.NO_PROCESS_ID: (),
    FaultName.MUTE: (),
    FaultName.REPLY_LATE: (),
    FaultName.REPLY_LOST: (Trigger.N,),
    FaultName.REPLY_SPLIT: (),
    FaultName.REPLY_MERGE: (),
}
OPTIONS: dict[FaultName, tuple[str, ...]] = {
    name: ("seconds",)
    if name is FaultName.STALL
    else ("heal",)
    if Trigger.DOTS in ALLOWED[name] or name is FaultName.CUTTER
    else ()
    for name in FaultName
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One parsed SPEC. `at` is the trigger's count, None without a trigger."""

    spec: str
    name: FaultName
    value: float | None = None
    trigger: Trigger | None = None
    at: int | None = None
    options: dict[str, float] = field(default_factory=dict)


def parse(spec: str) -> Fault:
    """Parse one SPEC. Raises BadSpec with one line that says what is allowed."""
    head, *options = spec.split(":")
    head, _, trigger_text = head.partition("@")
    word, equals, value_text = head.partition("=")
    try:
        name = FaultName(word)
    except ValueError:
        raise BadSpec(f"fault {spec!r}: unknown name {word!r}; one of {', '.join(FaultName)}") from None
    value: float | None = None
    if name is FaultName.REPLY_LATE:
        value = number(spec, "reply-late", value_text)
    elif equals:
        raise BadSpec(f"fault {spec!r}: {name} takes no value")
    trigger, at = None, None
    if trigger_text:
        which, _, count = trigger_text.partition("=")
        if which not in ALLOWED[name]:
            allowed = ", ".join(f"@{t}=N" for t in ALLOWED[name]) or "no trigger"
            raise BadSpec(f"fault {spec!r}: {name} takes {allowed}")
        trigger, at = Trigger(which), int(number(spec, which, count))
    found = {}
    for option in options:
        key, _, text = option.partition("=")
        if key not in OPTIONS[name]:
            allowed = ", ".join(f":{o}=N" for o in OPTIONS[name]) or "no options"
            raise BadSpec(f"fault {spec!r}: {name} takes {allowed}")
        found[key] = number(spec, key, text)
    return Fault(spec, name, value, trigger, at, found)


def number(spec: str, what: str, text: str) -> float:
    """A number of zero or more, or BadSpec."""
    try:
        found = float(text)
    except ValueError:
        found = -1
    if not 0 <= found < 1e12:
        raise BadSpec(f"fault {spec!r}: {what} needs a number, zero or more")
    return found


class Schedule:
    """Faults that wait for their count, and the lasting ones that simply hold."""

    def __init__(self, faults: list[Fault]) -> None:
        self._waiting = list(faults)
        self.lasting: dict[FaultName, Fault] = {}
        for fault in faults:
            if self._lasts(fault):
                self._waiting.remove(fault)
                self.lasting[fault.name] = fault

    @staticmethod
    def _lasts(fault: Fault) -> bool:
        return fault.name in {
            FaultName.NO_PROCESS_ID,
            FaultName.MUTE,
            FaultName.REPLY_LATE,
            FaultName.REPLY_SPLIT,
            FaultName.REPLY_MERGE,
        }

    def add(self, fault: Fault) -> None:
        if self._lasts(fault):
            self.lasting[fault.name] = fault
        else:
            self._waiting.append(fault)

    def remove(self, name: FaultName) -> None:
        """Forget faults of this name that have not come yet, and end a lasting one."""
        self._waiting = [fault for fault in self._waiting if fault.name is not name]
        self.lasting.pop(name, None)

    def holds(self, name: FaultName) -> bool:
        return name in self.lasting

    def distance(self, trigger: Trigger, count: int) -> int | None:
        """How far the next fault of this trigger is from `count`; None if none waits. Never below 0."""
        waiting = [fault.at for fault in self._waiting if fault.trigger is trigger and fault.at is not None]
        return max(0, min(waiting) - count) if waiting else None

    def due(self, trigger: Trigger | None, count: int = 0) -> list[Fault]:
        """Take out the faults whose count is reached, or with trigger None those that have no trigger."""
        # A cutter jam and a lost reply belong to one act; the acts ask for them by name.
        found = [
            fault
            for fault in self._waiting
            if fault.name not in {FaultName.CUTTER, FaultName.REPLY_LOST}
            and fault.trigger is trigger
            and (fault.at is None or fault.at <= count)
        ]
        for fault in found:
            self._waiting.remove(fault)
        return found

    def take(self, name: FaultName, count: int) -> Fault | None:
        """Take out a fault of this name whose count is `count`, or which waits for the next occasion."""
        for fault in self._waiting:
            if fault.name is name and fault.at in {None, count}:
                self._waiting.remove(fault)
                return fault
        return None
