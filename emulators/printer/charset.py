"""Which character a byte means: one-byte pages, Shift_JIS and JIS, and what this printer's kanji ROM holds.

The ROM holds JIS X 0208 and NEC row 13 (circled digits, units). Anything else (the NEC-selected and IBM rows, the
user-defined area) is not there: which of them a model has is its own business, so a driver must not count on them.
"""

# The graphic half of the katakana page (ESC t 1), 80h-9Fh and E0h-FFh, as on printers of this family.
_KATAKANA_80 = "▁▂▃▄▅▆▇█▏▎▍▌▋▊▉┼┴┬┤├▔─│▕┌┐└┘╭╮╰╯"
_KATAKANA_E0 = "═╞╪╡◢◣◥◤♠♥♦♣●○╱╲╳円年月日時分秒〒市区町村人▒ "

INTERNATIONAL = {0: {}, 8: {0x5C: "¥"}}  # ESC R n: the USA, and Japan with a yen sign at 5Ch
PAGES = {0: "cp437", 1: "katakana", 16: "cp1252"}  # ESC t n

NEC_ROW = 13
JIS_ROWS = (*range(1, 9), *range(16, 85))


def one_byte(byte: int, *, page: int, international: int) -> str | None:
    """The character of one byte of 20h or more, or None where the page has a hole."""
    if byte < 0x7F:
        return INTERNATIONAL[international].get(byte, chr(byte))
    if byte == 0x7F:
        return None
    if PAGES[page] == "katakana":
        if byte < 0xA0:
            return _KATAKANA_80[byte - 0x80]
        if byte >= 0xE0:
            return _KATAKANA_E0[byte - 0xE0]
        return " " if byte == 0xA0 else chr(0xFF61 + byte - 0xA1)
    try:
        return bytes([byte]).decode(PAGES[page])
    except UnicodeDecodeError:
        return None


def is_lead(byte: int) -> bool:
    """Whether a byte opens a two-byte Shift_JIS character."""
    return 0x81 <= byte <= 0x9F or 0xE0 <= byte <= 0xFC


def is_trail(byte: int) -> bool:
    return 0x40 <= byte <= 0x7E or 0x80 <= byte <= 0xFC


def row_of(lead: int, trail: int) -> int:
    """The JIS row (区) of a Shift_JIS pair; 89 and above are vendors' rows."""
    block = lead - (0x81 if lead < 0xA0 else 0xC1)
    return block * 2 + (2 if trail >= 0x9F else 1)


def two_byte(lead: int, trail: int) -> str | None:
    """The character of a Shift_JIS pair, or None if this printer's ROM has no glyph there."""
    row = row_of(lead, trail)
    if row not in JIS_ROWS and row != NEC_ROW:
        return None
    try:
        return bytes([lead, trail]).decode("cp932")
    except UnicodeDecodeError:
        return None


def jis(first: int, second: int) -> str | None:
    """The character of a JIS pair (21h-7Eh each, kanji mode FS &), or None."""
    row = first - 0x20
    if row not in JIS_ROWS and row != NEC_ROW:
        return None
    lead = (row - 1) // 2 + (0x81 if row < 63 else 0xC1)
    cell = second - 0x20
    trail = cell + 0x9E if row % 2 == 0 else cell + (0x3F if cell < 64 else 0x40)
    return two_byte(lead, trail)
