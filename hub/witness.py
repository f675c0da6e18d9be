"""The file beside the hub's key that says how far its database had come. A database that knows less than this was put back.

Written after the database's own commit, so it is never ahead by itself. A file that cannot be written is told and stops nothing: the
other signs of a restore (hub.services.restore) do without it.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from hub.services.restore import Witness
from sync.state import write_durably

log = structlog.get_logger()


def path_beside(key_file: Path) -> Path:
    return key_file.with_name(key_file.name + ".witness")


def read(path: Path) -> Witness | None:
    try:
        return Witness.from_text(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.error("witness_unreadable", file=path.name, error=str(error))
        return None


def write(path: Path, witness: Witness) -> None:
    """Several workers of one hub may write it; each names its own fresh file by the mark, and the latest wins."""
    try:
        write_durably(path, witness.to_text().encode())
    except OSError as error:
        log.error("witness_not_written", file=path.name, error=str(error))
