"""Reads the receive buffer command by command and turns it into rows, cuts and process ids. Strictly.

A byte or command that is not in the tables, or a parameter out of its range, is an error event, and the interpreter
is *lost* from there: it skips all bytes, prints nothing and answers nothing (but real-time commands), until it meets
ESC @, is cleared or loses its power. A real printer would print garbage there; a driver's test should rather hang at
its first wrong byte. Slips that a real printer shrugs off (a picture wider than the paper, a kanji without a glyph,
ESC a within a line) are error events too, with "lost": false, and printing goes on.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from emulators.printer import charset, glyphs, graphics, status
from emulators.printer.blocks import Blocks
from emulators.printer.glyphs import Dots
from emulators.printer.line import Line
from emulators.printer.mechanics import Cut, Rows, blank
from emulators.printer.modes import LINE_SPACING_DOTS, Host, Lost, Modes, digit, one_of
from emulators.printer.realtime import CLEAR

PAYLOAD_LIMIT_BYTES = 4 << 20
OPENERS = b"\x10\x1b\x1c\x1d"  # DLE, ESC, FS, GS: the first byte of every longer command
PRINTABLE = re.compile(rb"[\x20-\xff]+")


class NeedMore(Exception):
    """The command's bytes are not all here yet."""


@dataclass(slots=True)
class Raster:
    """A GS v 0 picture on its way in: printed as its rows come."""

    bytes_per_row: int
    rows_left: int
    wide: int
    high: int


@dataclass(slots=True)
class Payload:
    """A GS ( x block on its way in. It is moved out of the receive buffer as it comes, since it may be longer."""

    letter: int
    length: int
    data: bytearray


Run = Callable[[bytes], None]


class Interpreter:
    """Owns the receive buffer `rx`; `step` consumes one command, or a few rows of a picture."""

    def __init__(
        self,
        host: Host,
        condition: status.Condition,
        *,
        width_dots: int,
        gap_dots: int,
        process_ids: Callable[[], bool],
    ) -> None:
        self._host = host
        self._condition = condition
        self._width = width_dots
        self._gap_dots = gap_dots
        self._blocks = Blocks(
            host,
            width_dots=width_dots,
            process_ids=process_ids,
            at_line_start=self._at_line_start,
            slip=self._slip,
        )
        self.rx = bytearray()
        self.offset = 0  # of rx[0] in the stream since the program started
        self.modes = Modes()
        self.lost = False
        self._line = Line(width_dots)
        self._raster: Raster | None = None
        self._payload: Payload | None = None
        self._start = 0  # of the command being worked on, in the stream
        self._first = b""
        self._fixed: dict[bytes, tuple[int, Run]] = {
            b"\x0a": (0, lambda _: self._line_feed()),
            b"\x1b@": (0, lambda _: self._initialise()),
            b"\x1b!": (1, self._print_mode),
            b"\x1b$": (2, lambda p: self._move_to(int.from_bytes(p, "little"))),
            b"\x1b-": (1, lambda p: self._set(underline=digit(p[0], 0, 1, 2))),
            b"\x1b2": (0, lambda _: self._set(spacing=LINE_SPACING_DOTS)),
            b"\x1b3": (1, lambda p: self._set(spacing=p[0])),
            b"\x1bE": (1, lambda p: self._set(bold=p[0] & 1 == 1)),
            b"\x1bG": (1, lambda p: self._set(double_strike=p[0] & 1 == 1)),
            b"\x1bJ": (1, lambda p: self._feed(p[0])),
            b"\x1bM": (1, lambda p: self._set(small_font=digit(p[0], 0, 1) == 1)),
            b"\x1bR": (1, lambda p: self._set(international=one_of(p[0], *charset.INTERNATIONAL))),
            b"\x1ba": (1, self._justify),
            b"\x1bd": (1, lambda p: self._feed_lines(p[0])),
            b"\x1bt": (1, lambda p: self._set(page=one_of(p[0], *charset.PAGES))),
            b"\x1b{": (1, self._upside_down),
            b"\x1c!": (1, self._kanji_mode),
            b"\x1c&": (0, lambda _: self._set(jis_kanji=True)),
            b"\x1c-": (1, lambda p: self._set(kanji_underline=digit(p[0], 0, 1, 2))),
            b"\x1c.": (0, lambda _: self._set(jis_kanji=False)),
            b"\x1cC": (1, lambda p: self._set(shift_jis=digit(p[0], 0, 1) == 1)),
            b"\x1cS": (2, lambda p: self._set(kanji_left=p[0], kanji_right=p[1])),
            b"\x1d!": (1, self._size),
            b"\x1da": (1, self._asb),
            b"\x1dI": (1, self._tell_id),
            b"\x1dr": (1, self._tell_sensor),
        }
        self._variable: dict[bytes, Callable[[], None]] = {
            b"\x10\x04": lambda: self._real_time(b"\x10\x04", 3),
            b"\x10\x05": lambda: self._real_time(b"\x10\x05", 3),
            b"\x10\x14": lambda: self._real_time(CLEAR, len(CLEAR)),
            b"\x1b*": self._columns,
            b"\x1d(": self._block,
            b"\x1d8": self._large_block,
            b"\x1dV": self._cut,
            b"\x1dv": self._raster_begin,
        }

    # -- the stream -----------------------------------------------------------------------------------------------

    def clear(self) -> int:
        """Forget all received and half-read data and the line; modes stay. Returns how many bytes were dropped."""
        dropped = len(self.rx)
        self._take(dropped)
        self._raster = self._payload = None
        self._line.forget()
        self.lost = False
        return dropped

    def power_off(self) -> None:
        self.clear()
        self.modes = Modes()
        self._blocks.forget()

    @property
    def wants(self) -> bool:
        """Whether there is something to work on (that may still need more bytes)."""
        return bool(self.rx)

    def step(self, room_dots: int) -> bool:
        """Do one thing; pictures give at most about `room_dots` rows. False: more bytes are needed first."""
        if not self.rx:
            return False
        if self._payload is None:
            self._start, self._first = self.offset, bytes(self.rx[:16])
        try:
            if self.lost:
                return self._find_initialise()
            if self._raster is not None:
                return self._raster_rows(self._raster, room_dots)
            if self._payload is not None:
                return self._payload_more(self._payload)
            self._command()
        except NeedMore:
            return False
        except Lost as why:
            self._host.complain(str(why), offset=self._start, data=self._first, lost=True)
            self._raster = self._payload = None
            self._line.forget()
            self.lost = True
        return True

    def _take(self, n: int) -> bytes:
        if len(self.rx) < n:
            raise NeedMore
        data = bytes(self.rx[:n])
        del self.rx[:n]
        self.offset += n
        return data

    def _peek(self, n: int) -> bytes:
        if len(self.rx) < n:
            raise NeedMore
        return bytes(self.rx[:n])

    def _find_initialise(self) -> bool:
        at = self.rx.find(b"\x1b@")
        if at < 0:
            self._take(len(self.rx) - (1 if self.rx.endswith(b"\x1b") else 0))
            return False
        self._take(at)
        self.lost = False
        return True

    def _command(self) -> None:
        first = self.rx[0]
        if first >= 0x20:
            self._text()
            return
        key = self._peek(2) if first in OPENERS else bytes([first])
        if key in self._fixed:
            count, run = self._fixed[key]
            data = self._peek(len(key) + count)
            run(data[len(key) :])
            self._take(len(data))
        elif key in self._variable:
            self._variable[key]()
        else:
            raise Lost(f"unknown command {key.hex(' ')}" if first in OPENERS else f"unknown byte {first:02x}")

    def _real_time(self, known: bytes, length: int) -> None:
        # Done when it was received; here it is only stepped over.
        data = self._peek(length)
        good = (
            data == CLEAR
            or (data[:2] == b"\x10\x04" and 1 <= data[2] <= 4)
            or data in {b"\x10\x05\x01", b"\x10\x05\x02"}
        )
        if not good:
            raise Lost(f"unknown real-time command, not {known.hex(' ')}")
        self._take(length)

    # -- modes ----------------------------------------------------------------------------------------------------

    def _set(self, **modes: int | bool) -> None:
        for name, value in modes.items():
            setattr(self.modes, name, value)

    def _slip(self, why: str) -> None:
        self._host.complain(why, offset=self._start, data=self._first, lost=False)

    def _initialise(self) -> None:
        self._line.forget()
        self.modes = Modes()
        self._blocks.forget()
        self._host.initialised()

    def _justify(self, p: bytes) -> None:
        n = digit(p[0], 0, 1, 2)
        if not self._line.empty:
            self._slip("ESC a within a line has no effect")
            return
        self.modes.justify = n

    def _upside_down(self, p: bytes) -> None:
        if not self._line.empty:
            self._slip("ESC { within a line has no effect")
            return
        self.modes.upside_down = p[0] & 1 == 1

    def _print_mode(self, p: bytes) -> None:
        n = p[0]
        if n & 0x46:
            raise Lost(f"ESC ! with undefined bits {n:02x}")
        self._set(small_font=n & 1 == 1, bold=n & 8 != 0, high=1 + (n >> 4 & 1), wide=1 + (n >> 5 & 1))
        self.modes.underline = n >> 7

    def _kanji_mode(self, p: bytes) -> None:
        n = p[0]
        if n & 0x73:
            raise Lost(f"FS ! with undefined bits {n:02x}")
        self._set(kanji_wide=1 + (n >> 2 & 1), kanji_high=1 + (n >> 3 & 1), kanji_underline=n >> 7)

    def _size(self, p: bytes) -> None:
        n = p[0]
        if n & 0x88:
            raise Lost(f"GS ! {n:02x}: factors go from 1 to 8")
        wide, high = (n >> 4) + 1, (n & 7) + 1
        self._set(wide=wide, high=high, kanji_wide=wide, kanji_high=high)

    # -- text and feeding -----------------------------------------------------------------------------------------

    def _text(self) -> None:
        """All printable characters up to the next control byte; a half-received pair waits for its other half."""
        match = PRINTABLE.match(self.rx)
        assert match is not None
        run = match.group()
        complete = len(run) < len(self.rx)
        del match  # it holds the buffer, which could not change its size meanwhile
        at = 0
        while at < len(run):
            two = (self.modes.shift_jis and charset.is_lead(run[at])) or (
                self.modes.jis_kanji and not self.modes.shift_jis
            )
            if two and at + 1 == len(run) and not complete:
                break
            pair = run[at : at + 2] if two else run[at : at + 1]
            self._take(len(pair))
            at += len(pair)
            if two:
                self._pair(pair)
            else:
                self._single(pair[0])
        if at == 0:
            raise NeedMore

    def _pair(self, pair: bytes) -> None:
        if len(pair) < 2:
            raise Lost(f"half a two-byte character {pair.hex()}")
        if self.modes.shift_jis:
            if not charset.is_trail(pair[1]):
                raise Lost(f"no Shift_JIS character {pair.hex(' ')}")
            text = charset.two_byte(*pair)
        else:
            if not (0x21 <= pair[0] <= 0x7E and 0x21 <= pair[1] <= 0x7E):
                raise Lost(f"no JIS character {pair.hex(' ')}")
            text = charset.jis(*pair)
        if text is None:
            self._host.complain(
                f"no glyph in the kanji ROM for {pair.hex(' ')}", offset=self.offset - 2, data=pair, lost=False
            )
        modes = self.modes
        cell = glyphs.style(
            glyphs.kanji(text or "〓"),
            wide=modes.kanji_wide,
            high=modes.kanji_high,
            bold=modes.bold or modes.double_strike,
            underline=modes.kanji_underline,
        )
        if modes.kanji_left or modes.kanji_right:
            cell = np.pad(cell, ((0, 0), (modes.kanji_left, modes.kanji_right)))
        self._put(cell)

    def _single(self, byte: int) -> None:
        modes = self.modes
        text = charset.one_byte(byte, page=modes.page, international=modes.international)
        if text is None:
            raise Lost(f"no character {byte:02x} in code page {modes.page}")
        self._put(
            glyphs.style(
                glyphs.narrow(text, small=modes.small_font),
                wide=modes.wide,
                high=modes.high,
                bold=modes.bold or modes.double_strike,
                underline=modes.underline,
            )
        )

    def _put(self, cell: Dots) -> None:
        if not self._line.fits(cell.shape[1]):
            self._line_feed()
        self._line.add(cell)

    def _move_to(self, x: int) -> None:
        if x >= self._width:
            self._slip(f"ESC $ beyond the paper ({x} dots) has no effect")
            return
        self._line.move_to(x)

    def _flush(self, spacing: int) -> None:
        modes = self.modes
        rows = self._line.render(spacing=spacing, justify=modes.justify, upside_down=modes.upside_down)
        self._host.push(Rows(rows))

    def _line_feed(self) -> None:
        self._flush(self.modes.spacing)

    def _feed(self, dots: int) -> None:
        self._flush(dots)

    def _feed_lines(self, lines: int) -> None:
        if lines == 0:
            self._flush(0)
            return
        self._flush(self.modes.spacing)
        self._host.push(blank((lines - 1) * self.modes.spacing, self._width))

    def _at_line_start(self, what: str) -> None:
        if not self._line.empty:
            raise Lost(f"{what} within a line")

    def _cut(self) -> None:
        m = self._peek(3)[2]
        length = 4 if m in {65, 66} else 3
        data = self._peek(length)
        if m not in {0, 1, 48, 49, 65, 66}:
            raise Lost(f"GS V {m}")
        self._at_line_start("GS V")
        if length == 4:
            self._host.push(blank(self._gap_dots + data[3], self._width))
        self._host.push(Cut(full=m in {0, 48, 65}))
        self._take(length)

    # -- questions ------------------------------------------------------------------------------------------------

    def _asb(self, p: bytes) -> None:
        self.modes.asb_mask = p[0]
        self._host.asb_asked(p[0])

    def _tell_id(self, p: bytes) -> None:
        answer = status.printer_id(p[0])
        if answer is None:
            raise Lost(f"GS I {p[0]}")
        self._host.reply(answer)

    def _tell_sensor(self, p: bytes) -> None:
        n = digit(p[0], 1, 2)
        self._host.reply(status.paper_sensors(self._condition) if n == 1 else b"\x00")

    # -- pictures -------------------------------------------------------------------------------------------------

    def _raster_begin(self) -> None:
        head = self._peek(8)
        m, x, y = head[3], int.from_bytes(head[4:6], "little"), int.from_bytes(head[6:8], "little")
        if head[2] != 0x30 or m not in {0, 1, 2, 3, 48, 49, 50, 51}:
            raise Lost(f"GS v {head[2:4].hex(' ')}")
        if not x or not y:
            raise Lost("GS v 0 with a side of 0")
        self._at_line_start("GS v 0")
        self._raster = Raster(x, y, wide=1 + (m & 1), high=1 + (m >> 1 & 1))
        if x * 8 * self._raster.wide > self._width + 7:
            self._slip(f"picture of {x * 8 * self._raster.wide} dots is wider than the paper: cut off on the right")
        self._take(8)

    def _raster_rows(self, raster: Raster, room_dots: int) -> bool:
        rows = min(len(self.rx) // raster.bytes_per_row, raster.rows_left, max(1, room_dots // raster.high))
        if rows == 0:
            return False
        data = self._take(rows * raster.bytes_per_row)
        raster.rows_left -= rows
        self._host.push(
            Rows(
                graphics.unpack(
                    data,
                    raster.bytes_per_row,
                    self._width,
                    wide=raster.wide,
                    high=raster.high,
                    justify=self.modes.justify,
                )
            )
        )
        if raster.rows_left == 0:
            self._raster = None
        return True

    def _columns(self) -> None:
        head = self._peek(5)
        mode, n = head[2], int.from_bytes(head[3:5], "little")
        if mode not in {0, 1, 32, 33} or not 1 <= n <= 2047:
            raise Lost(f"ESC * {mode} with {n} columns")
        data = self._peek(5 + n * (3 if mode >= 32 else 1))
        cell = graphics.columns(data[5:], mode)
        if not self._line.fits(cell.shape[1]):
            self._slip("ESC * beyond the paper is cut off")
        self._line.add(cell)
        self._take(len(data))

    # -- GS ( x: blocks with a length ----------------------------------------------------------------------------

    def _block(self) -> None:
        head = self._peek(5)
        self._collect(head[2], 5, int.from_bytes(head[3:5], "little"))

    def _large_block(self) -> None:
        head = self._peek(7)
        if head[2:3] != b"L":
            raise Lost(f"GS 8 {head[2]:02x}")
        self._collect(head[2], 7, int.from_bytes(head[3:7], "little"))

    def _collect(self, letter: int, head: int, length: int) -> None:
        if not self._blocks.knows(letter):
            raise Lost(f"unknown block GS ( {letter:02x}")
        if not 2 <= length <= PAYLOAD_LIMIT_BYTES:
            raise Lost(f"GS ( {chr(letter)} with {length} bytes")
        self._take(head)
        self._payload = Payload(letter, length, bytearray())

    def _payload_more(self, payload: Payload) -> bool:
        payload.data += self._take(min(len(self.rx), payload.length - len(payload.data)))
        if len(payload.data) == payload.length:
            self._payload = None
            self._blocks.run(payload.letter, self.modes, bytes(payload.data))
        return True
