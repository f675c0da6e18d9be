"""The seam between a device and its hub: `Hub` is all that the rest of a device knows of it; `HttpHub` is the real one.

Whatever the line does (silence, a captive portal's page, half a body, an error status) comes out as HubUnreachable, and what the
hub itself refuses as HubRefused. One object a thread: it holds one kept-alive session.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode

import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync import hop, protocol
from sync.chain import Segment
from sync.claim import ClaimMessage, answer_from_row
from sync.errors import HubRefused, HubUnreachable, MessageError
from sync.protocol import (
    Acknowledged,
    Answer,
    EnrolRequest,
    LeaseAnswer,
    LeaseRequest,
    Page,
    Problem,
    ReleaseMessage,
    SignedText,
    Telemetry,
    answers_from_json,
    segment_to_row,
)
from tickets.admission import Denied, Granted
from tickets.clock import Clock
from tickets.ids import DeviceId, RandomBytes

T = TypeVar("T")

ANSWER_BYTES_MAX = 1024 * 1024
TIME_HEADER = "Kaisatsu-Time"
"""The hub's clock in milliseconds since 1970, on every answer: a device signs with the hub's time, not with its own."""


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

    def operations(self, segment: Segment) -> tuple[Answer, ...]: ...

    def claim(self, claim: ClaimMessage, *, deadline_s: float) -> Granted | Denied: ...

    def release(self, release: ReleaseMessage) -> None: ...

    def lease(self, wanted: LeaseRequest) -> LeaseAnswer: ...

    def telemetry(self, telemetry: Telemetry) -> None: ...


class HttpHub:
    """A hub over HTTP. `key` None for a device that is not enrolled yet: then only `enrol` can be called."""

    def __init__(
        self,
        url: str,
        *,
        device: DeviceId,
        key: Ed25519PrivateKey | None,
        clock: Clock,
        random_bytes: RandomBytes,
        connect_timeout_s: float = 3.0,
        read_timeout_s: float = 10.0,
    ) -> None:
        self._url = url.rstrip("/")
        self._device, self._key = device, key
        self._clock, self._random_bytes = clock, random_bytes
        self._connect_s, self._read_s = connect_timeout_s, read_timeout_s
        self._offset = timedelta(0)
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy, no .netrc: a device speaks to the hub it was enrolled at
        self._session.headers["User-Agent"] = "kaisatsu"

    def close(self) -> None:
        self._session.close()

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
        query = {"wait": f"{wait_s:.3f}", "limit": str(rows_max)}
        if cursor is not None:
            query["cursor"] = cursor
        if seen is not None:
            query["seen"] = seen
        if acknowledged is not None:
            query["acknowledged"] = acknowledged.to_text()
        path = f"{protocol.CHANGES}?{urlencode(query)}"
        body = self._send("GET", path, None, read_s=self._read_s + wait_s, bytes_max=protocol.PAGE_BYTES_MAX)
        return parsed(Page.from_json, body)

    def operations(self, segment: Segment) -> tuple[Answer, ...]:
        return parsed(answers_from_json, self._send("POST", protocol.OPERATIONS, segment_to_row(segment)))

    def claim(self, claim: ClaimMessage, *, deadline_s: float) -> Granted | Denied:
        body = self._send("POST", protocol.CLAIM, json.loads(claim.to_json()), read_s=deadline_s, connect_s=deadline_s)
        return parsed(lambda text: answer_from_row(json.loads(text), op=claim.op), body)

    def release(self, release: ReleaseMessage) -> None:
        self._send("POST", protocol.RELEASE, release.to_row())

    def lease(self, wanted: LeaseRequest) -> LeaseAnswer:
        return parsed(LeaseAnswer.from_json, self._send("POST", protocol.LEASE, wanted.to_row()))

    def telemetry(self, telemetry: Telemetry) -> None:
        self._send("POST", protocol.TELEMETRY, telemetry.to_row())

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
        limits = (connect_s or self._connect_s, read_s or self._read_s)
        status, content = self._exchange(method, path, body, limits=limits, bytes_max=bytes_max)
        if status == 401 and _problem(content, status).error == "clock":
            status, content = self._exchange(method, path, body, limits=limits, bytes_max=bytes_max)
        if status == 200:
            return content
        if 400 <= status < 500 and status != 429:
            problem = _problem(content, status)
            raise HubRefused(
                f"the hub refused: {problem.detail}", status=status, error=problem.error, known_seq=problem.known_seq
            )
        raise HubUnreachable(f"the hub answered {status}")

    def _exchange(
        self, method: str, path: str, body: bytes, *, limits: tuple[float, float], bytes_max: int
    ) -> tuple[int, bytes]:
        message = hop.Message(method=method, url=self._url + path)
        if body:
            message.headers["Content-Type"] = "application/json"
        if self._key is not None:
            now = self._clock.now_utc() + self._offset
            hop.sign(message, body, device=self._device, key=self._key, now=now, nonce=self._random_bytes(16).hex())
        try:
            with self._session.request(
                method,
                message.url,
                data=body or None,
                headers=dict(message.headers),
                timeout=limits,
                stream=True,
                allow_redirects=False,
            ) as answer:
                content = _bounded(answer, bytes_max=bytes_max, deadline_s=time.monotonic() + sum(limits))
                self._note_time(answer.headers.get(TIME_HEADER, ""))
                return answer.status_code, content
        except (requests.RequestException, OSError) as error:
            # The message of an exception names hosts and sockets; its type says enough to people.
            raise HubUnreachable(f"no answer from the hub ({type(error).__name__})") from error

    def _note_time(self, text: str) -> None:
        if text.isascii() and text.isdigit() and len(text) <= 15:
            self._offset = datetime.fromtimestamp(int(text) / 1000, tz=UTC) - self._clock.now_utc()


def _bounded(answer: requests.Response, *, bytes_max: int, deadline_s: float) -> bytes:
    """The whole body. A server that drips, cuts its body short, or never ends is as good as none."""
    chunks: list[bytes] = []
    size = 0
    for chunk in answer.iter_content(65536):
        size += len(chunk)
        if size > bytes_max:
            raise HubUnreachable(f"an answer of more than {bytes_max} bytes")
        if time.monotonic() > deadline_s:
            raise HubUnreachable("an answer that does not end")
        chunks.append(chunk)
    expected = answer.headers.get("Content-Length")
    if (
        expected is not None
        and expected.isdigit()
        and size != int(expected)
        and "Content-Encoding" not in answer.headers
    ):
        raise HubUnreachable("half an answer")
    return b"".join(chunks)


def parsed(parse: Callable[[bytes], T], body: bytes) -> T:
    """An answer that is no message of the protocol came from something else on the way."""
    try:
        return parse(body)
    except (MessageError, ValueError) as error:
        raise HubUnreachable(f"an answer that is not the hub's ({error})") from error


def _problem(content: bytes, status: int) -> Problem:
    """The hub's refusal; a 4xx without one is a captive portal or a proxy, not the hub."""
    try:
        return Problem.from_json(content)
    except MessageError as error:
        raise HubUnreachable(f"something on the way answered {status}") from error
