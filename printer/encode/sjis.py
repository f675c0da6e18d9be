"""Which characters the printer's own type can be trusted with, and their bytes.

JIS X 0208 stands on every Japanese model. The vendors' rows differ from model to model, and Python's cp932 and others disagree
about which of two codes a character has there; so whatever is outside is not sent as text but drawn.
"""

from __future__ import annotations

from printer.profile import Gaiji

_SAME = {
    "\N{YEN SIGN}": "\N{FULLWIDTH YEN SIGN}",
    "\N{EM DASH}": "\N{HORIZONTAL BAR}",
    "\N{NO-BREAK SPACE}": " ",
    "\N{MINUS SIGN}": "\N{FULLWIDTH HYPHEN-MINUS}",
    "\N{WAVE DASH}": "\N{FULLWIDTH TILDE}",
    "\N{DOUBLE VERTICAL LINE}": "\N{PARALLEL TO}",
    "\N{CENT SIGN}": "\N{FULLWIDTH CENT SIGN}",
    "\N{POUND SIGN}": "\N{FULLWIDTH POUND SIGN}",
    "~": "\N{FULLWIDTH TILDE}",
}
"""One character, two code points, or not in cp932 although its like is. In the set of Japan (ESC R 8) 7Eh is an overline."""

_NEC_ROW_13 = 0x87


def encode(text: str, gaiji: Gaiji) -> bytes | None:
    """The bytes of `text` in Shift_JIS, or None if one character must be drawn. One byte is one cell of the line."""
    out = bytearray()
    for character in text:
        raw = _character(_SAME.get(character, character), gaiji)
        if raw is None:
            return None
        out += raw
    return bytes(out)


def cells(text: str) -> int:
    """Half-width cells that `text` takes, drawn or not."""
    count = 0
    for character in text:
        raw = _character(_SAME.get(character, character), Gaiji.NEC)
        count += 2 if raw is None else len(raw)
    return count


def _character(character: str, gaiji: Gaiji) -> bytes | None:
    if character == "\\":
        return None  # 5Ch is a yen sign here
    if " " <= character <= "~":
        return character.encode("ascii")
    try:
        raw = character.encode("cp932")
    except UnicodeEncodeError:
        return None
    if len(raw) == 1:
        return raw if 0xA1 <= raw[0] <= 0xDF else None
    lead = raw[0]
    if lead == _NEC_ROW_13:
        return raw if gaiji is Gaiji.NEC else None
    if 0x81 <= lead <= 0x9F or 0xE0 <= lead <= 0xEA:  # rows 1 to 84; 85 to 94 and the vendors' rows lie above
        return raw
    return None
