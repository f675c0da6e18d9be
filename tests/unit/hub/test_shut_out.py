"""What one device does that is shut out, or calls without end, is no other device's trouble."""

from __future__ import annotations

from collections import Counter

import pytest

from hub.errors import TooMany
from hub.node import HubNode
from hub.services.devices import KnownDevice
from sync import hop, nonce
from sync.nonce import answer_to
from tests.hubkit import NOON, Device

MANY = 50


def claimed(device: Device) -> hop.Claimed:
    node = device.hub.node
    message = hop.Message("GET", "http://hub.test/v1/changes")
    over = answer_to(node.nonces.current(node.clock.now_utc()), device.random_bytes(12))
    hop.sign(message, b"", device=device.identity.device, key=device.state.identity_key(), now=NOON, nonce=over)
    fields = {name.lower(): value for name, value in message.headers.items()}
    return hop.read(
        hop.Target("GET", "hub.test", "/v1/changes", ""),
        b"",
        digest=fields["content-digest"],
        signature_input=fields["signature-input"],
        signature=fields["signature"],
    )


def call(device: Device, *, revoked_too: bool = False) -> str:
    node = device.hub.node
    try:
        node.admit(claimed(device), node.senders.look(device.identity.device), revoked_too=revoked_too)
    except hop.HopError as error:
        return error.error
    return "heard"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nonce, "SEEN_MAX", MANY)


@pytest.mark.usefixtures("few")
def test_a_revoked_device_shuts_out_nobody(node: HubNode, gate: Device, gate_b: Device) -> None:
    node.revoke(gate_b.identity.device)
    assert Counter(call(gate_b) for _ in range(3 * MANY)) == {"revoked": 3 * MANY}
    assert call(gate) == "heard"
    # What it still may say is remembered, within its part.
    assert Counter(call(gate_b, revoked_too=True) for _ in range(3 * MANY))["busy"] > MANY
    assert call(gate) == "heard"


def test_a_call_beyond_the_allowance_is_not_remembered_and_a_replay_costs_none(node: HubNode, gate: Device) -> None:
    request, known = claimed(gate), node.senders.look(gate.identity.device)
    taken: list[KnownDevice] = []

    def refuses(_: KnownDevice) -> None:
        raise TooMany("too often", retry_after_s=1)

    with pytest.raises(TooMany):
        node.admit(request, known, allowed=refuses)
    node.admit(request, known, allowed=taken.append)
    with pytest.raises(hop.HopError, match="seen before"):
        node.admit(request, known, allowed=taken.append)
    assert len(taken) == 1
