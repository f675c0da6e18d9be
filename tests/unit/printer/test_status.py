"""Status bytes: vectors from the reference, in any pieces, and nothing known is never well."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printer.spool.report import judged
from printer.status import (
    Answer,
    Automatic,
    Cleared,
    Demultiplexer,
    Event,
    Flow,
    InOrder,
    Noise,
    Paper,
    Printed,
    PrinterState,
    Questions,
    WentOffline,
    heard,
)
from sync.service.health import State

VECTORS: list[tuple[str, list[Event]]] = [
    ("37 22 30 30 30 31 00", [Printed("0001")]),
    ("37 23 43 41 00", [WentOffline(b"CA")]),
    ("37 23 00", [WentOffline(b"")]),
    ("37 25 00", [Cleared()]),
    ("11 13", [Flow(go=True), Flow(go=False)]),
    ("12", [Answer(0x12)]),
    ("16", [Answer(0x16)]),
    ("7e", [Answer(0x7E)]),
    ("10 00 00 0f", [Automatic(bytes.fromhex("1000000f"))]),
    ("38 00 0c 0f", [Automatic(bytes.fromhex("38000c0f"))]),
    ("10 13 00 11 00 0f", [Flow(go=False), Flow(go=True), Automatic(bytes.fromhex("1000000f"))]),
    ("00 0f", [InOrder(0), InOrder(0x0F)]),
    ("37 22 30 13 30 30 32 00", [Flow(go=False), Printed("0002")]),
    (
        "12 37 22 30 30 30 39 00 10 00 00 0f 12",
        [Answer(0x12), Printed("0009"), Automatic(b"\x10\x00\x00\x0f"), Answer(0x12)],
    ),
    ("10 00 12", [Answer(0x12)]),
    ("10 00 37 25 00", [Noise(b"\x10\x00"), Cleared()]),
    ("37 22 30 30 31 00", [Noise(b"\x37\x22001")]),
    ("80", [Noise(b"\x80")]),
    ("37 99 00", [Noise(b"\x37\x99")]),
]


@pytest.mark.parametrize(("data", "events"), VECTORS, ids=[data for data, _ in VECTORS])
def test_vectors(data: str, events: list[Event]) -> None:
    raw = bytes.fromhex(data)
    assert Demultiplexer().feed(raw) == events
    one = Demultiplexer()
    assert [event for byte in raw for event in one.feed(bytes((byte,)))] == events


@given(st.binary(max_size=300))
def test_any_bytes_are_digested(data: bytes) -> None:
    demultiplexer = Demultiplexer()
    demultiplexer.feed(data)
    tail = b"\x00\x00\x00\x00\x37\x22\x30\x30\x30\x37\x00"
    assert demultiplexer.feed(tail)[-1] == Printed("0007")


def after(*events: Event, asked: str = "") -> PrinterState:
    questions = Questions()
    for n in asked:
        questions.ask(int(n))
    state = PrinterState()
    for event in events:
        state = heard(state, event, questions)
    return state


WELL = [Answer(0x12)] * 4


def test_four_good_answers_are_ready() -> None:
    assert after(*WELL, asked="1234").ready
    assert after(Automatic(b"\x10\x00\x00\x0f")).ready


@pytest.mark.parametrize("heard_so_far", [0, 1, 2, 3])
def test_less_than_all_is_not_ready(heard_so_far: int) -> None:
    state = after(*WELL[:heard_so_far], asked="1234")
    assert not state.ready
    assert judged(state, up=True, silent=False) is State.UNKNOWN


def test_an_answer_nobody_asked_for_says_nothing() -> None:
    assert after(*WELL) == PrinterState()


@pytest.mark.parametrize(
    ("n", "byte", "field", "value"),
    [
        ("1", 0x1A, "online", False),
        ("2", 0x16, "cover_open", True),
        ("2", 0x32, "paper", Paper.OUT),
        ("3", 0x1A, "cutter_error", True),
        ("3", 0x32, "unrecoverable", True),
        ("3", 0x52, "waiting", True),
        ("4", 0x1E, "paper", Paper.NEAR_END),
        ("4", 0x72, "paper", Paper.OUT),
        ("4", 0x7E, "paper", Paper.OUT),
    ],
)
def test_bad_answers(n: str, byte: int, field: str, value: object) -> None:
    good = after(*WELL, asked="1234")
    questions = Questions()
    questions.ask(int(n))
    state = heard(good, Answer(byte), questions)
    assert getattr(state, field) == value
    assert state.ready == (value is Paper.NEAR_END or field == "waiting")


@pytest.mark.parametrize(
    ("status", "field", "value"),
    [
        ("1800000f", "online", False),
        ("3000000f", "cover_open", True),
        ("1008000f", "cutter_error", True),
        ("1020000f", "unrecoverable", True),
        ("1000030f", "paper", Paper.NEAR_END),
        ("10000f0f", "paper", Paper.OUT),
    ],
)
def test_automatic_status(status: str, field: str, value: object) -> None:
    assert getattr(after(Automatic(bytes.fromhex(status))), field) == value


def test_silence_is_never_well() -> None:
    well = after(*WELL, asked="1234")
    assert judged(well, up=True, silent=False) is State.OK
    assert judged(well, up=True, silent=True) is State.UNKNOWN
    assert judged(well, up=False, silent=False) is State.ERROR
    assert judged(PrinterState(), up=True, silent=False) is State.UNKNOWN


@given(st.lists(st.sampled_from([Answer(0x12), InOrder(0), Printed("0001"), Flow(go=True), Noise(b"x"), Cleared()])))
def test_no_good_news_without_status_makes_it_ready(events: list[Event]) -> None:
    assert not after(*events).ready
