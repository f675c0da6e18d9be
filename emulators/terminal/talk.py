"""One till's line while it lasts: asking and being answered, and what the terminal remembers between lines.

The till is master until it sends a command; from our 80 00 00 to our 06 0F or 06 1E the terminal is.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from emulators.events import Events
from emulators.terminal import messages, sequence
from emulators.terminal.apdu import ACK, Apdu, nak
from emulators.terminal.faults import Faults, Personality
from emulators.terminal.ledger import Ledger
from emulators.terminal.line import Line, SerialLine
from emulators.terminal.messages import Identity

T3_S = 5.0  # how long the other side may take to answer a message


class Act(StrEnum):
    """What a customer does at the terminal."""

    PRESENT = "present"
    CANCEL = "cancel"
    DECLINE = "decline"


@dataclass(frozen=True, slots=True)
class Customer:
    act: Act
    code: int = 0


@dataclass(frozen=True, slots=True)
class Registration:
    """What the till asked for with 06 00."""

    config: int
    currency: int
    text_blocks: bool
    sequence: bool = False

    @property
    def intermediate(self) -> bool:
        return self.config & 0x08 != 0

    @property
    def receipts(self) -> bool:
        """Whether payment receipts are sent to the till: it prints them, and wants them as lines."""
        return self.config & 0x02 != 0 and self.config & 0x80 != 0

    @property
    def admin_receipts(self) -> bool:
        return self.config & 0x04 != 0 and self.config & 0x80 != 0


@dataclass(slots=True)
class Terminal:
    """All that outlives a line. Only the ledger outlives the process."""

    who: Identity
    ledger: Ledger
    faults: Faults
    events: Events
    now: Callable[[], datetime]
    password: str
    currencies: tuple[int, ...] = (392,)
    brand: str = "VISA"
    personality: Personality = Personality.REVERSE
    pause_s: float = 0.4
    host_s: float = 0.1
    repeat_s: float = 2.0
    attended: bool = False
    registration: Registration | None = None
    payments: int = 0
    frames: int = 0
    late: Apdu | None = None
    deaf_until_s: float = 0.0  # on the loop's clock
    t3_s: float = T3_S
    customer: "asyncio.Queue[Customer]" = field(default_factory=asyncio.Queue)


class Talk:
    """A conversation over one line."""

    def __init__(self, terminal: Terminal, line: Line) -> None:
        self.terminal = terminal
        self.line = line
        self.abort_wanted = False
        self.abortable = False  # before the host has been asked
        self._command: Apdu | None = None  # the command being worked on, to know its repetition
        self._answer: Apdu | None = None
        self._number_of_command = 0
        self._number = 0  # the last message sequence id of either side
        self._asked = 0  # the id of our message that waits for its answer

    @property
    def numbered(self) -> bool:
        return self.terminal.registration is not None and self.terminal.registration.sequence

    async def receive_command(self) -> Apdu:
        """Wait for the next command; stray answers between commands are dropped."""
        while True:
            apdu = await self.line.receive(None)
            assert apdu is not None
            if apdu.is_answer:
                continue
            if self.numbered and apdu.control != 0x0600:
                number = sequence.number_of(apdu)
                if number is None:
                    self.terminal.events.say("error", why=f"{apdu.name} without a sequence id", code="no_sequence_id")
                elif number == self._number_of_command and apdu == self._command:
                    await self.line.send(self._answer or ACK)  # the same command again: said again, not done again
                    continue
                else:
                    self._number = self._number_of_command = number
            self._command = apdu
            self.abort_wanted = self.abortable = False
            return apdu

    async def answer(self, apdu: Apdu) -> None:
        """The 80 or 84 to the command; it echoes the command's sequence id."""
        if self.numbered and self._command is not None and self._command.control != 0x0600:
            apdu = sequence.stamped(apdu, self._number_of_command)
        self._answer = apdu
        await self.line.send(apdu)

    async def interrupted(self, apdu: Apdu) -> None:
        """A command that came while the terminal is master: an abort, a repetition, or out of turn."""
        if apdu.control == 0x06B0:
            self.abort_wanted = self.abort_wanted or self.abortable
            answer = ACK if self.abortable else nak(0x83)
            number = sequence.number_of(apdu)
            if self.numbered and number is not None:
                self._number = max(self._number, number)
                answer = sequence.stamped(answer, number)
            await self.line.send(answer)
        elif apdu == self._command and (isinstance(self.line, SerialLine) or self.numbered):
            await self.line.send(self._answer or ACK)
        elif not apdu.is_answer:
            await self.line.send(nak(0x9C))

    async def ask(self, apdu: Apdu, timeout_s: float | None = None) -> Apdu | None:
        """Send a message and wait for its answer (T3); None when none came in time. Raises LineLost."""
        if self.numbered and self._number:
            self._number = self._asked = sequence.after(self._number)
            apdu = sequence.stamped(apdu, self._number)
        await self.line.send(apdu)
        return await self.await_answer(self.terminal.t3_s if timeout_s is None else timeout_s)

    async def await_answer(self, timeout_s: float) -> Apdu | None:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while (left := end - loop.time()) > 0:
            apdu = await self.line.receive(left)
            if apdu is None:
                return None
            if apdu.is_answer:
                if self.numbered and self._asked and sequence.number_of(apdu) not in {None, self._asked}:
                    self.terminal.events.say("stale", hex=apdu.shown())  # the answer to another message
                    continue
                return apdu
            await self.interrupted(apdu)
        return None

    async def pause(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass with an ear for the till; ends early when it wants an abort or `until` holds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not self.abort_wanted and not until() and (left := end - loop.time()) > 0:
            apdu = await self.line.receive(min(left, 0.05))
            if apdu is not None:
                await self.interrupted(apdu)

    async def tell(self, status: int) -> None:
        """04 FF, if the till wanted such. Its answer is waited for, but nothing hangs on it."""
        registration = self.terminal.registration
        if registration is not None and registration.intermediate:
            await self.ask(messages.intermediate(status))

    async def complete(self, data: bytes = b"") -> None:
        await self.ask(messages.completion(data))

    async def fail(self, code: int) -> None:
        """06 1E."""
        await self.ask(messages.abort(code))

    async def print_receipt(self, lines: list[str], *, receipt_type: int) -> str | None:
        """Send a receipt as the till wants it. None when all was acknowledged, else why not."""
        registration = self.terminal.registration
        if registration is None:
            return None
        if registration.text_blocks:
            parts = [messages.text_block(lines, receipt_type=receipt_type)]
        else:
            parts = messages.print_lines(lines)
        for part in parts:
            answer = await self.ask(part)
            if answer is None:
                return "no-answer"
            if answer.control not in {0x8000, 0x8400}:
                return f"till said {answer.control & 0xFF:02X}"
        return None
