"""A file or a character device that only takes bytes (such as /dev/usb/lp0 of a one-way printer): nothing is ever answered."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from printer.errors import LinkError


@dataclass(slots=True)
class FileLink:
    path: Path
    falls_with_power: bool = field(default=False, init=False)
    answers: bool = field(default=False, init=False)
    _descriptor: int | None = field(default=None, init=False)

    def open(self) -> None:
        self.close()
        try:
            self._descriptor = os.open(
                self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o640
            )
        except OSError as error:
            raise LinkError(f"{self.path}: {error.strerror}") from error

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def fileno(self) -> int:
        assert self._descriptor is not None
        return self._descriptor

    def send(self, data: bytes) -> int:
        assert self._descriptor is not None
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise LinkError(f"{self.path}: {error.strerror}") from error

    def receive(self) -> bytes:
        return b""

    def patient(self, *, on: bool) -> None:
        """A file never stops reading."""
