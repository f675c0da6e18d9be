"""Certificates of selling keys: made at enrolment, renewed before they end, their tickets counted.

A ticket beyond its certificate's number is honoured: a guest has paid for it, and a kiosk that is out of hand is stopped by revoking it,
not by turning guests away. It is put on record for people (docs/decisions/0016).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, select, update

from hub.errors import NotFound
from hub.services import feed
from hub.services.attention import note_trouble
from hub.tables import selling_key
from sync import certificate
from sync.protocol import CertificateAnswer
from tickets.ids import DeviceId, Kid

LIFE = timedelta(days=400)
TICKETS = 1_000_000
RENEW_BEFORE = timedelta(days=100)
"""A kiosk asks earlier or later than this; the hub makes a new certificate only within it."""
RENEW_USED_PERCENT = 80
BEYOND = "certificate_count"


def count(connection: Connection, tickets: Mapping[Kid, int], *, now: datetime) -> None:
    """So many more tickets of each key have come in. Once a segment is enough. What is beyond a certificate is put on record."""
    for kid in sorted(tickets):
        row = connection.execute(select(selling_key).where(selling_key.c.kid == kid).with_for_update()).first()
        if row is None:
            continue
        total = row.tickets + tickets[kid]
        connection.execute(update(selling_key).where(selling_key.c.kid == kid).values(tickets=total))
        allowed = certificate.read(row.certificate).tickets_max
        if total > allowed:
            detail = f"key {kid.hex()}: more than the {allowed} tickets of its certificate"
            note_trouble(connection, device=row.device, kind=BEYOND, detail=detail, now=now)


def renew(connection: Connection, device: DeviceId, *, key: Ed25519PrivateKey, now: datetime) -> CertificateAnswer:
    """The certificate of the device's selling key: the present one, or a new one for the same key when its time or its tickets come to
    an end. Asking again changes nothing. Raises NotFound for a device without a key that is in force.
    """
    row = connection.execute(
        select(selling_key)
        .where(selling_key.c.device == device, selling_key.c.revoked_at.is_(None))
        .order_by(selling_key.c.kid)
        .with_for_update()
    ).first()
    if row is None:
        raise NotFound("this device has no selling key that is in force")
    held = certificate.read(row.certificate)
    ends_soon = held.expires < (now + RENEW_BEFORE).timestamp()
    if not ends_soon and row.tickets * 100 < held.tickets_max * RENEW_USED_PERCENT:
        return CertificateAnswer(row.certificate, row.signature)
    fresh = replace(held, expires=int((now + LIFE).timestamp()), tickets_max=int(row.tickets) + TICKETS)
    text, signature = certificate.issue(fresh, key)
    connection.execute(
        update(selling_key).where(selling_key.c.kid == row.kid).values(certificate=text, signature=signature)
    )
    feed.touch(connection, "key", [row.kid])
    return CertificateAnswer(text, signature)
