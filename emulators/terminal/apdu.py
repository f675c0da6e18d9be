"""ZVT messages: CLASS INSTR LEN data, their names, and how they may be shown (never a card number in clear)."""

from dataclasses import dataclass

from emulators.terminal import fields

NAMES = {
    0x0401: "set clock", 0x040F: "status information", 0x04FF: "intermediate status", 0x0501: "status enquiry",
    0x0600: "registration", 0x0601: "authorisation", 0x0602: "log-off", 0x060F: "completion",
    0x0610: "send turnover totals", 0x0618: "reset", 0x061E: "abort", 0x0620: "repeat receipt", 0x0630: "reversal",
    0x0631: "refund", 0x0650: "end of day", 0x0670: "diagnosis", 0x0693: "initialisation", 0x06B0: "abort by till",
    0x06D1: "print line", 0x06D3: "print text block", 0x8000: "positive acknowledgement",
}  # fmt: skip

# Where the fields begin behind the header: some commands start with a password or a plain byte.
FIELDS_AT = {0x040F: 0, 0x0601: 0, 0x0630: 3, 0x0631: 3}


@dataclass(frozen=True, slots=True)
class Apdu:
    """One message. `control` is CLASS and INSTR as one number, 0x0601."""

    control: int
    data: bytes = b""

    @property
    def name(self) -> str:
        if self.control >> 8 == 0x84:
            return f"negative acknowledgement {self.control & 0xFF:02X}"
        return NAMES.get(self.control, f"unknown {self.control:04X}")

    @property
    def is_answer(self) -> bool:
        return self.control >> 8 in {0x80, 0x84}

    def encode(self) -> bytes:
        length = len(self.data)
        size = bytes([length]) if length < 0xFF else b"\xff" + length.to_bytes(2, "little")
        return self.control.to_bytes(2, "big") + size + self.data

    def shown(self) -> str:
        """Hex for the event line, card data replaced: at most the first six and last four digits of a PAN."""
        return Apdu(self.control, mask(self)).encode().hex(" ").upper()


def take(buffer: bytearray) -> Apdu | None:
    """Take one complete message off the front of a byte stream, or None if it is not all here."""
    if len(buffer) < 3:
        return None
    head, length = 3, buffer[2]
    if length == 0xFF:
        if len(buffer) < 5:
            return None
        head, length = 5, int.from_bytes(buffer[3:5], "little")
    if len(buffer) < head + length:
        return None
    found = Apdu(int.from_bytes(buffer[:2], "big"), bytes(buffer[head : head + length]))
    del buffer[: head + length]
    return found


def mask(apdu: Apdu) -> bytes:
    """The data with card numbers and tracks made unreadable; all of it, where it cannot be parsed."""
    start = FIELDS_AT.get(apdu.control)
    if start is None:
        return apdu.data
    data = bytearray(apdu.data)
    try:
        spans = fields.spans(apdu.data[start:])
    except fields.BadField:
        return bytes(len(data))
    for tag, begin, end in spans:
        if tag == fields.SECRET_PAN:
            digits = data[start + begin : start + end].hex().upper()
            hidden = digits[:6] + "E" * (len(digits) - 10) + digits[-4:] if len(digits) > 10 else "E" * len(digits)
            data[start + begin : start + end] = bytes.fromhex(hidden)
        elif tag in fields.SECRET_TRACKS:
            data[start + begin : start + end] = bytes(end - begin)
    return bytes(data)


ACK = Apdu(0x8000)


def nak(code: int) -> Apdu:
    return Apdu(0x8400 | code)
