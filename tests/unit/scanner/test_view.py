"""What gate and screen say to each other survives the wire; anything else is refused with the field's name."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.view import Counted, GateView, Key, KeyPress, Recent, ViewError, ViewKind
from tickets.admission import Direction, Reason, VerdictKind

texts = st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=40)
counts = st.none() | st.integers(0, 10**6)
recents = st.builds(Recent, verdict=st.sampled_from(VerdictKind), text=texts, gate=texts, at=texts)
common = {
    "gate": texts,
    "direction": st.sampled_from(Direction),
    "language": st.sampled_from(["ja", "en"]),
    "id": texts,
    "data_age_s": st.none() | st.floats(0, 1e9),
    "unsent": st.integers(0, 10**6),
    "time_of_day_s": st.none() | st.integers(0, 86399),
    "inside": counts,
    "recent": st.lists(recents, max_size=8).map(tuple),
}
ready_views = st.builds(GateView, kind=st.just(ViewKind.READY), **common)
verdict_views = st.builds(
    GateView,
    kind=st.just(ViewKind.VERDICT),
    verdict=st.sampled_from([kind for kind in VerdictKind if kind is not VerdictKind.CHOOSE]),
    reason=st.none() | st.sampled_from(Reason),
    word=texts,
    lines=st.lists(texts, max_size=3).map(tuple),
    who=texts,
    count=counts,
    counted=st.sampled_from(Counted),
    left=counts,
    when=texts,
    number=texts,
    stays_ms=st.integers(0, 600_000),
    keys=st.lists(st.sampled_from([key for key in Key if key is not Key.CHOOSE]), max_size=3).map(tuple),
    **common,
)
choices = st.integers(1, 65535).flatmap(
    lambda most: st.builds(
        GateView,
        kind=st.just(ViewKind.VERDICT),
        verdict=st.just(VerdictKind.CHOOSE),
        choose_max=st.just(most),
        choose_preset=st.integers(0, most),
        used=counts,
        stays_ms=st.just(0),
        keys=st.just((Key.CHOOSE, Key.DISMISS)),
        **common,
    )
)


@given(ready_views | verdict_views | choices)
def test_a_view_survives_the_wire(view: GateView) -> None:
    assert GateView.from_packet(view.to_packet()) == view


@given(st.sampled_from(Key), texts, st.integers(1, 65535))
def test_a_press_survives_the_wire(key: Key, view: str, count: int) -> None:
    press = KeyPress(key, view, count if key is Key.CHOOSE else None)
    assert KeyPress.from_packet(press.to_packet()) == press


@given(st.binary(max_size=300))
def test_any_bytes_are_a_view_or_an_error(packet: bytes) -> None:
    for kind in (GateView, KeyPress):
        with pytest.raises(ViewError):
            kind.from_packet(packet)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=4,
)


@given(verdict_views, st.data())
def test_any_damage_to_a_field_is_refused_or_a_view(view: GateView, data: st.DataObject) -> None:
    fields = json.loads(view.to_packet())
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(json_values)
    with contextlib.suppress(ViewError):  # and nothing else
        GateView.from_packet(json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"kind": "verdict"}, "verdict"),
        ({"kind": "ready", "verdict": "admit"}, "verdict"),
        ({"kind": "verdict", "verdict": "choose", "choose_max": 0}, "choose_max"),
        ({"kind": "verdict", "verdict": "choose", "choose_max": 2}, "keys"),
        ({"kind": "verdict", "verdict": "admit", "stays_ms": 10**9}, "stays_ms"),
        ({"kind": "verdict", "verdict": "maybe"}, "verdict"),
        ({"kind": "verdict", "verdict": "refuse", "reason": "bad_mood"}, "reason"),
        ({"kind": "ready", "gate": 5}, "gate"),
        ({"kind": "ready", "gate": "x" * 201}, "gate"),
        ({"kind": "ready", "inside": "many"}, "inside"),
        ({"kind": "ready", "inside": True}, "inside"),
        ({"kind": "ready", "recent": [1]}, "recent"),
        ({"kind": "ready", "keys": ["explode"]}, "keys"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, object], names: str) -> None:
    with pytest.raises(ViewError, match=f"'{names}'"):
        GateView.from_packet(json.dumps({"gate": "A", "direction": "entry", **fields}).encode())


def test_a_press_says_how_many_only_when_it_chooses() -> None:
    with pytest.raises(ViewError):
        KeyPress(Key.CHOOSE, "1")
    with pytest.raises(ViewError):
        KeyPress(Key.UNDO, "1", 2)
    with pytest.raises(ViewError):
        KeyPress(Key.CHOOSE, "1", 0)
