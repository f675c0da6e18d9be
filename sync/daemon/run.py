"""The process kaisatsu-sync: carries the journal to the hub, and what the hub says to cache and journal.

Three threads, so that a long poll never delays an upload and nothing waits for a report: *push* (operations, then leases), *pull* (the
feed) and *report* (telemetry, when nothing else waits). After an outage a device says first what it did and then hears what others did:
pull lets push go first, and report lets both. None of them needs the hub to be there, and nobody on the device needs this process in
order to sell or to admit. It never appends an operation of its own and never changes one.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import structlog

from sync import discovery
from sync.arbiter import Arbiter
from sync.daemon.pull import pull
from sync.daemon.push import push
from sync.daemon.report import health, report
from sync.daemon.shared import LOOK_S, SYNC_BELL, UPLOADS_FIRST_S, Shared
from sync.daemon.watch import JournalWatch
from sync.errors import (
    NotEnrolled,
)
from sync.route import Origin, Route
from sync.service import notify
from sync.service.doorbell import Doorbell
from sync.service.health import Board
from sync.settings import Settings
from sync.state import StateDir
from tickets.clock import SystemClock

LAST_WORD_S = 3.0
"""A device that goes off gives back what it will not sell, if that is done within so long."""
LAN_WAIT_S = 1.0
"""So long whoever is on the LAN has to say that he is the venue node."""
log = structlog.get_logger()


def _find_on_the_lan(statement: Arbiter) -> tuple[str, ...]:
    try:
        return discovery.find(statement, wait_s=LAN_WAIT_S)
    except (discovery.LanSilent, ImportError) as error:
        log.info("node_not_looked_for", why=str(error))
        return ()


def run(settings: Settings) -> int:
    """The process: starts the threads, publishes health once a second, ends on SIGTERM. Raises NotEnrolled."""
    state, clock = StateDir(settings.state_dir), SystemClock()
    identity = state.identity()
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    shared = Shared(
        settings=settings,
        state=state,
        identity=identity,
        clock=clock,
        random_bytes=os.urandom,
        watch=JournalWatch(state, clock=clock, random_bytes=os.urandom),
        route=Route(
            Origin(None, identity.hub_url),
            clock=clock,
            random_bytes=os.urandom,
            device=identity.device,
            node_url=settings.node_url,
            find=_find_on_the_lan,
        ),
    )
    try:
        shared.line(shared.route.hub).hub.close()
    except ValueError as error:
        raise NotEnrolled(f"{identity.hub_url}: {error}; enrol this device again") from error
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: shared.stop.set())
    board = Board(settings.run_dir / "health.db")
    with Doorbell(settings.run_dir / SYNC_BELL) as bell:
        failed = threading.Event()
        threads: tuple[tuple[str, Callable[[], None]], ...] = (
            ("push", lambda: push(shared, bell)),
            ("pull", lambda: pull(shared)),
            ("report", lambda: report(shared, board)),
        )
        started = [
            threading.Thread(target=_guarded, args=(name, work, failed, shared), name=name, daemon=True)
            for name, work in threads
        ]
        for thread in started:
            thread.start()
        notify.ready("carrying")
        log.info("started", role=identity.role, label=identity.label)
        patience_s = (
            settings.wait_s
            + settings.read_timeout_s
            + settings.connect_timeout_s
            + settings.backoff_s_max
            + UPLOADS_FIRST_S
            + 30
        )
        while not shared.stop.is_set():
            board.publish(health(shared, now=clock.now_utc()))
            oldest_s = min(shared.progress_s.values(), default=0.0)
            if len(shared.progress_s) == 2 and clock.monotonic_s() - oldest_s < patience_s:
                notify.alive()
            shared.stop.wait(LOOK_S)
        notify.stopping()
        log.info("stopping")
        shared.ring(SYNC_BELL)
        started[0].join(LAST_WORD_S)
    board.close()
    return 1 if failed.is_set() else 0


def _guarded(name: str, work: Callable[[], None], failed: threading.Event, shared: Shared) -> None:
    """The top of a thread: a bug ends the process, so that systemd starts it afresh."""
    try:
        work()
    except Exception:
        log.exception("thread_ended", thread=name)
        failed.set()
        shared.stop.set()
