"""An arbiter that is broken on purpose: it counts, and only then takes the lock to write. The bench must notice."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import Connection

from hub.node import HubNode
from hub.services import arbiter, feed, reign
from hub.services.arbiter import Asked, Result
from hub.services.devices import KnownDevice
from sync.claim import ClaimMessage

_DOZE_S = 0.003
"""About as long as a commit of somebody else's takes."""


def count_without_lock(node: HubNode) -> None:
    threads = ThreadPoolExecutor(8)

    def claims(asked: Sequence[Asked]) -> Sequence[Result]:
        now = node.clock.now_utc()
        group = arbiter._Group(_reign(node), now)
        with node.read() as connection:
            driver = arbiter._Driver(connection)
            arbiter._read(_NoWrites(connection), driver, group, asked)  # type: ignore[arg-type]
            results = [arbiter._answered(connection, group, one) for one in asked]
            driver.close()
        time.sleep(_DOZE_S)
        with node.write() as connection:
            driver = arbiter._Driver(connection)
            driver.insert(arbiter._INSERT_USE, group.new_uses)
            driver.insert(arbiter._INSERT_ANSWER, group.new_answers)
            driver.close()
            feed.touch(connection, "used", [row[0] for row in group.new_uses])
        return results

    def claim_soon(message: ClaimMessage, *, sender: KnownDevice) -> Any:
        def one() -> Any:
            (result,) = claims([Asked(message, sender.device)])
            if isinstance(result, Exception):
                raise result
            return result

        return threads.submit(one)

    node.claim_soon = claim_soon  # type: ignore[method-assign]
    node.claim = lambda message, sender: claim_soon(message, sender=sender).result()  # type: ignore[method-assign]


def _reign(node: HubNode) -> reign.Reign:
    return node.reign()


class _NoWrites:
    """A read transaction: tickets that nobody has told of are left to others."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
