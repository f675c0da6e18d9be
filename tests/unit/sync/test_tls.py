"""The pin on real sockets: whose key answers decides, before a byte of a request is sent."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hub import tls as hub_tls
from sync import tls
from sync.client import HttpHub
from sync.errors import HubKeyWrong, HubRefused, HubUnreachable, MessageError
from sync.protocol import EnrolRequest, Problem
from sync.state import Identity, Role, StateDir
from tickets.clock import SystemClock

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
HUB = Ed25519PrivateKey.from_private_bytes(b"h" * 32)
ASK = EnrolRequest("token", b"d" * 16, b"i" * 32, b"s" * 32, "test", b"p" * 64)  # type: ignore[arg-type]


class Server:
    """Answers each request over TLS with a refusal, and keeps what reached it in clear text."""

    def __init__(self, pem: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.use(pem)
        self.heard: list[bytes] = []
        self.ended: list[threading.Event] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def use(self, pem: Path) -> None:
        self.context.load_cert_chain(pem)

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            ended = threading.Event()
            self.ended.append(ended)
            threading.Thread(target=self._talk, args=(plain, ended), daemon=True).start()

    def _talk(self, plain: socket.socket, ended: threading.Event) -> None:
        plain.settimeout(5)
        try:
            with self.context.wrap_socket(plain, server_side=True) as secured:
                while heard := secured.recv(65536):
                    self.heard.append(heard)
                    body = json.dumps(Problem("token", "this is the hub").to_row()).encode()
                    secured.sendall(b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        except OSError:
            pass
        finally:
            ended.set()


def certificate(path: Path, *, key: ec.EllipticCurvePrivateKey | None = None, expired: bool = False) -> Path:
    key = key or ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "someone else")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=-1 if expired else 30))
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + made.public_bytes(Encoding.PEM))
    return path


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    return hub_tls.own(tmp_path / "hub.pem", names=("hub.example", "10.0.0.7"))


@pytest.fixture
def server(pem: Path) -> Iterator[Server]:
    made = Server(pem)
    yield made
    made.close()


def client(server: Server, *pins: bytes) -> HttpHub:
    return HttpHub(
        f"https://127.0.0.1:{server.port}",
        device=b"d" * 16,  # type: ignore[arg-type]
        key=None,
        clock=SystemClock(),
        random_bytes=os.urandom,
        tls=pins,
    )


def reached(hub: HttpHub) -> bool:
    with pytest.raises((HubRefused, HubUnreachable)) as caught:
        hub.enrol(ASK)
    return isinstance(caught.value, HubRefused) and "this is the hub" in str(caught.value)


def test_the_pinned_key_is_believed_and_no_date_or_name_is_looked_at(server: Server, pem: Path) -> None:
    assert reached(client(server, hub_tls.pin_of_file(pem)))


def test_another_key_gets_not_a_byte(server: Server) -> None:
    hub = client(server, b"\x01" * 32)
    with pytest.raises(HubKeyWrong, match="another key than the one enrolled with"):
        hub.enrol(ASK)
    assert server.ended[0].wait(5)
    assert server.heard == []


def test_a_certificate_past_its_date_is_as_good(tmp_path: Path) -> None:
    old = certificate(tmp_path / "old.pem", expired=True)
    server = Server(old)
    assert reached(client(server, hub_tls.pin_of_file(old)))
    server.close()


def test_a_certificate_made_anew_over_the_same_key_is_the_same_hub(server: Server, pem: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(pem.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    pin = hub_tls.pin_of_file(pem)
    server.use(certificate(tmp_path / "again.pem", key=key))
    assert reached(client(server, pin))


def test_who_shows_the_hubs_certificate_without_its_key_gets_no_handshake(pem: Path, tmp_path: Path) -> None:
    """A relay that has the certificate, which is public, and a key of its own."""
    theirs = certificate(tmp_path / "theirs.pem")
    stolen = pem.read_bytes()[pem.read_bytes().index(b"-----BEGIN CERT") :]
    mixed = tmp_path / "mixed.pem"
    mixed.write_bytes(theirs.read_bytes()[: theirs.read_bytes().index(b"-----BEGIN CERT")] + stolen)
    with pytest.raises(ssl.SSLError, match=r"(?i)mismatch"):  # no TLS library serves that, so the attack ends here
        Server(mixed)


def test_a_certificate_swapped_in_mid_life_is_noticed_at_the_next_connection(
    server: Server, pem: Path, tmp_path: Path
) -> None:
    hub = client(server, hub_tls.pin_of_file(pem))
    assert reached(hub)
    server.use(certificate(tmp_path / "mitm.pem"))
    hub.close()
    heard = len(server.heard)
    with pytest.raises(HubKeyWrong):
        hub.enrol(ASK)
    assert len(server.heard) == heard
    server.use(pem)
    assert reached(hub)


def test_tls_before_1_3_and_no_tls_are_no_line(server: Server, pem: Path) -> None:
    server.context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(HubUnreachable):
        client(server, hub_tls.pin_of_file(pem)).enrol(ASK)
    assert server.heard == []


def test_https_goes_with_a_pin_and_http_with_none() -> None:
    for url, pins in (("https://h:1", None), ("https://h:1", ()), ("http://h:1", b"p" * 32)):
        with pytest.raises(ValueError, match="pin"):
            HttpHub(url, device=b"d" * 16, key=None, clock=SystemClock(), random_bytes=os.urandom, tls=pins)  # type: ignore[arg-type]


def test_the_hubs_own_certificate_is_made_once_and_kept_from_others(pem: Path, tmp_path: Path) -> None:
    before = pem.read_bytes()
    assert hub_tls.own(pem) == pem
    assert pem.read_bytes() == before
    assert pem.stat().st_mode & 0o077 == 0
    assert [file.name for file in tmp_path.iterdir()] == ["hub.pem"]
    found = x509.load_pem_x509_certificate(before)
    assert found.not_valid_after_utc.year == 2099
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "hub.example" in names.get_values_for_type(x509.DNSName)


def statement(number: int, *pins: bytes, key: Ed25519PrivateKey = HUB) -> str:
    return tls.signed(tls.Pins(number=number, pins=pins, at=NOW), key)


def test_a_statement_of_the_hub_moves_the_pin_and_nothing_else_does(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    public = HUB.public_key().public_bytes_raw()
    who = Identity(b"d" * 16, Role.GATE, "A", "https://h:1", public, hub_tls=b"1" * 32)  # type: ignore[arg-type]
    assert state.hub_pins(who) == (b"1" * 32,)
    assert state.take_pins(statement(1, b"1" * 32, b"2" * 32), who)
    assert StateDir(tmp_path).hub_pins(who) == (b"1" * 32, b"2" * 32)
    assert state.take_pins(statement(3, b"2" * 32), who)
    for old in (1, 2, 3):
        assert not state.take_pins(statement(old, b"9" * 32), who)
    for wrong in (
        statement(9, b"9" * 32, key=Ed25519PrivateKey.from_private_bytes(b"x" * 32)),
        statement(9, b"short"),
        statement(9),
        statement(0, b"9" * 32),
        "{}",
        "",
    ):
        with pytest.raises(MessageError):
            state.take_pins(wrong, who)
    assert state.hub_pins(who) == (b"2" * 32,)
    (tmp_path / "hub-tls.json").write_text("junk")
    assert state.hub_pins(who) == (b"1" * 32,), "a damaged file is none: the enrolment's pin counts"
    plain = Identity(b"d" * 16, Role.GATE, "A", "http://h:1", public)  # type: ignore[arg-type]
    assert state.hub_pins(plain) is None


def test_an_identity_of_before_there_were_pins_still_loads(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    who = Identity(b"d" * 16, Role.GATE, "A", "https://h:1", b"k" * 32, hub_tls=b"1" * 32)  # type: ignore[arg-type]
    state.save_identity(who)
    assert state.identity() == who
    row = json.loads((tmp_path / "device.json").read_text())
    del row["hub_tls"]
    (tmp_path / "device.json").write_text(json.dumps(row))
    assert state.identity().hub_tls is None
