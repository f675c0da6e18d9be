"""Power loss, honestly: what SQLite itself has synced is kept, everything else is gone.

The real code opens real files in memory (tmpfs) through a VFS of its own that is SQLite's, but for one method: at each `xSync` the
file's content is copied, as a disk would have it. After a power cut each file holds what its last sync left. Nothing in the code under
test is told of this, and no pragma is read: whether a commit syncs is SQLite's doing, so `synchronous=NORMAL` loses what it loses.

Modelled: content of databases and logs at their syncs; of a log that was written and not synced, a part may be there all the same, cut
at any byte. Not modelled: names (a file made, moved or removed is so at once), files beside SQLite's (they are written by
`write_durably` or are keys: held durable), bits that rot, a disk that lies about its syncs.
"""

from __future__ import annotations

import ctypes
import os
import random
from collections.abc import Callable
from pathlib import Path

_POINTER = ctypes.c_void_p
_OPEN = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, _POINTER, _POINTER, ctypes.c_int, ctypes.POINTER(ctypes.c_int))
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, ctypes.c_int)
_DESCRIPTOR_AT = 24
"""Where `struct unixFile` holds its file descriptor, after three pointers (SQLite 3.7 to 3.50, os_unix.c)."""
_METHODS = 18
_SYNC_AT = 4
"""`struct sqlite3_io_methods` (sqlite3.h): a version, then 18 pointers, xSync the fifth."""


RUN = "run"
"""The run-time directory in each machine's folder."""


class _Vfs(ctypes.Structure):
    """`struct sqlite3_vfs` (sqlite3.h), whole, so that it can be copied."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("path_max", ctypes.c_int),
        ("next", _POINTER),
        ("name", ctypes.c_char_p),
        ("data", _POINTER),
        ("open", _OPEN),
        ("others", _POINTER * 14),
    )


class _Methods(ctypes.Structure):
    _fields_ = (("version", ctypes.c_int), ("calls", _POINTER * _METHODS))


class _Shim:
    """Installed once a process, and passive while nobody watches."""

    def __init__(self) -> None:
        self._sqlite = ctypes.CDLL("libsqlite3.so.0")
        self._sqlite.sqlite3_vfs_find.restype = _POINTER
        self._real = _Vfs.from_address(self._sqlite.sqlite3_vfs_find(b"unix"))
        self._real_at = ctypes.addressof(self._real)
        self._copies: dict[int, _Methods] = {}
        self._kept: list[object] = []
        self.synced: Callable[[int], None] | None = None
        self._mine = _Vfs()
        ctypes.memmove(ctypes.byref(self._mine), self._real_at, ctypes.sizeof(_Vfs))
        self._mine.name = b"simulated"
        self._mine.open = _OPEN(self._open)
        self._sync_call = _SYNC(self._sync)
        self._syncs: dict[int, int] = {}

    def make_default(self, *, default: bool) -> None:
        if default:
            self._sqlite.sqlite3_vfs_register(ctypes.byref(self._mine), 1)
        else:
            self._sqlite.sqlite3_vfs_register(_POINTER(self._real_at), 1)

    def _open(self, _vfs: int, name: int, file: int, flags: int, out: ctypes._Pointer[ctypes.c_int]) -> int:
        result = int(self._real.open(self._real_at, name, file, flags, out))
        at = ctypes.cast(file, ctypes.POINTER(_POINTER))
        methods = at[0]
        if result or not methods:
            return result
        copy = self._copies.get(methods)
        if copy is None:
            copy = _Methods()
            ctypes.memmove(ctypes.byref(copy), methods, ctypes.sizeof(_Methods))
            copy.calls[_SYNC_AT] = ctypes.cast(self._sync_call, _POINTER).value
            self._copies[methods] = copy
        at[0] = ctypes.addressof(copy)
        return result

    def _sync(self, file: int, _flags: int) -> int:
        if self.synced is not None:
            self.synced(ctypes.c_int.from_address(file + _DESCRIPTOR_AT).value)
        return 0  # the memory it is written to needs no sync


_shim: _Shim | None = None


class Disk:
    """The disks of one world's machines, each a folder. `watch` until `stop`; one at a time in a process."""

    def __init__(self) -> None:
        self._images: dict[int, bytes] = {}
        self.syncs = 0

    def watch(self) -> None:
        global _shim  # noqa: PLW0603 SQLite knows one default for the process
        if _shim is None:
            _shim = _Shim()
        assert _shim.synced is None, "another disk is watched in this process"
        _shim.synced = self._synced
        _shim.make_default(default=True)

    def stop(self) -> None:
        assert _shim is not None
        _shim.synced = None
        _shim.make_default(default=False)

    def adopt(self, folder: Path) -> None:
        """What lies in a folder now is durable."""
        for file in _databases(folder):
            self._images[file.stat().st_ino] = file.read_bytes()

    def copy(self, folder: Path) -> dict[str, bytes]:
        """What a backup of a stopped machine would hold: every file as it is durable now."""
        return {
            str(file.relative_to(folder)): self._durable(file) for file in sorted(folder.rglob("*")) if _counts(file)
        }

    def put(self, files: dict[str, bytes], into: Path) -> None:
        """A disk with these files, all durable. `into` is a new folder: what a dead process still has open lies in the old one, and
        nothing that it does when it is tidied away reaches the new.
        """
        for name, content in files.items():
            file = into / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(0o660)
        self.adopt(into)

    def after_power_loss(self, folder: Path, chance: random.Random) -> tuple[dict[str, bytes], int]:
        """Every file as its last sync left it, plus whatever part of a log's unsynced end the disk happened to write; and how many
        files had more in them than that.
        """
        kept, lost = {}, 0
        for file in sorted(folder.rglob("*")):
            if not _counts(file):
                continue
            now, durable = file.read_bytes(), self._durable(file)
            if (
                file.name.endswith("-wal")
                and len(now) > len(durable)
                and now.startswith(durable)
                and chance.random() < 0.5
            ):
                durable = now[: chance.randrange(len(durable), len(now))]
            lost += now != durable
            kept[str(file.relative_to(folder))] = durable
        return kept, lost

    def _durable(self, file: Path) -> bytes:
        if not _is_database(file):
            return file.read_bytes()
        return self._images.get(file.stat().st_ino, b"")

    def _synced(self, descriptor: int) -> None:
        self.syncs += 1
        stat = os.fstat(descriptor)
        # The whole of it: a log begins anew inside its old length, so its end says nothing about what is new.
        self._images[stat.st_ino] = os.pread(descriptor, stat.st_size, 0)


def _is_database(file: Path) -> bool:
    return file.name.endswith((".db", ".db-wal", ".db-journal"))


def _counts(file: Path) -> bool:
    """Not what is made anew at each start: shared memory, and the run-time directory."""
    return file.is_file() and not file.name.endswith("-shm") and file.parent.name != RUN


def _databases(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and _is_database(file)]
