"""Enrolment: a one-time link becomes a device with keys of its own and a pinned hub.

The keys are made and saved here before anything is sent, so that an enrolment whose answer was lost can be tried again with the
same link: the hub knows the device by its key. What the hub answers counts only under the key in the link.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sync import certificate
from sync.client import HttpHub, Hub
from sync.errors import MessageError, NotEnrolled, SyncError
from sync.journal import open_journal
from sync.protocol import ENROLLED_CONTEXT, Enrolled, EnrolRequest, SignedText
from sync.state import IDENTITY_KEY, SELLING_KEY, Identity, Role, StateDir, write_durably
from sync.tls import PIN_BYTES
from tickets.clock import Clock
from tickets.ids import DEVICE_ID_BYTES, DeviceId, RandomBytes

SOFTWARE = "kaisatsu 0.1.0"
_PENDING = "enrolling"


class EnrolError(SyncError):
    """An enrolment that cannot be. One line: what is wrong and what to do."""

    code = "sync.enrol"


@dataclass(frozen=True, slots=True)
class EnrolLink:
    """`http://HOST:PORT/enrol?token=...&key=<hub public key, 32 bytes of hex>`, or with https and `&tls=<pin of its TLS key, 32 bytes of
    hex>`: never https without a pin, nor a pin without https.
    """

    hub_url: str
    token: str
    hub_key: bytes
    hub_tls: bytes | None = None


def parse_link(text: str) -> EnrolLink:
    """Raises EnrolError."""
    try:
        parts = urlsplit(text.strip())
        query = parse_qs(parts.query, strict_parsing=True)
        key = bytes.fromhex(query["key"][0])
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path != "/enrol" or len(key) != 32:
            raise ValueError("not an enrolment link")
        pin = bytes.fromhex(query["tls"][0]) if "tls" in query else None
        if pin is not None and len(pin) != PIN_BYTES:
            raise ValueError("a pin has 32 bytes")
    except (ValueError, KeyError) as error:
        raise EnrolError("not an enrolment link; http(s)://HOST:PORT/enrol?token=...&key=... is expected") from error
    if parts.scheme == "https" and pin is None:
        raise EnrolError(
            "this link leads to https without saying whose key is expected there (&tls=...); make a new one at the hub"
        )
    if parts.scheme == "http" and pin is not None:
        raise EnrolError(
            "this link expects a TLS key (&tls=...) at http, where there is none; make a new one at the hub"
        )
    return EnrolLink(f"{parts.scheme}://{parts.netloc}", query["token"][0], key, pin)


def enrol(link: str, state: StateDir, *, clock: Clock, random_bytes: RandomBytes, hub: Hub | None = None) -> Identity:
    """Redeem `link` into an empty state directory and open its journal. `hub` is for simulations; else HTTP to the link's address.

    Raises EnrolError (wrong link, already enrolled, an answer that the link's key did not sign), HubUnreachable, HubRefused.
    """
    wanted = parse_link(link)
    if (state.path / "device.json").exists():
        raise EnrolError(f"{state.path}: this device is enrolled already; use an empty state directory")
    state.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    device, identity_key, selling_key = _keys(state, random_bytes)
    request = EnrolRequest(
        token=wanted.token,
        device=device,
        identity=identity_key.public_key().public_bytes_raw(),
        selling=selling_key.public_key().public_bytes_raw(),
        software=SOFTWARE,
    )
    request = EnrolRequest(
        request.token,
        device,
        request.identity,
        request.selling,
        SOFTWARE,
        proof=identity_key.sign(request.proof_text()),
    )
    asked = hub or HttpHub(
        wanted.hub_url,
        device=device,
        key=None,
        clock=clock,
        random_bytes=random_bytes,
        tls=wanted.hub_tls,
        read_timeout_s=30,
    )
    enrolled = _checked(asked.enrol(request), request, wanted.hub_key)
    identity = Identity(
        device=device,
        role=enrolled.role,
        label=enrolled.label,
        hub_url=wanted.hub_url,
        hub_key=wanted.hub_key,
        hub_tls=wanted.hub_tls,
        gate=enrolled.gate,
        kid=enrolled.kid,
    )
    if enrolled.role is not Role.KIOSK:
        state.forget_selling_key()
    state.save_identity(identity)
    open_journal(state, clock=clock, random_bytes=random_bytes).engine.dispose()
    (state.path / _PENDING).unlink(missing_ok=True)
    return identity


def _keys(state: StateDir, random_bytes: RandomBytes) -> tuple[DeviceId, Ed25519PrivateKey, Ed25519PrivateKey]:
    """This device's id and keys: those of an enrolment that was cut off, else fresh ones, durable before they are shown to anyone."""
    pending = state.path / _PENDING
    if pending.exists():
        try:
            device = bytes.fromhex(pending.read_text(encoding="ascii").strip())
            if len(device) == DEVICE_ID_BYTES:
                return DeviceId(device), state.identity_key(), state.selling_key()
        except (ValueError, NotEnrolled):
            pending.unlink()  # half-written by a power cut: nothing of it was sent
    identity_key = Ed25519PrivateKey.from_private_bytes(random_bytes(32))
    selling_key = Ed25519PrivateKey.from_private_bytes(random_bytes(32))
    device = random_bytes(DEVICE_ID_BYTES)
    state.save_key(IDENTITY_KEY, identity_key)
    state.save_key(SELLING_KEY, selling_key)
    write_durably(pending, device.hex().encode("ascii"))
    return DeviceId(device), identity_key, selling_key


def _checked(answer: SignedText, request: EnrolRequest, hub_key: bytes) -> Enrolled:
    """The hub's answer, if the key of the link signed it and it answers this very request."""
    try:
        Ed25519PublicKey.from_public_bytes(hub_key).verify(answer.signature, ENROLLED_CONTEXT + answer.text.encode())
        enrolled = Enrolled.from_text(answer.text)
        if not hmac.compare_digest(enrolled.identity, request.identity) or enrolled.device != request.device:
            raise EnrolError("the hub answered about another device")
        if enrolled.role is Role.KIOSK:
            if enrolled.certificate is None or enrolled.certificate_signature is None:
                raise EnrolError("the hub certified no selling key for this kiosk")
            held = certificate.check(enrolled.certificate, enrolled.certificate_signature, hub_key)
            if held.public != request.selling or held.kid != enrolled.kid:
                raise EnrolError("the hub certified another key than this kiosk's")
        return enrolled
    except (InvalidSignature, ValueError, MessageError) as error:
        raise EnrolError("the answer is not signed with the key of the link: not this venue's hub") from error
