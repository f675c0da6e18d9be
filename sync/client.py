"""The seam between a device and its hub: `Hub` is all that the rest of a device knows of it; `HttpHub` is the real one.

Whatever the line does (silence, a captive portal's page, half a body, an error status) comes out as HubUnreachable, and what the
hub itself refuses as HubRefused. One object a thread: it holds one kept-alive session.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync import hop, protocol, snapshot
from sync.chain import Segment
from sync.claim import ClaimMessage, answer_from_row
from sync.errors import HubRefused, HubUnreachable, MessageError
from sync.nonce import RANDOM_BYTES, answer_to
from sync.protocol import (
    Acknowledged,
    Answers,
    CertificateAnswer,
    EnrolRequest,
    LeaseAnswer,
    LeaseRequest,
    Page,
    Problem,
    Rejoin,
    ReleaseMessage,
    SignedText,
    Telemetry,
    answers_from_json,
    known_from_json,
    segment_to_row,
)
from sync.snapshot import Manifest, NoSnapshot, SignedManifest
from sync.wire import Connection, HttpAnswer, HttpStream
from tickets.admission import Denied, Granted
from tickets.clock import Clock
from tickets.ids import DeviceId, RandomBytes

T = TypeVar("T")

ANSWER_BYTES_MAX = 1024 * 1024
RETRY_AFTER_S_MAX = 30.0
"""Nobody is kept from its hub for longer by a number in an answer."""
NONCE_HEADER = "kaisatsu-nonce"
NONCE_SHAPE = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
TIME_HEADER = "Kaisatsu-Time"
"""The hub's clock in milliseconds since 1970, on every answer: what a device takes for the time when its own clock is in doubt."""


@dataclass(frozen=True, slots=True)
class SnapshotBody:
    """A packed file on its way: `began` is the byte it starts at. Reading `chunks` raises what the transport raises inside the `with`."""

    began: int
    chunks: Iterator[bytes]


class Hub(Protocol):
    """The calls of docs/protocol.md. Each raises HubUnreachable or HubRefused, and may be repeated without harm."""

    def enrol(self, request: EnrolRequest) -> SignedText: ...

    def changes(
        self,
        cursor: str | None,
        *,
        wait_s: float,
        rows_max: int,
        seen: str | None = None,
        acknowledged: Acknowledged | None = None,
    ) -> Page:
        """The next page after `cursor`; an empty one after `wait_s` seconds without a change. Of a venue node is also asked whether it
        has as much of the hub's feed as was `seen` here, and for news beyond what is known `acknowledged` by the hub.
        """
        ...

    def snapshot(self, *, wait_s: float) -> SignedManifest | NoSnapshot:
        """The newest snapshot's manifest as the hub signed it, or why there is none."""
        ...

    def snapshot_file(self, manifest: Manifest, *, start: int) -> AbstractContextManager[SnapshotBody]:
        """The packed file from byte `start` on; the body says where it really begins (0: the whole file came)."""
        ...

    def operations(self, segment: Segment) -> Answers: ...

    def claim(self, claim: ClaimMessage, *, deadline_s: float) -> Granted | Denied: ...

    def release(self, release: ReleaseMessage) -> None: ...

    def lease(self, wanted: LeaseRequest) -> LeaseAnswer: ...

    def certificate(self) -> CertificateAnswer: ...

    def telemetry(self, telemetry: Telemetry) -> None: ...

    def rejoin(self, held: Rejoin) -> int:
        """Say what this device holds; the last of the incarnation's operations that the hub has."""
        ...


class HttpHub:
    """A hub over HTTP. `key` None for a device that is not enrolled yet: then only `enrol` can be called. `tls`: the pin of the hub's TLS
    key, or the pins of which any will do; None for http. Raises ValueError for https without a pin and http with one.
    """

    def __init__(
        self,
        url: str,
        *,
        device: DeviceId,
        key: Ed25519PrivateKey | None,
        clock: Clock,
        random_bytes: RandomBytes,
        tls: bytes | Sequence[bytes] | None = None,
        connect_timeout_s: float = 3.0,
        read_timeout_s: float = 10.0,
    ) -> None:
        self._device, self._key = device, key
        self._clock, self._random_bytes = clock, random_bytes
        self._connect_s, self._read_s = connect_timeout_s, read_timeout_s
        self._offset = timedelta(0)
        self._nonce = ""
        self._wire = Connection(url, pins=(tls,) if isinstance(tls, bytes) else tls)
        parts = urlsplit(url)
        self._authority = hop.authority(parts.netloc, tls=self._wire.tls)
        self._fixed = f"Host: {self._authority}\r\nUser-Agent: kaisatsu\r\nAccept: application/json\r\n"

    def close(self) -> None:
        self._wire.close()

    def expect(self, tls: Sequence[bytes] | None) -> None:
        """Go by these pins from the next connection on: the hub has announced others."""
        self._wire.expect(tls)

    @property
    def clock_offset_s(self) -> float:
        """Hub time minus this device's time, by the last answer."""
        return self._offset.total_seconds()

    def enrol(self, request: EnrolRequest) -> SignedText:
        return parsed(SignedText.from_json, self._send("POST", protocol.ENROL, request.to_row()))

    def changes(
        self,
        cursor: str | None,
        *,
        wait_s: float,
        rows_max: int,
        seen: str | None = None,
        acknowledged: Acknowledged | None = None,
    ) -> Page:
        query = {"wait": f"{wait_s:.3f}", "limit": str(rows_max), "schema": str(protocol.CURSOR_SCHEMA)}
        if cursor is not None:
            query["cursor"] = cursor
        if seen is not None:
            query["seen"] = seen
        if acknowledged is not None:
            query["acknowledged"] = acknowledged.to_text()
        path = f"{protocol.CHANGES}?{urlencode(query)}"
        body = self._send("GET", path, None, read_s=self._read_s + wait_s, bytes_max=protocol.PAGE_BYTES_MAX)
        return parsed(Page.from_json, body)

    def snapshot(self, *, wait_s: float) -> SignedManifest | NoSnapshot:
        path = f"{snapshot.SNAPSHOT}?{urlencode({'wait': f'{wait_s:.3f}'})}"
        return parsed(snapshot.answer_from_json, self._send("GET", path, None, read_s=self._read_s + wait_s))

    @contextmanager
    def snapshot_file(self, manifest: Manifest, *, start: int) -> Iterator[SnapshotBody]:
        """Signed, over a fresh nonce if need be; the line may be slow, but not silent for longer than a read may take."""
        fields = {"Range": f"bytes={start}-", "If-Range": manifest.etag} if start else {}
        limits = (self._connect_s, self._read_s)
        bytes_max = max(manifest.size, ANSWER_BYTES_MAX)
        for again in (True, False):
            head = self._head("GET", manifest.url, b"", headers=fields)
            with self._wire.stream(head, connect_s=limits[0], read_s=limits[1], bytes_max=bytes_max) as answer:
                self._note(answer.headers)
                if answer.status in (200, 206) and answer.headers.get("etag") == manifest.etag:
                    yield SnapshotBody(_began(answer, start), answer.chunks)
                    return
                if answer.length > ANSWER_BYTES_MAX:
                    raise HubUnreachable("an answer that is not the hub's")
                refused = HttpAnswer(answer.status, answer.headers, b"".join(answer.chunks))
            if not (again and self._may_ask_again(refused)):
                raise _refusal(refused)

    def operations(self, segment: Segment) -> Answers:
        return parsed(answers_from_json, self._send("POST", protocol.OPERATIONS, segment_to_row(segment)))

    def claim(self, claim: ClaimMessage, *, deadline_s: float) -> Granted | Denied:
        body = claim.to_json().encode()
        answer = self._call("POST", protocol.CLAIM, body, read_s=deadline_s, connect_s=deadline_s)
        return parsed(lambda text: answer_from_row(json.loads(text), op=claim.op, epoch=claim.epoch), answer.body)

    def reach(self, *, deadline_s: float) -> int:
        """The epoch in which the other end rules, 0 where it does not: proof that the line carries, before a guest waits for it."""
        body = self._send("GET", protocol.ARBITER, None, read_s=deadline_s, connect_s=deadline_s)
        return parsed(protocol.ruling_epoch, body)

    def release(self, release: ReleaseMessage) -> None:
        self._send("POST", protocol.RELEASE, release.to_row())

    def lease(self, wanted: LeaseRequest) -> LeaseAnswer:
        return parsed(LeaseAnswer.from_json, self._send("POST", protocol.LEASE, wanted.to_row()))

    def certificate(self) -> CertificateAnswer:
        return parsed(
            CertificateAnswer.from_json, self._send("POST", protocol.CERTIFICATE, {"protocol": protocol.VERSION})
        )

    def telemetry(self, telemetry: Telemetry) -> None:
        self._send("POST", protocol.TELEMETRY, telemetry.to_row())

    def rejoin(self, held: Rejoin) -> int:
        return parsed(known_from_json, self._send("POST", protocol.REJOIN, held.to_row()))

    def _send(
        self,
        method: str,
        path: str,
        row: dict[str, Any] | None,
        *,
        read_s: float | None = None,
        connect_s: float | None = None,
        bytes_max: int = ANSWER_BYTES_MAX,
    ) -> bytes:
        body = b"" if row is None else json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
        return self._call(method, path, body, read_s=read_s, connect_s=connect_s, bytes_max=bytes_max).body

    def _call(
        self,
        method: str,
        path: str,
        body: bytes,
        *,
        read_s: float | None = None,
        connect_s: float | None = None,
        bytes_max: int = ANSWER_BYTES_MAX,
        headers: Mapping[str, str] | None = None,
        good: tuple[int, ...] = (200,),
    ) -> HttpAnswer:
        """One call of the protocol: signed, over a fresh nonce if need be. `good` are the statuses that are answers.

        Raises HubUnreachable, HubRefused.
        """
        limits = (connect_s or self._connect_s, read_s or self._read_s)
        answer = self._exchange(method, path, body, limits=limits, bytes_max=bytes_max, headers=headers)
        if self._may_ask_again(answer):
            answer = self._exchange(method, path, body, limits=limits, bytes_max=bytes_max, headers=headers)
        if answer.status in good:
            return answer
        raise _refusal(answer)

    def _may_ask_again(self, answer: HttpAnswer) -> bool:
        """Whether the hub only wants the request signed over its newest nonce. `replayed`: it was sent again by the wire, because a kept
        connection closed before the first answer came.
        """
        return answer.status == 401 and self._key is not None and _problem(answer).error in ("nonce", "replayed")

    def _exchange(
        self,
        method: str,
        path: str,
        body: bytes,
        *,
        limits: tuple[float, float],
        bytes_max: int,
        headers: Mapping[str, str] | None,
    ) -> HttpAnswer:
        head = self._head(method, path, body, headers=headers)
        answer = self._wire.exchange(head, body, connect_s=limits[0], read_s=limits[1], bytes_max=bytes_max)
        self._note(answer.headers)
        return answer

    def _head(self, method: str, path: str, body: bytes, *, headers: Mapping[str, str] | None) -> bytes:
        """A request's first line and fields, signed where there is a key."""
        lines = [f"{method} {path} HTTP/1.1\r\n{self._fixed}"]
        if body or method != "GET":
            lines.append(f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n")
        sent = dict(headers or {})
        if self._key is not None:
            bare, _, query = path.partition("?")
            sent |= hop.signed_headers(
                hop.Target(method, self._authority, bare, query),
                body,
                device=self._device,
                key=self._key,
                now=self._clock.now_utc() + self._offset,
                nonce=answer_to(self._nonce, self._random_bytes(RANDOM_BYTES)),
            )
        lines.extend(f"{name}: {value}\r\n" for name, value in sent.items())
        return ("".join(lines) + "\r\n").encode("ascii")

    def _note(self, headers: Mapping[str, str]) -> None:
        """The hub's clock and its newest nonce, which stand on each of its answers."""
        nonce = headers.get(NONCE_HEADER, "")
        if NONCE_SHAPE.fullmatch(nonce):
            self._nonce = nonce
        text = headers.get(TIME_HEADER.lower(), "")
        if text.isascii() and text.isdigit() and len(text) <= 14:
            self._offset = datetime.fromtimestamp(int(text) / 1000, tz=UTC) - self._clock.now_utc()


def _began(answer: HttpStream, start: int) -> int:
    """The byte that the body of a snapshot begins with."""
    if answer.status == 200:
        return 0
    if not answer.headers.get("content-range", "").startswith(f"bytes {start}-"):
        raise HubUnreachable("a part of a snapshot that goes on at another byte")
    return start


def _refusal(answer: HttpAnswer) -> HubRefused | HubUnreachable:
    """What an answer that is none comes to: the hub's own no, or a hub (or what stands before it) that cannot now."""
    if 400 <= answer.status < 500 and answer.status != 429:
        problem = _problem(answer)
        return HubRefused(
            f"the hub refused: {problem.detail}",
            status=answer.status,
            error=problem.error,
            known_seq=problem.known_seq,
        )
    return HubUnreachable(
        f"the hub answered {answer.status}", retry_after_s=_retry_after_s(answer), slow=answer.status in (429, 503)
    )


def _retry_after_s(answer: HttpAnswer) -> float | None:
    """Whole seconds, RETRY_AFTER_S_MAX at most."""
    text = answer.headers.get("retry-after", "")
    return min(float(text), RETRY_AFTER_S_MAX) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def parsed(parse: Callable[[bytes], T], body: bytes) -> T:
    """An answer that is no message of the protocol came from something else on the way."""
    try:
        return parse(body)
    except (MessageError, ValueError) as error:
        raise HubUnreachable(f"an answer that is not the hub's ({error})") from error


def _problem(answer: HttpAnswer) -> Problem:
    """The hub's refusal; a 4xx without one is a captive portal or a proxy, not the hub."""
    try:
        return Problem.from_json(answer.body)
    except MessageError as error:
        raise HubUnreachable(f"something on the way answered {answer.status}") from error
