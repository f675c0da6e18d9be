from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync import hop
from sync.hop import HopError, Message, NonceMemory

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
DEVICE = b"d" * 16
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
URL = "http://hub.test:8200/v1/changes?wait=5&cursor=abc"


def signed(
    body: bytes = b"{}",
    *,
    key: Ed25519PrivateKey = KEY,
    now: datetime = NOW,
    nonce: str = "nonce-0001",
    url: str = URL,
    method: str = "POST",
) -> Message:
    message = Message(method, url)
    hop.sign(message, body, device=DEVICE, key=key, now=now, nonce=nonce)
    return message


def check(message: Message, body: bytes = b"{}", *, nonces: NonceMemory | None = None, now: datetime = NOW) -> bytes:
    find = {DEVICE: KEY.public_key().public_bytes_raw()}.get
    return hop.verify(
        message, body, find_key=find, nonces=nonces or NonceMemory(began=NOW - timedelta(hours=1)), now=now
    )


def refused(*args: object, **more: object) -> str:
    with pytest.raises(HopError) as caught:
        check(*args, **more)  # type: ignore[arg-type]
    return caught.value.error


def test_the_device_that_signed_is_named() -> None:
    assert check(signed()) == DEVICE
    assert check(signed(b""), b"") == DEVICE


@pytest.mark.parametrize(
    "changed",
    [
        Message("PUT", URL),
        Message("POST", URL.replace("changes", "operations")),
        Message("POST", URL.replace("wait=5", "wait=6")),
        Message("POST", URL.replace("hub.test", "evil.test")),
    ],
    ids=["method", "path", "query", "authority"],
)
def test_what_is_covered_cannot_be_changed(changed: Message) -> None:
    changed.headers = signed().headers
    assert refused(changed) == "signature"


def test_the_body_cannot_be_changed_or_dropped() -> None:
    assert refused(signed(), b'{"x":1}') == "signature"
    assert refused(signed(), b"") == "signature"


def test_a_signature_that_covers_less_does_not_count() -> None:
    from http_message_signatures import HTTPMessageSigner, algorithms

    class Keys:
        def resolve_private_key(self, key_id: str) -> Ed25519PrivateKey:
            return KEY

    message = Message("POST", URL)
    signer = HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=Keys())
    signer.sign(
        message,
        key_id=DEVICE.hex(),
        created=NOW,
        nonce="nonce-0001",
        label="hop",
        tag=hop.TAG,
        covered_component_ids=("@method",),
    )
    assert refused(message) == "signature"


def test_no_signature_other_key_unknown_device() -> None:
    assert refused(Message("POST", URL)) == "unsigned"
    assert refused(signed(key=OTHER)) == "signature"
    message = Message("POST", URL)
    hop.sign(message, b"{}", device=b"x" * 16, key=KEY, now=NOW, nonce="nonce-0001")
    assert refused(message) == "device_unknown"


@pytest.mark.parametrize("seconds", [-61, 61])
def test_outside_of_the_window_is_a_matter_of_the_clock(seconds: int) -> None:
    assert refused(signed(now=NOW + timedelta(seconds=seconds))) == "clock"
    assert check(signed(now=NOW + timedelta(seconds=seconds // 61 * 60))) == DEVICE


def test_a_request_counts_once() -> None:
    nonces = NonceMemory(began=NOW - timedelta(hours=1))
    message = signed()
    check(message, nonces=nonces)
    assert refused(message, nonces=nonces) == "replayed"
    assert check(signed(nonce="nonce-0002"), nonces=nonces) == DEVICE


def test_what_was_signed_before_the_memory_began_is_not_taken() -> None:
    assert refused(signed(now=NOW - timedelta(seconds=5)), nonces=NonceMemory(began=NOW)) == "clock"


def test_the_memory_forgets_what_the_window_refuses_anyway() -> None:
    nonces = NonceMemory(began=NOW - timedelta(hours=1))
    for number in range(50):
        later = NOW + timedelta(seconds=number * 10)
        check(signed(now=later, nonce=f"nonce-{number:04d}"), nonces=nonces, now=later)
    assert len(nonces._seen) <= 2 * hop.CREATED_WINDOW_S / 10 + 2
