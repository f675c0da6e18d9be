"""`kaisatsu decode FILE...`: a line a picture, whatever the picture is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from scanner.reading.decode import decode_all_variants
from scanner.reading.errors import PictureUnreadableError
from scanner.reading.picture import load_picture


def decode_file(path: str) -> dict[str, Any]:
    """{"file": path exactly as given, "codes": [text from left to right...], "ms": decoding time with loading}.

    A picture without a code, or a file that is no picture, has "codes": [] and one sentence under "error". Never raises for
    what the file contains.
    """
    start_s = time.perf_counter()
    error = ""
    codes: list[str] = []
    try:
        codes = [code.text for code in decode_all_variants(load_picture(Path(path)))]
        if not codes:
            error = "no QR code was found in this picture"
    except PictureUnreadableError as unreadable:
        error = str(unreadable)
    line: dict[str, Any] = {"file": path, "codes": codes, "ms": round((time.perf_counter() - start_s) * 1000, 3)}
    if error:
        line["error"] = error
    return line
