"""`kaisatsu hub arbiter show | set`: who rules over the venue's tickets, changed by a person's hand and on record with their name.

Nothing here is automatic on purpose. Two arbiters at once are harmless (gates believe the newer reign alone) but each change leaves
gates without an arbiter until they have heard of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hub.errors import BadRequest, NotFound
from hub.node import HubNode
from hub.opening import open_node, say
from hub.services import devices, reign
from hub.services.reign import THE_HUB
from sync.arbiter import Arbiter
from sync.state import Role
from tickets.ids import DeviceId

TLS_HEX_CHARS = 64


def show(*, database_url: str, key_file: Path | None = None) -> dict[str, Any]:
    """Print and return the statement in force and the record of who named whom, newest first."""
    node = open_node(database_url, key_file=key_file)
    try:
        with node.read() as connection:
            named, record = reign.statement(connection, node.hub_key), reign.record(connection)
            labels = {known.device: known.label for known in devices.all_devices(connection)}
    finally:
        node.engine.dispose()
    if named is None:
        raise NotFound("no arbiter is named here")
    line = {
        "event": "arbiter",
        **_said(named, labels),
        "record": [
            {"epoch": row.epoch, "node": _label(row.node, labels), "by": row.by, "at": row.at} for row in record
        ],
    }
    say(line)
    return line


def name(
    *,
    database_url: str,
    node: str,
    urls: Sequence[str],
    tls: str | None,
    by: str,
    after: int = 0,
    key_file: Path | None = None,
) -> dict[str, Any]:
    """Make `node` (the label of a venue node, or "hub") the arbiter, in the next epoch. Prints and returns the new statement.

    Raises NotFound for a label that no venue node has, BadRequest for what cannot be.
    """
    here = open_node(database_url, key_file=key_file)
    try:
        named = here.hand_over(_device(here, node), urls=urls, tls=_pin(tls), by=by, after=after)
        with here.read() as connection:
            labels = {known.device: known.label for known in devices.all_devices(connection)}
    finally:
        here.engine.dispose()
    line = {"event": "arbiter", **_said(named, labels)}
    say(line)
    return line


def _device(here: HubNode, label: str) -> DeviceId | None:
    if label == THE_HUB:
        return None
    with here.read() as connection:
        nodes = [known for known in devices.all_devices(connection) if known.role is Role.VENUE and not known.revoked]
    found = [known.device for known in nodes if known.label == label]
    if len(found) != 1:
        allowed = ", ".join([THE_HUB, *sorted(known.label for known in nodes)])
        raise NotFound(f"--node {label}: {'no' if not found else 'more than one'} venue node; allowed: {allowed}")
    return found[0]


def _pin(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        pin = bytes.fromhex(text)
    except ValueError:
        pin = b""
    if len(text) != TLS_HEX_CHARS or len(pin) * 2 != TLS_HEX_CHARS:
        raise BadRequest(f"--tls: {TLS_HEX_CHARS} hex digits are expected, the SHA-256 of the node's TLS key")
    return pin


def _said(named: Arbiter, labels: dict[DeviceId, str]) -> dict[str, Any]:
    return {
        "epoch": named.epoch,
        "node": _label(named.node, labels),
        "urls": list(named.urls),
        "tls": None if named.tls is None else named.tls.hex(),
        "at": named.at.isoformat(),
    }


def _label(node: DeviceId | None, labels: dict[DeviceId, str]) -> str:
    return THE_HUB if node is None else labels.get(node, node.hex())
