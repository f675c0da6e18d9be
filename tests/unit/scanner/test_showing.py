"""What stands on the gate's screen at any moment. The promise: no green light outlives its time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scanner.screen.showing import Showing
from scanner.view import GateView, Key, KeyPress, ViewKind
from tickets.admission import Direction, VerdictKind


def ready(name: str = "A") -> GateView:
    return GateView(kind=ViewKind.READY, gate=name, direction=Direction.ENTRY)


def admit(stays_ms: int = 3000, keys: tuple[Key, ...] = (), name: str = "1") -> GateView:
    return GateView(
        kind=ViewKind.VERDICT,
        gate="A",
        direction=Direction.ENTRY,
        verdict=VerdictKind.ADMIT,
        stays_ms=stays_ms,
        keys=keys,
        id=name,
    )


def choose(most: int = 6, preset: int = 0) -> GateView:
    return GateView(
        kind=ViewKind.VERDICT,
        gate="A",
        direction=Direction.ENTRY,
        verdict=VerdictKind.CHOOSE,
        choose_max=most,
        choose_preset=preset,
        stays_ms=0,
        keys=(Key.CHOOSE, Key.DISMISS),
        id="7",
    )


def test_at_first_the_gate_is_being_prepared() -> None:
    assert Showing().view is None


def test_a_verdict_runs_down_to_the_last_ready_view() -> None:
    showing = Showing().received(ready(), now_s=0).received(admit(), now_s=10)
    assert showing.at(12.99).view == admit()
    assert showing.remaining(11.5) == 0.5
    assert showing.at(13.0).view == ready()


def test_the_next_verdict_replaces_at_once_and_has_its_whole_time() -> None:
    showing = Showing().received(admit(), now_s=0).received(admit(name="2"), now_s=2.9)
    assert showing.at(5.8).view == admit(name="2")
    assert showing.at(5.9).view is None


def test_a_ready_view_waits_for_a_timed_verdict_and_answers_a_question() -> None:
    timed = Showing().received(admit(), now_s=0).received(ready("B"), now_s=1)
    assert timed.view == admit()
    assert timed.at(3).view == ready("B")
    asked = Showing().received(choose(), now_s=0).received(ready("B"), now_s=1)
    assert asked.view == ready("B")


def test_a_gate_that_goes_away_leaves_no_question_and_no_endless_light() -> None:
    assert Showing().received(ready(), now_s=0).received(choose(), now_s=0).disconnected().view is None
    lit = Showing().received(ready(), now_s=0).received(admit(), now_s=0).disconnected()
    assert lit.view == admit()
    assert lit.at(3).view is None


def test_choosing_marks_then_sends() -> None:
    showing = Showing().received(choose(), now_s=0)
    assert showing.pressed(Key.CHOOSE, None) == (showing, None)  # nothing marked yet
    marked, press = showing.pressed(Key.CHOOSE, 4)
    assert press is None
    assert marked.chosen == 4
    assert marked.pressed(Key.CHOOSE, None)[1] == KeyPress(Key.CHOOSE, "7", 4)
    assert showing.pressed(Key.CHOOSE, 7) == (showing, None)
    assert showing.pressed(Key.DISMISS, None)[1] == KeyPress(Key.DISMISS, "7")


def test_a_preset_can_be_sent_at_once_and_is_forgotten_with_its_question() -> None:
    showing = Showing().received(choose(preset=2), now_s=0)
    assert showing.pressed(Key.CHOOSE, None)[1] == KeyPress(Key.CHOOSE, "7", 2)
    assert showing.received(choose(), now_s=1).chosen == 0


def test_a_key_that_is_not_offered_does_nothing() -> None:
    showing = Showing().received(admit(), now_s=0)
    assert showing.pressed(Key.UNDO, None) == (showing, None)
    assert Showing().pressed(Key.DISMISS, None) == (Showing(), None)


def test_dismissing_a_verdict_ends_it_here_and_tells_the_gate() -> None:
    showing = Showing().received(ready(), now_s=0).received(admit(keys=(Key.DISMISS,)), now_s=0)
    after, press = showing.pressed(Key.DISMISS, None)
    assert after.view == ready()
    assert press == KeyPress(Key.DISMISS, "1")


events = st.lists(
    st.one_of(
        st.tuples(st.just("ready")),
        st.tuples(st.just("admit"), st.integers(1, 5000)),
        st.tuples(st.just("choose")),
        st.tuples(st.just("gone")),
        st.tuples(st.just("wait"), st.floats(0, 4)),
        st.tuples(st.just("press"), st.sampled_from(Key), st.none() | st.integers(1, 9)),
    ),
    max_size=30,
)


@given(events)
def test_no_green_light_outlives_its_time(events: list[tuple[object, ...]]) -> None:
    showing, now_s, lit_until_s = Showing(), 0.0, 0.0
    for name, *arguments in events:
        match name:
            case "ready":
                showing = showing.received(ready(), now_s=now_s)
            case "admit":
                showing = showing.received(admit(stays_ms=arguments[0]), now_s=now_s)  # type: ignore[arg-type]
                lit_until_s = now_s + arguments[0] / 1000  # type: ignore[operator]
            case "choose":
                showing = showing.received(choose(), now_s=now_s)
            case "gone":
                showing = showing.disconnected()
            case "wait":
                now_s += arguments[0]  # type: ignore[operator]
            case "press":
                showing, _ = showing.pressed(*arguments)  # type: ignore[arg-type]
        showing = showing.at(now_s)
        if showing.view is not None and showing.view.verdict is VerdictKind.ADMIT:
            assert now_s < lit_until_s
            assert 0 < showing.remaining(now_s) <= 1
