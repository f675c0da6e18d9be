"""The state directory of a device: which files it holds, and the identity made at enrolment.

device.json      who this device is (id, role, label, hub address and key); no secret
hub-tls.json     the hub's newest statement about its TLS keys, as it signed it; absent before the first
identity.key     Ed25519, signs segments and requests: sync and gate
selling.key      Ed25519, signs ticket codes: the sale engine alone
journal.db       what this device did and was granted; precious
journal.NNN.db   journals set aside
incarnation      the number of the journal's incarnation, kept outside of it
cache-<n>.db     what the hub said; replaceable
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync import tls
from sync.errors import MessageError, NotEnrolled
from tickets.ids import DeviceId
from tickets.ids import device_id as parse_device_id


class Role(StrEnum):
    KIOSK = "kiosk"
    GATE = "gate"
    VENUE = "venue"  # the hub's code in venue role: relay and arbiter on the LAN


IDENTITY_KEY = "identity/key"
SELLING_KEY = "selling/key"


@dataclass(frozen=True, slots=True)
class Identity:
    """`label` is what people call the device (K2, A) and stands on paper; `gate` is its place in the catalogue, for gates;
    `hub_key` the hub's Ed25519 public key, pinned at enrolment; `kid` its selling key's id, for kiosks; `hub_tls` the pin of the hub's
    TLS key (SHA-256 of its SubjectPublicKeyInfo) at enrolment, None for plain HTTP.
    """

    device: DeviceId
    role: Role
    label: str
    hub_url: str
    hub_key: bytes
    gate: str | None = None
    kid: bytes | None = None
    hub_tls: bytes | None = None


@dataclass(frozen=True, slots=True)
class StateDir:
    """Paths and the few files that are no database."""

    path: Path

    @property
    def journal(self) -> Path:
        return self.path / "journal.db"

    def cache(self, generation: int) -> Path:
        return self.path / f"cache-{generation}.db"

    def identity(self) -> Identity:
        """Raises NotEnrolled, naming the file, when there is none or it cannot be used."""
        file = self.path / "device.json"
        try:
            row: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return Identity(
                device=parse_device_id(row["device"]),
                role=Role(row["role"]),
                label=row["label"],
                hub_url=row["hub_url"],
                hub_key=bytes.fromhex(row["hub_key"]),
                gate=row["gate"],
                kid=bytes.fromhex(row["kid"]) if row["kid"] else None,
                hub_tls=bytes.fromhex(row["hub_tls"]) if row.get("hub_tls") else None,
            )
        except FileNotFoundError as error:
            raise NotEnrolled(f"{file}: not there; enrol this device first (kaisatsu enrol LINK)") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NotEnrolled(f"{file}: cannot be used ({error}); enrol this device again") from error

    def save_identity(self, identity: Identity) -> None:
        row = asdict(identity)
        row["device"] = identity.device.hex()
        row["hub_key"] = identity.hub_key.hex()
        row["kid"] = identity.kid.hex() if identity.kid else None
        row["hub_tls"] = identity.hub_tls.hex() if identity.hub_tls else None
        write_durably(self.path / "device.json", json.dumps(row, ensure_ascii=False, indent=1).encode())

    def hub_pins(self, identity: Identity) -> tuple[bytes, ...] | None:
        """The pins of the hub's TLS keys in force: by its newest statement, else by the enrolment. None for a hub without TLS."""
        if identity.hub_tls is None:
            return None
        newest = self._newest_pins(identity)
        return (identity.hub_tls,) if newest is None else newest.pins

    def take_pins(self, document: str, identity: Identity) -> bool:
        """Keep a statement of the hub about its TLS keys, durably, if it is newer than what is held. Whether it was.

        Raises MessageError for one that the hub did not sign.
        """
        fresh, held = tls.check(document, identity.hub_key), self._newest_pins(identity)
        if held is not None and fresh.number <= held.number:
            return False
        write_durably(self.path / "hub-tls.json", document.encode())
        return True

    def _newest_pins(self, identity: Identity) -> tls.Pins | None:
        try:
            return tls.check((self.path / "hub-tls.json").read_text(encoding="utf-8"), identity.hub_key)
        except (OSError, ValueError, MessageError):
            return None

    def identity_key(self) -> Ed25519PrivateKey:
        return self._key(IDENTITY_KEY)

    def selling_key(self) -> Ed25519PrivateKey:
        return self._key(SELLING_KEY)

    def save_key(self, name: str, key: Ed25519PrivateKey) -> None:
        """`name` is IDENTITY_KEY or SELLING_KEY. Readable by its owner and, where the folder hands its group on, by that group."""
        file = self.path / name
        file.parent.mkdir(mode=0o700, exist_ok=True)
        write_durably(file, key.private_bytes_raw(), mode=0o640 if file.parent.stat().st_mode & 0o2000 else 0o600)

    def forget_selling_key(self) -> None:
        """Only who sells holds a key that tickets are signed with."""
        (self.path / SELLING_KEY).unlink(missing_ok=True)

    def incarnation(self) -> int:
        """The last number used by a journal here; 0 before the first."""
        try:
            return int((self.path / "incarnation").read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return 0

    def save_incarnation(self, number: int) -> None:
        write_durably(self.path / "incarnation", f"{number}\n".encode("ascii"))

    def _key(self, name: str) -> Ed25519PrivateKey:
        try:
            return Ed25519PrivateKey.from_private_bytes((self.path / name).read_bytes())
        except (OSError, ValueError) as error:
            raise NotEnrolled(f"{self.path / name}: no usable key ({error}); enrol this device again") from error


def write_durably(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace a small file so that after a power cut either the old or the new content is there, whole."""
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make names durable: a file that was renamed is not there after a power cut until its directory was synced."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
