"""The journal as it is now: noticed when the file becomes another one, opened again when it may be sound."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

import structlog

from sync.errors import (
    JournalBroken,
    NewerFile,
)
from sync.journal import Journal, open_for_grants, open_journal
from sync.state import StateDir
from tickets.clock import Clock
from tickets.ids import RandomBytes

REOPEN_S = 5.0
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Opened:
    """The journal as it is now. `sound` None: its chain does not hold, nothing is pushed. `grants` None: it cannot be read at all."""

    sound: Journal | None
    grants: Journal | None
    problem: str = ""


class JournalWatch:
    """Notices when the journal file becomes another one (the gate set a broken one aside), and opens what is there now."""

    def __init__(self, state: StateDir, *, clock: Clock, random_bytes: RandomBytes) -> None:
        self._state, self._clock, self._random_bytes = state, clock, random_bytes
        self._lock = threading.Lock()
        self._opened: Opened | None = None
        self._inode: int | None = None
        self._opened_s = 0.0

    def current(self) -> Opened:
        with self._lock:
            inode, now_s = self._file(), self._clock.monotonic_s()
            held = self._opened
            again = held is not None and held.problem != "" and now_s > self._opened_s + REOPEN_S
            if held is None or inode != self._inode or again:
                if held is not None and not held.problem and self._inode is not None:
                    log.warning("journal_replaced")
                fresh = self._open()
                if held is None or fresh.problem != held.problem:
                    (log.error if fresh.problem else log.info)("journal_opened", problem=fresh.problem)
                elif again and fresh.problem:
                    fresh = held  # as broken as before: keep the object that others compare with
                self._opened, self._inode, self._opened_s = fresh, self._file(), now_s
                return fresh
            return held

    def doubt(self) -> None:
        """Open it again at the next look, though the file is the same."""
        with self._lock:
            self._inode = None

    def _file(self) -> int | None:
        try:
            return os.stat(self._state.journal).st_ino  # noqa: PTH116 a StateDir path; only the inode is wanted
        except OSError:
            return None

    def _open(self) -> Opened:
        try:
            journal = open_journal(self._state, clock=self._clock, random_bytes=self._random_bytes)
        except NewerFile as error:
            return Opened(sound=None, grants=None, problem=str(error))
        except JournalBroken as error:
            return Opened(sound=None, grants=open_for_grants(self._state), problem=str(error))
        return Opened(sound=journal, grants=journal)
