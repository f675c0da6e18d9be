from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync import protocol
from sync.errors import MessageError
from sync.operation import ReleaseReason
from sync.protocol import (
    Answer,
    Cursor,
    Enrolled,
    EnrolRequest,
    LeaseAnswer,
    LeaseRequest,
    Page,
    Problem,
    ReleaseMessage,
    SignedText,
    Status,
    TableRows,
    Telemetry,
)
from sync.state import Role
from tests.hubkit import Device

AT = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
MESSAGES = [
    EnrolRequest("token", b"d" * 16, b"i" * 32, b"s" * 32, "kaisatsu 0.1.0", b"p" * 64),
    SignedText('{"x":"券"}', b"s" * 64),
    Page("cursor", True, (TableRows("ticket", ("ticket", "uses"), (("aa", 1), ("bb", 0)), ("cc",)),), AT),
    ReleaseMessage(b"o" * 16, b"p" * 16, ReleaseReason.NOT_PASSED, "A", AT),
    LeaseRequest(1, (protocol.SlotWish("s", 10, {"hub": 3}, {"hub": 1}, urgent=True),), ((6, 1), (8, 2))),
    protocol.CertificateAnswer("{}", b"s" * 64),
    protocol.Rejoin(2, 5, (protocol.SlotWish("s", 0, {"hub": 3}, {"hub": 1}),), (protocol.BlockGrant(6, 0, 999),)),
    protocol.Rejoin(1, 5, arbiter='{"text":"","signature":""}', whole=False),
    LeaseAnswer((protocol.SlotGrant("s", 10, 4),), (protocol.BlockGrant(6, 0, 999),), AT),
    Telemetry(
        AT, "kaisatsu 0.1.0", 3, ({"part": "printer", "state": "ok", "at": AT.isoformat(), "stops": "", "facts": {}},)
    ),
    Problem("chain_gap", "missing", 4),
]
PARSERS = [type(message).from_json for message in MESSAGES] + [protocol.segment_from_json, protocol.answers_from_json]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_what_is_written_reads_back_the_same(message: object) -> None:
    assert type(message).from_json(json.dumps(message.to_row())) == message  # type: ignore[attr-defined]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_newer_peers_extra_keys_are_ignored_and_missing_ones_are_named(message: object) -> None:
    row = message.to_row()  # type: ignore[attr-defined]
    assert type(message).from_json(json.dumps({**row, "novel": [1]})) == message  # type: ignore[attr-defined]
    needed = next(key for key in row if key not in ("protocol", "schema"))
    del row[needed]
    with pytest.raises(MessageError, match=needed):
        type(message).from_json(json.dumps(row))  # type: ignore[attr-defined]


def test_a_segment_keeps_its_bodies_to_the_letter(kiosk: Device) -> None:
    kiosk.append(kiosk.sale())
    segment = kiosk.journal.next_segment(kiosk.state)
    assert segment is not None
    assert protocol.segment_from_json(json.dumps(protocol.segment_to_row(segment))) == segment


def test_enrolled_and_answers_and_cursors_round_trip() -> None:
    enrolled = Enrolled(b"d" * 16, b"i" * 32, Role.KIOSK, "2号機", None, b"kkkk", "{}", b"s" * 64, AT)
    assert Enrolled.from_text(enrolled.to_text()) == enrolled
    answers = (Answer(b"o" * 16, Status.REJECTED, "why"), Answer(b"p" * 16, Status.ACCEPTED))
    assert protocol.answers_from_json(json.dumps(protocol.answers_to_row(answers))) == answers
    cursor = Cursor("abcd", 17)
    assert Cursor.decode(cursor.encode()) == cursor


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(value=json_values, choice=st.integers(0, len(PARSERS) - 1), text=st.binary(max_size=40))
def test_junk_is_one_kind_of_error(value: object, choice: int, text: bytes) -> None:
    for junk in (text, json.dumps(value)):
        with contextlib.suppress(MessageError):
            PARSERS[choice](junk)


@given(data=st.data(), choice=st.integers(0, len(MESSAGES) - 1))
def test_one_wrong_value_is_one_kind_of_error(data: st.DataObject, choice: int) -> None:
    message = MESSAGES[choice]
    row = message.to_row()
    row[data.draw(st.sampled_from(sorted(row)))] = data.draw(json_values)
    with contextlib.suppress(MessageError):
        type(message).from_json(json.dumps(row))


def test_limits() -> None:
    with pytest.raises(MessageError, match="zone"):
        ReleaseMessage.from_json(json.dumps({**MESSAGES[3].to_row(), "at": "2026-11-23T03:00:00"}))
    page = MESSAGES[2].to_row()
    page["tables"][0]["rows"] = [["aa"]]
    with pytest.raises(MessageError, match="does not have 2 values"):
        Page.from_json(json.dumps(page))
    with pytest.raises(MessageError, match="lengths 6 and 8"):
        LeaseRequest.from_json(json.dumps(LeaseRequest(1, (), ((7, 1),)).to_row()))
    with pytest.raises(MessageError):
        Cursor.decode("x" * 600)
    with pytest.raises(MessageError):
        Cursor.decode("%%%")
