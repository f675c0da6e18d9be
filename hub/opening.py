"""Opening the hub over its database, and the JSON lines that its commands say."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import structlog

from hub import witness
from hub.database import open_database, sqlite_path
from hub.errors import HubError
from hub.node import HubNode, load_key
from hub.services.snapshot import Shelf
from tickets.clock import SystemClock

log = structlog.get_logger()


def key_file_of(database_url: str, key_file: Path | None) -> Path:
    """Where the hub's signing key stands: beside a SQLite file unless named. Raises HubError."""
    path = sqlite_path(database_url)
    if key_file is not None:
        return key_file
    if path is None:
        raise HubError("a database that is no SQLite file needs a key file of its own (--key-file)")
    return path.with_name(path.name + ".key")


def open_node(database_url: str, *, key_file: Path | None = None) -> HubNode:
    """The hub over a database, migrated; its key stands beside a SQLite file unless named. Raises HubError."""
    file = key_file_of(database_url, key_file)
    engine = open_database(database_url)
    node = HubNode(
        engine,
        load_key(file, random_bytes=os.urandom),
        clock=SystemClock(),
        random_bytes=os.urandom,
        shelf=Shelf((sqlite_path(database_url) or file).with_suffix(".snapshots")),
    )
    witness.watch(node, file)
    if node.restored is not None:
        log.error("restored", why=node.restored)
    return node


def say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()
