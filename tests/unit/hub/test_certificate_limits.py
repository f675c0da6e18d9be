"""What a kiosk's certificate does not allow, no code of its key makes valid."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from hub import tables
from hub.node import HubNode
from sync import certificate
from sync.upload import Uploader
from tests.hubkit import Device
from tickets.admission import Denied, Granted, Reason


def recertify(node: HubNode, kiosk: Device, **changes: object) -> None:
    """The hub vouched for this kiosk's key in other words."""
    with node.write() as connection:
        text = connection.scalar(select(tables.selling_key.c.certificate))
        assert text is not None
        changed = dataclasses.replace(certificate.read(text), **changes)  # type: ignore[arg-type]
        text, signature = certificate.issue(changed, node.key)
        values = {"certificate": text, "signature": signature}
        connection.execute(
            update(tables.selling_key).where(tables.selling_key.c.kid == kiosk.identity.kid).values(values)
        )


def limit(node: HubNode, kiosk: Device, what: str) -> None:
    now = int(kiosk.clock.now_utc().timestamp())
    match what:
        case "over":
            recertify(node, kiosk, expires=now - 7200)
        case "not yet":
            recertify(node, kiosk, not_before=now + 86_400)
        case "another product":
            recertify(node, kiosk, products=("rides",))
        case "revoked":
            node.revoke(kiosk.identity.device)


def push(device: Device) -> None:
    while Uploader(device.journal, device.state, device.hub, clock=device.clock).step().operations:
        pass


LIMITS = ["over", "not yet", "another product", "revoked"]


@pytest.mark.parametrize("what", LIMITS)
def test_a_claim_by_such_a_code_is_refused_and_stays_so(kiosk: Device, gate: Device, node: HubNode, what: str) -> None:
    sale = kiosk.sale()
    limit(node, kiosk, what)
    (sold,) = sale.tickets
    asked = gate.claim(sold.ticket, code=kiosk.code_of(sold))
    assert gate.hub.claim(asked, deadline_s=1) == Denied(Reason.BLOCKED)
    with node.read() as connection:
        assert connection.scalars(select(tables.ticket.c.state)).all() == ["blocked"]
        assert connection.scalars(select(tables.trouble.c.kind)).all() == ["certificate"]
    assert gate.hub.claim(gate.claim(sold.ticket), deadline_s=1) == Denied(Reason.BLOCKED)


@pytest.mark.parametrize("what", LIMITS)
def test_an_admission_by_such_a_code_is_counted_and_shown(
    kiosk: Device, gate: Device, node: HubNode, what: str
) -> None:
    sale = kiosk.sale()
    limit(node, kiosk, what)
    (sold,) = sale.tickets
    gate.append(gate.admission(sold.ticket, code=kiosk.code_of(sold)))
    push(gate)
    with node.read() as connection:
        row = connection.execute(select(tables.operation).where(tables.operation.c.kind == "admission")).one()
        assert (row.status, row.reason) == ("conflict", "blocked")
        assert connection.scalars(select(tables.used.c.units)).all() == [1]
        assert connection.scalars(select(tables.ticket.c.state)).all() == ["blocked"]
        (detail,) = connection.scalars(select(tables.trouble.c.detail))
    assert sold.ticket in detail
    gate.clock.now += timedelta(minutes=1)


def test_what_the_certificate_allows_is_valid(kiosk: Device, gate: Device, node: HubNode) -> None:
    recertify(node, kiosk, products=("rides", "admission"))
    (sold,) = kiosk.sale().tickets
    assert isinstance(gate.hub.claim(gate.claim(sold.ticket, code=kiosk.code_of(sold)), deadline_s=1), Granted)
