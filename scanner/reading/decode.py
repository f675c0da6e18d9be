"""Text out of pictures: zxing-cpp on every frame, other looks at it only where that gave nothing, zbar as a second opinion.

Measured: zxing-cpp is about ten times as fast as zbar and reads more; zbar reads some that it misses. Only QR codes are looked
for. Text is never stripped (Base45 has a space in it). Bytes that are no text are passed on as whatever text the decoder makes of
them: whoever owns the screen refuses it as unknown, so that staff see an answer and not silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import zxingcpp
from pyzbar import pyzbar

from scanner.reading.frame import Picture
from scanner.reading.variants import VARIANTS, Variant, grey

SYMBOL_PIXELS_MIN = 11
"""A picture less high or wide than this cannot hold the smallest symbol; the decoders are not asked."""


@dataclass(frozen=True, slots=True)
class Code:
    """A code in a picture: its text, and the upright box around it in pixels of that picture."""

    text: str
    left_px: float
    top_px: float
    right_px: float
    bottom_px: float

    def holds_middle_of(self, other: Code) -> bool:
        x, y = (other.left_px + other.right_px) / 2, (other.top_px + other.bottom_px) / 2
        return self.left_px <= x <= self.right_px and self.top_px <= y <= self.bottom_px


def decode_plain(image: Picture, *, scale: float = 1.0) -> list[Code]:
    """zxing-cpp on a grey picture that was enlarged by `scale`; codes from left to right, empty texts left out."""
    if min(image.shape[:2]) < SYMBOL_PIXELS_MIN:
        return []
    found = zxingcpp.read_barcodes(image, formats=zxingcpp.BarcodeFormat.QRCode, text_mode=zxingcpp.TextMode.Plain)
    codes = []
    for barcode in found:
        place = barcode.position
        corners = (place.top_left, place.top_right, place.bottom_right, place.bottom_left)
        xs = [corner.x / scale for corner in corners]
        ys = [corner.y / scale for corner in corners]
        if barcode.valid:
            codes.append(Code(barcode.text, min(xs), min(ys), max(xs), max(ys)))
    return in_order(codes)


def decode_zbar(image: Picture) -> list[Code]:
    """zbar on a grey picture: slower and with other strengths (the pixel grid of phones)."""
    if min(image.shape[:2]) < SYMBOL_PIXELS_MIN:
        return []
    codes = []
    for symbol in pyzbar.decode(image, symbols=[pyzbar.ZBarSymbol.QRCODE]):
        left, top, width, height = symbol.rect
        codes.append(Code(symbol.data.decode("utf-8", "replace"), left, top, left + width, top + height))
    return in_order(codes)


def decode_variant(picture: Picture, variant: Variant) -> list[Code]:
    image, scale = variant.make(picture)
    return decode_plain(image, scale=scale)


def decode_all_variants(picture: Picture) -> list[Code]:
    """Everything that any look at `picture` finds, each text once, from left to right. For pictures that no better frame follows."""
    image = grey(picture)
    codes = decode_plain(image)
    for variant in VARIANTS:
        codes += decode_variant(picture, variant)
    # zbar guesses other alphabets for bytes without a declared one: where the first decoder has read a code, its reading stands.
    codes += [code for code in decode_zbar(image) if not any(known.holds_middle_of(code) for known in codes)]
    return in_order(codes)


def in_order(codes: Iterable[Code]) -> list[Code]:
    """From left to right, each text once, empty texts left out."""
    first: dict[str, Code] = {}
    for code in codes:
        if code.text and code.text not in first:
            first[code.text] = code
    return sorted(first.values(), key=lambda code: code.left_px)


class StillView:
    """Notices that nothing has changed in front of the camera, from a thumbnail of each frame; sensor noise averages out in it."""

    SIZE = (64, 36)
    CHANGE_MIN = 8
    """Levels of 255 by which one cell must differ: noise of sigma 25 stays below, a ticket at dusk is above."""

    def __init__(self) -> None:
        self._reference: Picture | None = None

    def changed(self, image: Picture) -> bool:
        """Whether a grey frame differs from the one that was last new."""
        thumbnail = np.asarray(cv2.resize(image, self.SIZE, interpolation=cv2.INTER_AREA), np.uint8)
        if self._reference is not None and int(cv2.absdiff(thumbnail, self._reference).max()) < self.CHANGE_MIN:
            return False
        self._reference = thumbnail
        return True


class Cascade:
    """Frame by frame: the plain look always; on a miss one of the variants, the next one on the next miss.

    So a miss costs two looks, never seven, and a ticket that is held still for a quarter of a second was looked at in all ways. Once
    that is done and nothing moves, the other looks rest (`resting`) but for every fifteenth frame: an empty lane costs little.
    """

    REST_FRAMES = 15

    def __init__(self) -> None:
        self._view = StillView()
        self._misses = 0
        self._turn = 0

    @property
    def resting(self) -> bool:
        """True after a frame on which only the plain look was taken because the view is an old one."""
        return self._misses > len(VARIANTS) and self._misses % self.REST_FRAMES != 0

    def read(self, picture: Picture) -> list[Code]:
        image = grey(picture)
        codes = decode_plain(image)
        if codes:
            self._turn = self._misses = 0
            return codes
        self._misses = 1 if self._view.changed(image) else self._misses + 1
        if self.resting:
            return []
        variant = VARIANTS[self._turn]
        self._turn = (self._turn + 1) % len(VARIANTS)
        return decode_variant(picture, variant)
