"""What the printer says, told apart byte by byte, and what is known of it. Nothing known is `None`, and None is never "well".

Bytes of five kinds come mixed on one line (Epson, ESC/POS status bytes): flow control 11h/13h, blocks 37h ... 00h, one-byte
answers to DLE EOT (0xx1xx10), four-byte automatic status (0xx1xx00, then three 0xx0xxxx), and other answers (0xx0xxxx). An
answer to DLE EOT does not say which question it answers, so questions stand in a queue, and after a lost answer no guess is
made: the queue is emptied behind a barrier.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias, assert_never

BLOCK_BYTES_MAX = 96
"""Longer than any 37h block of the reference; more without its 00h is noise."""

_XON, _XOFF, _BLOCK, _END = 0x11, 0x13, 0x37, 0x00


@dataclass(frozen=True, slots=True)
class Flow:
    go: bool


@dataclass(frozen=True, slots=True)
class Printed:
    """37 22 d1 d2 d3 d4 00: everything before this process id has been printed."""

    process_id: str


@dataclass(frozen=True, slots=True)
class WentOffline:
    """37 23 [causes] 00. The causes differ between models and are kept for the diary only."""

    causes: bytes


@dataclass(frozen=True, slots=True)
class Cleared:
    """37 25 00: the buffers are empty."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One byte, to the oldest DLE EOT that is still open."""

    byte: int


@dataclass(frozen=True, slots=True)
class Automatic:
    """Four bytes of automatic status (GS a)."""

    status: bytes


@dataclass(frozen=True, slots=True)
class InOrder:
    """The answer to GS r or GS I: the printer has worked off everything before the question."""

    byte: int


@dataclass(frozen=True, slots=True)
class Noise:
    """Bytes that fit no pattern; kept for the diary."""

    data: bytes


Event: TypeAlias = Flow | Printed | WentOffline | Cleared | Answer | Automatic | InOrder | Noise


class Demultiplexer:
    """Tells the kinds apart, whatever the pieces in which they come."""

    def __init__(self) -> None:
        self._block: bytearray | None = None
        self._automatic: bytearray | None = None

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        for byte in data:
            event = self._take(byte)
            if event is not None:
                events.append(event)
        return events

    def _take(self, byte: int) -> Event | None:
        if byte in (_XON, _XOFF):  # may fall between any two bytes; no block and no status byte looks like it
            return Flow(go=byte == _XON)
        if self._block is not None:
            return self._in_block(byte)
        if byte == _BLOCK:
            broken, self._automatic = self._automatic, None
            self._block = bytearray()
            return Noise(bytes(broken)) if broken else None
        if self._automatic is not None:
            return self._in_automatic(byte)
        return self._single(byte)

    def _in_block(self, byte: int) -> Event | None:
        assert self._block is not None
        if byte != _END:
            self._block.append(byte)
            if len(self._block) <= BLOCK_BYTES_MAX:
                return None
            data, self._block = bytes(self._block), None
            return Noise(data)
        data, self._block = bytes(self._block), None
        match data[:1], data[1:]:
            case b"\x22", bytes(name) if len(name) == 4 and all(0x20 <= mark <= 0x7E for mark in name):
                return Printed(name.decode("ascii"))
            case b"\x23", bytes(causes) if all(0x40 <= cause <= 0x7F for cause in causes):
                return WentOffline(causes)
            case b"\x25", b"":
                return Cleared()
            case _:
                return Noise(bytes((_BLOCK, *data)))

    def _in_automatic(self, byte: int) -> Event | None:
        assert self._automatic is not None
        if byte & 0x90:
            broken, self._automatic = bytes(self._automatic), None
            follow = self._single(byte)
            return follow if follow is not None else Noise(broken)
        self._automatic.append(byte)
        if len(self._automatic) < 4:
            return None
        status, self._automatic = bytes(self._automatic), None
        return Automatic(status)

    def _single(self, byte: int) -> Event | None:
        if byte & 0x93 == 0x12:
            return Answer(byte)
        if byte & 0x93 == 0x10:
            self._automatic = bytearray((byte,))
            return None
        if byte & 0x90 == 0x00:
            return InOrder(byte)
        return Noise(bytes((byte,)))


class Paper(StrEnum):
    OK = "ok"
    NEAR_END = "near_end"
    OUT = "out"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PrinterState:
    """The last that was heard. None: not heard since the link came up."""

    online: bool | None = None
    cover_open: bool | None = None
    paper: Paper = Paper.UNKNOWN
    cutter_error: bool | None = None
    unrecoverable: bool | None = None
    waiting: bool | None = None  # an error that ends by itself, such as a hot head

    @property
    def ready(self) -> bool:
        """Heard to be well in every part that prints. Unknown is not ready."""
        return (
            self.online is True
            and self.cover_open is False
            and self.paper in (Paper.OK, Paper.NEAR_END)
            and self.cutter_error is False
            and self.unrecoverable is False
        )

    @property
    def interrupted(self) -> bool:
        """Heard that what is being printed now will not come out as one piece."""
        return bool(self.cover_open or self.cutter_error or self.unrecoverable or self.paper is Paper.OUT)


class Questions:
    """The DLE EOT that are still open, oldest first, and what an answer therefore means."""

    def __init__(self) -> None:
        self._open: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._open)

    def ask(self, n: int) -> None:
        self._open.append(n)

    def forget(self) -> None:
        self._open.clear()

    def answered(self) -> int | None:
        """The question that the next answer belongs to; None for an answer that nobody asked for."""
        return self._open.popleft() if self._open else None


def heard(state: PrinterState, event: Event, questions: Questions) -> PrinterState:
    """What is known after `event`."""
    match event:
        case Automatic(status=status):
            return _automatic(state, status)
        case Answer(byte=byte):
            n = questions.answered()
            return state if n is None else _answer(state, n, byte)
        case InOrder(byte=byte):
            # Only GS r 1 is ever asked; its answer has the pattern of the third automatic byte.
            return replace(state, paper=_paper(near_end=bool(byte & 0x03), end=bool(byte & 0x0C)))
        case WentOffline():
            return replace(state, online=False)
        case Flow() | Printed() | Cleared() | Noise():
            return state
        case never:
            assert_never(never)


def _automatic(state: PrinterState, status: bytes) -> PrinterState:
    """GS a bytes 1 to 3 (TM-T88 specification; ESC/POS guide 10.01, pages 316 to 325)."""
    first, second, third = status[0], status[1], status[2]
    return replace(
        state,
        online=not first & 0x08,
        cover_open=bool(first & 0x20),
        cutter_error=bool(second & 0x08),
        unrecoverable=bool(second & 0x20),
        waiting=bool(second & 0x40),
        paper=_paper(near_end=bool(third & 0x03), end=bool(third & 0x0C)),
    )


def _answer(state: PrinterState, n: int, byte: int) -> PrinterState:
    """DLE EOT n, one byte (the same guide, pages 304 to 308)."""
    match n:
        case 1:
            return replace(state, online=not byte & 0x08)
        case 2:
            out = bool(byte & 0x20)
            return replace(state, cover_open=bool(byte & 0x04), paper=Paper.OUT if out else state.paper)
        case 3:
            return replace(
                state,
                cutter_error=bool(byte & 0x08),
                unrecoverable=bool(byte & 0x20),
                waiting=bool(byte & 0x40),
            )
        case 4:
            return replace(state, paper=_paper(near_end=bool(byte & 0x0C), end=bool(byte & 0x60)))
        case _:
            raise AssertionError(n)


def _paper(*, near_end: bool, end: bool) -> Paper:
    if end:
        return Paper.OUT
    return Paper.NEAR_END if near_end else Paper.OK
