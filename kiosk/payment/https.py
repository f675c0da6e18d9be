"""One line to a payment service on the internet: JSON over HTTPS, and what a failure proves about what was received.

It never repeats a request by itself, follows no redirect, takes no proxy or password from the environment, and never logs a
header. Three things can go wrong, and the difference is money: nothing left this machine (TerminalAbsentError), it may have been
received (TerminalSilentError), or an answer came that cannot be read (TerminalLinkError).
"""

from __future__ import annotations

import json
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
import structlog
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NewConnectionError

from kiosk.payment.errors import TerminalAbsentError, TerminalLinkError, TerminalSilentError

log = structlog.get_logger()

BODY_MAX_BYTES = 1_000_000
TRACE_MAX = 24
RETRY_AFTER_MAX_S = 60.0

Sign = Callable[[str, str, bytes | None], Mapping[str, str]]
"""(method, path without query, body) -> the headers that authenticate the request."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`at`: the service's own clock from its Date header, whatever ours says. `retry_after_s`: 0 if it did not say."""

    status: int
    body: Mapping[str, Any] = field(default_factory=dict)
    at: datetime | None = None
    retry_after_s: float = 0.0

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_refused(self) -> bool:
        """It was read and not done. 408 is a time-out of somebody on the way, and proves nothing."""
        return 400 <= self.status < 500 and self.status != 408


class HttpsLine:
    """Calls one service. `trace` holds one short line an exchange, without secrets, for the journal's evidence."""

    def __init__(
        self,
        base_url: str,
        sign: Sign,
        *,
        connect_s: float,
        answer_s: float,
        session: requests.Session | None = None,
    ) -> None:
        check_base_url(base_url)
        self._base_url = base_url.rstrip("/")
        self._sign = sign
        self._timeouts_s = (connect_s, answer_s)
        self._session = session or requests.Session()
        self._session.trust_env = False
        adapter = HTTPAdapter(max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self.trace: deque[str] = deque(maxlen=TRACE_MAX)

    def call(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> Answer:
        """One exchange. Raises TerminalLinkError and its two kinds, see the module; any status is an Answer."""
        data = None if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        try:
            with self._session.request(
                method, self._base_url + path, params=query, data=data, headers=dict(self._sign(method, path, data)),
                timeout=self._timeouts_s, allow_redirects=False, stream=True,
            ) as response:  # fmt: skip
                raw = response.raw.read(BODY_MAX_BYTES + 1, decode_content=True)
        except Exception as error:
            raise self._failed(method, path, error) from error
        answer = Answer(response.status_code, _parsed(raw), _date(response), _retry_after_s(response))
        self.trace.append(f"{method} {path} {answer.status} {_gist(answer.body)}".rstrip())
        if answer.is_good and not answer.body:
            raise TerminalLinkError(f"{method} {path}: {answer.status} without JSON")
        return answer

    def close(self) -> None:
        self._session.close()

    def _failed(self, method: str, path: str, error: Exception) -> Exception:
        kind = sort_failure(error)
        if kind is None:
            return error
        # The exception's own text may quote the URL, never a header; its type is enough to look for a fault in the line.
        self.trace.append(f"{method} {path} {kind.code} {type(error).__name__}")
        log.warning("payment_service_line", code=kind.code, path=path, failure=type(error).__name__)
        return kind(f"{method} {path}: {type(error).__name__}")


def sort_failure(error: BaseException) -> type[TerminalLinkError] | None:
    """What a failed exchange proves; None for an exception that is not the line's."""
    import urllib3

    if not isinstance(error, (requests.RequestException, urllib3.exceptions.HTTPError, OSError)):
        return None
    if isinstance(error, requests.ConnectTimeout):
        return TerminalAbsentError
    for cause in _chain(error):
        if isinstance(cause, (NewConnectionError, ssl.SSLCertVerificationError)):
            return TerminalAbsentError
    return TerminalSilentError


def check_base_url(base_url: str) -> None:
    """Raises ValueError, one line, unless it is https, or http on this machine's loopback (an emulator)."""
    parts = urlsplit(base_url)
    if not (parts.scheme == "https" and parts.hostname) and not (
        parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost", "::1"}
    ):
        raise ValueError(f"key 'base_url': '{base_url}': https://HOST is allowed (http:// on 127.0.0.1 alone)")


def text_at(body: Mapping[str, Any], *path: str) -> str:
    """A text inside nested JSON objects; empty where it is missing or no text."""
    value: Any = body
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting and len(found) < 16:
        one = waiting.pop()
        if not isinstance(one, BaseException) or one in found:
            continue
        found.append(one)
        waiting += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
    return found


def _parsed(raw: bytes) -> Mapping[str, Any]:
    if len(raw) > BODY_MAX_BYTES:
        return {}
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _date(response: requests.Response) -> datetime | None:
    try:
        at = parsedate_to_datetime(response.headers.get("Date", ""))
    except (TypeError, ValueError):
        return None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def _retry_after_s(response: requests.Response) -> float:
    text = response.headers.get("Retry-After", "").strip()
    return min(float(text), RETRY_AFTER_MAX_S) if text.isdecimal() and len(text) < 9 else 0.0


def _gist(body: Mapping[str, Any]) -> str:
    """The words of an answer that say how it stands: statuses, ids and error codes, no names and no card data."""
    words: list[str] = []
    for name in ("checkout", "payment", "refund", "data", "resultInfo"):
        inner = body.get(name)
        if isinstance(inner, Mapping):
            words += [str(inner[key]) for key in ("id", "codeId", "paymentId", "status", "code") if inner.get(key)]
    errors = body.get("errors")
    if isinstance(errors, list):
        words += [str(one.get("code")) for one in errors if isinstance(one, Mapping)]
    return " ".join(words)[:200]
