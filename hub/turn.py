"""SQLite has one writer, and whoever finds it busy sleeps in its busy handler and looks again: the threads of one process wait in a line
here instead, where the next one is woken at once. Claims go first, for a guest stands there; but not for ever.

One turn a transaction, never one inside another: that raises RuntimeError, because it would wait for itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

FIRST_IN_A_ROW = 32
"""After so many turns of those who go first somebody else has one, where anybody else waits."""


class Turn:
    """Open to all at once where the database orders its writers itself (PostgreSQL)."""

    def __init__(self, *, one_at_a_time: bool) -> None:
        self._one = one_at_a_time
        self._free = threading.Condition(threading.Lock())
        self._held_by: int | None = None
        self._first = self._others = self._row = 0

    @contextmanager
    def take(self, *, first: bool = False) -> Iterator[None]:
        if not self._one:
            yield
            return
        me = threading.get_ident()
        if self._held_by == me:
            raise RuntimeError("a transaction that writes inside another")
        with self._free:
            self._wait(first=first)
            self._held_by = me
            self._row = self._row + 1 if first else 0
        try:
            yield
        finally:
            with self._free:
                self._held_by = None
                self._free.notify_all()

    def _wait(self, *, first: bool) -> None:
        self._first += first
        self._others += not first
        try:
            while self._held_by is not None or not self._may_go(first=first):
                self._free.wait()
        finally:
            self._first -= first
            self._others -= not first

    def _may_go(self, *, first: bool) -> bool:
        theirs = self._row >= FIRST_IN_A_ROW and self._others > 0
        return not theirs if first else theirs or not self._first
