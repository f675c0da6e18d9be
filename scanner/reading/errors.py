"""What can go wrong while reading, each with a stable code for logs."""

from __future__ import annotations


class ReadingError(Exception):
    """Root of this package's errors."""

    code = "reading"


class SourceGoneError(ReadingError):
    """The source gives no frames now: unplugged, absent, display closed. It heals itself; the reader tries again."""

    code = "reading.source_gone"


class SourceEndedError(ReadingError):
    """A source with an end (a video file) has reached it."""

    code = "reading.source_ended"


class PictureUnreadableError(ReadingError):
    """A picture that cannot be opened: torn, foreign, too large. The message is one sentence for staff."""

    code = "reading.picture_unreadable"
