"""Wakes the long polls of other workers on PostgreSQL: LISTEN and NOTIFY, on connections of their own and after the commit.

A NOTIFY inside of the writer's transaction would take a lock that all commits share, so each would wait for the one before it to reach
the disk. Here one thread sends at most one word every SPACING_S, and nobody waits for it; a word that is lost costs what wakeup says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import structlog
from sqlalchemy import Engine

CHANNEL = "kaisatsu_feed"
SPACING_S = 0.01
LISTEN_S = 1.0
AGAIN_S = 1.0

log = structlog.get_logger()


class AcrossWorkers:
    """`tell` may be called from any thread and returns at once; `ring` is called from a thread of this object for every word heard."""

    def __init__(self, engine: Engine, ring: Callable[[], None]) -> None:
        self._where = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._ring = ring
        self._stop, self._news = threading.Event(), threading.Event()
        self._threads = [
            threading.Thread(target=self._forever, args=(work,), name=name, daemon=True)
            for name, work in (("feed-listen", self._listen), ("feed-notify", self._notify))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._news.set()
        for thread in self._threads:
            thread.join(timeout=2 * LISTEN_S)

    def tell(self) -> None:
        self._news.set()

    def _forever(self, work: Callable[[psycopg.Connection], None]) -> None:
        while not self._stop.is_set():
            try:
                with psycopg.connect(
                    self._where, autocommit=True, connect_timeout=5, application_name="kaisatsu-hub-feed"
                ) as connection:
                    work(connection)
            except psycopg.Error as error:
                if not self._stop.is_set():
                    log.warning("feed_bell", error=type(error).__name__)
                    self._stop.wait(AGAIN_S)

    def _listen(self, connection: psycopg.Connection) -> None:
        connection.execute(f"LISTEN {CHANNEL}")
        self._ring()  # whatever was said while nobody listened
        while not self._stop.is_set():
            for _ in connection.notifies(timeout=LISTEN_S, stop_after=1):
                self._ring()

    def _notify(self, connection: psycopg.Connection) -> None:
        connection.execute("SET synchronous_commit = off")  # nothing is written but the word
        while not self._stop.is_set():
            if self._news.wait(LISTEN_S) and not self._stop.is_set():
                self._news.clear()
                connection.execute(f"NOTIFY {CHANNEL}")
                self._stop.wait(SPACING_S)
