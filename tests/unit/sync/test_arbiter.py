"""The statement of who rules: only the hub's key makes it, and nothing in it can be turned without that showing."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync.arbiter import CONTEXT, Arbiter, check, signed
from sync.errors import MessageError
from tickets.ids import DeviceId

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
STATEMENT = Arbiter(
    epoch=2,
    node=DeviceId(bytes(16)),
    urls=("https://192.0.2.4:8201",),
    tls=bytes(32),
    at=datetime(2026, 11, 22, 3, tzinfo=UTC),
)


def test_what_was_signed_is_read_back() -> None:
    assert check(signed(STATEMENT, KEY), PUBLIC) == STATEMENT


def test_another_key_or_another_epoch_is_no_statement() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    with pytest.raises(MessageError):
        check(signed(STATEMENT, other), PUBLIC)
    row = json.loads(signed(STATEMENT, KEY))
    row["text"] = row["text"].replace('"epoch":2', '"epoch":3')
    with pytest.raises(MessageError):
        check(json.dumps(row), PUBLIC)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epoch", 0),
        ("epoch", True),
        ("epoch", "2"),
        ("urls", "x"),
        ("urls", [1]),
        ("tls", "00"),
        ("at", "2026-11-22T03:00:00"),
    ],
)
def test_a_signed_statement_of_wrong_shape_is_refused_in_one_line(key: str, value: object) -> None:
    row = json.loads(STATEMENT.to_text()) | {key: value}
    text = json.dumps(row)
    document = json.dumps({"text": text, "signature": KEY.sign(CONTEXT + text.encode()).hex()})
    with pytest.raises(MessageError):
        check(document, PUBLIC)


@pytest.mark.parametrize(
    "junk", ["", "{}", "[]", "null", '{"text":1,"signature":""}', '{"text":"{}","signature":"zz"}']
)
def test_junk_is_no_statement(junk: str) -> None:
    with pytest.raises(MessageError):
        check(junk, PUBLIC)
