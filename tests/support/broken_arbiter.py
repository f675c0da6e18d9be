"""An arbiter that is broken on purpose: it counts, and only then takes the lock to write. The bench must notice."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hub.node import HubNode
from hub.services import arbiter, feed
from hub.services.arbiter import Asked, Result
from hub.services.devices import KnownDevice
from sync.claim import ClaimMessage

_KNOWN = "SELECT ticket FROM ticket WHERE ticket {keys}"
_DOZE_S = 0.01
"""As long as a commit takes on a slow disk."""


def count_without_lock(node: HubNode) -> None:
    threads, sound = ThreadPoolExecutor(8), node.claims

    def claims(asked: Sequence[Asked]) -> Sequence[Result]:
        now = node.clock.now_utc()
        group = arbiter._Group(node.reign(), now)
        with node.read() as connection:
            tickets = [bytes.fromhex(one.message.ticket) for one in asked]
            driver = arbiter._Driver(connection)
            if len(driver.rows(_KNOWN, tickets)) < len(set(tickets)):
                driver.close()
                return sound(asked)  # only the counting is broken here, not the tickets that nobody has told of
            arbiter._read(connection, driver, group, asked)
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
