"""The file beside the hub's key that says how far its database had come. A database that knows less than this was put back.

Written after the database's own commit, so it is never ahead by itself. A file that cannot be written is told and stops nothing: the
other signs of a restore (hub.services.restore) do without it.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from hub.node import HubNode
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
        log.warning("witness_unreadable", file=path.name, error=str(error))
        return None


def watch(node: HubNode, key_file: Path) -> None:
    """At the hub's start: compare, and from then on keep the file beside this key."""
    node.witness_file = path_beside(key_file)
    node.begin(read(node.witness_file))
    keep(node)


def keep(node: HubNode) -> None:
    """Write on how far the database has come, if it has moved. Of several workers the latest wins: it is never ahead of the database."""
    if node.witness_file is None:
        return
    made = node.witness()
    if made is None:
        return
    try:
        write_durably(node.witness_file, made.to_text().encode(), mode=0o600)
    except OSError as error:
        log.warning("witness_not_written", file=node.witness_file.name, error=str(error))
