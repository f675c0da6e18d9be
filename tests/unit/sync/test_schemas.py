"""Operations of the release before are read and applied; those of a later one are kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sync.errors import MessageError
from sync.operation import KINDS, SCHEMA, UnknownKind, from_body, op_of, to_body
from sync.protocol import Status, answers_from_json

BEFORE = json.loads((Path(__file__).parents[2] / "vectors" / "operations_1.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("body", BEFORE["bodies"])
def test_a_body_of_the_release_before_means_what_it_meant(body: str) -> None:
    what = from_body(body)
    assert BEFORE["schema"] == SCHEMA - 1
    assert not isinstance(what, UnknownKind)
    assert {"v": SCHEMA, **json.loads(body)} == json.loads(to_body(what))


def test_every_kind_is_among_them() -> None:
    assert {json.loads(body)["kind"] for body in BEFORE["bodies"]} == set(KINDS)


@pytest.mark.parametrize("body", BEFORE["bodies"])
def test_a_later_schema_may_say_more_and_may_be_beyond_us(body: str) -> None:
    row = json.loads(body)
    more = from_body(json.dumps({**row, "v": SCHEMA + 1, "weather": {"sunny": True}}))
    assert not isinstance(more, UnknownKind)
    beyond = json.dumps({"op": row["op"], "kind": row["kind"], "v": SCHEMA + 1, "at": row["at"], "all": "anew"})
    kept = from_body(beyond)
    assert isinstance(kept, UnknownKind)
    assert (kept.kind, op_of(kept).hex()) == (row["kind"], row["op"])
    for schema in (SCHEMA, 1):
        with pytest.raises(MessageError, match="is missing"):
            from_body(json.dumps({**json.loads(beyond), "v": schema}))


@pytest.mark.parametrize("schema", [0, -1, "2", 2.0, True, None])
def test_a_schema_is_a_number(schema: object) -> None:
    with pytest.raises(MessageError, match="schema"):
        from_body(json.dumps({**json.loads(BEFORE["bodies"][0]), "v": schema}))


def test_a_newer_hubs_answers_may_say_more() -> None:
    text = {"protocol": 1, "took_ms": 3, "answers": [{"op": "ab" * 16, "status": "accepted", "reason": "", "at": 1}]}
    (answer,) = answers_from_json(json.dumps(text))
    assert answer.status is Status.ACCEPTED
