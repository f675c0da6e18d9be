"""Pictures and QR codes as dots: pure functions from command payloads to arrays."""

import numpy as np
import segno

from emulators.printer.glyphs import Dots

QR_LEVELS = {48: "l", 49: "m", 50: "q", 51: "h"}


def unpack(data: bytes, bytes_per_row: int, width_dots: int, *, wide: int, high: int, justify: int) -> Dots:
    """Raster rows (GS v 0, GS ( L) placed on the paper's width; what does not fit on the right is lost."""
    picture = np.unpackbits(np.frombuffer(data, dtype=np.uint8).reshape(-1, bytes_per_row), axis=1).astype(bool)
    if wide > 1:
        picture = picture.repeat(wide, axis=1)
    if high > 1:
        picture = picture.repeat(high, axis=0)
    return place(picture, width_dots, justify)


def place(picture: Dots, width_dots: int, justify: int) -> Dots:
    """A picture on rows of the paper's width: left, centre or right."""
    rows = np.zeros((picture.shape[0], width_dots), dtype=bool)
    shown = picture[:, :width_dots]
    shift = (width_dots - shown.shape[1]) * justify // 2
    rows[:, shift : shift + shown.shape[1]] = shown
    return rows


def columns(data: bytes, mode: int) -> Dots:
    """ESC * columns as a cell 24 dots high; single densities are stretched, 8-dot ones threefold in height."""
    deep = 3 if mode in {32, 33} else 1
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8).reshape(-1, deep), axis=1).astype(bool).T
    if deep == 1:
        bits = bits.repeat(3, axis=0)
    return bits.repeat(2, axis=1) if mode in {0, 32} else bits


def qr(data: bytes, *, model: int, module_dots: int, level: int) -> Dots | None:
    """The symbol without any quiet zone, as printers print it; None if the data does not fit a symbol.

    level is 48 to 51 for L, M, Q, H, taken as it is: a printer does not raise it.
    """
    assert model in {49, 50}, model
    try:
        symbol = segno.make_qr(data, error=QR_LEVELS[level], boost_error=False)
    except segno.DataOverflowError:
        return None
    modules = np.array([list(row) for row in symbol.matrix], dtype=bool)
    return modules.repeat(module_dots, axis=0).repeat(module_dots, axis=1)
