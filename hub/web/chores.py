"""The hub's chores while it serves: short steps of housekeeping, and the witness of how far the database has come."""

from __future__ import annotations

import asyncio

import structlog
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hub import witness
from hub.node import HubNode
from hub.services import housekeeping

PAUSE_S = 2.0
BUSY_S = 0.05
SHARE = 0.1
"""Behind with its chores a hub gives them so much of its time: what devices send comes first."""
WALK_EVERY_S = 30.0
"""Between two looks at a stretch of the tables themselves: a million tickets are through in some hours."""

log = structlog.get_logger()


async def run(node: HubNode) -> None:
    """Until cancelled. What the database refuses is told and tried again later."""
    loop = asyncio.get_running_loop()
    walked_s = loop.time()
    stalled = False
    while True:
        pause_s, began_s = PAUSE_S, loop.time()
        walk = loop.time() >= walked_s + WALK_EVERY_S
        try:
            kept = await run_in_threadpool(lambda walk=walk: node.housekeep(walk=walk))  # type: ignore[misc]
            await run_in_threadpool(witness.keep, node)
        except (DBAPIError, PoolTimeout) as error:
            log.warning("chores", error=type(error).__name__)
        else:
            if walk:
                walked_s = loop.time()
            if kept.repaired:
                log.error("feed_repaired", rows=kept.repaired)
            if (kept.horizon_age_s > housekeeping.STALLED_S) != stalled:
                stalled = not stalled
                log.log(40 if stalled else 20, "feed_stalled", stalled=stalled, **kept.facts())
            if max(kept.folded, kept.compacted) >= housekeeping.ROWS:
                pause_s = max(BUSY_S, (loop.time() - began_s) * (1 / SHARE - 1))
        await asyncio.sleep(pause_s)
