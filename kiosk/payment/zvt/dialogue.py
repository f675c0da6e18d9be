"""One command and everything the terminal says until it hands the turn back.

The kiosk is master until it sends a command; then the terminal is, until 06 0F or 06 1E. Each of its units gets exactly one
answer, at once; only the answer to a 04 0F is the caller's, because money hangs on it. Whatever comes out of turn ends the
connection: answering an unknown 04 0F would confirm an unknown charge.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from kiosk.payment.errors import TerminalLinkError, TerminalSilentError
from kiosk.payment.zvt import codes, commands, messages, sequence
from kiosk.payment.zvt.apdu import Apdu
from kiosk.payment.zvt.describe import describe
from kiosk.payment.zvt.link import Link
from kiosk.payment.zvt.messages import Intermediate, PrintedText, ReceiptKind
from kiosk.payment.zvt.timers import Timers

log = structlog.get_logger()

_TURN_ENDS = frozenset({messages.COMPLETION, messages.ABORTED})
_PRINTS = frozenset({messages.PRINT_LINE, messages.PRINT_TEXT_BLOCK})
_TWIN_WITHIN_S = 0.05
"""A second, equal 04 FF so soon was on its way before our answer: answering it would leave a consent too many on the wire."""
_TRACE_MAX = 60
RECEIPT_LINES_MAX = 600
"""More than any receipt has: a terminal that prints on and on is told that there is no more paper (84 CC)."""


class Wire:
    """A link with memory: what was received last, whether we have spoken since, and the masked trace of both."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._last: Apdu | None = None
        self._ahead: deque[Apdu] = deque()
        self._spoke_since = True
        self._spoke_at_s = 0.0
        self._number: int | None = None  # the last sequence id of either side; None: not agreed
        self._asked: int | None = None  # the id of our command that is to be answered
        self._answered: tuple[int, Apdu] | None = None  # the last id we answered, and what we said
        self.trace: deque[str] = deque(maxlen=_TRACE_MAX)

    @property
    def is_open(self) -> bool:
        return self._link.is_open

    def open(self) -> None:
        self._link.open()
        self._ahead.clear()
        self._last, self._spoke_since = None, True
        self._number = self._asked = self._answered = None

    def number_from_now_on(self) -> None:
        """Both sides have agreed on sequence ids: from the next command on (chapter 5.1)."""
        self._number = 0

    @property
    def is_numbered(self) -> bool:
        return self._number is not None

    def close(self) -> None:
        self._link.close()

    def send(self, unit: Apdu) -> None:
        """Say `unit`. What has come twice before it is one question, and gets one answer."""
        self._drop_twins()
        unit = self._numbered(unit)
        line = describe(unit)
        self.trace.append(f"> {line}")
        log.debug("zvt_frame", sent=line)
        self._link.send(unit)
        self._spoke_since, self._spoke_at_s = True, time.monotonic()

    def receive(self, timeout_s: float) -> Apdu | None:
        """The next unit that is no duplicate: the same unit again, before we said anything, was sent twice."""
        unit = self._ahead.popleft() if self._ahead else self._link.receive(timeout_s)
        if unit is None:
            return None
        line = describe(unit)
        if unit == self._last and (not self._spoke_since or self._is_twin(unit)):
            self.trace.append(f"< {line} (again)")
            return None
        if not self._is_next(unit, line):
            return None
        self.trace.append(f"< {line}")
        log.debug("zvt_frame", received=line)
        self._last, self._spoke_since = unit, False
        return unit

    def _numbered(self, unit: Apdu) -> Apdu:
        """The unit with its id: a command of ours takes the next one, an answer echoes the one it answers."""
        if self._number is None:
            return unit
        if not unit.is_answer:
            self._number = self._asked = sequence.after(self._number)
            return sequence.stamped(unit, self._number)
        said = None if self._last is None else sequence.number_of(self._last)
        if said is None:
            return unit
        unit = sequence.stamped(unit, said)
        self._answered = (said, unit)
        return unit

    def _is_next(self, unit: Apdu, line: str) -> bool:
        """Whether a numbered unit is new: what was answered is answered again in the same words, and done once."""
        number = None if self._number is None else sequence.number_of(unit)
        if number is None:
            return True
        if unit.is_answer:
            if number == self._asked:
                return True
            self.trace.append(f"< {line} (to another)")
            return False
        if self._answered is not None and self._answered[0] == number:
            self.trace.append(f"< {line} (again)")
            self._link.send(self._answered[1])
            return False
        self._number = number
        return True

    @property
    def last(self) -> Apdu | None:
        """The last unit received."""
        return self._last

    def is_quiet(self) -> bool:
        """Nobody has spoken out of turn since the last dialogue, and the line still stands."""
        if not self._link.is_open:
            return False
        try:
            while (unit := self._ahead.popleft() if self._ahead else self._link.receive(0)) is not None:
                if unit != self._last:
                    self.trace.append(f"< {describe(unit)} (out of turn)")
                    return False
        except TerminalLinkError:
            return False
        return True

    def _drop_twins(self) -> None:
        if self._spoke_since or self._ahead:
            return
        while (unit := self._link.receive(0)) is not None:
            if unit != self._last:
                self._ahead.append(unit)
                return
            self.trace.append(f"< {describe(unit)} (again)")

    def _is_twin(self, unit: Apdu) -> bool:
        return unit.control == messages.INTERMEDIATE and time.monotonic() - self._spoke_at_s < _TWIN_WITHIN_S


@dataclass(slots=True)
class Receipts:
    """The lines a terminal sends, sorted into the guest's and the merchant's paper.

    Where the terminal does not say which it is, the merchant's comes first and the guest's second (two receipts), or the
    guest's alone (one).
    """

    _told: dict[ReceiptKind, list[str]] = field(default_factory=dict)
    _untold: list[list[str]] = field(default_factory=list)
    _fresh: bool = True
    lines: int = 0

    def add(self, part: PrintedText) -> None:
        self.lines += len(part.lines)
        if part.kind is not None:
            self._told.setdefault(part.kind, []).extend(part.lines)
            return
        if self._fresh and part.lines:
            self._untold.append([])
            self._fresh = False
        if self._untold:
            self._untold[-1].extend(part.lines)
        self._fresh = self._fresh or part.ends

    @property
    def customer(self) -> str | None:
        return _joined(self._told.get(ReceiptKind.CUSTOMER) or (self._untold[-1] if self._untold else None))

    @property
    def merchant(self) -> str | None:
        return _joined(self._told.get(ReceiptKind.MERCHANT) or (self._untold[0] if len(self._untold) > 1 else None))


def _joined(lines: list[str] | None) -> str | None:
    return "\n".join(line.rstrip() for line in lines).strip("\n") or None if lines else None


class Dialogue:
    """One command's conversation. `watch` gets every 04 FF; `stop` set from another thread asks the terminal to abort."""

    def __init__(
        self,
        wire: Wire,
        timers: Timers,
        *,
        charset: str,
        watch: Callable[[Intermediate], None] | None = None,
        stop: threading.Event | None = None,
        deadline_s: float | None = None,
    ) -> None:
        self._wire, self._timers, self._charset, self._watch = wire, timers, charset, watch
        self._stop = stop
        self._stop_at_s = None if deadline_s is None else time.monotonic() + deadline_s
        self._abort_sent = False
        self._at_host = False  # from here on a terminal refuses 06 B0
        self._answered: Apdu | None = None
        self._t4_s = timers.t4_s
        self.receipts = Receipts()

    def start(self, command: Apdu) -> Apdu:
        """Send and wait T3 for 80 00 or 84 xx. Raises TerminalSilentError or another TerminalLinkError."""
        ended_before = self._wire.last
        self._wire.send(command)
        until = time.monotonic() + self._timers.t3_s
        while (left_s := until - time.monotonic()) > 0:
            unit = self._wire.receive(min(left_s, self._timers.poll_s))
            if unit is None:
                continue
            if unit.is_answer:
                self._answered = unit
                return unit
            if unit.control in _TURN_ENDS and unit == ended_before:
                continue  # the end of the dialogue before, sent twice
            raise TerminalLinkError(f"out of turn: {describe(unit)}")
        raise TerminalSilentError(f"no answer within {self._timers.t3_s} s to {describe(command)}")

    def next(self, *, within_s: float | None = None) -> Apdu:
        """The next 04 0F (to be answered by the caller), 06 0F or 06 1E (answered here). T4 runs anew with every unit.

        Raises TerminalSilentError after T4, or `within_s`; another TerminalLinkError when the line is lost.
        """
        quiet_since_s = time.monotonic()
        while time.monotonic() - quiet_since_s < (within_s if within_s is not None else self._t4_s):
            self._maybe_abort()
            unit = self._wire.receive(self._timers.poll_s)
            if unit is None:
                continue
            quiet_since_s = time.monotonic()
            if unit.control == messages.STATUS_INFO:
                return unit
            if unit.control in _TURN_ENDS:
                self._answer_end()
                return unit
            self._take(unit)
        raise TerminalSilentError("the terminal did not finish")

    def answer(self, unit: Apdu) -> None:
        self._wire.send(unit)

    def disarm(self) -> None:
        """From here on nobody asks the terminal to abort: the payment is approved."""
        self._stop = self._stop_at_s = None

    def _answer_end(self) -> None:
        try:
            self._wire.send(commands.OK)
        except TerminalLinkError:
            # What the terminal had to say is said; that it misses our "understood" changes nothing.
            self._wire.close()

    def _take(self, unit: Apdu) -> None:
        if unit.is_answer:
            if not self._abort_sent and unit != self._answered:
                raise TerminalLinkError(f"an answer to nothing: {describe(unit)}")
            # To our 06 B0: whether it helped shows in what follows. Or our command reached the terminal twice (an
            # acknowledgement got lost on a serial line) and it said again what it had said.
            return
        if unit.control == messages.INTERMEDIATE:
            state = messages.intermediate(unit, charset=self._charset)
            self._t4_s = state.t4_s or self._timers.t4_s
            self._at_host = self._at_host or state.status in codes.NO_MORE_CANCEL
            self._wire.send(commands.OK)
            if self._watch is not None:
                self._watch(state)
        elif unit.control in _PRINTS:
            self.receipts.add(messages.printed(unit, charset=self._charset))
            self._wire.send(commands.OK if self.receipts.lines <= RECEIPT_LINES_MAX else commands.CANNOT_PRINT)
        elif unit.control == messages.SET_CLOCK:
            self._wire.send(commands.OK)
        else:
            self._wire.send(commands.NOT_SUPPORTED)

    def _maybe_abort(self) -> None:
        if self._abort_sent or self._at_host:
            return
        late = self._stop_at_s is not None and time.monotonic() >= self._stop_at_s
        if late or (self._stop is not None and self._stop.is_set()):
            self._abort_sent = True
            self._wire.send(commands.abort())
