"""Square's own client library against the emulated service: an independent reader of what we believe the API to be."""

from __future__ import annotations

import time

import pytest

square = pytest.importorskip("square", reason="dev requirement squareup")


@pytest.mark.filterwarnings("ignore")
def test_the_official_client_understands_the_service(start):
    till = start("--fault", "503-after@create", "--fault", "page=1")
    client = square.Square(token="emulated-token", base_url=till.service.url)
    # The client posts again by itself under the same key after the 503: one checkout.
    made = client.terminal.checkouts.create(
        idempotency_key="k1",
        checkout={
            "amount_money": {"amount": 1500, "currency": "JPY"},
            "reference_id": "r1",
            "device_options": {"device_id": "D1EMULATED"},
            "payment_options": {"autocomplete": False, "delay_duration": "PT10M", "delay_action": "CANCEL"},
        },
    ).checkout
    assert len(till.service.entries("checkout")) == 1
    ends = time.monotonic() + 10
    while (checkout := client.terminal.checkouts.get(checkout_id=made.id).checkout).status != "COMPLETED":
        assert time.monotonic() < ends
    payment = client.payments.get(payment_id=checkout.payment_ids[0]).payment
    assert (payment.status, payment.total_money.amount, payment.card_details.card.last4) == ("APPROVED", 1500, "1111")
    assert client.payments.complete(payment_id=payment.id).payment.status == "COMPLETED"
    refund = client.refunds.refund_payment(
        idempotency_key="k2", payment_id=payment.id, amount_money={"amount": 500, "currency": "JPY"}
    ).refund
    assert client.refunds.get(refund_id=refund.id).refund.status == "COMPLETED"
    assert till.service.charged() == 1000
    till.paid()
    assert [one.status for one in client.payments.list(location_id="L1EMULATED")] == ["COMPLETED", "COMPLETED"]
    found = client.terminal.checkouts.search(query={"filter": {"device_id": "D1EMULATED"}})
    assert len(found.checkouts) == 1
    assert found.cursor
    assert client.devices.get(device_id="device:D1EMULATED").device.status.category == "AVAILABLE"
