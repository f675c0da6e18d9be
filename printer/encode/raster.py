"""A document as dots (GS v 0): every glyph and every place is ours, the same on each model, and the same as the preview.

Strips end at blank rows, because some printers show a hairline where two meet; a QR is never split. Blank rows are fed, not
sent, and white at the right end of a strip is left out.
"""

from __future__ import annotations

from printer.document import Document
from printer.encode import commands
from printer.encode.canvas import RasterMetrics, draw
from printer.encode.strips import rows_of, strips
from printer.layout import Page, QrBox, lay_out
from printer.profile import Profile


def encode(document: Document, profile: Profile, *, process_id: str) -> tuple[bytes, int]:
    """The bytes for the printer, and how many dots of paper they are. Raises LayoutError."""
    metrics = RasterMetrics.of(profile)
    page = lay_out(document, metrics)
    picture = draw(page, metrics)
    rows = rows_of(picture.tobytes(), page.width, page.height)
    body = strips(rows, profile, whole=_whole(page, [any(row) for row in rows]))
    return commands.preamble(profile) + body + commands.ending(document.cut, profile, process_id), page.height


def _whole(page: Page, inked: list[bool]) -> tuple[range, ...]:
    """The rows of each QR, and of what stands beside it up to the next blank row."""
    found: list[range] = []
    for box in page.boxes:
        if not isinstance(box, QrBox):
            continue
        start, stop = box.y, box.y + box.side
        while start > 0 and inked[start - 1]:
            start -= 1
        while stop < len(inked) and inked[stop]:
            stop += 1
        found.append(range(start, stop))
    return tuple(sorted(found, key=lambda rows: rows.start))
