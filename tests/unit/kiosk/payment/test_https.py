"""What an exchange over the internet proves, on real sockets: TLS, redirects, pages that are no JSON, answers that never end."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kiosk.payment.errors import TerminalAbsentError, TerminalLinkError, TerminalSilentError
from kiosk.payment.https import BODY_MAX_BYTES, HttpsLine, check_base_url

SEEN: list[str] = []


@contextlib.contextmanager
def serving(status: int, body: bytes, *, tls: ssl.SSLContext | None = None, **headers: str) -> Iterator[str]:
    SEEN.clear()

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            SEEN.append(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        worker = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        worker.start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        server.shutdown()
        worker.join()


def line(url: str) -> HttpsLine:
    return HttpsLine(url, lambda *_: {"Authorization": "Bearer s3cret"}, connect_s=2, answer_s=2)


def test_a_server_that_cannot_prove_who_it_is_gets_no_byte_of_the_order(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "c.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "k.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")
    with serving(200, b"{}", tls=context) as url, pytest.raises(TerminalAbsentError):
        line(url).call("POST", "/x", body={})
    assert SEEN == []


def test_a_redirect_is_not_followed_and_is_neither_done_nor_refused():
    with serving(302, b"", Location="http://127.0.0.1:1/") as url:
        answer = line(url).call("POST", "/x", body={})
    assert (answer.status, answer.is_good, answer.is_refused) == (302, False, False)


def test_a_time_out_on_the_way_proves_nothing():
    with serving(408, b"") as url:
        assert not line(url).call("POST", "/x", body={}).is_refused


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b"", b'{"a":"' + b"x" * BODY_MAX_BYTES + b'"}'])
def test_a_good_answer_without_readable_json_is_a_doubt(body):
    with serving(200, body) as url, pytest.raises(TerminalLinkError) as told:
        line(url).call("POST", "/x", body={})
    assert not isinstance(told.value, TerminalAbsentError)


def test_the_service_s_clock_and_patience_are_read_and_bounded():
    with serving(429, b"{}", Retry_After="999999") as url:
        answer = line(url).call("POST", "/x", body={})
    assert answer.retry_after_s == 60
    assert answer.at is not None
    assert abs(answer.at - datetime.now(UTC)) < timedelta(seconds=30)


def test_a_server_that_is_not_there_and_one_that_falls_silent():
    with serving(200, b"{}") as url:
        pass
    with pytest.raises(TerminalAbsentError):
        line(url).call("POST", "/x", body={})
    with serving(200, b'{"a":1}', Content_Encoding="gzip") as url, pytest.raises(TerminalSilentError):
        line(url).call("POST", "/x", body={})


def test_no_secret_in_the_trace():
    with serving(400, b'{"errors":[{"code":"BAD_REQUEST","detail":"Bearer s3cret"}]}') as url:
        one = line(url)
        one.call("POST", "/x", body={"token": "s3cret"})
    assert list(one.trace) == ["POST /x 400 BAD_REQUEST"]


@pytest.mark.parametrize(
    "url", ["http://connect.squareup.com", "ftp://x", "https://", "", "http://127.0.0.1.evil.example"]
)
def test_only_tls_leaves_this_machine(url):
    with pytest.raises(ValueError, match="base_url"):
        check_base_url(url)
