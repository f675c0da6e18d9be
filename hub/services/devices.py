"""Devices: one-time links, enrolment, certified selling keys, revocation."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Connection, insert, select, update

from hub.errors import BadRequest, NotFound, TokenRefused
from hub.services import feed, venue
from hub.services.certificates import LIFE, TICKETS
from hub.tables import device, enrolment, selling_key, stamp
from sync import certificate
from sync.certificate import Certificate
from sync.protocol import ENROLLED_CONTEXT, Enrolled, EnrolRequest, SignedText
from sync.state import Role
from tickets.ids import KID_BYTES, DeviceId, Kid, RandomBytes

LINK_LIFE = timedelta(hours=24)
CHUNK = 500
"""Devices in one question: SQLite takes 999 parameters at least."""


@dataclass(frozen=True, slots=True)
class KnownDevice:
    device: DeviceId
    role: Role
    label: str
    gate: str | None
    identity: bytes
    revoked: bool
    revoked_at: str | None = None


def link(
    connection: Connection,
    *,
    role: Role,
    label: str,
    gate: str | None = None,
    base_url: str,
    hub_key: bytes,
    now: datetime,
    random_bytes: RandomBytes,
    life: timedelta = LINK_LIFE,
) -> str:
    """A link that enrols one device once. Only its token's hash is kept. A gate's `gate` is its name in the catalogue."""
    if not 1 <= len(label) <= 64:
        raise BadRequest("a label has 1 to 64 characters")
    if role is Role.GATE:
        known = venue.catalogue(connection).gates
        if gate not in known:
            raise BadRequest(f"gate '{gate}' is not one of: {', '.join(known)}")
    elif gate is not None:
        raise BadRequest("only a gate has a gate")
    token = base64.urlsafe_b64encode(random_bytes(24)).decode()
    connection.execute(
        insert(enrolment),
        {
            "token_hash": _hash(token),
            "role": role,
            "label": label,
            "gate": gate,
            "made_at": stamp(now),
            "expires_at": stamp(now + life),
        },
    )
    return f"{base_url.rstrip('/')}/enrol?token={token}&key={hub_key.hex()}"


def enrol(
    connection: Connection, request: EnrolRequest, *, key: Ed25519PrivateKey, now: datetime, random_bytes: RandomBytes
) -> SignedText:
    """Redeem a link's token. The same device asking again with the same keys gets the same answer (its first one may have been lost);
    any other is refused. Raises TokenRefused, BadRequest.
    """
    try:
        Ed25519PublicKey.from_public_bytes(request.identity).verify(request.proof, request.proof_text())
    except (InvalidSignature, ValueError) as error:
        raise BadRequest("the device does not hold the key that it shows") from error
    row = connection.execute(
        select(enrolment).where(enrolment.c.token_hash == _hash(request.token)).with_for_update()
    ).first()
    if row is None:
        raise TokenRefused("this link was not made here")
    if row.expires_at <= stamp(now):
        raise TokenRefused("this link is too old; make a new one at the hub")
    if row.used_at is not None:
        kept = json.loads(row.answer)
        known = find(connection, request.device)
        if row.device != request.device or known is None or known.identity != request.identity or known.revoked:
            raise TokenRefused("this link was used already; make a new one at the hub")
        return SignedText(kept["text"], bytes.fromhex(kept["signature"]))
    if find(connection, request.device) is not None:
        raise BadRequest("this device is enrolled already")
    role = Role(row.role)
    connection.execute(
        insert(device),
        {
            "device": request.device,
            "role": role,
            "label": row.label,
            "gate": row.gate,
            "identity": request.identity,
            "enrolled_at": stamp(now),
        },
    )
    kid, text, signature = (None, None, None)
    if role is Role.KIOSK:
        kid, text, signature = _certify(connection, request, key=key, now=now, random_bytes=random_bytes)
    enrolled = Enrolled(
        device=request.device,
        identity=request.identity,
        role=role,
        label=row.label,
        gate=row.gate,
        kid=kid,
        certificate=text,
        certificate_signature=signature,
        at=now,
    ).to_text()
    answer = SignedText(enrolled, key.sign(ENROLLED_CONTEXT + enrolled.encode()))
    connection.execute(
        update(device)
        .where(device.c.device == request.device)
        .values(enrolled=answer.text, enrolled_signature=answer.signature)
    )
    feed.touch(connection, "device", [request.device])
    connection.execute(
        update(enrolment)
        .where(enrolment.c.token_hash == row.token_hash)
        .values(
            used_at=stamp(now),
            device=request.device,
            answer=json.dumps({"text": answer.text, "signature": answer.signature.hex()}),
        )
    )
    return answer


def _certify(
    connection: Connection, request: EnrolRequest, *, key: Ed25519PrivateKey, now: datetime, random_bytes: RandomBytes
) -> tuple[Kid, str, bytes]:
    """Give a kiosk's selling key its number and vouch for it. Rows of keys are never deleted, so no number comes twice."""
    while True:
        kid = Kid(random_bytes(KID_BYTES))
        if connection.scalar(select(selling_key.c.kid).where(selling_key.c.kid == kid)) is None:
            break
    text, signature = certificate.issue(
        Certificate(
            kid=kid,
            public=request.selling,
            device=request.device.hex(),
            not_before=int(now.timestamp()) - 86_400,  # a kiosk's clock may be behind
            expires=int((now + LIFE).timestamp()),
            tickets_max=TICKETS,
        ),
        key,
    )
    connection.execute(
        insert(selling_key),
        {
            "kid": kid,
            "device": request.device,
            "public": request.selling,
            "certificate": text,
            "signature": signature,
        },
    )
    feed.touch(connection, "key", [kid])
    return kid, text, signature


def find(connection: Connection, device_id: DeviceId) -> KnownDevice | None:
    row = connection.execute(select(device).where(device.c.device == device_id)).first()
    return None if row is None else _known(row)


def shut_out(connection: Connection, some: Sequence[DeviceId]) -> frozenset[DeviceId]:
    """Those of some devices that are revoked or not known."""
    good: set[DeviceId] = set()
    for start in range(0, len(some), CHUNK):
        part = some[start : start + CHUNK]
        rows = connection.scalars(
            select(device.c.device).where(device.c.device.in_(part), device.c.revoked_at.is_(None))
        )
        good.update(DeviceId(row) for row in rows)
    return frozenset(some) - good


def all_devices(connection: Connection) -> tuple[KnownDevice, ...]:
    return tuple(
        _known(row) for row in connection.execute(select(device).order_by(device.c.role.desc(), device.c.label))
    )


def revoke(connection: Connection, device_id: DeviceId, *, now: datetime) -> None:
    """Shut a device out. Its selling key is revoked from now on; tickets that this hub knows stay valid."""
    found = find(connection, device_id)
    if found is None:
        raise NotFound("no such device")
    if found.revoked:
        return
    connection.execute(update(device).where(device.c.device == device_id).values(revoked_at=stamp(now)))
    kids = connection.scalars(select(selling_key.c.kid).where(selling_key.c.device == device_id)).all()
    connection.execute(
        update(selling_key).where(selling_key.c.device == device_id).values(revoked_at=int(now.timestamp()))
    )
    feed.touch(connection, "key", kids)
    feed.touch(connection, "device", [device_id])


def _known(row: Any) -> KnownDevice:
    return KnownDevice(
        device=DeviceId(row.device),
        role=Role(row.role),
        label=row.label,
        gate=row.gate,
        identity=row.identity,
        revoked=row.revoked_at is not None,
        revoked_at=row.revoked_at,
    )


def _hash(token: str) -> bytes:
    return hashlib.sha256(b"kaisatsu/token/1" + token.encode()).digest()
