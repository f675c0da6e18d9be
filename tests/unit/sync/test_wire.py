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
