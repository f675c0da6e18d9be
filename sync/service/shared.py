"""Files that several daemons write, each under an account of its own: the group must be able to write them."""

from __future__ import annotations

import os
from pathlib import Path


def create_shared(path: Path) -> None:
    """Make `path` an empty file of mode 0660 less the umask, unless there is one; an empty file is a new database to SQLite.

    SQLite by itself creates a database as 0644: whichever daemon comes second could then read it and never write it. The WAL and
    its index take over the mode of the database. A path that cannot be made is left for SQLite to complain about.

    A file that is there is not even opened: closing it again would drop every lock that this process's connections hold on it (POSIX),
    and the next process to close its own would think itself the last, fold the log in and delete it under them.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660))
    except OSError:
        return
