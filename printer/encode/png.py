"""A document as a picture: what the preview shows, the archive keeps and the tests compare is what the raster printer prints."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from printer.document import Document
from printer.layout import lay_out
from printer.profile import Profile

if TYPE_CHECKING:
    from PIL import Image as Pillow


def picture(document: Document, profile: Profile) -> Pillow.Image:
    """The paper as it would look, one bit a dot, black on white (Pillow mode 1)."""
    from PIL import ImageChops

    from printer.encode.canvas import RasterMetrics, draw

    metrics = RasterMetrics.of(profile)
    return ImageChops.invert(draw(lay_out(document, metrics), metrics))


def encode(document: Document, profile: Profile) -> bytes:
    """The same as PNG, with the resolution in it."""
    out = io.BytesIO()
    picture(document, profile).save(out, "PNG", dpi=(profile.dpi, profile.dpi), optimize=False)
    return out.getvalue()
