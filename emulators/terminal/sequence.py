"""Message sequence ids (PA00P015, chapter 5): one ascending number for both sides, in every message, echoed in its answer.

Agreed at the registration, where the till offers 1F73 = 000000 and the terminal echoes it; it counts from 000001.
"""

from emulators.terminal import fields
from emulators.terminal.apdu import Apdu

TAG = 0x1F73
ID_MAX = 999_999
IN_CONTAINER = {0x040F, 0x0601, 0x06D3}  # messages of fields that may already carry a container


def after(number: int) -> int:
    """000001 follows 999999."""
    return number % ID_MAX + 1


def stamped(apdu: Apdu, number: int) -> Apdu:
    """The message with its id, inside its container where it has one."""
    item = fields.tlv((TAG, fields.bcd(number, 3)))
    if apdu.control in IN_CONTAINER:
        for tag, begin, end in fields.spans(apdu.data):
            if tag == fields.TLV_FIELD:
                head = apdu.data[: _start(begin, end)]
                rest = apdu.data[end:]
                return Apdu(apdu.control, head + fields.encode((fields.TLV_FIELD, apdu.data[begin:end] + item)) + rest)
    return Apdu(apdu.control, apdu.data + fields.encode((fields.TLV_FIELD, item)))


def _start(begin: int, end: int) -> int:
    """Where the container whose value is at begin:end has its own number."""
    return begin - len(fields.ber_length(end - begin)) - 1


def number_of(apdu: Apdu) -> int | None:
    """The id in a message of the till, or None. The till's container is the last thing in it."""
    at = apdu.data.rfind(fields.TLV_FIELD.to_bytes(1, "big") + b"\x06\x1f\x73\x03")
    try:
        if at >= 0 and at + 8 == len(apdu.data):
            return fields.number(apdu.data[at + 5 :])
        if apdu.control in IN_CONTAINER:
            for tag in fields.tags(fields.decode(apdu.data).get(fields.TLV_FIELD, b"")):
                if tag.tag == TAG:
                    return fields.number(tag.value)
    except fields.BadField:
        return None
    return None
