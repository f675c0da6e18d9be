"""What a device does when it learns that it was shut out: it may be in strange hands, so what it knows of guests goes.

The cache (tickets and their uses) is removed, and its own selling key counts as revoked here too, so that a kiosk stops selling. The
journal stays, because it is proof: what it holds unsent goes up all the same, and is kept there without effect until a person looks.
"""

from __future__ import annotations

import re

from sqlalchemy import delete, select, update

from sync import granted
from sync.grants import put_document
from sync.journal import Journal
from sync.state import Identity, StateDir
from tickets.clock import Clock


def is_shut_out(journal: Journal) -> bool:
    with journal.read() as connection:
        return (
            connection.scalar(select(granted.document.c.name).where(granted.document.c.name == granted.SHUT_OUT))
            is not None
        )


def wipe(journal: Journal, state: StateDir, identity: Identity, *, clock: Clock) -> int:
    """Remove every cache and stop this device's selling key. How many files went. Run again it finds nothing; a cut in between is mended by
    running it again. Whoever holds a cache open must have closed it or reopen when the generation changes.
    """
    now = clock.now_utc()
    with journal.write() as connection:
        put_document(connection, granted.SHUT_OUT, now.isoformat(), at=now.isoformat())
        connection.execute(delete(granted.document).where(granted.document.c.name == granted.GENERATION))
        if identity.kid is not None:
            table = granted.issuer_key
            mine = (table.c.kid == identity.kid, table.c.revoked_at.is_(None))
            connection.execute(update(table).where(*mine).values(revoked_at=int(now.timestamp())))
    gone = 0
    for file in sorted(state.path.iterdir()):
        if re.fullmatch(r"cache-\d+\.db(-wal|-shm)?|.*\.part|snapshot\..*", file.name):
            file.unlink(missing_ok=True)
            gone += 1
    return gone


def let_in(journal: Journal) -> None:
    """The hub serves this device again: it was enrolled anew under the same id, or the word was not the hub's."""
    with journal.write() as connection:
        connection.execute(delete(granted.document).where(granted.document.c.name == granted.SHUT_OUT))
