"""Other ways to look at a frame that gave nothing: each helps against one thing that light, lens or paper do to a code.

Pure functions from picture to picture. None of them is tuned to a sample; the numbers are the textbook ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from scanner.reading.frame import Picture

cv2.setNumThreads(1)  # a pool of threads costs memory and, on two cores, the other processes' time

ENLARGED_PIXELS_MAX = 6_000_000
"""A picture above this is not enlarged: its modules have pixels enough, and the work would outgrow the benefit."""


@dataclass(frozen=True, slots=True)
class Variant:
    """`make` gives the picture to look at and by how much it was enlarged (1.0: not)."""

    name: str
    make: Callable[[Picture], tuple[Picture, float]]


def grey(picture: Picture) -> Picture:
    """Luminance. Grey pictures are returned as they are."""
    if picture.ndim == 2:
        return picture
    return _u8(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))


def _enlarged(picture: Picture) -> tuple[Picture, float]:
    """Small modules and the moire of a phone's pixel grid."""
    image = grey(picture)
    if image.size > ENLARGED_PIXELS_MAX:
        return image, 1.0
    return _u8(cv2.resize(image, None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC)), 1.5


def _soft(picture: Picture) -> tuple[Picture, float]:
    """Noise, and the structure of a matrix printer."""
    return _u8(cv2.GaussianBlur(grey(picture), (0, 0), 1.0)), 1.0


def _softer(picture: Picture) -> tuple[Picture, float]:
    """Modules that are outlines or patterns instead of solid squares."""
    return _u8(cv2.GaussianBlur(grey(picture), (0, 0), 2.0)), 1.0


def _local(picture: Picture) -> tuple[Picture, float]:
    """Shadow and reflection: black is what is darker than its surroundings."""
    image = grey(picture)
    window = max(11, min(image.shape) // 16) | 1
    return (
        _u8(cv2.adaptiveThreshold(image, 255, cv2.ADAPTIVE_THRESH_GAUSSIAN_C, cv2.THRESH_BINARY, window, 5)),
        1.0,
    )


def _pale(picture: Picture) -> tuple[Picture, float]:
    """Faded thermal paper and coloured ink: black is what is not as white as the paper, in any colour channel."""
    darkest = picture if picture.ndim == 2 else picture.min(axis=2)
    white = float(np.percentile(darkest[:: max(1, darkest.shape[0] // 256), :: max(1, darkest.shape[1] // 256)], 90))
    edge = _u8(np.where(darkest >= white * 0.9, 255, 0))
    return _u8(cv2.GaussianBlur(edge, (0, 0), 1.0)), 1.0


def _inverted(picture: Picture) -> tuple[Picture, float]:
    """Light on dark after local thresholding (plain light-on-dark is tried by the decoder itself)."""
    image, scale = _local(picture)
    return _u8(255 - image), scale


def _u8(array: object) -> Picture:
    return np.ascontiguousarray(array, dtype=np.uint8)


VARIANTS: tuple[Variant, ...] = (
    Variant("enlarged", _enlarged),
    Variant("soft", _soft),
    Variant("local", _local),
    Variant("pale", _pale),
    Variant("softer", _softer),
    Variant("inverted", _inverted),
)
"""In the order in which a gate tries them, one a frame: the likeliest first."""
