"""The report thread, and what this process says of itself: telemetry to the hub, health to the device's board."""

from __future__ import annotations

from datetime import datetime

import structlog

from sync.daemon.shared import HEALTH_PART, SYNC_BELL, News, Shared, expect_keys
from sync.enrol import SOFTWARE
from sync.errors import (
    HubKeyWrong,
    HubRefused,
    HubUnreachable,
)
from sync.protocol import Telemetry
from sync.room import Level
from sync.service.health import Board, Health, State

OFFLINE_WARNING_S = 60.0
DIVERGED_WARNING_S = 3_600.0
"""So long a cache that differed from the hub is told, though it was healed at once: somebody should ask why."""
log = structlog.get_logger()


def report(shared: Shared, board: Board) -> None:
    """The report thread, until `stop`: says how this device is, after uploads and every `telemetry_s`, and never before what it did. That a
    report does not get through is no error of the line: it is not tried again, the next one says more.
    """
    line, sequence = shared.line(shared.route.current()), 0
    while not shared.stop.is_set():
        shared.report_now.wait(shared.settings.telemetry_s)
        shared.report_now.clear()
        if shared.stop.is_set() or not shared.uploads.are_done():
            continue
        if line.origin != shared.route.current():
            line.hub.close()
            line = shared.line(shared.route.current())
        sequence += 1
        try:
            line.hub.telemetry(_telemetry(shared, board, sequence))
            shared.reached(line)
        except (HubUnreachable, HubRefused) as error:
            log.warning("not_reported", error=str(error))
            if isinstance(error, HubRefused) and error.error == "unreported":
                shared.rejoin_now.set()
                shared.ring(SYNC_BELL)
            elif isinstance(error, HubKeyWrong):
                expect_keys(shared, line)


def _telemetry(shared: Shared, board: Board, sequence: int) -> Telemetry:
    parts = [part for part in board.parts() if part["part"] != HEALTH_PART]
    news = shared.news
    if news.diverged_at is not None:  # the one thing of the line that the office has to know
        facts = {"diverged": news.diverged, "rebuilt": news.cache_rebuilt}
        at = news.diverged_at.isoformat()
        parts.append({"part": "cache", "state": State.WARNING.value, "at": at, "stops": "", "facts": facts})
    now = shared.clock.now_utc()
    return Telemetry(now, SOFTWARE, unsent=news.unsent, parts=tuple(parts), sequence=sequence)


def health(shared: Shared, *, now: datetime) -> Health:
    """What this process says of the hub. Being offline is no error: it is a warning once the data has some age."""
    news = shared.news
    age_s = None if news.current_at is None else max(0.0, (now - news.current_at).total_seconds())
    state, stops = State.OK, ""
    if (
        age_s is None
        or age_s > OFFLINE_WARNING_S + shared.settings.wait_s
        or news.cache_problem
        or news.left_out
        or _apart(news, now)
        or news.began_afresh
    ):
        state = State.WARNING
    if shared.route.node_down or shared.route.pin_missing or news.room is not Level.AMPLE:
        state = State.WARNING
    if news.refused:
        state, stops = State.ERROR, "sync"
    if news.journal:
        state, stops = State.ERROR, "journal"
    return Health(
        part=HEALTH_PART,
        state=state,
        at=now,
        stops=stops,
        facts={
            "last_contact": None if news.last_contact is None else news.last_contact.isoformat(),
            "line": news.line,
            "age_s": None if age_s is None else round(age_s, 1),
            "unsent": news.unsent,
            "rejected": news.rejected,
            "conflicts": news.conflicts,
            "generation": news.generation,
            "cache_rebuilt": news.cache_rebuilt,
            "diverged": news.diverged,
            "cache_problem": news.cache_problem,
            "began_afresh": news.began_afresh,
            "left_out": list(news.left_out),
            "refused": news.refused,
            "journal": news.journal,
            "clock_offset_s": news.clock_offset_s,
            "route": _route_in_words(shared),
            "unsent_hub": news.unsent_hub,
            "shut_out": news.shut_out,
            "room": news.room,
        },
    )


def _route_in_words(shared: Shared) -> str:
    if not shared.route.node_named:
        return "venue node not used (its TLS pin): at the hub" if shared.route.pin_missing else "hub"
    return "venue node down: at the hub" if shared.route.node_down else "venue node"


def _apart(news: News, now: datetime) -> bool:
    return news.diverged_at is not None and (now - news.diverged_at).total_seconds() < DIVERGED_WARNING_S
