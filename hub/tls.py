"""The hub's TLS key: made beside the key file on first use, announced before it changes, never sent anywhere.

Devices go by the key alone (sync/tls.py), so its certificate is signed by itself and valid for longer than the machine. P-256 and not
Ed25519, because browsers open the office too. The announcement is a statement under the hub's own key in the feed.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import Connection, select

from hub.errors import HubError
from hub.node import HubNode
from hub.services import feed
from hub.tables import document, stamp
from sync import tls
from sync.errors import MessageError
from sync.state import write_durably

NOT_BEFORE, NOT_AFTER = datetime(2000, 1, 1, tzinfo=UTC), datetime(2099, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """`now`: key and certificate in force, one PEM file. `following`: those that come after them, once announced."""

    now: Path
    following: Path


def files_of(key_file: Path) -> TlsFiles:
    """Where a hub's own TLS keys stand: beside the file of its signing key."""
    return TlsFiles(key_file.with_name(key_file.name + ".tls.pem"), key_file.with_name(key_file.name + ".tls.next.pem"))


def own(path: Path, *, names: tuple[str, ...] = ()) -> Path:
    """The file with the hub's own key and certificate, made if it is not there: of several processes the first one's counts."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        candidate = path.with_name(f".{path.name}.{os.getpid()}")
        write_durably(candidate, _fresh(names), mode=0o600)
        try:
            os.link(candidate, path)
        except FileExistsError:
            pass
        finally:
            candidate.unlink(missing_ok=True)
    return path


def pin_of_file(path: Path) -> bytes:
    """The pin of the first certificate in a PEM file. Raises HubError."""
    try:
        return tls.pin_of(x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER))
    except OSError as error:
        raise HubError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise HubError(f"{path}: no certificate (PEM) in it") from error


def _fresh(names: tuple[str, ...]) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Kaisatsu hub")])
    shown = [_general_name(name) for name in dict.fromkeys((*names, "localhost", "127.0.0.1", "::1")) if name]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(shown), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret + certificate.public_bytes(Encoding.PEM)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def newest(connection: Connection, node: HubNode) -> tls.Pins | None:
    """What this hub last announced, None before the first time."""
    text = connection.scalar(select(document.c.text).where(document.c.name == tls.DOCUMENT))
    try:
        return None if text is None else tls.check(text, node.public)
    except MessageError:
        return None


def _announce(node: HubNode, pins: tuple[bytes, ...]) -> tls.Pins:
    now = node.clock.now_utc()
    with node.write() as connection:
        before = newest(connection, node)
        statement = tls.Pins(number=1 if before is None else before.number + 1, pins=pins, at=now)
        row = {"name": tls.DOCUMENT, "text": tls.signed(statement, node.key), "at": stamp(now)}
        found = connection.scalar(select(document.c.name).where(document.c.name == tls.DOCUMENT).with_for_update())
        if found is None:
            connection.execute(document.insert(), row)
        else:
            connection.execute(document.update().where(document.c.name == tls.DOCUMENT).values(row))
        feed.touch(connection, "document", [tls.DOCUMENT])
    return statement


def announce_next(node: HubNode, files: TlsFiles) -> tls.Pins:
    """Make the key that follows and tell all devices to take it too. It serves nobody until `change`."""
    own(files.now)
    own(files.following)
    return _announce(node, (pin_of_file(files.now), pin_of_file(files.following)))


def change(node: HubNode, files: TlsFiles) -> None:
    """Put the announced key in force from the hub's next start. Devices go on taking both until `forget`. One rename: it has happened or not.

    Raises HubError where none was announced.
    """
    with node.read() as connection:
        before = newest(connection, node)
    if not files.following.exists() or before is None or pin_of_file(files.following) not in before.pins:
        raise HubError("no next TLS key was announced; announce it, and change when every device has heard of it")
    files.following.replace(files.now)


def forget(node: HubNode, pin: bytes) -> tls.Pins:
    """Tell all devices to take `pin` alone. For after the restart: a device that heard this before it would meet a stranger."""
    return _announce(node, (pin,))
