"""Requests that never become whole, over raw sockets at a real hub; and a hub that is stopped in the middle of an answer."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flow.sync.processes import ROOT, line_of

pytestmark = [pytest.mark.flow]

CHILD = """
import sys
from hub.web import access, connection
access.BODY_S = connection.HEAD_S = float(sys.argv[1])
from hub.command import main
sys.exit(main(sys.argv[2:]))
"""


class Hub:
    def __init__(self, folder: Path, *, patience_s: float) -> None:
        self._log = folder / "hub.log"
        args = ["serve", "--database", f"sqlite:///{folder / 'hub.db'}", "--listen", "127.0.0.1:0"]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", CHILD, str(patience_s), *args],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.port = int(line_of(self.process)["url"].rsplit(":", 1)[1])

    def say(self, data: bytes) -> bytes:
        """What comes until the hub closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=8) as line:
            line.sendall(data)
            found = b""
            while more := line.recv(65536):
                found += more
            return found

    def stop(self) -> list[dict[str, object]]:
        self.process.terminate()
        assert self.process.wait(timeout=15) in (0, -15)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return [json.loads(line) for line in self._log.read_text().splitlines()]


@pytest.fixture(params=[0.5])
def hub(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Hub]:
    running = Hub(tmp_path, patience_s=request.param)
    yield running
    if running.process.poll() is None:
        running.process.kill()
        running.process.wait()


HEAD = b"POST /v1/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


def test_a_request_that_does_not_become_whole_is_ended(hub: Hub) -> None:
    assert hub.say(b"") == b"", "nothing at all"
    assert hub.say(b"POST /v1/claim HTTP/1.1\r\nHost: x\r\nX-Slow: ") == b"", "half a head"
    for call in (b"claim", b"operations", b"enrol"):
        answer = hub.say(HEAD % (call, 100) + b"{")
        assert answer.startswith(b"HTTP/1.1 408"), answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == "too_slow"
    for call in (b"claim", b"enrol", b"changes"):
        answer = hub.say(HEAD % (call, (1 << 20) + 1))
        assert answer.startswith(b"HTTP/1.1 413"), "before a byte of the body came"
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == "too_large"
    assert hub.say(b"\x16\x03\x01 no request\r\n\r\n").startswith(b"HTTP/1.1 400")
    events = [row["event"] for row in hub.stop()]
    assert events.count("head_too_slow") == 2
    assert "server" in events, "what the library says of a request that is none is a JSON line too"


@pytest.mark.parametrize("hub", [60.0], indirect=True)
def test_a_hub_that_is_stopped_within_an_upload_writes_no_traceback(hub: Hub) -> None:
    with socket.create_connection(("127.0.0.1", hub.port), timeout=15) as line:
        line.sendall(b"POST /v1/operations HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n")
        assert line.recv(100).startswith(b"HTTP/1.1 100"), "the hub is waiting for the body now"
        rows = hub.stop()
        answer = line.recv(65536)
    assert answer.startswith(b"HTTP/1.1 503")
    assert "cut_off" in [row["event"] for row in rows]
    assert not [row for row in rows if "exception" in row]
