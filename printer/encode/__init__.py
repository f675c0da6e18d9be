"""A page as bytes for a printer (native, raster) or as a picture (png). The same document says the same in all three."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from printer.document import Document, reissued
from printer.errors import EncodeError
from printer.profile import Encoding, Profile

if TYPE_CHECKING:
    from printer.layout import Metrics

COPIES_MAX = 99
"""The widest 再発行 that is planned for."""


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

    return profile.mm(lay_out(document, _metrics(profile)).height)


def check(documents: Iterable[Document], profile: Profile) -> None:
    """Whether a printer of `profile` can be told all of these: asked before money moves, because nobody may pay for a paper that cannot
    be printed. Raises the LayoutError or EncodeError of the first that cannot, with its id and why.

    Each is laid out as its reissue, which takes the most room: a paper that is torn at the end of a roll must come out again. Nothing
    is drawn; thirteen tickets take some 10 to 30 ms, and the first time in a process 100 ms, for the fonts.
    """
    from printer.layout import lay_out

    metrics = _metrics(profile)
    for document in documents:
        try:
            page = lay_out(reissued(document, count=COPIES_MAX), metrics)
            if profile.encoding is Encoding.NATIVE:
                from printer.encode import native

                native.check(page, profile)
        except EncodeError as error:
            raise EncodeError(f"document '{document.id}': {error}") from error


def _metrics(profile: Profile) -> Metrics:
    if profile.encoding is Encoding.NATIVE:
        from printer.encode.native import CellMetrics

        return CellMetrics(profile)
    from printer.encode.canvas import RasterMetrics

    return RasterMetrics.of(profile)
