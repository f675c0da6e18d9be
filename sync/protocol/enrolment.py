"""Enrolment and certificates: who a device is, and what its keys are good for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sync.protocol.addresses import VERSION
from sync.protocol.fields import bytes_of, instant_of, object_of, reading, text_of
from sync.state import Role
from tickets.ids import DeviceId, Kid
from tickets.ids import device_id as parse_device_id
from tickets.ids import kid as parse_kid

ENROLLED_CONTEXT = b"kaisatsu/enrolled/1"


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """`token` from the one-time link; public keys of 32 bytes made on the device. `proof` is the identity key's signature over
    `proof_text()`, so that nobody enrols a key that they do not hold.
    """

    token: str
    device: DeviceId
    identity: bytes
    selling: bytes
    software: str
    proof: bytes = b""

    def proof_text(self) -> bytes:
        return b"kaisatsu/enrol/1" + self.token.encode() + self.device + self.identity + self.selling

    def to_row(self) -> dict[str, Any]:
        return {
            "protocol": VERSION,
            "token": self.token,
            "device": self.device.hex(),
            "identity": self.identity.hex(),
            "selling": self.selling.hex(),
            "software": self.software,
            "proof": self.proof.hex(),
        }

    @classmethod
    def from_json(cls, text: bytes | str) -> EnrolRequest:
        with reading("an enrolment"):
            row = object_of(text)
            token = text_of(row, "token", chars_max=128)
            return cls(
                token=token,
                device=parse_device_id(text_of(row, "device")),
                identity=bytes_of(row, "identity", 32),
                selling=bytes_of(row, "selling", 32),
                software=text_of(row, "software", chars_max=64),
                proof=bytes_of(row, "proof", 64),
            )


@dataclass(frozen=True, slots=True)
class SignedText:
    """A text and the hub's signature over "kaisatsu/enrolled/1" || text. The text is kept and checked as it came."""

    text: str
    signature: bytes

    def to_row(self) -> dict[str, Any]:
        return {"protocol": VERSION, "text": self.text, "signature": self.signature.hex()}

    @classmethod
    def from_json(cls, text: bytes | str) -> SignedText:
        with reading("an answer to an enrolment"):
            row = object_of(text)
            return cls(text=text_of(row, "text", chars_max=8192), signature=bytes_of(row, "signature", 64))


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What the hub makes of a device. `device` and `identity` are repeated, so that the signature binds the answer to the question."""

    device: DeviceId
    identity: bytes
    role: Role
    label: str
    gate: str | None
    kid: Kid | None
    certificate: str | None
    certificate_signature: bytes | None
    at: datetime

    def to_text(self) -> str:
        row = {
            "device": self.device.hex(),
            "identity": self.identity.hex(),
            "role": self.role,
            "label": self.label,
            "gate": self.gate,
            "kid": self.kid.hex() if self.kid else None,
            "certificate": self.certificate,
            "certificate_signature": self.certificate_signature.hex() if self.certificate_signature else None,
            "at": self.at.isoformat(),
        }
        return json.dumps(row, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Enrolled:
        with reading("an answer to an enrolment"):
            row = object_of(text)
            selling = row["kid"] is not None
            return cls(
                device=parse_device_id(text_of(row, "device")),
                identity=bytes_of(row, "identity", 32),
                role=Role(row["role"]),
                label=text_of(row, "label", chars_max=64),
                gate=None if row["gate"] is None else text_of(row, "gate", chars_max=64),
                kid=parse_kid(row["kid"]) if selling else None,
                certificate=text_of(row, "certificate") if selling else None,
                certificate_signature=bytes_of(row, "certificate_signature", 64) if selling else None,
                at=instant_of(row, "at"),
            )


@dataclass(frozen=True, slots=True)
class CertificateAnswer:
    """A kiosk's selling key as the hub vouches for it now: the certificate's exact text, and the hub's signature."""

    text: str
    signature: bytes

    def to_row(self) -> dict[str, Any]:
        return {"protocol": VERSION, "certificate": self.text, "signature": self.signature.hex()}

    @classmethod
    def from_json(cls, text: bytes | str) -> CertificateAnswer:
        with reading("a certificate"):
            row = object_of(text)
            return cls(text_of(row, "certificate", chars_max=8192), bytes_of(row, "signature", 64))
