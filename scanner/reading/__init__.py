"""Frames become text. Knows nothing of gates.

    source -> one-slot mailbox (latest wins) -> decode -> not already in view? -> `tickets.read.Read` over a Unix socket

All hostile pictures stay in this process: whoever owns the screen gets text alone, at most 4 296 characters of it.
"""

import os

PIXELS_MAX = 80_000_000
"""Larger than any camera on a phone makes today, smaller than what would fill a small device's memory."""

# OpenCV reads these when it is loaded, so they stand before any module that loads it. Its own words never reach our logs.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(PIXELS_MAX))
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
