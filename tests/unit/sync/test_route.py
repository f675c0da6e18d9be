"""Where a device turns to: its node first, the hub when that is gone, and back, without fluttering."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from sync.arbiter import Arbiter
from sync.route import FAILURES_MAX, GOOD_PROBES, Origin, Route
from tickets.clock import FixedClock
from tickets.ids import DeviceId

HUB = Origin(None, "https://hub.test", b"h" * 32)
NODE = DeviceId(b"n" * 16)
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def statement(epoch: int = 1, *urls: str, node: DeviceId | None = NODE) -> Arbiter:
    return Arbiter(epoch, node, urls or ("https://10.0.0.2",), b"t" * 32, NOW)


def route(clock: FixedClock, **settings: object) -> Route:
    return Route(HUB, clock=clock, random_bytes=random.Random(1).randbytes, **settings)  # type: ignore[arg-type]


def fail_over(made: Route, clock: FixedClock) -> None:
    for _ in range(FAILURES_MAX):
        made.failed(made.current())
        clock.elapsed_s += 1.5
    assert made.current() == HUB


def test_without_a_statement_there_is_only_the_hub() -> None:
    made = route(FixedClock(NOW))
    assert made.current() == HUB
    assert not made.failed(HUB)
    assert (made.node_named, made.node_down, made.next_probe_s()) == (False, False, None)


def test_the_node_of_the_newest_statement_is_asked_under_its_own_key() -> None:
    made = route(FixedClock(NOW))
    made.learn(statement(2))
    assert made.current() == Origin(NODE.hex(), "https://10.0.0.2", b"t" * 32)
    made.learn(statement(1, "https://old"))
    assert made.current().url == "https://10.0.0.2", "an older reign says nothing any more"
    made.learn(statement(3, node=None))
    assert made.current() == HUB


def test_the_node_itself_asks_the_hub() -> None:
    made = route(FixedClock(NOW), device=NODE)
    made.learn(statement())
    assert made.current() == HUB


def test_the_kiosk_that_is_the_node_uses_loopback() -> None:
    made = route(FixedClock(NOW), node_url="http://127.0.0.1:8443")
    made.learn(statement())
    assert made.current() == Origin(NODE.hex(), "http://127.0.0.1:8443", None)


def test_a_stumble_is_no_fall() -> None:
    clock = FixedClock(NOW)
    made = route(clock)
    made.learn(statement())
    for _ in range(20):
        made.failed(made.current())
        made.failed(made.current())
        clock.elapsed_s += 10
        made.reached(made.current())
        assert made.current() != HUB
    for _ in range(FAILURES_MAX * 3):
        made.failed(made.current())
    assert made.current() != HUB, "any number of failures within a moment is one event"


def test_the_other_addresses_are_tried_before_the_hub_and_those_found_on_the_lan_join() -> None:
    clock = FixedClock(NOW)
    made = route(clock, find=lambda _: ["https://10.0.0.9", "https://10.0.0.2"])
    made.learn(statement(1, "https://10.0.0.2", "https://10.0.0.3"))
    tried = []
    for _ in range(5):
        tried.append(made.current().url)
        made.failed(made.current())
    assert tried == ["https://10.0.0.2", "https://10.0.0.3", "https://10.0.0.9", "https://10.0.0.2", "https://10.0.0.3"]


def test_it_goes_to_the_hub_and_comes_back_after_answers_in_a_row() -> None:
    clock = FixedClock(NOW)
    made = route(clock)
    made.learn(statement())
    fail_over(made, clock)
    assert made.node_down
    good = 0
    for ready in (True, False, True, True):
        wait_s = made.next_probe_s()
        assert wait_s is not None
        clock.elapsed_s += wait_s - 0.01 if wait_s > 0.01 else 0
        assert wait_s <= 0.01 or made.probe() is None
        clock.elapsed_s += 0.02
        assert made.probe() is not None
        good = good + 1 if ready else 0
        assert made.probed(ready=ready) == (good == GOOD_PROBES)
    assert made.current().node == NODE.hex()
    assert not made.node_down


def test_a_node_that_says_it_is_not_ready_is_left_at_once() -> None:
    made = route(FixedClock(NOW))
    made.learn(statement())
    assert made.failed(made.current(), not_ready=True)
    assert made.current() == HUB


def test_with_both_gone_each_is_tried_in_turn() -> None:
    clock = FixedClock(NOW)
    made = route(clock)
    made.learn(statement())
    fail_over(made, clock)
    seen = []
    for _ in range(6):
        seen.append(made.current().node)
        made.failed(made.current())
        clock.elapsed_s += 1
    assert seen == [None, NODE.hex()] * 3


def test_looks_are_spread() -> None:
    waits = set()
    for seed in range(20):
        clock = FixedClock(NOW)
        made = Route(HUB, clock=clock, random_bytes=random.Random(seed).randbytes)
        made.learn(statement())
        made.failed(made.current(), not_ready=True)
        waits.add(made.next_probe_s())
    assert len(waits) == 20
    assert max(waits) - min(waits) > 2  # type: ignore[type-var,operator]


@given(st.lists(st.sampled_from(["fail", "reach", "ready", "down", "tick"]), max_size=60))
def test_whatever_happens_there_is_somebody_to_ask(events: list[str]) -> None:
    clock = FixedClock(NOW)
    made = route(clock)
    made.learn(statement(1, "https://a", "https://b"))
    for event in events:
        match event:
            case "fail":
                made.failed(made.current())
            case "reach":
                made.reached(made.current())
            case "tick":
                clock.elapsed_s += 3
            case _ if made.probe() is not None:
                made.probed(ready=event == "ready")
            case _:
                pass
        assert made.current() == HUB or made.current().node == NODE.hex()
        assert made.node_down == (made.current() == HUB)
        assert made.node_down == (made.next_probe_s() is not None)


def test_an_address_without_the_tls_that_is_stated_is_passed_over_and_told() -> None:
    made = route(FixedClock(NOW))
    made.learn(statement(1, "http://10.0.0.2"))
    assert (made.current(), made.node_named, made.pin_missing) == (HUB, False, True)
    made.learn(statement(2, "http://10.0.0.2", "https://10.0.0.2"))
    assert made.current() == Origin(NODE.hex(), "https://10.0.0.2", b"t" * 32)
    made.learn(Arbiter(3, NODE, ("https://10.0.0.2",), None, NOW))
    assert (made.current(), made.pin_missing) == (HUB, True)
    made.learn(Arbiter(4, NODE, ("http://10.0.0.2",), None, NOW))
    assert (made.current(), made.pin_missing) == (Origin(NODE.hex(), "http://10.0.0.2"), False)
