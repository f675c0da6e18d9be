"""A picture file becomes a picture, or one clear sentence.

Whatever is on a disk may be hostile: the file's size is checked before it is read, and OpenCV refuses more pixels than the package
allows (`scanner.reading.PIXELS_MAX`) before it unpacks them.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from scanner.reading.errors import PictureUnreadableError
from scanner.reading.frame import Picture

FILE_BYTES_MAX = 64 * 1024 * 1024


def load_picture(path: Path) -> Picture:
    """The picture in `path` as BGR or grey; what is transparent becomes white, as paper is.

    Raises PictureUnreadableError with one sentence.
    """
    try:
        if path.exists() and not path.is_file():
            raise PictureUnreadableError("it is no file")
        size = path.stat().st_size
        if size > FILE_BYTES_MAX:
            raise PictureUnreadableError(f"the file is larger than {FILE_BYTES_MAX // (1024 * 1024)} MB")
        data = path.read_bytes()
    except OSError as error:
        raise PictureUnreadableError(f"the file cannot be read ({error.strerror})") from error
    if not data:
        raise PictureUnreadableError("the file is empty")
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError) as error:
        raise PictureUnreadableError("the picture is damaged or too large") from error
    if picture is None:
        raise PictureUnreadableError("the file is no picture, or a damaged one")
    return _as_bgr_or_grey(picture)


def _as_bgr_or_grey(picture: Picture) -> Picture:
    if picture.dtype == np.uint16:
        picture = (picture >> 8).astype(np.uint8)
    elif picture.dtype != np.uint8:
        raise PictureUnreadableError("the picture has pixels of an unusual kind")
    if picture.ndim == 3 and picture.shape[2] == 4:
        alpha = picture[:, :, 3:4].astype(np.uint16)
        on_white = (picture[:, :, :3].astype(np.uint16) * alpha + 255 * (255 - alpha)) // 255
        return on_white.astype(np.uint8)
    if picture.ndim == 3 and picture.shape[2] == 1:
        return np.ascontiguousarray(picture[:, :, 0])
    if picture.ndim == 3 and picture.shape[2] != 3:
        raise PictureUnreadableError("the picture has pixels of an unusual kind")
    return picture
