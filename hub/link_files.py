"""An enrolment link on its way to a device that nobody wants to type it into: a text file, a QR code.

Whoever holds one of them can enrol a device, as with the link itself: each is made for its owner's eyes alone (mode 600), never over
a file that is there, and is complete when it has its name in an answer.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hub.errors import BadRequest, HubError

QR_KINDS = ("png", "svg")
QUIET_ZONE = 8
"""Modules of white around the symbol, twice what ISO/IEC 18004 asks for: it is photographed off screens and cut out by hand."""
SCALE_PX = 8


class LinkFiles:
    """The files that were asked for, open and empty until `write`. Made by `reserved`."""

    def __init__(self) -> None:
        self.to: Path | None = None
        self.qr: Path | None = None

    def write(self, link: str) -> None:
        """Raises HubError: a full disk, or a link that no QR code holds."""
        if self.to is not None:
            _fill(self.to, f"{link}\n".encode(), option="--to")
        if self.qr is not None:
            _fill(self.qr, _drawn(link, self.qr), option="--qr")


@contextmanager
def reserved(*, to: Path | None, qr: Path | None) -> Iterator[LinkFiles]:
    """The files, made before the link is: a wrong name costs no link. Whatever raises inside, none of them stays.

    Raises BadRequest: of another kind, there already, not to be written.
    """
    if qr is not None and _kind(qr) not in QR_KINDS:
        raise BadRequest(f"--qr {qr}: FILE.png or FILE.svg is expected")
    files = LinkFiles()
    try:
        if to is not None:
            files.to = _fresh(to, option="--to")
        if qr is not None:
            files.qr = _fresh(qr, option="--qr")
        yield files
    except BaseException:
        for file in (files.to, files.qr):
            if file is not None:
                file.unlink(missing_ok=True)
        raise


def _kind(path: Path) -> str:
    return path.suffix.removeprefix(".").lower()


def _fresh(path: Path, *, option: str) -> Path:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError as error:
        raise BadRequest(f"{option} {path}: is there already") from error
    except OSError as error:
        raise BadRequest(f"{option} {path}: cannot be written ({error.strerror})") from error
    return path


def _fill(path: Path, content: bytes, *, option: str) -> None:
    try:
        with path.open("r+b") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise HubError(f"{option} {path}: cannot be written ({error.strerror})") from error


def _drawn(link: str, path: Path) -> bytes:
    import segno

    try:
        symbol = segno.make(link, error="m", micro=False)
    except (segno.DataOverflowError, ValueError) as error:
        raise BadRequest(f"--qr {path}: no QR code holds a link of {len(link)} characters; see --to") from error
    picture = io.BytesIO()
    symbol.save(picture, kind=_kind(path), scale=SCALE_PX, border=QUIET_ZONE, dark="black", light="white")
    return picture.getvalue()
