"""A page as bytes for a printer (native, raster) or as a picture (png). The same document says the same in all three."""

from __future__ import annotations

from dataclasses import dataclass

from printer.document import Document
from printer.profile import Encoding, Profile


@dataclass(frozen=True, slots=True)
class Encoded:
    """The bytes of one document for one printer, and the paper it takes, in dots and in millimetres."""

    data: bytes
    dots: int
    length_mm: float


def encode(document: Document, profile: Profile, *, process_id: str) -> Encoded:
    """Bytes as the profile wants them. Raises LayoutError or EncodeError; imports what draws only when something is drawn."""
    if profile.encoding is Encoding.NATIVE:
        from printer.encode import native

        data, dots = native.encode(document, profile, process_id=process_id)
    else:
        from printer.encode import raster

        data, dots = raster.encode(document, profile, process_id=process_id)
    return Encoded(data=data, dots=dots, length_mm=profile.mm(dots))


def length_mm(document: Document, profile: Profile) -> float:
    """How much paper a document takes, without drawing it: for a paper budget before anyone pays."""
    from printer.layout import lay_out

    if profile.encoding is Encoding.NATIVE:
        from printer.encode.native import CellMetrics

        return profile.mm(lay_out(document, CellMetrics(profile)).height)
    from printer.encode.canvas import RasterMetrics

    return profile.mm(lay_out(document, RasterMetrics.of(profile)).height)
