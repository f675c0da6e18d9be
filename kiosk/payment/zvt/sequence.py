"""Message sequence ids (PA00P015, chapter 5): one ascending number for both sides in every message, echoed in its answer.

With them a repeated message is known for what it is, on any wire. Pure: who counts and who answers is the wire's business.
"""

from __future__ import annotations

from typing import Final

from kiosk.payment.zvt import bcd, commands, fields, tlv
from kiosk.payment.zvt.apdu import Apdu
from kiosk.payment.zvt.errors import CodecError

TAG: Final = 0x1F73
ID_MAX: Final = 999_999
OFFER: Final = tlv.Tlv(TAG, bytes(3))
"""In the registration: "I know ids"; a terminal that knows them echoes it."""

_HEAD = b"\x1f\x73\x03"


def after(number: int) -> int:
    """The next id: 000001 follows 999999."""
    return number % ID_MAX + 1


def stamped(unit: Apdu, number: int) -> Apdu:
    """A unit of ours with its id: in the container it has (06 01), or in one behind everything else."""
    item = tlv.Tlv(TAG, bcd.encode(number, size=3)).encode()
    if unit.control == commands.AUTHORISATION:
        block = fields.decode(unit.data)
        if fields.TLV in block.values and not block.unread:
            plain = [(name, value) for name, value in block.values.items() if name != fields.TLV]
            return Apdu(unit.control, fields.encode([*plain, (fields.TLV, block.values[fields.TLV] + item)]))
    return Apdu(unit.control, unit.data + fields.encode([(fields.TLV, item)]))


def number_of(unit: Apdu) -> int | None:
    """The id in a unit of the terminal, wherever its container stands; None without one."""
    at = unit.data.rfind(_HEAD)
    if at < 0:
        return None
    try:
        number = bcd.decode(unit.data[at + 3 : at + 6])
    except (CodecError, ValueError):
        return None
    return number if len(unit.data) >= at + 6 else None
