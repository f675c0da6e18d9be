"""The few ESC/POS commands this project sends, each with its bytes from Epson's reference, and nothing else.

python-escpos sends Japanese as GB18030, cuts in another mode than asked and reports an empty reply as plenty of paper; so these
bytes are ours.
"""

from __future__ import annotations

from printer.document import CutKind
from printer.profile import Profile

INITIALISE = b"\x1b\x40"
"""ESC @: modes as at power on. It ends automatic status on some models, so ARM follows."""

JAPANESE = b"\x1b\x52\x08\x1b\x74\x01\x1c\x43\x01"
"""ESC R 8 (set of Japan), ESC t 1 (katakana page), FS C 1 (two-byte codes are Shift_JIS, without FS &)."""

ARM = b"\x1d\x61\xff"
"""GS a 255: report every change, and the present state at once. Executed in order, so its answer is also a barrier."""

OFFLINE_RESPONSE = b"\x1d\x28\x48\x03\x00\x31\x30\x02"
"""GS ( H fn 49 m 2: say 37 23 causes 00 on going offline."""

CLEAR = b"\x10\x14\x08\x01\x03\x14\x01\x06\x02\x08"
"""DLE DC4 fn 8: drop everything received and not printed. Answered by 37 25 00; nothing may be sent before that."""

RECOVER = b"\x10\x05\x02"
"""DLE ENQ 2: after a cutter error has been removed, clear the buffers and go on."""

PROCESSED = b"\x1d\x72\x01"
"""GS r 1: the paper sensors, answered in order of the data; shows that the parser got there, not that the cutter moved."""


def ask(n: int) -> bytes:
    """DLE EOT n, a real-time status request; 1 printer, 2 offline cause, 3 error cause, 4 paper."""
    assert 1 <= n <= 4, n
    return bytes((0x10, 0x04, n))


def mark(process_id: str) -> bytes:
    """GS ( H fn 48: say 37 22 d1 d2 d3 d4 00 when everything before it has been printed."""
    raw = process_id.encode("ascii")
    assert len(raw) == 4, process_id
    assert all(0x20 <= byte <= 0x7E for byte in raw), process_id
    return b"\x1d\x28\x48\x06\x00\x30\x30" + raw


def cut(kind: CutKind) -> bytes:
    """GS V 65 (full) or 66 (partial) with 0: feed to the cutter, then cut."""
    return b"\x1d\x56" + (b"\x41\x00" if kind is CutKind.FULL else b"\x42\x00")


def feed(dots: int, profile: Profile) -> bytes:
    """ESC J in steps of at most 255 motion units."""
    units = dots * profile.feed_units_per_dot
    steps, rest = divmod(units, 255)
    return b"\x1b\x4a\xff" * steps + (bytes((0x1B, 0x4A, rest)) if rest else b"")


def preamble(profile: Profile) -> bytes:
    """The start of every document: it owes nothing to what was printed before it."""
    return INITIALISE + (JAPANESE if profile.kanji else b"") + (ARM if profile.asb else b"")


def ending(kind: CutKind | None, profile: Profile, process_id: str) -> bytes:
    """Cut and mark. The mark stands behind the cut: when it is answered, the paper is the guest's."""
    parts = [] if kind is None or not profile.cutter else [cut(kind)]
    if kind is not None and not profile.cutter:
        parts.append(feed(round(12 * profile.dpi / 25.4), profile))  # up to the tear bar
    if profile.process_id:
        parts.append(mark(process_id))
    elif profile.answers_in_order:
        parts.append(PROCESSED)
    return b"".join(parts)
