from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from hub.command import make_link
from hub.node import HubNode
from sync.enrol import EnrolError, enrol, parse_link
from sync.errors import HubRefused, HubUnreachable
from sync.journal import open_journal
from sync.protocol import EnrolRequest, SignedText
from sync.state import Role, StateDir
from tests.hubkit import URL, Device, LocalHub, seeded
from tickets.clock import FixedClock


def link_for(node: HubNode, role: Role = Role.KIOSK, label: str = "K9") -> str:
    return make_link(node, role=role, label=label, gate="A" if role is Role.GATE else None, base_url=URL)


def test_a_kiosk_holds_both_keys_and_a_certificate_a_gate_only_its_identity(kiosk: Device, gate: Device) -> None:
    assert kiosk.identity.kid is not None
    assert kiosk.state.selling_key()
    assert gate.identity.gate == "A"
    assert not (gate.state.path / "selling/key").exists()
    for device in (kiosk, gate):
        assert device.identity.hub_key == device.hub.node.public
        assert (device.state.path / "identity/key").stat().st_mode & 0o077 == 0
        assert not (device.state.path / "enrolling").exists()
        assert device.journal.incarnation == 1


def test_a_link_is_good_for_one_device(node: HubNode, tmp_path: Path, clock: FixedClock) -> None:
    link = link_for(node)
    enrol(link, StateDir(tmp_path / "one"), clock=clock, random_bytes=seeded(7), hub=LocalHub(node))
    with pytest.raises(HubRefused, match="used already"):
        enrol(link, StateDir(tmp_path / "two"), clock=clock, random_bytes=seeded(8), hub=LocalHub(node))
    assert not (tmp_path / "two" / "device.json").exists()


def test_a_link_expires(node: HubNode, tmp_path: Path, clock: FixedClock) -> None:
    link = link_for(node)
    clock.now += timedelta(hours=24)
    with pytest.raises(HubRefused, match="too old"):
        enrol(link, StateDir(tmp_path / "one"), clock=clock, random_bytes=seeded(7), hub=LocalHub(node))


def test_a_made_up_token_is_refused(node: HubNode, tmp_path: Path, clock: FixedClock) -> None:
    link = f"{URL}/enrol?token=guess&key={node.public.hex()}"
    with pytest.raises(HubRefused, match="not made here"):
        enrol(link, StateDir(tmp_path / "one"), clock=clock, random_bytes=seeded(7), hub=LocalHub(node))


def test_an_enrolment_whose_answer_was_lost_is_tried_again(node: HubNode, tmp_path: Path, clock: FixedClock) -> None:
    class Lossy(LocalHub):
        def enrol(self, request: EnrolRequest) -> SignedText:
            super().enrol(request)
            raise HubUnreachable("the answer was lost")

    link, state = link_for(node), StateDir(tmp_path / "one")
    with pytest.raises(HubUnreachable):
        enrol(link, state, clock=clock, random_bytes=seeded(7), hub=Lossy(node))
    identity = enrol(link, state, clock=clock, random_bytes=seeded(8), hub=LocalHub(node))
    assert identity.label == "K9"
    with node.read() as connection:
        from hub.services import devices

        assert [item.label for item in devices.all_devices(connection)] == ["K9"]


def test_a_hub_with_another_key_than_the_links_is_not_believed(
    node: HubNode, tmp_path: Path, clock: FixedClock
) -> None:
    link = link_for(node).replace(node.public.hex(), "ab" * 32)
    with pytest.raises(EnrolError, match="not this venue's hub"):
        enrol(link, StateDir(tmp_path / "one"), clock=clock, random_bytes=seeded(7), hub=LocalHub(node))
    assert not (tmp_path / "one" / "device.json").exists()


def test_an_answer_to_another_device_is_not_taken(node: HubNode, tmp_path: Path, clock: FixedClock) -> None:
    kept: list[SignedText] = []

    class Repeating(LocalHub):
        def enrol(self, request: EnrolRequest) -> SignedText:
            if not kept:
                kept.append(super().enrol(request))
            return kept[0]

    enrol(link_for(node), StateDir(tmp_path / "one"), clock=clock, random_bytes=seeded(7), hub=Repeating(node))
    with pytest.raises(EnrolError, match="another device"):
        enrol(link_for(node), StateDir(tmp_path / "two"), clock=clock, random_bytes=seeded(8), hub=Repeating(node))


def test_an_enrolled_device_is_not_enrolled_over(kiosk: Device, node: HubNode, clock: FixedClock) -> None:
    with pytest.raises(EnrolError, match="already"):
        enrol(link_for(node), kiosk.state, clock=clock, random_bytes=seeded(9), hub=LocalHub(node))
    assert open_journal(kiosk.state, clock=clock, random_bytes=seeded(9)).incarnation == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://h/enrol",
        "ftp://h/enrol?token=a&key=" + "ab" * 32,
        "http://h/other?token=a&key=" + "ab" * 32,
        "http://h/enrol?token=a&key=zz",
        "http:///enrol?token=a&key=" + "ab" * 32,
    ],
)
def test_what_is_no_link_is_said_in_one_line(text: str) -> None:
    with pytest.raises(EnrolError, match="not an enrolment link"):
        parse_link(text)
