"""The grammar of the terminal's `--fault SPEC`, and which fault is due. It sends nothing.

SPEC = NAME ["=" VALUE] ["@payment=N" | "@frame=N"] [":" PERSONALITY] [":always"]

Without @payment=N a payment fault strikes the next payment, once; with ":always" every payment.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from emulators.errors import BadSpec

GRAMMAR = """faults (--fault SPEC, repeatable; also {"do": "fault", "spec": SPEC} on standard input):
 of one payment (the next one, or @payment=N counted from the start, or :always)
  decline=CODE          the host declines; CODE is a hexadecimal result code (05, 71)
  cancel                the customer presses the red key before the host is asked (6C)
  no-answer[=CTRL]      a command is never answered (0601, or CTRL: 0620, 0630, ...)
  busy[=CTRL]           a command is answered 84 9C
  not-supported=CTRL    a command is answered 84 83
  lost-before-host      the line breaks before the host is asked: no charge
  lost-after-host-before-status   the line breaks when the host has said yes and 04 0F has not been sent
  lost-after-status     the line breaks right after 04 0F
  ack-lost[:P]          the till's answer to 04 0F is lost with the line; P is the personality, see below
  lost-before-lines     the line breaks after the goods were confirmed, before the receipt: reversed
  lost-before-completion   the payment is stored, then the line breaks before 06 0F
  late-status           the payment's 04 0F comes only in the next transaction, before its own
  wrong-amount          the terminal charges and reports one unit more than it was asked for
  no-paper              06 01 is answered 84 CC: the printer is not ready
  slow-host=MS          the host takes MS longer
  more-time=MIN         04 FF carries a new T4 of MIN minutes before the host is asked
  impatient=N           only N answers "wait" (84 9C) are taken, whatever field 02 allowed; then reversed
  other-till[=AMOUNT]   right after this payment another till's payment is charged (of the same amount)
 lasting, until {"do": "heal", "fault": NAME}
  needs-eod             05 01 says F0 and payments are refused until an end of day
  slow=MS               every message leaves MS late
  banner                bytes that are no ZVT greet each new TCP client
  split                 messages leave byte by byte
  glue                  TCP: 80 00 00 leaves in one piece with the message after it
  repeat-none           06 20 has nothing to tell (06 1E)
  repeat-old            06 20 tells of the transaction before the last one
  repeat-wrong-tid, repeat-wrong-amount   06 20 tells of another terminal, of another amount
  repeat-silent         06 20 completes without 04 0F
  reversal=B4|B5        06 30 is refused with that code, nothing is reversed
  reversal-silent       06 30 is done, the line breaks before it is told
  reversal-wrong        06 30 takes back the last charge, whatever receipt number and amount it was asked for
  status=CODE           05 01 answers CODE (9C, DC, DF, ...)
  eod-reboot=MS         06 50 ends with 06 0F FC, then the terminal is deaf for MS
  clock-jump=SECONDS    the terminal's clock is off by so much (may be negative)
  no-sequence           1F73 is not echoed: the terminal knows no message sequence ids
 of the process and the serial line
  die@frame=N           the process kills itself at the N-th message (in or out), before handling or sending it
  cut@frame=N           the line breaks at the N-th message, before handling or sending it
  twice@frame=N         TCP: the N-th message leaves twice
  bad-crc[=K]@frame=N   serial: the N-th message leaves K times (1) with a wrong checksum; three times end the line
  no-ack@frame=N        serial: the till's next block after message N is taken but not acknowledged
  lost-ack@frame=N      serial: the till's acknowledgement of the N-th message is lost, it comes again after T2
  nak[=K]@frame=N       serial: the till's next K blocks (1) after message N arrive broken
P, also --personality: what becomes of an approved payment whose till fell silent: reverse (the standard, 2.2.8),
decline (card complete: as reverse, but booked as declined; refuses an order number twice, B4, where 1F15 asks for it),
keep (stored; reversed if the till's next 1F1F shows it never heard of it)"""


class Personality(StrEnum):
    REVERSE = "reverse"
    DECLINE = "decline"
    KEEP = "keep"


PAYMENT = {
    "decline", "cancel", "no-answer", "busy", "not-supported", "lost-before-host", "lost-after-host-before-status",
    "lost-after-status", "ack-lost", "lost-before-lines", "lost-before-completion", "late-status", "wrong-amount",
    "no-paper", "slow-host", "more-time", "impatient", "other-till",
}  # fmt: skip
LASTING = {
    "needs-eod", "slow", "banner", "split", "glue", "repeat-none", "repeat-old", "repeat-wrong-tid",
    "repeat-wrong-amount", "repeat-silent", "reversal", "reversal-silent", "reversal-wrong", "status", "eod-reboot",
    "clock-jump", "no-sequence",
}  # fmt: skip
FRAME = {"die", "cut", "twice", "bad-crc", "no-ack", "lost-ack", "nak"}
NUMBERED = {"slow", "slow-host", "more-time", "impatient", "other-till", "eod-reboot", "bad-crc", "nak"}
NEED_VALUE = {
    "decline", "slow", "reversal", "not-supported", "slow-host", "more-time", "impatient", "status", "eod-reboot", "clock-jump",
}  # fmt: skip
MAY_HAVE_VALUE = {*NEED_VALUE, "no-answer", "busy", "cancel", "other-till", "bad-crc", "nak"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One parsed SPEC. `at` counts payments or frames from 1; None is the next occasion."""

    spec: str
    name: str
    value: str = ""
    at: int | None = None
    personality: Personality | None = None
    always: bool = False


def parse(spec: str) -> Fault:
    """Parse one SPEC. Raises BadSpec with one line that says what is allowed."""
    head, *options = spec.split(":")
    head, _, trigger = head.partition("@")
    name, _, value = head.partition("=")
    if name not in PAYMENT | LASTING | FRAME:
        raise BadSpec(f"fault {spec!r}: unknown name {name!r}; one of {', '.join(sorted(PAYMENT | LASTING | FRAME))}")
    if value and name not in MAY_HAVE_VALUE:
        raise BadSpec(f"fault {spec!r}: {name} takes no value")
    check_value(spec, name, value)
    at = None
    if trigger:
        which, _, count = trigger.partition("=")
        wanted = "frame" if name in FRAME else "payment"
        if which != wanted or not count.isdecimal() or int(count) < 1 or name in LASTING:
            allowed = "no trigger" if name in LASTING else f"@{wanted}=N with N from 1"
            raise BadSpec(f"fault {spec!r}: {name} takes {allowed}")
        at = int(count)
    elif name in FRAME:
        raise BadSpec(f"fault {spec!r}: {name} needs @frame=N")
    personality, always = None, False
    for option in options:
        if option == "always" and name in PAYMENT:
            always = True
        elif option in set(Personality) and name == "ack-lost":
            personality = Personality(option)
        else:
            raise BadSpec(f"fault {spec!r}: unknown option {option!r}")
    return Fault(spec, name, value, at, personality, always)


def check_value(spec: str, name: str, value: str) -> None:
    hexadecimal = all(c in "0123456789abcdefABCDEF" for c in value)
    digits = {"decline": 2, "cancel": 2, "reversal": 2, "status": 2, "no-answer": 4, "busy": 4, "not-supported": 4}.get(
        name
    )
    if digits is not None and (value or name in NEED_VALUE) and (len(value) != digits or not hexadecimal):
        raise BadSpec(f"fault {spec!r}: {name} takes {digits} hexadecimal digits")
    if name in NUMBERED and (value or name in NEED_VALUE) and not value.isdecimal():
        raise BadSpec(f"fault {spec!r}: {name} takes a number")
    if name == "more-time" and not 1 <= int(value) <= 99:
        raise BadSpec(f"fault {spec!r}: more-time takes 1 to 99 minutes")
    if name == "clock-jump" and not value.removeprefix("-").isdecimal():
        raise BadSpec(f"fault {spec!r}: clock-jump takes seconds")


def listed() -> list[dict[str, str]]:
    """Every name, what it strikes, and its line of the grammar."""
    told = {}
    for line in GRAMMAR.splitlines():
        names, _, text = line.strip().partition("  ")
        for name in names.split(", "):
            told[name.partition("=")[0].partition("@")[0].partition("[")[0]] = text.strip()
    kinds = ((PAYMENT, "payment"), (LASTING, "lasting"), (FRAME, "frame"))
    return [{"fault": name, "of": kind, "does": told.get(name, "")} for names, kind in kinds for name in sorted(names)]


class Faults:
    """Those that wait. `payment` and `frame` counts come from the caller."""

    def __init__(self, first: list[Fault]) -> None:
        self._waiting: list[Fault] = []
        for fault in first:
            self.add(fault)

    def add(self, fault: Fault) -> None:
        if fault.name in LASTING:
            self.heal(fault.name)
        self._waiting.append(fault)

    def heal(self, name: str) -> None:
        self._waiting = [fault for fault in self._waiting if fault.name != name]

    def lasting(self, name: str) -> Fault | None:
        return next((fault for fault in self._waiting if fault.name == name), None)

    def of_payment(self, name: str, payment: int) -> Fault | None:
        """Take the fault of this name that is due in payment number `payment`, if any."""
        return self._take(lambda fault: fault.name == name and fault.at in {None, payment})

    def of_command(self, name: str, control: int, payment: int) -> Fault | None:
        """The same for the faults that name a command (0601 if they name none)."""
        return self._take(
            lambda fault: (
                fault.name == name and int(fault.value or "0601", 16) == control and fault.at in {None, payment}
            )
        )

    def of_frame(self, name: str, frame: int) -> Fault | None:
        return self._take(lambda fault: fault.name == name and fault.at == frame)

    def _take(self, due: Callable[[Fault], bool]) -> Fault | None:
        for fault in self._waiting:
            if due(fault):
                if not fault.always:
                    self._waiting.remove(fault)
                return fault
        return None
