"""What staff see and press: finished words, and keys that speak only for the guest they were meant for."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from scanner.gate.front import Front, Line
from scanner.view import GateView, Key, KeyPress, ViewKind
from sync.operation import Release
from tests.support.gate_device import DAY_START, NOON, STRANGER_KEY, cache_ticket, cache_use, signed
from tests.support.open_gate import OpenGate
from tickets.admission import Reason, VerdictKind


class Open:
    def __init__(self, path: Path, *, language: str = "ja", granted: bool = True) -> None:
        self.gate = OpenGate(path, granted=granted)
        self.front = Front(self.gate.lane, clock=self.gate.device.clock, language=language, stays_ms=3000)

    def scan(self, text: str) -> GateView:
        view = self.front.scan(text, source="camera")
        self.gate.lane.finish()
        assert GateView.from_packet(view.to_packet()) == view  # every view fits through the wire
        return view

    def press(self, key: Key, view: GateView, count: int | None = None) -> GateView | None:
        return self.front.press(KeyPress(key, view.id, count))


def test_an_admission_says_whom(tmp_path: Path) -> None:
    view = Open(tmp_path).scan(signed("t", variant=2))
    assert (view.verdict, view.word, view.who, view.count, view.left) == (VerdictKind.ADMIT, "入場OK", "小人", 1, None)
    assert (view.gate, view.stays_ms, view.keys, view.admitted_today) == ("ゲート A", 3000, (Key.UNDO,), 1)


def test_already_used_says_when_where_and_a_number(tmp_path: Path) -> None:
    staff = Open(tmp_path)
    cache_ticket(staff.gate.feed, "t")
    cache_use(staff.gate.feed, "t", op=b"x" * 16, at=NOON - timedelta(hours=1, minutes=48), gate="B")
    view = staff.scan(signed("t"))
    assert (view.word, view.when_label, view.when, view.number) == ("使用済み", "きょう ゲート B", "10:12", "A 001")
    assert view.keys == (Key.DISMISS,)


def test_in_english_and_on_another_day(tmp_path: Path) -> None:
    staff = Open(tmp_path, language="en")
    book = {"variant": 10, "uses": 1, "expires": NOON + timedelta(days=90)}
    cache_use(staff.gate.feed, "t", op=b"x" * 16, at=NOON - timedelta(days=3), gate="gone")
    view = staff.scan(signed("t", **book))
    assert (view.word, view.when_label, view.who) == ("Used", "11/20 gone", "10-ride book")


@pytest.mark.parametrize(
    ("ticket", "when", "reason"),
    [
        (
            {"not_before": DAY_START + timedelta(days=2), "expires": DAY_START + timedelta(days=3)},
            "11/25",
            Reason.NOT_TODAY,
        ),
        ({"variant": 20, "not_before": NOON + timedelta(minutes=90)}, "13:30–", Reason.TOO_EARLY),
        ({"variant": 20, "expires": NOON - timedelta(minutes=30)}, "–11:30", Reason.TOO_LATE),
    ],
)
def test_a_time_that_does_not_fit_is_shown(
    tmp_path: Path, ticket: dict[str, object], when: str, reason: Reason
) -> None:
    view = Open(tmp_path).scan(signed("t", **ticket))  # type: ignore[arg-type]
    assert (view.reason, view.when) == (reason, when)


def test_a_wrong_gate_points_to_the_right_one(tmp_path: Path) -> None:
    view = Open(tmp_path).scan(signed("t", variant=30))
    assert view.lines == ("このゲートの券ではありません", "→ 売店")


def test_how_many_is_asked_and_answered(tmp_path: Path) -> None:
    staff = Open(tmp_path)
    asked = staff.scan(signed("g", variant=50, uses=4))
    assert (asked.verdict, asked.choose_max, asked.used, asked.keys) == (
        VerdictKind.CHOOSE,
        4,
        0,
        (Key.CHOOSE, Key.DISMISS),
    )
    admitted = staff.press(Key.CHOOSE, asked, 3)
    assert admitted is not None
    assert (admitted.verdict, admitted.count, admitted.left) == (VerdictKind.ADMIT, 3, 1)
    assert staff.press(Key.CHOOSE, asked, 1) is None  # the question was answered
    assert staff.front.ready().admitted_today == 3


def test_a_late_finger_never_speaks_for_the_next_guest(tmp_path: Path) -> None:
    staff = Open(tmp_path)
    first, second = staff.scan(signed("a")), staff.scan(signed("b"))
    assert staff.press(Key.UNDO, first) is None
    assert staff.press(Key.UNDO, second) is not None
    assert staff.press(Key.UNDO, second) is None
    (undone,) = [done for done in staff.gate.operations() if isinstance(done, Release)]
    assert undone.of == second.id
    assert staff.front.ready().admitted_today == 1
    assert len(staff.front.ready().recent) == 1
    assert staff.scan(signed("b")).verdict is VerdictKind.ADMIT


def test_a_proof_that_was_not_shown_takes_the_admission_back(tmp_path: Path) -> None:
    staff = Open(tmp_path)
    look = staff.scan(signed("s", variant=71, uses=3))
    assert (look.verdict, look.reason, look.lines[1], look.keys) == (
        VerdictKind.ATTENTION,
        Reason.PROOF,
        "学生証",
        (Key.SEEN, Key.NOT_SEEN),
    )
    assert look.left == 2
    assert staff.press(Key.NOT_SEEN, look) is not None
    again = staff.scan(signed("s", variant=71, uses=3))
    assert again.left == 2
    ready = staff.press(Key.SEEN, again)
    assert ready is not None
    assert (ready.kind, ready.admitted_today) == (ViewKind.READY, 1)


def test_the_front_says_how_old_the_data_is_and_what_is_unsent(tmp_path: Path) -> None:
    staff = Open(tmp_path)
    assert staff.front.ready().data_age_s is None
    staff.gate.store.refresh()
    staff.front.line = Line(heard_at=NOON - timedelta(minutes=6), unsent=4)
    ready = staff.front.ready()
    assert (ready.data_age_s, ready.unsent, ready.time_of_day_s) == (360.0, 4, 12 * 3600)
    assert staff.scan(signed("t")).data_age_s == 360.0


def test_counts_outlive_a_restart_and_end_with_the_day(tmp_path: Path) -> None:
    staff = Open(tmp_path)
    staff.scan(signed("a"))
    staff.scan(signed("a"))
    fresh = Front(staff.gate.again().lane, clock=staff.gate.device.clock, language="ja", stays_ms=3000)
    assert fresh.ready().admitted_today == 1
    staff.gate.device.clock.now += timedelta(days=1)
    assert fresh.ready().admitted_today == 0


def test_before_the_first_contact_the_screen_still_says_something(tmp_path: Path) -> None:
    staff = Open(tmp_path, granted=False)
    view = staff.scan(signed("t"))
    assert (view.verdict, view.gate, view.lines) == (VerdictKind.REFUSE, "A", ("ゲートの準備中です",))


@pytest.mark.parametrize("text", ["junk", "T1:" + "A" * 4000, "\x00\x01" * 2000, signed("f", key=STRANGER_KEY)])
def test_no_hostile_text_reaches_the_screen(tmp_path: Path, text: str) -> None:
    view = Open(tmp_path).scan(text)
    assert view.verdict is VerdictKind.REFUSE
    assert text.encode("utf-8", "replace") not in view.to_packet()
