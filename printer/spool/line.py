"""The line to the printer: keeps it open, asks how the printer is, and knows when it has stopped answering.

It reports what is so and decides nothing about paper. Silence makes what was well unknown; what was bad stays bad.
"""

from __future__ import annotations

from collections.abc import Iterator

import structlog

from printer.encode import commands
from printer.errors import LinkError
from printer.link import Link
from printer.profile import Profile
from printer.status import Automatic, Demultiplexer, Event, PrinterState, Questions, heard
from tickets.clock import Clock

ASK_EVERY_S = 0.5
SILENT_AFTER_S = 3.0
"""Longer than the printing of a long receipt, behind which an answer may stand on TCP."""

RETRY_FIRST_S, RETRY_MAX_S = 0.25, 4.0

log = structlog.get_logger()


class Line:
    """Not thread-safe; everything may raise LinkError, after which `lost` must be called."""

    def __init__(self, link: Link, profile: Profile, clock: Clock) -> None:
        self._link = link
        self._profile = profile
        self._clock = clock
        self._demultiplexer = Demultiplexer()
        self._questions = Questions()
        self._outbox = bytearray()
        self._before_document: int | None = None
        self._asked_at_s = self._heard_at_s = 0.0
        self._barrier = False
        self._retry_s = RETRY_FIRST_S
        self._retry_at_s = 0.0
        self.up = False
        self.silent = False
        self.state = PrinterState()

    @property
    def asks(self) -> bool:
        """Whether this printer can say how it is."""
        return self._link.answers and (self._profile.status or self._profile.asb)

    @property
    def falls_with_power(self) -> bool:
        return self._link.falls_with_power

    @property
    def answers(self) -> bool:
        return self._link.answers

    @property
    def ready(self) -> bool:
        """A document may be sent: heard to be well just now, or a printer that cannot say."""
        if not self.up:
            return False
        return (self.state.ready and not self.silent) if self.asks else True

    @property
    def unsent(self) -> int:
        return len(self._outbox)

    @property
    def untouched(self) -> bool:
        """No byte of the last document has been taken by the link."""
        return self._before_document is not None and self._before_document >= 0

    def fileno(self) -> int:
        return self._link.fileno()

    # --- open and lost ------------------------------------------------------------------------------------------------------

    def due_s(self) -> float:
        """Seconds until the next attempt to open, or the next question."""
        now = self._clock.monotonic_s()
        return max(0.0, (self._asked_at_s + ASK_EVERY_S if self.up else self._retry_at_s) - now)

    def reopen(self) -> bool:
        """Try to open when it is time; True when the line has just come up."""
        if self.up or self._clock.monotonic_s() < self._retry_at_s:
            return False
        try:
            self._link.open()
        except LinkError as error:
            if self._retry_s == RETRY_FIRST_S:
                log.warning("link_down", why=str(error))
            self._again_later()
            return False
        self.up = True
        self._retry_s = RETRY_FIRST_S
        self._heard_at_s = self._clock.monotonic_s()
        self._asked_at_s = 0.0
        log.info("link_up")
        self.greet()
        return True

    def greet(self) -> None:
        """Put the printer into a known state and have it report from now on; at each start of a link and after Clear."""
        offline = commands.OFFLINE_RESPONSE if self._profile.process_id else b""
        self.put(commands.preamble(self._profile) + offline)

    def lost(self, why: str) -> None:
        """Forget everything that the line knew."""
        if self.up:
            log.warning("link_lost", why=why)
        self._link.close()
        self.up = self.silent = self._barrier = False
        self.state = PrinterState()
        self._demultiplexer = Demultiplexer()
        self._questions.forget()
        self.discard()
        self._again_later()

    def close(self) -> None:
        self._link.close()
        self.up = False

    def _again_later(self) -> None:
        self._retry_at_s = self._clock.monotonic_s() + self._retry_s
        self._retry_s = min(self._retry_s * 2, RETRY_MAX_S)

    def patient(self, *, on: bool) -> None:
        self._link.patient(on=on)

    # --- bytes --------------------------------------------------------------------------------------------------------------

    def put(self, data: bytes) -> None:
        """Queue bytes behind those that wait."""
        self._outbox += data

    def put_document(self, data: bytes) -> None:
        """Queue a document; `untouched` speaks of it from now on."""
        self._before_document = len(self._outbox)
        self._outbox += data

    def discard(self) -> None:
        """Drop what was not yet taken by the link."""
        self._outbox.clear()
        self._before_document = None

    def write(self) -> None:
        if not self._outbox:
            return
        taken = self._link.send(bytes(memoryview(self._outbox)[:65536]))
        del self._outbox[:taken]
        if self._before_document is not None:
            # Taken bytes belong to what stood before the document first; below zero some of it has left.
            self._before_document -= taken

    def read(self) -> Iterator[Event]:
        """What has come, one event at a time, each already in `state`."""
        data = self._link.receive()
        if not data:
            return
        self._heard_at_s = self._clock.monotonic_s()
        for event in self._demultiplexer.feed(data):
            self.silent = False
            if isinstance(event, Automatic) and self._barrier:
                # Answers come in order: what was asked before the barrier and is still open was lost.
                self._barrier = False
                self._questions.forget()
            self.state = heard(self.state, event, self._questions)
            yield event

    # --- questions ----------------------------------------------------------------------------------------------------------

    def ask(self, *, busy: bool) -> None:
        """Ask how the printer is, when nothing else waits to be sent and the last round has been answered.

        `busy`: a document is at the printer. Raises LinkError for an idle printer that fell silent and knows no barrier.
        """
        if not self.up or not self.asks:
            return
        now = self._clock.monotonic_s()
        if self._questions or self._barrier or self._outbox:
            if now - self._asked_at_s > SILENT_AFTER_S and now - self._heard_at_s > SILENT_AFTER_S:
                self._asked_at_s = now
                self._fall_silent(busy=busy)
            return
        if now - self._asked_at_s < ASK_EVERY_S:
            return
        self._asked_at_s = now
        if not self._profile.status:
            self._barrier = True
            self.put(commands.ARM)
            return
        for n in (1, 2, 3, 4):
            self._questions.ask(n)
        self.put(b"".join(commands.ask(n) for n in (1, 2, 3, 4)))

    def _fall_silent(self, *, busy: bool) -> None:
        """Unknown from now on. Each time round another barrier is sent: the one before may have been lost like the rest."""
        if not self.silent:
            log.warning("printer_silent")
            self.silent = True
            if not self.state.interrupted:
                self.state = PrinterState()
        if self._outbox:
            return
        if self._profile.asb:
            self._barrier = True
            self.put(commands.ARM)
        elif not busy:
            raise LinkError("the printer does not answer")
