"""Where the arbiter may be found: as the device's settings say, else as the hub's statement says, else by asking the LAN.

Whatever is found is worth no more than an attempt: the line itself proves, by its pinned key, that it leads to the one whom the
statement names, and the answers are only believed in the statement's epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scanner.gate.errors import LineUnpinned
from sync.arbiter import Arbiter
from sync.client import HttpHub
from sync.errors import SyncError
from sync.state import Identity
from tickets.clock import Clock
from tickets.ids import RandomBytes

LOOK_AROUND_S = 1.0
Pins = tuple[bytes, ...] | None

_log = structlog.get_logger()


def addresses(statement: Arbiter | None, *, override: str | None, identity: Identity) -> tuple[str, ...]:
    """Where to try without asking around. Empty before the first statement: nobody is known to rule."""
    if override is not None:
        return (override,)
    if statement is None:
        return ()
    if statement.node is None:  # the hub itself: also where this device was enrolled
        return tuple(dict.fromkeys((*statement.urls, identity.hub_url)))
    return statement.urls


def lines(
    statement: Arbiter | None,
    *,
    override: str | None,
    identity: Identity,
    key: Ed25519PrivateKey,
    clock: Clock,
    random_bytes: RandomBytes,
    hub_pins: Callable[[], Pins],
    deadline_s: float,
) -> Iterator[HttpHub]:
    """A line to each address, made when it is asked for; the caller closes them. A venue node that answers at none of its addresses
    is looked for on the LAN. `hub_pins`: the pins of the hub's TLS keys in force, for where the hub itself rules.

    Raises LineUnpinned at the end, where an address was left out for that.
    """
    unpinned = ""

    def line(url: str) -> HttpHub:
        node = statement is not None and statement.node is not None
        return HttpHub(
            url,
            tls=statement.tls if statement is not None and node else hub_pins(),
            device=identity.device,
            key=key,
            clock=clock,
            random_bytes=random_bytes,
            connect_timeout_s=deadline_s,
            read_timeout_s=deadline_s,
        )

    known = addresses(statement, override=override, identity=identity)
    for url in known:
        try:
            made = line(url)
        except ValueError as error:  # says which of the two is missing; the next address may be a good one
            unpinned = str(error)
            continue
        yield made
    if override is None and statement is not None and statement.node is not None:
        from sync.discovery import find  # a megabyte or more that most gates never need

        try:
            found = find(statement, wait_s=LOOK_AROUND_S)
        except SyncError as error:
            _log.warning("lan_not_asked", why=str(error))
            found = ()
        for url in found:
            if url not in known:
                yield line(url)
    if unpinned:
        raise LineUnpinned(unpinned)
