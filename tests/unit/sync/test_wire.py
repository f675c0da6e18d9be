"""The line as it may be: dripping, cut, lying, closed while idle, too much to do."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sync.client import HttpHub
from sync.errors import HubRefused, HubUnreachable
from sync.protocol import EnrolRequest
from sync.wire import Connection
from tickets.clock import SystemClock

ASK = EnrolRequest("token", b"d" * 16, b"i" * 32, b"s" * 32, "test", b"p" * 64)  # type: ignore[arg-type]
REFUSAL = b'{"protocol":1,"error":"token","detail":"no","known_seq":null}'
GOOD = b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n%b" % (len(REFUSAL), REFUSAL)
Talk = Callable[[socket.socket], None]


class Far:
    """The other end of the line: for each connection in turn, the next thing to do."""

    def __init__(self, *talks: Talk) -> None:
        self._talks = list(talks)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while self._talks:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            talk = self._talks.pop(0)
            threading.Thread(target=self._one, args=(connection, talk), daemon=True).start()

    def _one(self, connection: socket.socket, talk: Talk) -> None:
        connection.settimeout(10)
        with connection:
            try:
                talk(connection)
            except OSError:
                return

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def far() -> Iterator[Callable[..., Far]]:
    made: list[Far] = []

    def make(*talks: Talk) -> Far:
        made.append(Far(*talks))
        return made[-1]

    yield make
    for one in made:
        one.close()


def says(*parts: bytes, pause_s: float = 0.0, stay: bool = False) -> Talk:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        for part in parts:
            connection.sendall(part)
            if pause_s:
                time.sleep(pause_s)
        while stay and connection.recv(65536):
            pass

    return talk


def hub(far: Far, *, read_s: float = 2.0) -> HttpHub:
    return HttpHub(
        f"http://127.0.0.1:{far.port}",
        device=b"d" * 16,  # type: ignore[arg-type]
        key=None,
        clock=SystemClock(),
        random_bytes=os.urandom,
        connect_timeout_s=0.5,
        read_timeout_s=read_s,
    )


def chunked(body: bytes) -> bytes:
    half = len(body) // 2
    parts = b"".join(b"%x;x=1\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    return b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n" + parts + b"0\r\nTrailer: 1\r\n\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        (GOOD,),
        tuple(GOOD[at : at + 1] for at in range(len(GOOD))),
        (b"HTTP/1.1 100 Go on\r\n\r\n" + GOOD,),
        (chunked(REFUSAL),),
    ],
    ids=["whole", "letter by letter", "after 100", "chunked"],
)
def test_an_answer_is_an_answer_however_it_is_cut(far: Callable[..., Far], parts: tuple[bytes, ...]) -> None:
    with pytest.raises(HubRefused) as caught:
        hub(far(says(*parts, stay=True))).enrol(ASK)
    assert caught.value.error == "token"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 403 No\r\n",
        GOOD[:-1],
        chunked(REFUSAL)[:-20],
        b"HTTP/1.1 200 OK\r\n\r\n" + REFUSAL,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://portal/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 403 No\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"x" * 40_000,
        b"HTTP/1.1 abc\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_no_line(far: Callable[..., Far], answer: bytes) -> None:
    with pytest.raises(HubUnreachable):
        hub(far(says(answer), says(answer))).enrol(ASK)


def test_a_server_that_drips_is_left_when_the_time_is_over(far: Callable[..., Far]) -> None:
    dripping = says(*(GOOD[at : at + 1] for at in range(len(GOOD))), pause_s=0.02)
    began = time.monotonic()
    with pytest.raises(HubUnreachable) as caught:
        hub(far(dripping), read_s=0.2).enrol(ASK)
    assert caught.value.slow
    assert time.monotonic() - began < 2


def test_a_connection_closed_while_idle_is_opened_again_without_a_word(far: Callable[..., Far]) -> None:
    other = far(says(GOOD), says(GOOD, stay=True))
    asked = hub(other)
    for _ in range(2):
        with pytest.raises(HubRefused):
            asked.enrol(ASK)
    assert other.connections == 2


@pytest.mark.parametrize(("status", "seconds"), [(503, 7), (429, 1), (503, 999_999)])
def test_a_hub_that_has_too_much_to_do_says_when_to_come_again(
    far: Callable[..., Far], status: int, seconds: int
) -> None:
    answer = b"HTTP/1.1 %d Busy\r\nRetry-After: %d\r\nContent-Length: 2\r\n\r\n{}" % (status, seconds)
    with pytest.raises(HubUnreachable) as caught:
        hub(far(says(answer))).enrol(ASK)
    assert caught.value.slow
    assert caught.value.retry_after_s == min(seconds, 30)


def streaming(far: Far) -> tuple[Connection, bytes]:
    return Connection(f"http://127.0.0.1:{far.port}", pins=None), b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_stream_comes_in_pieces_and_leaves_its_connection_to_the_next(far: Callable[..., Far]) -> None:
    body = os.urandom(300_000)

    def talk(connection: socket.socket) -> None:
        for _ in range(2):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 206 Part\r\nContent-Length: %d\r\n\r\n" % len(body))
            connection.sendall(body)

    other = far(talk)
    wire, head = streaming(other)
    for _ in range(2):
        with wire.stream(head, connect_s=5, read_s=5, bytes_max=len(body)) as answer:
            assert (answer.status, answer.length) == (206, len(body))
            chunks = list(answer.chunks)
        assert b"".join(chunks) == body
        assert len(chunks) > 1
    assert other.connections == 1
    wire.close()


def test_what_is_left_of_a_stream_is_never_taken_for_an_answer(far: Callable[..., Far]) -> None:
    def half(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000)
        connection.recv(65536)

    def small(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    other = far(half, small)
    wire, head = streaming(other)

    def keep(_: bytes) -> None:
        raise OSError("disk full")

    with (
        pytest.raises(OSError, match="disk full"),  # the reader's own: no silence of the line
        wire.stream(head, connect_s=5, read_s=5, bytes_max=200_000) as answer,
    ):
        keep(next(answer.chunks))
    with wire.stream(head, connect_s=5, read_s=5, bytes_max=10) as answer:
        assert b"".join(answer.chunks) == b"ok"
    assert other.connections == 2
    wire.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"",
    ],
    ids=["cut", "too long", "of no length", "closed"],
)
def test_a_stream_that_is_none_is_silence(far: Callable[..., Far], sent: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(sent)

    wire, head = streaming(far(talk, talk))
    with pytest.raises(HubUnreachable), wire.stream(head, connect_s=2, read_s=2, bytes_max=50) as answer:
        b"".join(answer.chunks)


def test_a_stream_that_stops_is_given_up_after_one_wait(far: Callable[..., Far]) -> None:
    told = threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        told.wait(10)

    wire, head = streaming(far(talk))
    with (
        pytest.raises(HubUnreachable, match="in time"),
        wire.stream(head, connect_s=2, read_s=0.3, bytes_max=50) as answer,
    ):
        for _ in answer.chunks:
            pass
    told.set()
