"""The node's line to its hub: the calls of a device, and those by which it speaks for others."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from sync import protocol
from sync.chain import Segment
from sync.client import HttpHub, parsed
from sync.protocol import (
    Answers,
    CertificateAnswer,
    Head,
    LeaseAnswer,
    LeaseRequest,
    OnBehalf,
    Page,
    Rejoin,
    Telemetry,
    answers_from_json,
    heads_from_json,
    known_from_json,
    segment_to_row,
)
from tickets.ids import DeviceId


class Upstream(Protocol):
    """Each raises HubUnreachable or HubRefused, and may be repeated without harm."""

    def changes(self, cursor: str | None, *, wait_s: float, rows_max: int) -> Page:
        """Of the node's own scope, because the hub knows who asks."""
        ...

    def relay(self, segment: Segment, *, received_at: datetime) -> Answers:
        """Hand on another device's segment, byte for byte."""
        ...

    def heads(self, device: DeviceId) -> tuple[Head, ...]: ...

    def lease_for(self, device: DeviceId, wanted: LeaseRequest, *, at: datetime) -> LeaseAnswer: ...

    def certificate_for(self, device: DeviceId, *, at: datetime) -> CertificateAnswer: ...

    def telemetry_for(self, device: DeviceId, telemetry: Telemetry, *, at: datetime) -> None: ...

    def rejoin_for(self, device: DeviceId, held: Rejoin, *, at: datetime) -> int:
        """Tell a restored hub what a device holds; the last of its operations that the hub has."""
        ...


class HttpUpstream(HttpHub):
    """A hub over HTTP, as its venue node calls it."""

    def relay(self, segment: Segment, *, received_at: datetime) -> Answers:
        row = _carried(segment_to_row(segment), segment.device, received_at)
        return parsed(answers_from_json, self._send("POST", protocol.OPERATIONS, row))

    def heads(self, device: DeviceId) -> tuple[Head, ...]:
        return parsed(heads_from_json, self._send("GET", f"{protocol.HEADS}?device={device.hex()}", None))

    def lease_for(self, device: DeviceId, wanted: LeaseRequest, *, at: datetime) -> LeaseAnswer:
        body = self._send("POST", protocol.LEASE, _carried(wanted.to_row(), device, at))
        return parsed(LeaseAnswer.from_json, body)

    def certificate_for(self, device: DeviceId, *, at: datetime) -> CertificateAnswer:
        row = _carried({"protocol": protocol.VERSION}, device, at)
        return parsed(CertificateAnswer.from_json, self._send("POST", protocol.CERTIFICATE, row))

    def telemetry_for(self, device: DeviceId, telemetry: Telemetry, *, at: datetime) -> None:
        self._send("POST", protocol.TELEMETRY, _carried(telemetry.to_row(), device, at))

    def rejoin_for(self, device: DeviceId, held: Rejoin, *, at: datetime) -> int:
        return parsed(known_from_json, self._send("POST", protocol.REJOIN, _carried(held.to_row(), device, at)))


def _carried(row: dict[str, Any], device: DeviceId, received_at: datetime) -> dict[str, Any]:
    return row | {"relayed": OnBehalf(device, received_at).to_row()}
