"""Reads the receive buffer command by command and turns it into rows, cuts and process ids. Strictly.

A byte or command that is not in the tables, or a parameter out of its range, is an error event, and the interpreter
is *lost* from there: it skips all bytes, prints nothing and answers nothing (but real-time commands), until it meets
ESC @, is cleared or loses its power. A real printer would print garbage there; a driver's test should rather hang at
its first wrong byte. Slips that a real printer shrugs off (a picture wider than the paper, a kanji without a glyph,
ESC a within a line) are error events too, with "lost": false, and printing goes on.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from emulators.printer import charset, glyphs, graphics, status
from emulators.printer.glyphs import Dots
from emulators.printer.line import Line
from emulators.printer.mechanics import Cut, Mark, Rows, Step, blank
from emulators.printer.realtime import CLEAR

PAYLOAD_LIMIT_BYTES = 4 << 20
QR_LIMIT_BYTES = 7089
LINE_SPACING_DOTS = 30
OPENERS = b"\x10\x1b\x1c\x1d"  # DLE, ESC, FS, GS: the first byte of every longer command


class LostError(Exception):
    """Not understandable; the message says why."""


class NeedMoreError(Exception):
    """The command's bytes are not all here yet."""


@dataclass(slots=True)
class Modes:
    """What ESC @ puts back. Sizes are factors, underlines are dots; vertical motion unit: one dot (1/203 inch)."""

    justify: int = 0
    spacing: int = LINE_SPACING_DOTS
    small_font: bool = False
    bold: bool = False
    double_strike: bool = False
    upside_down: bool = False
    underline: int = 0
    wide: int = 1
    high: int = 1
    kanji_wide: int = 1
    kanji_high: int = 1
    kanji_underline: int = 0
    kanji_left: int = 0
    kanji_right: int = 0
    page: int = 0
    international: int = 0
    shift_jis: bool = False
    jis_kanji: bool = False
    asb_mask: int = 0
    qr_model: int = 50
    qr_module_dots: int = 3
    qr_level: int = 48
    qr_data: bytes = field(default=b"")


@dataclass(slots=True)
class Raster:
    """A GS v 0 picture on its way in: printed as its rows come."""

    bytes_per_row: int
    rows_left: int
    wide: int
    high: int


class Host(Protocol):
    """Where results go: the device around the interpreter."""

    def reply(self, data: bytes) -> None: ...

    def complain(self, why: str, *, offset: int, data: bytes, lost: bool) -> None: ...

    def push(self, step: Step) -> None: ...

    def initialised(self) -> None: ...

    def asb_asked(self, mask: int) -> None: ...

    def offline_response_asked(self, n: int) -> None: ...


Run = Callable[[bytes], None]


class Interpreter:
    """Owns the receive buffer `rx`; `step` consumes one command, or a few rows of a picture."""

    def __init__(self, host: Host, condition: status.Condition, *, width_dots: int, process_ids: Callable[[], bool]):
        self._host = host
        self._condition = condition
        self._width = width_dots
        self._process_ids = process_ids
        self.rx = bytearray()
        self.offset = 0  # of rx[0] in the stream since the program started
        self.modes = Modes()
        self.lost = False
        self._line = Line(width_dots)
        self._raster: Raster | None = None
        self._payload: tuple[int, bytearray, int, Callable[[bytes], None]] | None = None
        self._stored: Dots | None = None
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
        self._stored = None

    @property
    def wants(self) -> bool:
        """Whether there is something to work on (that may still need more bytes)."""
        return bool(self.rx)

    def step(self, room_dots: int) -> bool:
        """Do one thing; pictures give at most about `room_dots` rows. False: more bytes are needed first."""
        if not self.rx:
            return False
        start, first = self.offset, bytes(self.rx[:16])
        try:
            if self.lost:
                return self._find_initialise()
            if self._raster is not None:
                return self._raster_rows(self._raster, room_dots)
            if self._payload is not None:
                return self._payload_more()
            self._command()
        except NeedMoreError:
            return False
        except LostError as why:
            self._host.complain(str(why), offset=start, data=first, lost=True)
            self._raster = self._payload = None
            self._line.forget()
            self.lost = True
        return True

    def _take(self, n: int) -> bytes:
        if len(self.rx) < n:
            raise NeedMoreError
        data = bytes(self.rx[:n])
        del self.rx[:n]
        self.offset += n
        return data

    def _peek(self, n: int) -> bytes:
        if len(self.rx) < n:
            raise NeedMoreError
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
            raise LostError(f"unknown command {key.hex(' ')}" if first in OPENERS else f"unknown byte {first:02x}")

    def _real_time(self, known: bytes, length: int) -> None:
        # Done when it was received; here it is only stepped over.
        data = self._peek(length)
        good = (
            data == CLEAR
            or (data[:2] == b"\x10\x04" and 1 <= data[2] <= 4)
            or data in {b"\x10\x05\x01", b"\x10\x05\x02"}
        )
        if not good:
            raise LostError(f"unknown real-time command, not {known.hex(' ')}")
        self._take(length)

    # -- modes ----------------------------------------------------------------------------------------------------

    def _set(self, **modes: int | bool) -> None:
        for name, value in modes.items():
            setattr(self.modes, name, value)

    def _slip(self, why: str) -> None:
        self._host.complain(why, offset=self.offset, data=bytes(self.rx[:16]), lost=False)

    def _initialise(self) -> None:
        self._line.forget()
        self.modes = Modes()
        self._stored = None
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
            raise LostError(f"ESC ! with undefined bits {n:02x}")
        self._set(small_font=n & 1 == 1, bold=n & 8 != 0, high=1 + (n >> 4 & 1), wide=1 + (n >> 5 & 1))
        self.modes.underline = n >> 7

    def _kanji_mode(self, p: bytes) -> None:
        n = p[0]
        if n & 0x73:
            raise LostError(f"FS ! with undefined bits {n:02x}")
        self._set(kanji_wide=1 + (n >> 2 & 1), kanji_high=1 + (n >> 3 & 1), kanji_underline=n >> 7)

    def _size(self, p: bytes) -> None:
        n = p[0]
        if n & 0x88:
            raise LostError(f"GS ! {n:02x}: factors go from 1 to 8")
        wide, high = (n >> 4) + 1, (n & 7) + 1
        self._set(wide=wide, high=high, kanji_wide=wide, kanji_high=high)

    # -- text and feeding -----------------------------------------------------------------------------------------

    def _text(self) -> None:
        """All printable characters up to the next control byte; a half-received pair waits for its other half."""
        end = next((i for i, byte in enumerate(self.rx) if byte < 0x20), len(self.rx))
        run = bytes(self.rx[:end])
        complete = end < len(self.rx)
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
            raise NeedMoreError

    def _pair(self, pair: bytes) -> None:
        if len(pair) < 2:
            raise LostError(f"half a two-byte character {pair.hex()}")
        if self.modes.shift_jis:
            if not charset.is_trail(pair[1]):
                raise LostError(f"no Shift_JIS character {pair.hex(' ')}")
            text = charset.two_byte(*pair)
        else:
            if not (0x21 <= pair[0] <= 0x7E and 0x21 <= pair[1] <= 0x7E):
                raise LostError(f"no JIS character {pair.hex(' ')}")
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
            import numpy as np

            cell = np.pad(cell, ((0, 0), (modes.kanji_left, modes.kanji_right)))
        self._put(cell)

    def _single(self, byte: int) -> None:
        modes = self.modes
        text = charset.one_byte(byte, page=modes.page, international=modes.international)
        if text is None:
            raise LostError(f"no character {byte:02x} in code page {modes.page}")
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
            raise LostError(f"{what} within a line")

    def _cut(self) -> None:
        m = self._peek(3)[2]
        length = 4 if m in {65, 66} else 3
        data = self._peek(length)
        if m not in {0, 1, 48, 49, 65, 66}:
            raise LostError(f"GS V {m}")
        self._at_line_start("GS V")
        if length == 4:
            self._host.push(blank(self._gap_dots + data[3], self._width))
        self._host.push(Cut(full=m in {0, 48, 65}))
        self._take(length)

    _gap_dots = 0

    def set_gap(self, dots: int) -> None:
        """How far the cutter stands above the head: what GS V 65 and 66 feed."""
        self._gap_dots = dots

    # -- questions ------------------------------------------------------------------------------------------------

    def _asb(self, p: bytes) -> None:
        self.modes.asb_mask = p[0]
        self._host.asb_asked(p[0])

    def _tell_id(self, p: bytes) -> None:
        answer = status.printer_id(p[0])
        if answer is None:
            raise LostError(f"GS I {p[0]}")
        self._host.reply(answer)

    def _tell_sensor(self, p: bytes) -> None:
        n = digit(p[0], 1, 2)
        self._host.reply(status.paper_sensors(self._condition) if n == 1 else b"\x00")

    # -- pictures -------------------------------------------------------------------------------------------------

    def _raster_begin(self) -> None:
        head = self._peek(8)
        m, x, y = head[3], int.from_bytes(head[4:6], "little"), int.from_bytes(head[6:8], "little")
        if head[2] != 0x30 or m not in {0, 1, 2, 3, 48, 49, 50, 51}:
            raise LostError(f"GS v {head[2:4].hex(' ')}")
        if not x or not y:
            raise LostError("GS v 0 with a side of 0")
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
            raise LostError(f"ESC * {mode} with {n} columns")
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
            raise LostError(f"GS 8 {head[2]:02x}")
        self._collect(head[2], 7, int.from_bytes(head[3:7], "little"))

    def _collect(self, letter: int, head: int, length: int) -> None:
        runs: dict[bytes, Callable[[bytes], None]] = {b"k": self._qr, b"H": self._response, b"L": self._graphics}
        run = runs.get(bytes([letter]))
        if run is None:
            raise LostError(f"unknown block GS ( {letter:02x}")
        if not 2 <= length <= PAYLOAD_LIMIT_BYTES:
            raise LostError(f"GS ( {chr(letter)} with {length} bytes")
        self._take(head)
        # A payload longer than the receive buffer must not wait for room in it, so it is moved out as it comes.
        self._payload = (length, bytearray(), self.offset - head, run)

    def _payload_more(self) -> bool:
        assert self._payload is not None
        length, collected, _, run = self._payload
        collected += self._take(min(len(self.rx), length - len(collected)))
        if len(collected) < length:
            return True
        self._payload = None
        run(bytes(collected))
        return True

    def _qr(self, p: bytes) -> None:
        modes = self.modes
        match list(p[:2]), p[2:]:
            case [0x31, 65], bytes(rest) if len(rest) == 2 and rest[0] in {49, 50} and rest[1] == 0:
                modes.qr_model = rest[0]
            case [0x31, 67], bytes(rest) if len(rest) == 1 and 1 <= rest[0] <= 16:
                modes.qr_module_dots = rest[0]
            case [0x31, 69], bytes(rest) if len(rest) == 1 and rest[0] in graphics.QR_LEVELS:
                modes.qr_level = rest[0]
            case [0x31, 80], bytes(rest) if 2 <= len(rest) <= QR_LIMIT_BYTES + 1 and rest[0] == 48:
                modes.qr_data = rest[1:]
            case [0x31, 81], b"0":
                self._qr_print()
            case _:
                raise LostError(f"GS ( k {p[:8].hex(' ')}")

    def _qr_print(self) -> None:
        modes = self.modes
        self._at_line_start("a QR code")
        if not modes.qr_data:
            raise LostError("a QR code without data")
        dots = graphics.qr(modes.qr_data, model=modes.qr_model, module_dots=modes.qr_module_dots, level=modes.qr_level)
        if dots is None:
            raise LostError(f"{len(modes.qr_data)} bytes do not fit a QR code")
        if dots.shape[1] > self._width:
            self._slip(f"QR code of {dots.shape[1]} dots is wider than the paper: not printed")
            return
        self._host.push(Rows(graphics.place(dots, self._width, modes.justify)))

    def _response(self, p: bytes) -> None:
        match list(p[:2]), p[2:]:
            case [48, 48], bytes(mark) if len(mark) == 4 and all(0x20 <= d <= 0x7E for d in mark):
                if self._process_ids():
                    self._host.push(Mark(mark))
            case [49, 48], bytes(d) if len(d) == 1 and d[0] in {0, 1, 2, 48, 49, 50}:
                if self._process_ids():
                    self._host.offline_response_asked(d[0] % 48)
            case _:
                raise LostError(f"GS ( H {p[:8].hex(' ')}")

    def _graphics(self, p: bytes) -> None:
        if p[:2] in {b"\x30\x70"}:
            self._graphics_store(p[2:])
        elif p in {b"\x30\x32", b"\x30\x02"}:
            self._at_line_start("GS ( L fn 50")
            if self._stored is None:
                raise LostError("GS ( L fn 50 with nothing stored")
            if self._stored.shape[1] > self._width:
                self._slip(f"picture of {self._stored.shape[1]} dots is wider than the paper: cut off on the right")
            self._host.push(Rows(graphics.place(self._stored, self._width, self.modes.justify)))
            self._stored = None
        else:
            raise LostError(f"GS ( L {p[:8].hex(' ')}")

    def _graphics_store(self, p: bytes) -> None:
        if len(p) < 8 or p[0] != 0x30 or p[1] not in {1, 2} or p[2] not in {1, 2} or p[3] != 0x31:
            raise LostError(f"GS ( L fn 112 {p[:8].hex(' ')}")
        x, y = int.from_bytes(p[4:6], "little"), int.from_bytes(p[6:8], "little")
        bytes_per_row = (x + 7) // 8
        if not x or not y or len(p) - 8 != bytes_per_row * y:
            raise LostError(f"GS ( L fn 112: {x} x {y} dots need {bytes_per_row * y} bytes, {len(p) - 8} came")
        picture = graphics.unpack(p[8:], bytes_per_row, bytes_per_row * 8, wide=1, high=1, justify=0)[:, :x]
        self._stored = picture.repeat(p[2], axis=0).repeat(p[1], axis=1)


def one_of(value: int, *allowed: int) -> int:
    """`value` if it is one of `allowed`; LostError otherwise."""
    if value not in allowed:
        raise LostError(f"parameter {value}; one of {', '.join(map(str, allowed))}")
    return value


def digit(value: int, *allowed: int) -> int:
    """A number that may also come as its ASCII digit; LostError if it is none of `allowed`."""
    return one_of(value - 48 if value >= 48 else value, *allowed)
