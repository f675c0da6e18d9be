"""Pictures that lie in a folder or are put there: each is one presentation, in order of name.

A picture that is still being written is waited for; one that stays unreadable is told once and passed over. A file that is written
anew is shown anew.
"""

from __future__ import annotations

import time
from pathlib import Path

import structlog

from scanner.reading.errors import PictureUnreadableError, SourceGoneError
from scanner.reading.frame import Frame
from scanner.reading.picture import load_picture
from tickets.clock import Clock

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".pgm", ".ppm", ".tif", ".tiff"})
LOOK_EVERY_S = 0.1

_log = structlog.get_logger()


class Folder:
    name = "folder"
    live = False

    def __init__(self, *, path: Path, settle_s: float, clock: Clock) -> None:
        self._path = path
        self._settle_s = settle_s
        self._clock = clock
        self._shown: dict[str, tuple[int, int]] = {}
        self._unreadable_since_s: dict[str, float] = {}

    def open(self) -> None:
        if not self._path.is_dir():
            raise SourceGoneError(f"there is no folder {self._path}")

    def next(self) -> Frame | None:
        for path, version in self._new_pictures():
            try:
                picture = load_picture(path)
            except PictureUnreadableError as error:
                since_s = self._unreadable_since_s.setdefault(path.name, self._clock.monotonic_s())
                if self._clock.monotonic_s() - since_s < self._settle_s:
                    break  # perhaps half written; those after it wait too, so that the order holds
                _log.warning("picture_unreadable", file=path.name, why=str(error))
                self._passed(path, version)
                continue
            self._passed(path, version)
            return Frame(picture, at=self._clock.now_utc(), seen_s=self._clock.monotonic_s(), still=True)
        time.sleep(LOOK_EVERY_S)
        return None

    def close(self) -> None:
        return

    def _passed(self, path: Path, version: tuple[int, int]) -> None:
        self._shown[path.name] = version
        self._unreadable_since_s.pop(path.name, None)

    def _new_pictures(self) -> list[tuple[Path, tuple[int, int]]]:
        found: dict[str, tuple[int, int]] = {}
        try:
            for path in self._path.iterdir():
                if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                    try:
                        status = path.stat()
                    except FileNotFoundError:  # taken away between listing and asking
                        continue
                    found[path.name] = (status.st_mtime_ns, status.st_size)
        except OSError as error:
            raise SourceGoneError(f"the folder {self._path} cannot be listed ({error.strerror})") from error
        self._shown = {name: version for name, version in self._shown.items() if name in found}
        new = sorted(name for name, version in found.items() if self._shown.get(name) != version)
        return [(self._path / name, found[name]) for name in new]
