"""The same ticket held up is one read; shown again it is another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scanner.reading.inview import CODES_MAX, InView


def test_held_up_it_is_read_once() -> None:
    view = InView(rearm_s=1.5)
    assert view.fresh(["A"], seen_s=0.0) == ["A"]
    assert all(view.fresh(["A"], seen_s=frame / 30) == [] for frame in range(1, 300))


def test_a_short_miss_is_no_absence() -> None:
    view = InView(rearm_s=1.5)
    view.fresh(["A"], seen_s=0.0)
    assert view.fresh(["A"], seen_s=1.49) == []
    assert view.fresh(["A"], seen_s=2.98) == []


def test_after_the_rearm_time_it_is_shown_again() -> None:
    view = InView(rearm_s=1.5)
    view.fresh(["A"], seen_s=0.0)
    assert view.fresh(["A"], seen_s=1.5) == ["A"]


def test_tickets_do_not_hide_each_other() -> None:
    view = InView(rearm_s=1.5)
    assert view.fresh(["A", "B"], seen_s=0.0) == ["A", "B"]
    assert view.fresh(["B", "C"], seen_s=0.1) == ["C"]
    assert view.fresh(["A"], seen_s=1.6) == ["A"]
    assert view.fresh(["B"], seen_s=1.59) == []


def test_undelivered_it_is_fresh_again() -> None:
    view = InView(rearm_s=1.5)
    view.fresh(["A"], seen_s=0.0)
    view.forget("A")
    assert view.fresh(["A"], seen_s=0.03) == ["A"]


def test_a_late_opinion_about_an_earlier_frame_re_arms_nothing() -> None:
    view = InView(rearm_s=1.5)
    view.fresh(["A"], seen_s=5.0)
    assert view.fresh(["A"], seen_s=4.9) == []
    assert view.fresh(["A"], seen_s=6.4) == []


@given(st.lists(st.text(min_size=1, max_size=3), max_size=300))
def test_memory_is_bounded(texts: list[str]) -> None:
    view = InView(rearm_s=1.5)
    for n, text in enumerate(texts):
        view.fresh([text], seen_s=n / 1000)
    assert len(view._last_seen_s) <= CODES_MAX
