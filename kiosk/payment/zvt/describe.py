"""A frame as one line for logs and evidence: which command, which harmless fields, and only the length of everything else.

Allowed fields are listed; whatever is not listed never leaves as content, so a field nobody thought of cannot leak a card.
"""

from __future__ import annotations

from kiosk.payment.zvt import commands, fields, messages
from kiosk.payment.zvt.apdu import Apdu

_SHOWN = frozenset(
    {
        fields.TIMEOUT,
        fields.MAX_STATUS_INFOS,
        fields.AMOUNT,
        fields.TRACE,
        fields.TIME,
        fields.DATE,
        fields.STATUS,
        fields.RESULT,
        fields.TERMINAL_ID,
        fields.ORIGINAL_TRACE,
        fields.CURRENCY,
        fields.RECEIPT_NO,
        fields.TURNOVER,
        fields.CARD_TYPE,
        fields.RESULT_AS,
    }
)
_WITH_FIELDS = frozenset({commands.AUTHORISATION, messages.STATUS_INFO, 0x849D})
_WITH_PASSWORD = frozenset(
    {
        commands.REGISTRATION,
        commands.TURNOVER_TOTALS,
        commands.REPEAT_RECEIPT,
        commands.REVERSAL,
        commands.REFUND,
        commands.END_OF_DAY,
        commands.INITIALISATION,
        commands.STATUS_ENQUIRY,
    }
)
_PASSWORD_BYTES = 3
_OPAQUE = frozenset({messages.PRINT_LINE, messages.PRINT_TEXT_BLOCK})
_SHORT_MAX = 3


def describe(unit: Apdu) -> str:
    """`04 0F 27=00 04=000000002040 22(8)`: contents of harmless fields, lengths of the others, never a password."""
    head = f"{unit.control >> 8:02X} {unit.control & 0xFF:02X}"
    data = unit.data
    if unit.control in _WITH_PASSWORD and data:
        rest = data[_PASSWORD_BYTES:]
        if unit.control in (commands.REVERSAL, commands.REFUND):
            return f"{head} pw{_block(rest)}"
        return f"{head} pw" + (f" +{len(rest)}" if rest else "")
    if unit.control in _WITH_FIELDS or (unit.control == messages.COMPLETION and len(data) > 1):
        return head + _block(data)
    if unit.control in _OPAQUE:
        return f"{head} ({len(data)})"
    if unit.control == messages.INTERMEDIATE:
        return f"{head} {data[:1].hex().upper()}"
    if unit.control == messages.ABORTED:
        return f"{head} {data[:1].hex().upper()}"
    return head + (f" {data.hex().upper()}" if 0 < len(data) <= _SHORT_MAX else f" ({len(data)})" if data else "")


def _block(data: bytes) -> str:
    block = fields.decode(data)
    parts = [
        f"{number:02X}={content.hex().upper()}" if number in _SHOWN else f"{number:02X}({len(content)})"
        for number, content in block.values.items()
    ]
    if block.unread:
        parts.append(f"unread({len(block.unread)})")
    return "".join(f" {part}" for part in parts)
