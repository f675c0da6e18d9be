"""The signature, what goes well, and what a guest may do: each against the service's own ledger."""

from __future__ import annotations

import threading
import time

import pytest
from cloud_rig import agrees

from kiosk.payment import Health, Outcome, TerminalLinkError
from kiosk.payment.paypay import Signer, connect
from tickets.money import Money


def test_the_signature_is_the_documentation_s_example():
    """PayPay, "API authentication": key, secret, body, nonce and time of the worked example give its header."""
    body = b'{"sampleRequestBodyKey1":"sampleRequestBodyValue1","sampleRequestBodyKey2":"sampleRequestBodyValue2"}'
    header = Signer("APIKeyGenerated", "APIKeySecretGenerated").header(
        method="POST",
        path="/v2/codes",
        body=body,
        epoch_s=1579843452,
        nonce="acd028",
        content_type="application/json;charset=UTF-8;",
    )
    mac = "NW1jKIMnzR7tEhMWtcJcaef+nFVBt7jjAGcVuxHhchc="
    assert header == f"hmac OPA-Auth:APIKeyGenerated:{mac}:acd028:1579843452:1j0FnY4flNp5CtIKa7x9MQ=="


def test_key_and_secret_do_not_show():
    assert "s3cret" not in repr(Signer("k3y", "s3cret"))
    assert "k3y" not in repr(Signer("k3y", "s3cret"))


@pytest.mark.filterwarnings("ignore")
def test_the_official_client_is_understood(start):
    """PayPay's own client library signs and asks; the service takes it as ours."""
    paypayopa = pytest.importorskip("paypayopa", reason="dev requirement paypayopa")
    till = start("--fault", "no-guest")
    client = paypayopa.Client(auth=("emulated-key", "emulated-secret"), base_url=till.service.url)
    client.set_assume_merchant("M1EMULATED")
    made = client.Code.create_qr_code(
        {"merchantPaymentId": "m1", "codeType": "ORDER_QR", "amount": {"amount": 700, "currency": "JPY"}}
    )
    assert made["resultInfo"]["code"] == "SUCCESS"
    assert client.Code.get_payment_details("m1")["data"]["status"] == "CREATED"
    assert client.Code.delete_qr_code(made["data"]["codeId"])["resultInfo"]["code"] == "SUCCESS"


def test_the_guest_pays_the_code_on_our_screen(start):
    till = start()
    request, evidence = till.paid()
    assert (evidence.outcome, evidence.amount, evidence.brand) == (Outcome.APPROVED_FINAL, request.amount, "PAYPAY")
    assert till.service.charged() == 3300
    shown = [one for one in till.progress if one.qr]
    assert len(shown) == 1
    assert shown[0].qr.startswith("https://qr.paypay.example/")
    assert shown[0].may_cancel
    found = till.ask(request)
    assert (found.outcome, found.provider_id) == (Outcome.APPROVED_FINAL, evidence.provider_id)


def test_the_guest_leaves_and_the_code_is_deleted(start):
    till = start("--fault", "no-guest")
    request = till.request()

    def watch(progress):
        if progress.qr:
            till.terminal.cancel()

    evidence = till.terminal.authorise(request, watch)
    assert (evidence.outcome, evidence.code) == (Outcome.CANCELLED, "cancelled_by_guest")
    assert len(till.service.entries("deleted")) == 1
    assert till.terminal.query(request, seen=evidence).outcome is Outcome.NOT_CHARGED


def test_the_time_is_up(start):
    till = start("--fault", "no-guest")
    evidence = till.authorise(till.request(deadline_s=0))
    assert (evidence.outcome, evidence.code) == (Outcome.CANCELLED, "timed_out")
    assert till.progress[-1].qr is None
    assert len(till.service.entries("deleted")) == 1


@pytest.mark.parametrize("fault", ["paid-at-delete", "paid-at-delete-quietly"])
def test_paid_at_the_moment_of_the_deletion(start, fault):
    till = start("--fault", "no-guest", "--fault", fault)
    evidence = till.authorise(till.request(deadline_s=0))
    assert evidence.outcome is Outcome.APPROVED_FINAL
    agrees(till.service, evidence, 3300)


def test_paid_at_the_moment_of_the_deletion_and_told_late(start):
    till = start("--fault", "no-guest", "--fault", "paid-at-delete", "--fault", "details-lag=5")
    evidence = till.authorise(till.request(deadline_s=0))
    assert evidence.outcome is Outcome.APPROVED_FINAL
    agrees(till.service, evidence, 3300)


def test_paid_and_told_too_late_is_unknown_then_found(start):
    till = start("--fault", "no-guest", "--fault", "paid-at-delete", "--fault", "details-lag=100000")
    request = till.request(deadline_s=0)
    doubt = till.authorise(request)
    assert (doubt.outcome, doubt.code) == (Outcome.UNKNOWN, "paid_unproven")
    assert till.terminal.query(request, seen=doubt).outcome is Outcome.IN_PROGRESS
    till.service.entries("captured")
    for code_lag in range(100):
        assert till.fresh().query(request, seen=doubt).outcome in {Outcome.IN_PROGRESS, Outcome.APPROVED_FINAL}, (
            code_lag
        )


def test_a_declined_payment(start):
    till = start("--fault", "declined")
    request = till.request()
    evidence = till.authorise(request)
    assert (evidence.outcome, evidence.code) == (Outcome.DECLINED, "paypay_failed")
    agrees(till.service, till.ask(request), 3300)


def test_a_code_that_expires(start):
    till = start("--fault", "expired")
    request = till.request(deadline_s=1)
    evidence = till.authorise(request)
    assert evidence.outcome is Outcome.CANCELLED
    assert till.service.entries("phone_refused")
    till.service.fault("clock=600")
    agrees(till.service, till.ask(request), 3300)


def test_a_whole_refund_and_only_one(start):
    till = start()
    request, proof = till.paid()
    given = till.terminal.reverse(proof, key="attempt/7")
    assert (given.outcome, given.code) == (Outcome.NOT_CHARGED, "reversed")
    agrees(till.service, till.ask(request, proof), 3300)
    assert till.terminal.reverse(proof, key="attempt/9").code == "already_reversed"
    assert till.service.charged() == 0


def test_a_refund_in_part(start):
    till = start()
    request, proof = till.paid()
    part = till.terminal.refund(proof, amount=Money(1000, "JPY"), key="k1")
    assert (part.outcome, part.code, part.amount) == (Outcome.NOT_CHARGED, "refunded", Money(1000, "JPY"))
    assert till.terminal.refund(proof, amount=Money(1000, "JPY"), key="k1").code == "refunded"
    second = till.terminal.refund(proof, amount=Money(1000, "JPY"), key="k2")
    assert (second.outcome, second.code) == (Outcome.APPROVED_FINAL, "paypay_unacceptable_op")
    assert till.service.charged() == 2300
    assert till.ask(request, proof).outcome is Outcome.APPROVED_FINAL  # the rest is still charged


def test_a_refund_that_is_accepted_and_not_done_yet(start):
    till = start("--fault", "refund-pending")
    request, proof = till.paid()
    assert till.terminal.reverse(proof, key="r1").code == "in_progress"
    assert till.fresh().query(request, seen=proof).outcome is Outcome.IN_PROGRESS
    assert till.terminal.reverse(proof, key="r2").code == "in_progress"
    assert len(till.service.entries("refund_asked")) == 1
    till.service.do(do="settle-refunds")
    agrees(till.service, till.ask(request, proof), 3300)
    assert till.service.charged() == 0


def test_a_refund_that_fails_leaves_the_charge(start):
    till = start("--fault", "refund-failed")
    request, proof = till.paid()
    assert till.terminal.reverse(proof, key="r1").outcome is Outcome.APPROVED_FINAL
    agrees(till.service, till.ask(request, proof), 3300)


def test_health(start):
    till = start()
    assert till.terminal.open() is Health.READY
    till.service.fault("503-before")
    assert till.terminal.health() is Health.OFFLINE
    till.service.fault("429=3")
    assert till.terminal.health() is Health.BUSY
    wrong = till.fresh()
    wrong._api._signer = Signer("emulated-key", "another")
    assert wrong.health() is Health.OUT_OF_ORDER
    with pytest.raises(TerminalLinkError):
        till.terminal.totals()


@pytest.mark.parametrize("skew_s", [-7200, 7200])
def test_a_kiosk_whose_clock_is_wrong_learns_the_service_s(start, skew_s):
    till = start()
    till.terminal = till.fresh(now_s=lambda: time.time() + skew_s)
    _, evidence = till.paid()
    agrees(till.service, evidence, 3300)
    assert evidence.outcome is Outcome.APPROVED_FINAL


def test_neither_key_nor_secret_nor_code_stands_in_the_evidence(start):
    till = start()
    _, proof = till.paid()
    text = proof.to_json()
    assert "emulated-key" not in text
    assert "emulated-secret" not in text
    assert "qr.paypay" not in text


def test_cancel_from_another_thread_ends_the_wait_at_once(start):
    till = start("--fault", "no-guest", poll_s=5.0)
    shown = threading.Event()
    told = []
    request = till.request(deadline_s=30)
    worker = threading.Thread(
        target=lambda: told.append(till.terminal.authorise(request, lambda one: one.qr and shown.set()))
    )
    worker.start()
    assert shown.wait(10)
    till.terminal.cancel()
    worker.join(4)
    assert told[0].outcome is Outcome.CANCELLED


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"colour": 1}, "paypay: unknown key 'colour'"),
        ({"poll_s": True}, "paypay: key 'poll_s': a number is expected, found True"),
        ({"base_url": "http://apigw.paypay.ne.jp"}, "paypay: key 'base_url': 'http://apigw.paypay.ne.jp': https://"),
        ({"merchant_id": ""}, "paypay: key 'merchant_id': 1 to 64"),
    ],
)
def test_wrong_settings_are_one_line(tmp_path, change, line):
    for name in ("key", "secret"):
        (tmp_path / name).write_text("word\n")
    table = {"api_key_file": str(tmp_path / "key"), "api_secret_file": str(tmp_path / "secret"), "merchant_id": "M1"}
    connect(table)
    with pytest.raises(ValueError) as told:
        connect({**table, **change})
    assert str(told.value).startswith(line)
    (tmp_path / "secret").write_text("two words\n")
    with pytest.raises(ValueError, match="must hold one word"):
        connect(table)
