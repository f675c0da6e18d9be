"""Room on the disk: what is done when it runs out, and before.

Below LOW old acknowledged rows go first. Below STOP nothing is sold any more: a sale in flight must still be written whole, with the
log that grows beside the journal. A gate goes on until a write truly fails. A reserve file keeps some room out of everybody's reach
and is given up when it is truly needed, so that what has begun can end. It holds nothing.

STOP is many times what one sale writes: with 2 MiB free it still ends whole (tests/fault/test_disk_full.py). The rest is for the log, which
grows while a reader holds it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

MIB = 1024 * 1024
LOW_BYTES = 96 * MIB
STOP_BYTES = 32 * MIB
RESERVE_BYTES = 16 * MIB
FREE_RESERVE_BYTES = 4 * MIB
RESERVE = "room.reserve"


class Level(StrEnum):
    """`ample`; `low`: old rows go; `stop`: nothing is sold."""

    AMPLE = "ample"
    LOW = "low"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Limits:
    low_bytes: int = LOW_BYTES
    stop_bytes: int = STOP_BYTES
    reserve_bytes: int = RESERVE_BYTES
    free_reserve_bytes: int = FREE_RESERVE_BYTES


def free_bytes(folder: Path) -> int:
    """What this process may still write there."""
    held = os.statvfs(folder)
    return held.f_bavail * held.f_frsize


def free_mib(folder: Path) -> int | None:
    """For people."""
    try:
        return free_bytes(folder) // MIB
    except OSError:
        return None


def level(folder: Path, limits: Limits = Limits()) -> Level:
    """How much room there is. A folder that cannot be asked has none."""
    try:
        free = free_bytes(folder)
    except OSError:
        return Level.STOP
    if free < limits.stop_bytes:
        return Level.STOP
    return Level.LOW if free < limits.low_bytes else Level.AMPLE


def keep_reserve(folder: Path, limits: Limits = Limits()) -> bool:
    """Make the reserve where there is ample room, give it up where hardly any is left. True while it is there."""
    path = folder / RESERVE
    try:
        free = free_bytes(folder)
        if path.exists():
            if free < limits.free_reserve_bytes:
                path.unlink()
                return False
            return True
        if free < limits.low_bytes + limits.reserve_bytes:
            return False
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, limits.reserve_bytes)
        return True
    except OSError:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return False
