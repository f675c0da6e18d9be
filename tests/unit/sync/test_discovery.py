"""The node is found by who it says it is, over the loopback interface; who says it is not the proof."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hub.discovery import Announcer
from sync import discovery
from sync.arbiter import Arbiter
from tickets.ids import DeviceId

LOOPBACK = ["127.0.0.1"]
NODE, PIN = DeviceId(b"n" * 16), b"p" * 32
STATEMENT = Arbiter(2, NODE, ("https://192.0.2.1:1",), PIN, datetime(2026, 11, 23, tzinfo=UTC))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_node_is_found_where_it_is_now() -> None:
    with (
        Announcer(NODE, port=18443, tls=PIN, addresses=LOOPBACK, interfaces=LOOPBACK),
        Announcer(DeviceId(b"x" * 16), port=1, tls=PIN, addresses=LOOPBACK, interfaces=LOOPBACK),
        Announcer(NODE, port=2, tls=b"q" * 32, addresses=LOOPBACK, interfaces=LOOPBACK),
    ):
        assert discovery.find(STATEMENT, wait_s=5, interfaces=LOOPBACK) == ("https://127.0.0.1:18443",)


def test_nobody_is_looked_for_without_a_key_to_know_him_by() -> None:
    assert discovery.find(replace(STATEMENT, tls=None), wait_s=5, interfaces=LOOPBACK) == ()
    assert discovery.find(replace(STATEMENT, node=None), wait_s=5, interfaces=LOOPBACK) == ()


def test_a_lan_that_cannot_be_asked_is_said_in_one_error() -> None:
    with pytest.raises(discovery.LanSilent):
        discovery.find(STATEMENT, wait_s=0.1, interfaces=["192.0.2.77"])


def test_a_node_that_cannot_announce_runs_all_the_same() -> None:
    with Announcer(NODE, port=1, tls=PIN, addresses=LOOPBACK, interfaces=["192.0.2.77"]):
        pass
