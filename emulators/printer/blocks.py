"""Commands of the form GS ( x: QR codes, process ids, stored graphics. Payloads come here whole."""

from collections.abc import Callable

from emulators.printer import graphics
from emulators.printer.glyphs import Dots
from emulators.printer.mechanics import Mark, Rows
from emulators.printer.modes import Host, Lost, Modes

QR_LIMIT_BYTES = 7089


class Blocks:
    """Runs a complete payload; `modes` are the interpreter's own, replaced at ESC @."""

    def __init__(
        self,
        host: Host,
        *,
        width_dots: int,
        process_ids: Callable[[], bool],
        at_line_start: Callable[[str], None],
        slip: Callable[[str], None],
    ) -> None:
        self._host = host
        self._at_line_start = at_line_start
        self._slip = slip
        self._width = width_dots
        self._process_ids = process_ids
        self._stored: Dots | None = None
        self._runs: dict[int, Callable[[Modes, bytes], None]] = {
            ord("k"): self._qr,
            ord("H"): self._response,
            ord("L"): self._graphics,
        }

    def knows(self, letter: int) -> bool:
        return letter in self._runs

    def run(self, letter: int, modes: Modes, payload: bytes) -> None:
        """Raises Lost for a function or parameter that this printer does not have."""
        self._runs[letter](modes, payload)

    def forget(self) -> None:
        """Drop a stored picture (ESC @, power)."""
        self._stored = None

    def _qr(self, modes: Modes, p: bytes) -> None:
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
                self._qr_print(modes)
            case _:
                raise Lost(f"GS ( k {p[:8].hex(' ')}")

    def _qr_print(self, modes: Modes) -> None:
        self._at_line_start("a QR code")
        if not modes.qr_data:
            raise Lost("a QR code without data")
        dots = graphics.qr(modes.qr_data, model=modes.qr_model, module_dots=modes.qr_module_dots, level=modes.qr_level)
        if dots is None:
            raise Lost(f"{len(modes.qr_data)} bytes do not fit a QR code")
        if dots.shape[1] > self._width:
            self._slip(f"QR code of {dots.shape[1]} dots is wider than the paper: not printed")
            return
        self._host.push(Rows(graphics.place(dots, self._width, modes.justify)))

    def _response(self, _modes: Modes, p: bytes) -> None:
        match list(p[:2]), p[2:]:
            case [48, 48], bytes(mark) if len(mark) == 4 and all(0x20 <= d <= 0x7E for d in mark):
                if self._process_ids():
                    self._host.push(Mark(mark))
            case [49, 48], bytes(d) if len(d) == 1 and d[0] in {0, 1, 2, 48, 49, 50}:
                if self._process_ids():
                    self._host.offline_response_asked(d[0] % 48)
            case _:
                raise Lost(f"GS ( H {p[:8].hex(' ')}")

    def _graphics(self, modes: Modes, p: bytes) -> None:
        if p[:2] == b"\x30\x70":
            self._graphics_store(p[2:])
        elif p in {b"\x30\x32", b"\x30\x02"}:
            self._at_line_start("GS ( L fn 50")
            if self._stored is None:
                raise Lost("GS ( L fn 50 with nothing stored")
            if self._stored.shape[1] > self._width:
                self._slip(f"picture of {self._stored.shape[1]} dots is wider than the paper: cut off on the right")
            self._host.push(Rows(graphics.place(self._stored, self._width, modes.justify)))
            self._stored = None
        else:
            raise Lost(f"GS ( L {p[:8].hex(' ')}")

    def _graphics_store(self, p: bytes) -> None:
        if len(p) < 8 or p[0] != 0x30 or p[1] not in {1, 2} or p[2] not in {1, 2} or p[3] != 0x31:
            raise Lost(f"GS ( L fn 112 {p[:8].hex(' ')}")
        x, y = int.from_bytes(p[4:6], "little"), int.from_bytes(p[6:8], "little")
        bytes_per_row = (x + 7) // 8
        if not x or not y or len(p) - 8 != bytes_per_row * y:
            raise Lost(f"GS ( L fn 112: {x} x {y} dots need {bytes_per_row * y} bytes, {len(p) - 8} came")
        picture = graphics.unpack(p[8:], bytes_per_row, bytes_per_row * 8, wide=1, high=1, justify=0)[:, :x]
        self._stored = picture.repeat(p[2], axis=0).repeat(p[1], axis=1)
