from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from http_message_signatures import (
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureComponentResolver,
    HTTPSignatureKeyResolver,
    algorithms,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from sync import hop, nonce
from sync.hop import HopError, Message
from sync.nonce import Nonces, answer_to
from tickets.ids import DeviceId

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
DEVICE = b"d" * 16
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
HUB = Ed25519PrivateKey.from_private_bytes(b"h" * 32)
URL = "http://hub.test:8200/v1/changes?wait=5&cursor=abc"
VECTOR = Path(__file__).parents[2] / "vectors" / "hop.json"


def fresh(*, now: datetime = NOW, random: bytes = b"r" * 12, hub: Ed25519PrivateKey = HUB) -> str:
    return answer_to(Nonces(hub).current(now), random)


def signed(
    body: bytes = b"{}",
    *,
    key: Ed25519PrivateKey = KEY,
    now: datetime = NOW,
    over: str | None = None,
    url: str = URL,
    method: str = "POST",
) -> Message:
    message = Message(method, url)
    hop.sign(message, body, device=DEVICE, key=key, now=now, nonce=over or fresh())
    return message


def check(message: Message, body: bytes = b"{}", *, nonces: Nonces | None = None, now: datetime = NOW) -> bytes:
    """The device, as the hub finds it: hub.web.access reads, HubNode.admit checks and spends."""
    held = {name.lower(): value for name, value in message.headers.items()}
    claimed = hop.read(
        message.target(),
        body,
        digest=held.get("content-digest"),
        signature_input=held.get("signature-input"),
        signature=held.get("signature"),
    )
    if claimed.device != DEVICE:
        raise HopError("device_unknown", "no such device here")
    hop.check(claimed, KEY.public_key().public_bytes_raw())
    (nonces or Nonces(HUB)).spend(claimed.device, claimed.nonce, now=now)
    return claimed.device


def refused(*args: Any, **more: Any) -> str:
    with pytest.raises(HopError) as caught:
        check(*args, **more)
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


def test_no_signature_other_key_unknown_device() -> None:
    assert refused(Message("POST", URL)) == "unsigned"
    assert refused(signed(key=OTHER)) == "signature"
    message = Message("POST", URL)
    hop.sign(message, b"{}", device=b"x" * 16, key=KEY, now=NOW, nonce=fresh())
    assert refused(message) == "device_unknown"


# The general library as the judge of our own reading and writing.


class _Keys(HTTPSignatureKeyResolver):  # type: ignore[misc]
    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
        assert key_id == DEVICE.hex()
        return KEY.public_key()

    def resolve_private_key(self, key_id: str) -> Ed25519PrivateKey:
        return KEY


class _Verifier(HTTPMessageVerifier):  # type: ignore[misc]
    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
        """Time is no part of the profile."""


def library_says(message: Message, body: bytes) -> dict[str, Any]:
    (result,) = _Verifier(signature_algorithm=algorithms.ED25519, key_resolver=_Keys()).verify(
        message, max_age=None, expect_tag=hop.TAG, require_components=hop.COVERED, body=body
    )
    return dict(result.parameters)


def library_signs(message: Message, body: bytes | None, **changes: Any) -> None:
    values: dict[str, Any] = {
        "key_id": DEVICE.hex(),
        "created": NOW,
        "nonce": fresh(),
        "label": "hop",
        "tag": hop.TAG,
        "covered_component_ids": hop.COVERED,
        "body": body,
    }
    signer = HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=_Keys())
    signer.sign(message, **(values | changes))


_letters = "abcXYZ019-._~"
_paths = st.text(_letters + "/", max_size=24).map(lambda text: "/" + text)
_queries = st.one_of(
    st.dictionaries(st.text(_letters, min_size=1, max_size=5), st.text(max_size=8), max_size=4).map(urlencode),
    st.text(_letters + "!$'()*,;:@/?&=+", max_size=24),
    st.text(max_size=8).map(quote),
)
_hosts = st.sampled_from(
    ["hub.test", "hub.test:8200", "10.0.0.7:8443", "[::1]:8443", "[fe80::1]", "localhost:80", "HUB.Test:443"]
)
_urls = st.builds(
    lambda scheme, host, path, query: f"{scheme}://{host}{path}" + (f"?{query}" if query else ""),
    st.sampled_from(["http", "https"]),
    _hosts,
    _paths,
    _queries,
)
_methods = st.sampled_from(["GET", "POST", "PUT"])


@settings(max_examples=150, deadline=None)
@given(method=_methods, url=_urls, body=st.binary(max_size=300), random=st.binary(min_size=12, max_size=24))
def test_what_we_sign_the_library_verifies(method: str, url: str, body: bytes, random: bytes) -> None:
    message = signed(body, method=method, url=url, over=fresh(random=random))
    found = library_says(message, body)
    assert found["keyid"] == DEVICE.hex()
    assert found["created"] == int(NOW.timestamp())
    assert check(message, body) == DEVICE


@settings(max_examples=150, deadline=None)
@given(method=_methods, url=_urls, body=st.binary(max_size=300))
def test_what_the_library_signs_in_our_profile_we_verify(method: str, url: str, body: bytes) -> None:
    message = Message(method, url)
    library_signs(message, body)
    assert check(message, body) == DEVICE


@settings(max_examples=150, deadline=None)
@given(where=st.sampled_from(["Content-Digest", "Signature-Input", "Signature"]), data=st.data())
def test_no_changed_letter_of_a_header_is_taken(where: str, data: st.DataObject) -> None:
    message = signed()
    text = message.headers[where]
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.characters(min_codepoint=9, max_codepoint=255).filter(lambda c: c != text[at]))
    message.headers[where] = text[:at] + letter + text[at + 1 :]
    assert refused(message) in ("signature", "device_unknown")


@pytest.mark.parametrize(
    "changes",
    [
        {"covered_component_ids": ("@method",)},
        {"covered_component_ids": (*hop.COVERED, "@scheme")},
        {"covered_component_ids": hop.COVERED[::-1]},
        {"label": "other"},
        {"tag": "kaisatsu-2"},
        {"tag": None},
        {"nonce": None},
        {"include_alg": False},
        {"expires": NOW + timedelta(hours=1)},
        {"key_id": DEVICE.hex() + "00"},
    ],
    ids=["less", "more", "order", "label", "tag", "no tag", "no nonce", "no alg", "expires", "keyid"],
)
def test_a_good_signature_of_another_profile_is_refused(changes: dict[str, Any]) -> None:
    message = Message("POST", URL)
    library_signs(message, b"{}", **changes)
    assert refused(message) == "signature"


def test_two_signatures_are_none() -> None:
    message = signed()
    for name in ("Signature", "Signature-Input"):
        message.headers[name] += ", " + message.headers[name].replace("hop=", "hop2=")
    assert refused(message) == "signature"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hub.test/v1/claim",
        "http://user@hub.test/v1/claim",
        "http://hub.test/v1/claim#part",
        "http://hub.test/v1/cla\nim",
        "http://hub.test/v1/%63laim",
        "http://hub.test/v1/claim?a=%zz",
        "http://hub.test/v1/claim?a=%c3%a9",
        "http://hub.test/v1/claim?a=é",
        "http://hub.test:x/v1/claim",
        "/v1/claim",
        "",
    ],
)
def test_a_url_outside_of_the_profile_is_refused(url: str) -> None:
    message = Message("POST", url, dict(signed().headers))
    assert refused(message) == "signature"


# Freshness.


def test_a_request_counts_once() -> None:
    nonces = Nonces(HUB)
    check(signed(), nonces=nonces)
    assert refused(signed(), nonces=nonces) == "replayed"
    assert check(signed(over=fresh(random=b"s" * 12)), nonces=nonces) == DEVICE


@pytest.mark.parametrize("years", [-30, -10, 10, 50])
def test_a_device_whose_clock_is_years_off_is_heard(years: int) -> None:
    assert check(signed(now=NOW + timedelta(days=365 * years))) == DEVICE


def test_a_nonce_lives_some_minutes_by_the_hubs_clock() -> None:
    for seconds in (0, 60, 240, 299):
        assert check(signed(), now=NOW + timedelta(seconds=seconds)) == DEVICE
    for seconds in (361, 86_400, -120):
        assert refused(signed(), now=NOW + timedelta(seconds=seconds)) == "nonce"


def test_every_worker_and_a_restarted_hub_know_the_nonce_again_another_hub_does_not() -> None:
    assert Nonces(HUB).current(NOW) == Nonces(HUB).current(NOW + timedelta(seconds=59))
    assert check(signed(), nonces=Nonces(HUB)) == DEVICE
    assert refused(signed(), nonces=Nonces(OTHER)) == "nonce"


@pytest.mark.parametrize("over", ["12345678", "a" * 27 + "." + "b" * 16, "." + "b" * 16])
def test_a_nonce_that_is_not_the_hubs_is_asked_for_again(over: str) -> None:
    assert refused(signed(over=over)) == "nonce"


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nonce, "SEEN_DEVICE_MAX", 5)
    nonces = Nonces(HUB)
    for number in range(5):
        check(signed(over=fresh(random=bytes([number]) * 12)), nonces=nonces)
    assert refused(signed(), nonces=nonces) == "busy"
    later = NOW + timedelta(seconds=nonce.BUCKET_S * (nonce.BUCKETS_BACK + 2))
    assert check(signed(over=fresh(now=later)), nonces=nonces, now=later) == DEVICE
    assert nonces._count == 1
    assert nonces._counts == {DEVICE: 1}


def test_who_calls_without_end_takes_no_memory_from_the_others_and_the_ceiling_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nonce, "SEEN_MAX", 100)
    monkeypatch.setattr(nonce, "SEEN_DEVICE_MAX", 60)
    nonces, numbers = Nonces(HUB), itertools.count()

    def calls(device: DeviceId, *, share: int = 1) -> bool:
        mine = nonce.answer_to(nonces.current(NOW), next(numbers).to_bytes(12, "big"))
        try:
            nonces.spend(device, mine, now=NOW, share=share)
        except HopError as error:
            if error.error != "busy":
                raise
            return False
        return True

    def number(of: int) -> DeviceId:
        return DeviceId(of.to_bytes(16, "big"))

    assert sum(calls(number(0)) for _ in range(1000)) == 60  # its own bound
    assert sum(calls(number(1), share=2) for _ in range(1000)) == 40  # all is full, and an equal part was had
    for device in range(2, 12):
        assert calls(number(device)), "somebody who had nothing yet"
    for device in range(2000):
        for _ in range(3):
            calls(number(device))
    assert nonces._count <= 2 * nonce.SEEN_MAX


# The worked example of docs/protocol.md.


def test_the_worked_example() -> None:
    example = json.loads(VECTOR.read_text(encoding="utf-8"))
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(example["identity_private"]))
    assert key.public_key().public_bytes_raw().hex() == example["identity_public"]
    request = example["request"]
    head, _, body = request.encode().partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    method, path, _ = line.split(" ")
    headers = dict(field.split(": ", 1) for field in fields)
    bare, _, query = path.partition("?")
    target = hop.Target(method, headers["Host"], bare, query)
    made = hop.signed_headers(
        target,
        body,
        device=bytes.fromhex(example["device"]),
        key=key,
        now=datetime.fromtimestamp(example["created"], tz=UTC),
        nonce=example["nonce"],
    )
    assert {name: headers[name] for name in made} == made
    claimed = hop.read(
        target,
        body,
        digest=headers["Content-Digest"],
        signature_input=headers["Signature-Input"],
        signature=headers["Signature"],
    )
    assert claimed.base.decode() == example["signature_base"]
    hop.check(claimed, bytes.fromhex(example["identity_public"]))
    text = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text(encoding="utf-8")
    for piece in (headers["Content-Digest"], headers["Signature"], headers["Signature-Input"]):
        assert piece in text


def test_the_judge_builds_the_same_base() -> None:
    message = signed(b"x")
    claimed = hop.read(
        message.target(),
        b"x",
        digest=message.headers["Content-Digest"],
        signature_input=message.headers["Signature-Input"],
        signature=message.headers["Signature"],
    )
    resolver = HTTPSignatureComponentResolver(message)
    lines = claimed.base.decode().split("\n")
    assert lines[1] == f'"@authority": {resolver.get_authority()}'
    assert lines[2] == f'"@path": {resolver.get_path()}'
    assert lines[3] == f'"@query": {resolver.get_query()}'
