"""What ESC @ puts back, what a command may ask of the device, and how a command says that it is not understood."""

from dataclasses import dataclass, field
from typing import Protocol

from emulators.printer.mechanics import Step

LINE_SPACING_DOTS = 30


class Lost(Exception):
    """Not understandable; the message says why."""


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


class Host(Protocol):
    """Where results go: the device around the interpreter."""

    def reply(self, data: bytes) -> None: ...

    def complain(self, why: str, *, offset: int, data: bytes, lost: bool) -> None: ...

    def push(self, step: Step) -> None: ...

    def initialised(self) -> None: ...

    def asb_asked(self, mask: int) -> None: ...

    def offline_response_asked(self, n: int) -> None: ...


def one_of(value: int, *allowed: int) -> int:
    """`value` if it is one of `allowed`; Lost otherwise."""
    if value not in allowed:
        raise Lost(f"parameter {value}; one of {', '.join(map(str, allowed))}")
    return value


def digit(value: int, *allowed: int) -> int:
    """A number that may also come as its ASCII digit; Lost if it is none of `allowed`."""
    return one_of(value - 48 if value >= 48 else value, *allowed)
