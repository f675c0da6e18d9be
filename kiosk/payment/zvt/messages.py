"""What the terminal says to the kiosk, parsed into values (PA00P015, chapter 3). Nothing here decides anything.

Card data ends here: of track data and card numbers only what `masking` leaves is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kiosk.payment.masking import mask_number
from kiosk.payment.zvt import bcd, codes, fields, tlv
from kiosk.payment.zvt.apdu import Apdu
from kiosk.payment.zvt.errors import CodecError

STATUS_INFO: Final = 0x040F
INTERMEDIATE: Final = 0x04FF
SET_CLOCK: Final = 0x0401
COMPLETION: Final = 0x060F
ABORTED: Final = 0x061E
PRINT_LINE: Final = 0x06D1
PRINT_TEXT_BLOCK: Final = 0x06D3

_TEXT = 0x07
_ATTRIBUTE = 0x09
_TEXTS = 0x24
_LINES = 0x25
_RECEIPT_TYPE = 0x1F07
_TECHNOLOGY = 0x1F12
_LONG_TRACE = 0x1F2B
_UNIQUE_ID = 0x1F1F
_CARD_TYPE = 0x41
_SEQUENCE_ID = 0x1F73
_BRANDS = ("girocard", "JCB", "Mastercard", "American Express", "Visa", "Diners", "other")
"""The order of the sums in field 60 (PA00P015, 3.1.3; "Eurocard" there is Mastercard's older name)."""


class ReceiptKind(StrEnum):
    MERCHANT = "merchant"
    CUSTOMER = "customer"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class StatusInfo:
    """04 0F after a payment, a reversal, or as the answer to a repeat receipt. `result` None: the terminal did not say.

    `is_complete` is False when part of it could not be read; then a missing field means nothing.
    """

    result: int | None
    amount_minor: int | None = None
    currency: int | None = None
    trace: int | None = None
    original_trace: int | None = None
    receipt_no: int | None = None
    turnover: int | None = None
    terminal_id: str | None = None
    masked_id: str | None = None
    brand: str | None = None
    auth_code: str | None = None
    entry: str | None = None
    time: str | None = None
    date: str | None = None
    text: str | None = None
    unique_id: str | None = None
    is_complete: bool = True

    @property
    def identity(self) -> tuple[int | None, int | None, int | None]:
        """The three counters that tell one transaction from another."""
        return self.trace, self.receipt_no, self.turnover

    @property
    def is_success(self) -> bool:
        """Result 00; a terminal that leaves it out means the same only if it names an amount."""
        return self.result == codes.OK or (self.result is None and self.amount_minor is not None)


def status_info(unit: Apdu, *, charset: str = "cp437") -> StatusInfo:
    """Parse a 04 0F. Never raises."""
    block = fields.decode(unit.data)
    return StatusInfo(
        result=block.byte(fields.RESULT),
        amount_minor=block.number(fields.AMOUNT),
        currency=block.number(fields.CURRENCY),
        trace=_trace(block),
        original_trace=block.number(fields.ORIGINAL_TRACE),
        receipt_no=block.number(fields.RECEIPT_NO),
        turnover=block.number(fields.TURNOVER),
        terminal_id=_hex(block, fields.TERMINAL_ID),
        masked_id=_pan(block),
        brand=_brand(block, charset),
        auth_code=_ascii(block.values.get(fields.AUTH_CODE)),
        entry=codes.TECHNOLOGY.get(technology[0]) if (technology := block.tag(_TECHNOLOGY)) else None,
        time=_hex(block, fields.TIME),
        date=_hex(block, fields.DATE),
        text=_display(block, charset),
        unique_id=unique.hex() if (unique := block.tag(_UNIQUE_ID)) else None,
        is_complete=not block.unread,
    )


@dataclass(frozen=True, slots=True)
class TotalsInfo:
    """04 0F after totals or end of day: the sum, and (count, sum) a brand where field 60 is there."""

    result: int | None
    total_minor: int | None
    by_brand: tuple[tuple[str, int, int], ...] = ()
    receipt_no_first: int | None = None
    receipt_no_last: int | None = None


def totals_info(unit: Apdu) -> TotalsInfo:
    """Parse the totals. Never raises; unreadable single sums are left out."""
    block = fields.decode(unit.data)
    single = block.values.get(fields.SINGLE_TOTALS, b"")
    found = TotalsInfo(block.byte(fields.RESULT), block.number(fields.AMOUNT))
    if len(single) < 4 + 7 * len(_BRANDS):
        return found
    try:
        brands = tuple(
            (name, single[4 + 7 * index], bcd.decode(single[5 + 7 * index : 11 + 7 * index]))
            for index, name in enumerate(_BRANDS)
        )
        return TotalsInfo(found.result, found.total_minor, brands, bcd.decode(single[0:2]), bcd.decode(single[2:4]))
    except CodecError:
        return found


@dataclass(frozen=True, slots=True)
class Completion:
    """06 0F: the terminal hands the turn back. `status` is the status byte (19) of a registration."""

    result: int | None = None
    status: int | None = None
    terminal_id: str | None = None
    currency: int | None = None
    sequence_ids: bool = False


def completion(unit: Apdu) -> Completion:
    block = fields.decode(unit.data)
    return Completion(
        result=block.byte(fields.RESULT),
        status=block.byte(fields.STATUS),
        terminal_id=_hex(block, fields.TERMINAL_ID),
        currency=block.number(fields.CURRENCY),
        sequence_ids=block.tag(_SEQUENCE_ID) is not None,
    )


@dataclass(frozen=True, slots=True)
class TerminalState:
    """06 0F after a status enquiry: an optional software version, then the terminal's status code."""

    status: int | None
    version: str | None = None


def terminal_state(unit: Apdu) -> TerminalState:
    """Positional: [LLLVAR version] status [06 TLV]. A version begins with F0..F9, which no status code of our table does but
    F0 and F6; those two stand alone."""
    data, version = unit.data, None
    if len(data) > 3 and all(byte >> 4 == 0xF for byte in data[:3]):
        try:
            size = fields.read_counter(data, places=3)
        except CodecError:
            return TerminalState(None)
        version = data[3 : 3 + size].decode("ascii", "replace")
        data = data[3 + size :]
    return TerminalState(data[0] if data else None, version)


@dataclass(frozen=True, slots=True)
class Aborted:
    """06 1E: the command failed; the turn is ours again."""

    result: int | None


def aborted(unit: Apdu) -> Aborted:
    return Aborted(unit.data[0] if unit.data else None)


@dataclass(frozen=True, slots=True)
class Intermediate:
    """04 FF: what the terminal is doing. `t4_s` is a new completion time-out where the terminal sets one (minutes, BCD)."""

    status: int | None
    text: str | None = None
    t4_s: float | None = None


def intermediate(unit: Apdu, *, charset: str = "cp437") -> Intermediate:
    data = unit.data
    status = data[0] if data else None
    minutes: float | None = None
    rest = data[1:]
    if rest and not _is_container(rest):  # [t4] comes before the container; without it the container comes at once
        minutes, rest = _minutes(rest[0]), rest[1:]
    block = fields.decode(rest)
    return Intermediate(status, _display(block, charset), minutes)


@dataclass(frozen=True, slots=True)
class PrintedText:
    """Lines for a receipt. `ends` : the last line of it, what follows belongs to another."""

    lines: tuple[str, ...]
    kind: ReceiptKind | None = None
    ends: bool = False


def printed(unit: Apdu, *, charset: str = "cp437") -> PrintedText:
    """06 D1 (a line) or 06 D3 (a block). Never raises."""
    try:
        return _print_line(unit.data, charset) if unit.control == PRINT_LINE else _text_block(unit.data, charset)
    except CodecError:
        return PrintedText(())


def _print_line(data: bytes, charset: str) -> PrintedText:
    if not data:
        return PrintedText(())
    attribute, text = data[0], data[1:]
    kind: ReceiptKind | None = None
    at = text.rfind(b"\x06")
    while at >= 0:  # the text has no length of its own: a container is what reads as one up to the very end
        if _is_container(text[at:]):
            kind = _kind(tlv.find(fields.decode(text[at:]).objects, _RECEIPT_TYPE))
            text = text[:at]
            break
        at = text.rfind(b"\x06", 0, at)
    if attribute == codes.LINE_FEEDS:
        return PrintedText(("",) * (text[0] if text else 1), kind)
    lines = (text.decode(charset, "replace"),)
    is_last = bool(attribute & 0x80) and attribute != 0x80
    return PrintedText(() if is_last and not text else lines, kind, ends=is_last)


def _text_block(data: bytes, charset: str) -> PrintedText:
    block = fields.decode(data)
    lines: list[str] = []
    ends = False
    for outer in block.objects:
        if outer.tag != _LINES:
            continue
        for item in outer.children:
            if item.tag == _TEXT:
                lines.append(item.value.decode(charset, "replace"))
            elif item.tag == _ATTRIBUTE and item.value:
                ends = ends or bool(item.value[0] & 0x80 and item.value[0] != 0x80)
    return PrintedText(tuple(lines), _kind(block.tag(_RECEIPT_TYPE)), ends)


def _is_container(data: bytes) -> bool:
    """Whether `data` is exactly one field 06."""
    try:
        size, start = tlv.decode_length(data, 1)
        tlv.decode(data[start : start + size])
    except CodecError:
        return False
    return data[:1] == b"\x06" and start + size == len(data) and size > 0


def _kind(value: bytes | None) -> ReceiptKind | None:
    return {1: ReceiptKind.MERCHANT, 2: ReceiptKind.CUSTOMER, 3: ReceiptKind.ADMIN}.get(value[0]) if value else None


def _minutes(raw: int) -> float | None:
    try:
        minutes = bcd.decode(bytes([raw]))
    except CodecError:
        return None
    return minutes * 60.0 or None


def _trace(block: fields.Fields) -> int | None:
    trace = block.number(fields.TRACE)
    if trace:
        return trace
    long = block.tag(_LONG_TRACE)
    try:
        return bcd.decode(long) if long else trace
    except CodecError:
        return trace


def _pan(block: fields.Fields) -> str | None:
    raw = block.values.get(fields.PAN)
    if not raw:
        return None
    return mask_number(raw.hex().upper().rstrip("F").split("D")[0])


def _brand(block: fields.Fields, charset: str) -> str | None:
    raw = block.values.get(fields.CARD_NAME)
    if raw:
        return raw.rstrip(b"\x00").decode(charset, "replace").strip() or None
    wide = block.tag(_CARD_TYPE)
    number = block.byte(fields.CARD_TYPE) if wide is None else int.from_bytes(wide, "big")
    return None if number is None else codes.CARD_TYPE.get(number)


def _display(block: fields.Fields, charset: str) -> str | None:
    raw = block.values.get(fields.ADDITIONAL_TEXT)
    if raw:
        return raw.decode(charset, "replace")
    texts = [item for item in block.objects if item.tag == _TEXTS]
    lines = [child.value.decode(charset, "replace") for item in texts for child in item.children if child.tag == _TEXT]
    return "\n".join(lines) or None


def _ascii(raw: bytes | None) -> str | None:
    return raw.rstrip(b"\x00").decode("ascii", "replace").strip() or None if raw else None


def _hex(block: fields.Fields, field: int) -> str | None:
    raw = block.values.get(field)
    return raw.hex() if raw else None
