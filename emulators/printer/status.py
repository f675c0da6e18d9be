"""What the printer knows about itself, and every byte it says about it.

Patterns (ESC/POS): DLE EOT 0xx1xx10, first ASB byte 0xx1xx00, other ASB bytes and GS r 0xx0xxxx, blocks 37h ... 00h.
Nothing in here moves paper or reads a wire.
"""

from dataclasses import dataclass

# GS a n: which changes are reported by themselves.
ASB_ONLINE = 0x02
ASB_ERROR = 0x04
ASB_PAPER = 0x08

CLEAR_REPLY = b"\x37\x25\x00"
MODEL_ID = 0x20
TYPE_ID = 0x03  # two-byte characters (01) and an autocutter (02)
FIRMWARE_ID = 0x01
INFORMATION = {65: b"1.00", 66: b"KAISATSU", 67: b"EMULATOR-80", 68: b"E000000001", 69: b"KANJI JAPANESE"}


@dataclass(slots=True)
class Condition:
    """The machine's mechanical state; the one mutable fact sheet of a printer. Fields are what sensors would say."""

    powered: bool = True
    cover_open: bool = False
    paper_end: bool = False
    near_end: bool = False
    cutter_error: bool = False
    head_hot: bool = False
    unrecoverable: bool = False
    opened_while_printing: bool = False

    @property
    def error(self) -> bool:
        return self.cutter_error or self.unrecoverable or self.auto_recoverable

    @property
    def auto_recoverable(self) -> bool:
        return self.head_hot or self.opened_while_printing

    @property
    def offline(self) -> bool:
        return self.cover_open or self.paper_end or self.error

    @property
    def stopped(self) -> bool:
        """Neither prints nor interprets. Real-time commands are heard all the same."""
        return self.offline or not self.powered

    def describe(self) -> dict[str, bool]:
        return {
            "powered": self.powered,
            "online": self.powered and not self.offline,
            "cover_open": self.cover_open,
            "paper_end": self.paper_end,
            "near_end": self.near_end or self.paper_end,
            "cutter_error": self.cutter_error,
            "head_hot": self.head_hot,
            "unrecoverable": self.unrecoverable,
        }


def dle_eot(condition: Condition, n: int) -> bytes:
    """The one byte that answers `10 04 n`, n from 1 to 4. Idle and well it is 12h for each."""
    byte = 0x12
    match n:
        case 1:
            byte |= 0x08 * condition.offline
        case 2:
            byte |= 0x04 * condition.cover_open | 0x20 * condition.paper_end | 0x40 * condition.error
        case 3:
            byte |= 0x08 * condition.cutter_error | 0x20 * condition.unrecoverable | 0x40 * condition.auto_recoverable
        case 4:
            byte |= 0x0C * (condition.near_end or condition.paper_end) | 0x60 * condition.paper_end
        case _:
            raise AssertionError(n)
    return bytes([byte])


def asb(condition: Condition) -> bytes:
    """The four bytes of automatic status back."""
    return bytes(
        [
            0x10 | 0x08 * condition.offline | 0x20 * condition.cover_open,
            0x08 * condition.cutter_error | 0x20 * condition.unrecoverable | 0x40 * condition.auto_recoverable,
            0x03 * (condition.near_end or condition.paper_end) | 0x0C * condition.paper_end,
            0x0F,
        ]
    )


def asb_changed(before: bytes, after: bytes, mask: int) -> bool:
    """Whether a change between two ASB answers concerns what the host asked for with GS a `mask`."""
    return bool(
        (mask & ASB_ONLINE and before[0] != after[0])
        or (mask & ASB_ERROR and before[1] != after[1])
        or (mask & ASB_PAPER and before[2] != after[2])
    )


def paper_sensors(condition: Condition) -> bytes:
    """The answer to GS r 1."""
    return bytes([0x03 * (condition.near_end or condition.paper_end) | 0x0C * condition.paper_end])


def printer_id(n: int) -> bytes | None:
    """The answer to GS I `n`, or None for an n that this printer does not have."""
    match n:
        case 1 | 49:
            return bytes([MODEL_ID])
        case 2 | 50:
            return bytes([TYPE_ID])
        case 3 | 51:
            return bytes([FIRMWARE_ID])
        case _ if n in INFORMATION:
            return b"\x5f" + INFORMATION[n] + b"\x00"
        case _:
            return None


def process_id(mark: bytes) -> bytes:
    """37 22 d1 d2 d3 d4 00: everything before this process id has been printed."""
    return b"\x37\x22" + mark + b"\x00"


def offline_response(condition: Condition, *, with_cause: bool) -> bytes:
    """37 23 [cause] 00. The cause bytes differ between models; here it is one byte, 40h with these bits:

    01 cover open, 02 paper end, 04 cutter, 08 auto-recoverable, 10 unrecoverable.
    """
    cause = (
        0x40
        | 0x01 * condition.cover_open
        | 0x02 * condition.paper_end
        | 0x04 * condition.cutter_error
        | 0x08 * condition.auto_recoverable
        | 0x10 * condition.unrecoverable
    )
    return b"\x37\x23" + (bytes([cause]) if with_cause else b"") + b"\x00"
