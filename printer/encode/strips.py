"""Packed rows as GS v 0 strips. Knows bits and bytes, no fonts and no pictures, so that a native job need not import what draws."""

from __future__ import annotations

from printer.encode import commands
from printer.encode.scrub import scrubbed
from printer.profile import Profile

_SPLIT_ROWS_MIN = 8
"""A blank stretch shorter than this stays in its strip: a new header and a feed cost as much."""


def strips(rows: list[bytes], profile: Profile, *, whole: tuple[range, ...] = ()) -> bytes:
    """Packed rows as GS v 0 strips and feeds. Rows within one of `whole` stay in one strip."""
    inked = [any(row) for row in rows]
    height = len(rows)
    out = bytearray()
    y = 0
    while y < height:
        if not inked[y]:
            start = y
            while y < height and not inked[y]:
                y += 1
            out += commands.feed(y - start, profile)
            continue
        end = _strip_end(y, inked, profile.strip_dots, whole)
        out += _strip(rows[y:end])
        y = end
    return bytes(out)


def _strip(rows: list[bytes]) -> bytes:
    width = max(len(row.rstrip(b"\0")) for row in rows)
    payload = scrubbed(b"".join(row[:width] for row in rows))
    head = b"\x1d\x76\x30\x00" + width.to_bytes(2, "little") + len(rows).to_bytes(2, "little")
    return head + payload


def _strip_end(start: int, inked: list[bool], limit: int, whole: tuple[range, ...]) -> int:
    """Where the strip that begins at `start` ends: at a QR's edge, before a long blank stretch, else at the last blank row."""
    stop = min(start + limit, len(inked))
    kept = next((rows for rows in whole if rows.start < stop and start < rows.stop), None)
    if kept is not None:
        if start >= kept.start:
            return kept.stop
        stop = kept.start
    last_blank = run = 0
    for y in range(start, stop):
        run = 0 if inked[y] else run + 1
        if run:
            last_blank = y
        if run == _SPLIT_ROWS_MIN:
            return y + 1 - run
    if stop == len(inked) or (kept is not None and stop == kept.start) or not last_blank:
        return stop
    return last_blank


def rows_of(bits: bytes, width: int, height: int) -> list[bytes]:
    """A packed picture as its rows."""
    stride = (width + 7) // 8
    return [bits[y * stride : (y + 1) * stride] for y in range(height)]
