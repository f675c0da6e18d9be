"""HTTP/1.1 as far as our protocol needs it: one kept-alive connection, strict, bounded, with deadlines that hold.

A general client costs a gate several times the price of its claim, and its time-outs count per read. Nothing is followed, no proxy is
asked, nothing is decompressed; an answer without a declared length, or of another length than declared, is no answer.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from sync import tls
from sync.errors import HubUnreachable

HEAD_BYTES_MAX = 32 * 1024
_RECEIVE_BYTES = 65536
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """`headers` by lower-case name; lines of one name are joined by a comma."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpStream:
    """An answer whose body is still on its way: `length` bytes, read from `chunks`, which raises HubUnreachable where the line breaks."""

    status: int
    headers: Mapping[str, str]
    length: int
    chunks: Iterator[bytes]


class _Closed(OSError):
    """The other end closed before the first byte of an answer: on a kept connection that is usual, and asked again once."""


class Connection:
    """One thread's connection to one origin. `pins` None for plain HTTP."""

    def __init__(self, url: str, *, pins: Sequence[bytes] | None) -> None:
        """Raises ValueError for what is no `http(s)://HOST[:PORT]`, for https without a pin and for a pin without https."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError(f"{url}: http(s)://HOST:PORT is expected")
        self.tls = parts.scheme == "https"
        self._url = url
        self._host, self._port = parts.hostname, parts.port or (443 if self.tls else 80)
        self.expect(pins)
        self._context = tls.client_context() if self.tls else None
        self._socket: socket.socket | None = None
        self._rest = b""
        self._unread = 0

    def expect(self, pins: Sequence[bytes] | None) -> None:
        """The keys that the next connection may meet. Raises ValueError."""
        if self.tls != bool(pins):
            raise ValueError(f"{self._url}: https goes with the pin of its key, http with none")
        self._pins = tuple(pins or ())

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._rest = b""

    def exchange(self, head: bytes, body: bytes, *, connect_s: float, read_s: float, bytes_max: int) -> HttpAnswer:
        """Send a request and take its whole answer. `head` ends with an empty line.

        Raises HubUnreachable; `slow` where a deadline passed. A connection that was closed while idle is opened once more: every call
        of the protocol may be repeated.
        """
        deadline_s = time.monotonic() + connect_s + read_s

        def ask() -> HttpAnswer:
            return self._ask(head + body, deadline_s=deadline_s, read_s=read_s, bytes_max=bytes_max)

        with self._told():
            return self._asked(ask, connect_s=connect_s)

    @contextmanager
    def stream(self, head: bytes, *, connect_s: float, read_s: float, bytes_max: int) -> Iterator[HttpStream]:
        """Send a request without a body and take the answer's body as it comes. `connect_s` and `read_s` bound the way to its head, and
        from there `read_s` each wait for more: whoever reads says how long all of it may take. The body has a declared length,
        `bytes_max` at most. What is left unread costs the connection.

        Raises HubUnreachable as `exchange` does; what is raised inside the `with` goes through as it is.
        """
        deadline_s = time.monotonic() + connect_s + read_s

        def ask() -> HttpStream:
            status, headers = self._begun(head, deadline_s=deadline_s, read_s=read_s)
            length = _length(status, headers, bytes_max)
            self._unread = length
            return HttpStream(status, headers, length, self._coming(read_s))

        with self._told():
            answer = self._asked(ask, connect_s=connect_s)
        try:
            yield answer
        finally:
            if self._unread or answer.headers.get("connection", "").lower() == "close":
                self.close()

    def _coming(self, read_s: float) -> Iterator[bytes]:
        while self._unread:
            with self._told():
                if not self._rest:
                    self._rest = self._receive(time.monotonic() + read_s, read_s)
                    if not self._rest:
                        raise HubUnreachable("half an answer")
                chunk, self._rest = self._rest[: self._unread], self._rest[self._unread :]
            self._unread -= len(chunk)
            yield chunk

    def _asked(self, ask: Callable[[], _T], *, connect_s: float) -> _T:
        """Ask, and once more over a new connection where the kept one was closed while idle."""
        kept = self._socket is not None and not self._is_stale()
        if not kept:
            self.close()
            self._open(connect_s)
        try:
            return ask()
        except (_Closed, ConnectionError):
            if not kept:
                raise
            self.close()
            self._open(connect_s)
            return ask()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Whatever a socket does comes out as HubUnreachable, and costs the connection."""
        try:
            yield
        except HubUnreachable:
            self.close()
            raise
        except TimeoutError as error:
            self.close()
            raise HubUnreachable("no answer from the hub in time", slow=True) from error
        except (OSError, ValueError) as error:
            self.close()
            # The message of an exception names hosts and sockets; its type says enough to people.
            raise HubUnreachable(f"no answer from the hub ({type(error).__name__})") from error

    def _is_stale(self) -> bool:
        """Whether something came that nobody asked for: nearly always the end of the connection."""
        assert self._socket is not None
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(self._rest or poll.poll(0))

    def _open(self, connect_s: float) -> None:
        try:
            plain = socket.create_connection((self._host, self._port), timeout=connect_s)
        except TimeoutError as error:
            raise HubUnreachable("no line to the hub") from error  # says nothing of how much the hub can take
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is None:
                self._socket = plain
            else:
                self._socket = tls.handshake(plain, self._context, host=self._host, pins=self._pins)
        except BaseException:
            plain.close()
            raise

    def _begun(self, request: bytes, *, deadline_s: float, read_s: float) -> tuple[int, dict[str, str]]:
        """Send a request; status and header fields of its answer."""
        assert self._socket is not None
        self._socket.settimeout(_left_s(deadline_s, read_s))
        self._socket.sendall(request)
        while True:
            status, headers = self._head(deadline_s, read_s)
            if status >= 200:
                return status, headers  # 1xx are on the way to the answer

    def _ask(self, request: bytes, *, deadline_s: float, read_s: float, bytes_max: int) -> HttpAnswer:
        status, headers = self._begun(request, deadline_s=deadline_s, read_s=read_s)
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = self._chunks(deadline_s, read_s, bytes_max)
        else:
            body = self._exactly(_length(status, headers, bytes_max), deadline_s, read_s)
        if headers.get("connection", "").lower() == "close" or self._rest:
            self.close()
        return HttpAnswer(status, headers, body)

    def _head(self, deadline_s: float, read_s: float) -> tuple[int, dict[str, str]]:
        held = self._rest
        while (end := held.find(b"\r\n\r\n")) < 0:
            if len(held) > HEAD_BYTES_MAX:
                raise HubUnreachable("an answer whose head does not end")
            more = self._receive(deadline_s, read_s)
            if not more:
                raise HubUnreachable("half an answer") if held else _Closed("closed before an answer")
            held += more
        self._rest = held[end + 4 :]
        lines = held[:end].decode("latin-1").split("\r\n")
        version, _, rest = lines[0].partition(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0") or not (rest[:3].isascii() and rest[:3].isdigit()):
            raise HubUnreachable("an answer that is not HTTP")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise HubUnreachable("an answer that is not HTTP")
            name, value = name.lower(), value.strip(" \t")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if version == "HTTP/1.0":
            headers["connection"] = "close"
        return int(rest[:3]), headers

    def _chunks(self, deadline_s: float, read_s: float, bytes_max: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            length = int(self._line(deadline_s, read_s).partition(b";")[0], 16)
            size += length
            if length < 0 or size > bytes_max:
                raise HubUnreachable(f"an answer of more than {bytes_max} bytes")
            if length == 0:
                while self._line(deadline_s, read_s):
                    pass  # trailers
                return b"".join(parts)
            parts.append(self._exactly(length, deadline_s, read_s))
            if self._line(deadline_s, read_s):
                raise HubUnreachable("an answer that is not HTTP")

    def _line(self, deadline_s: float, read_s: float) -> bytes:
        while (end := self._rest.find(b"\r\n")) < 0:
            if len(self._rest) > 4096:
                raise HubUnreachable("an answer that is not HTTP")
            more = self._receive(deadline_s, read_s)
            if not more:
                raise HubUnreachable("half an answer")
            self._rest += more
        line, self._rest = self._rest[:end], self._rest[end + 2 :]
        return line

    def _exactly(self, size: int, deadline_s: float, read_s: float) -> bytes:
        if len(self._rest) >= size:
            body, self._rest = self._rest[:size], self._rest[size:]
            return body
        parts, held = [self._rest], len(self._rest)
        self._rest = b""
        while held < size:
            more = self._receive(deadline_s, read_s)
            if not more:
                raise HubUnreachable("half an answer")
            parts.append(more)
            held += len(more)
        body = b"".join(parts)
        self._rest = body[size:]
        return body[:size]

    def _receive(self, deadline_s: float, read_s: float) -> bytes:
        assert self._socket is not None
        self._socket.settimeout(_left_s(deadline_s, read_s))
        try:
            return self._socket.recv(_RECEIVE_BYTES)
        except ssl.SSLEOFError:
            return b""


def _length(status: int, headers: Mapping[str, str], bytes_max: int) -> int:
    """The declared length of a body. Raises HubUnreachable for none and for more than is allowed."""
    text = headers.get("content-length", "0" if status in (204, 304) else "")
    if not (text.isascii() and text.isdigit() and len(text) <= 12) or "transfer-encoding" in headers:
        raise HubUnreachable("an answer of no declared length")
    if int(text) > bytes_max:
        raise HubUnreachable(f"an answer of more than {bytes_max} bytes")
    return int(text)


def _left_s(deadline_s: float, read_s: float) -> float:
    left_s = min(deadline_s - time.monotonic(), read_s)
    if left_s <= 0:
        raise TimeoutError
    return left_s
