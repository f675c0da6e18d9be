"""The real reader process over its real socket: pictures, a film, a camera that is not there, a window on an X display."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
import segno

from sync.service.health import Board, State
from tickets.read import Read

pytestmark = pytest.mark.flow

CODES = [f"T1:{n}SECOND PART OF A CODE WITH SPACES {n} " for n in range(6)]


def picture(*codes: str, width: int = 640, height: int = 480) -> np.ndarray:
    """Codes side by side on a grey desk."""
    desk = np.full((height, width, 3), 180, np.uint8)
    for n, code in enumerate(codes):
        matrix = segno.make(code, error="M", micro=False).matrix_iter(scale=5, border=4)
        tile = np.array([[0 if dark else 255 for dark in row] for row in matrix], np.uint8)
        left = 20 + n * (width - 20) // len(codes)
        desk[40 : 40 + tile.shape[0], left : left + tile.shape[1]] = tile[:, :, None]
    return desk


class Owner:
    """Whoever owns the screen: the listening end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.server.bind(str(path))
        self.server.listen(1)
        self.server.settimeout(20)
        self.peer: socket.socket | None = None

    def receive(self) -> Read:
        if self.peer is None:
            self.peer, _ = self.server.accept()
            self.peer.settimeout(20)
        return Read.from_packet(self.peer.recv(65536))

    def is_over(self) -> bool:
        """The reader has closed its end and left nothing to read."""
        assert self.peer is not None
        return self.peer.recv(65536) == b""

    def nothing_within(self, seconds: float) -> bool:
        assert self.peer is not None
        return not select.select([self.peer], [], [], seconds)[0]

    def close(self) -> None:
        for end in (self.peer, self.server):
            if end is not None:
                end.close()
        self.path.unlink(missing_ok=True)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    owner = Owner(tmp_path / "reads")
    yield owner
    owner.close()


class Reader:
    """`python -m scanner.reading FILE`; its log goes to a file."""

    def __init__(self, folder: Path, **settings: object) -> None:
        path = folder / "reader.json"
        path.write_text(
            json.dumps({"reads_socket": str(folder / "reads"), "health_db": str(folder / "health.db"), **settings})
        )
        self.log = folder / "reader.log"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scanner.reading", str(path)], stderr=self.log.open("wb")
        )

    def events(self) -> list[dict[str, object]]:
        """Every line that it has logged; each must be JSON."""
        lines = self.log.read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in lines]

    def wait(self) -> int:
        try:
            return self.process.wait(timeout=20)
        finally:
            self.process.kill()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.wait()


def wait_for(condition: object, what: str, *, timeout_s: float = 20) -> None:
    until = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until, what
        time.sleep(0.02)


def put(folder: Path, name: str, image: np.ndarray) -> None:
    """As a careful writer does it: under another name first."""
    assert cv2.imwrite(str(folder / "half.png"), image)
    (folder / "half.png").rename(folder / name)


def test_pictures_in_a_folder(tmp_path: Path, owner: Owner) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "2.png"), picture(CODES[2]))
    cv2.imwrite(str(folder / "1.png"), picture(CODES[0], CODES[1]))
    cv2.imwrite(str(folder / "3-empty.png"), picture())
    whole = cv2.imencode(".png", picture(CODES[5]))[1].tobytes()
    (folder / "4-torn.png").write_bytes(whole[: len(whole) // 9])
    (folder / "5-foreign.png").write_bytes(b"GIF89a?" + os.urandom(300))
    reader = Reader(tmp_path, source="folder", location=str(folder), settle_ms=100)
    try:
        reads = [owner.receive() for _ in range(3)]
        assert [read.text for read in reads] == CODES[:3]
        assert {read.source for read in reads} == {"folder"}
        assert all(abs((datetime.now(UTC) - read.at).total_seconds()) < 60 for read in reads)
        put(folder, "6.png", picture(CODES[3]))
        assert owner.receive().text == CODES[3]
        put(folder, "7-again.png", picture(CODES[3]))
        assert owner.receive().text == CODES[3]  # another picture is another presentation
        assert reader.stop() == 0
        told = {event["file"]: event["why"] for event in reader.events() if event["event"] == "picture_unreadable"}
        assert set(told) == {"4-torn.png", "5-foreign.png"}
        assert not any(code in reader.log.read_text() for code in CODES)  # codes never reach a log
    finally:
        reader.process.kill()


def test_an_owner_that_comes_late_and_goes_and_comes_back_misses_no_picture(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "1.png"), picture(CODES[0]))
    reader = Reader(tmp_path, source="folder", location=str(folder))
    try:
        wait_for(
            lambda: any(event["event"] == "nobody_listens" for event in reader.events()), "the reader never looked"
        )
        owner = Owner(tmp_path / "reads")
        assert owner.receive().text == CODES[0]
        owner.close()
        put(folder, "2.png", picture(CODES[1]))
        owner = Owner(tmp_path / "reads")
        assert owner.receive().text == CODES[1]
        owner.close()
        assert reader.stop() == 0
    finally:
        reader.process.kill()


def test_a_film_is_read_frame_by_frame(tmp_path: Path, owner: Owner) -> None:
    """A ticket held up for a second, a second of nothing, another, a blink, the same, two seconds of nothing, the same again."""
    film = tmp_path / "lane.avi"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 480))
    assert writer.isOpened()
    for frames, codes in (
        (10, CODES[:1]),
        (10, []),
        (5, CODES[1:2]),
        (3, []),
        (5, CODES[1:2]),
        (20, []),
        (4, CODES[1:2]),
        (3, CODES[2:4]),
    ):
        for _ in range(frames):
            writer.write(picture(*codes))
    writer.release()
    reader = Reader(tmp_path, source="video", location=str(film), rearm_ms=1500)
    try:
        assert [owner.receive().text for _ in range(5)] == [CODES[0], CODES[1], CODES[1], CODES[2], CODES[3]]
        assert owner.is_over()
        assert reader.wait() == 0
        assert "source_ended" in [event["event"] for event in reader.events()]
    finally:
        reader.process.kill()


def test_a_camera_that_is_not_there(tmp_path: Path, owner: Owner) -> None:
    """It says so where the doctor looks, lives on, tries again, and ends when told to."""
    reader = Reader(tmp_path, source="camera", location="63")
    try:
        board = Board(tmp_path / "health.db")

        def state() -> State:
            return board.read("camera", now=datetime.now(UTC), age_s_max=60).state

        wait_for(lambda: state() is State.ERROR, "no health row says that the camera is not there")
        row = board.read("camera", now=datetime.now(UTC), age_s_max=60)
        assert row.stops == "scan"
        assert "63" in row.facts["why"]
        first = row.at
        wait_for(lambda: board.read("camera", now=datetime.now(UTC), age_s_max=60).at > first, "the row is not renewed")
        assert reader.process.poll() is None
        assert reader.stop() == 0
        assert [event["event"] for event in reader.events()].count("source_gone") == 1  # told once, not each try
        board.close()
    finally:
        reader.process.kill()


def test_a_film_that_is_no_film_is_waited_for(tmp_path: Path, owner: Owner) -> None:
    film = tmp_path / "lane.avi"
    film.write_bytes(b"RIFF nothing")
    reader = Reader(tmp_path, source="video", location=str(film))
    try:
        wait_for(lambda: any(event["event"] == "source_gone" for event in reader.events()), "nothing was told")
        assert reader.stop() == 0
    finally:
        reader.process.kill()


def test_wrong_settings_end_it_with_one_line(tmp_path: Path) -> None:
    path = tmp_path / "reader.json"
    path.write_text('{"reads_socket": "/run/x", "source": "camera", "rearm": 5}')
    done = subprocess.run([sys.executable, "-m", "scanner.reading", str(path)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "unknown key 'rearm'" in done.stderr
    assert "rearm_ms" in done.stderr


class Display:
    """An X server whose framebuffer is a file: the test paints into it, so that it needs no window."""

    WIDTH, HEIGHT = 900, 700

    def __init__(self, folder: Path) -> None:
        self._number, writer = os.pipe()
        self.server = subprocess.Popen(
            [
                *("Xvfb", "-displayfd", str(writer), "-fbdir", str(folder), "-nolisten", "tcp", "-noreset"),
                *("-screen", "0", f"{self.WIDTH}x{self.HEIGHT}x24"),
            ],
            pass_fds=(writer,),
            stderr=subprocess.DEVNULL,
        )
        os.close(writer)
        assert select.select([self._number], [], [], 20)[0], "Xvfb did not start"
        self.name = f":{os.read(self._number, 16).decode().strip()}"
        self._file = folder / "Xvfb_screen0"

    def show(self, *codes: str) -> None:
        """Codes on a grey desk, or the desk alone. The file is an XWD dump (XWDFile.h): header, colour table, pixels."""
        data = np.memmap(self._file, mode="r+")
        header = np.frombuffer(data[:100].tobytes(), ">u4")
        size, line_bytes, colours = int(header[0]), int(header[12]), int(header[19])
        assert (int(header[4]), int(header[5]), line_bytes) == (self.WIDTH, self.HEIGHT, self.WIDTH * 4)
        start = size + colours * 12
        pixels = data[start : start + line_bytes * self.HEIGHT].reshape(self.HEIGHT, self.WIDTH, 4)
        pixels[:, :, :3] = picture(*codes, width=self.WIDTH, height=self.HEIGHT)
        data.flush()

    def close(self) -> None:
        self.server.terminate()
        self.server.wait(timeout=10)
        os.close(self._number)  # not before: a server that is still writing to it would be killed by SIGPIPE


@pytest.fixture
def display(tmp_path: Path) -> Iterator[Display]:
    if not shutil.which("Xvfb"):
        pytest.skip("Xvfb is not installed")
    display = Display(tmp_path)
    yield display
    display.close()


def test_a_region_of_a_display(tmp_path: Path, owner: Owner, display: Display) -> None:
    display.show(CODES[0])
    reader = Reader(
        tmp_path, source="screen", location=display.name, region="0,0,600,500", frames_per_s=20.0, rearm_ms=300
    )
    try:
        assert owner.receive().text == CODES[0]
        assert owner.nothing_within(0.8)  # the same, still in view
        display.show(CODES[1])
        assert owner.receive().text == CODES[1]
        display.show()
        assert owner.nothing_within(0.6)
        display.show(CODES[1])
        assert owner.receive().text == CODES[1]
        assert reader.stop() == 0
    finally:
        reader.process.kill()


def test_a_ticket_still_held_up_when_its_gate_comes_back_is_read(tmp_path: Path, display: Display) -> None:
    """Live sources queue nothing: what is in view now is what counts."""
    display.show(CODES[0])
    owner = Owner(tmp_path / "reads")
    reader = Reader(tmp_path, source="screen", location=display.name, frames_per_s=20.0)
    try:
        assert owner.receive().text == CODES[0]
        owner.close()
        display.show(CODES[1])
        wait_for(lambda: reader.events()[-1]["event"] == "nobody_listens", "the reader did not notice")
        display.show(CODES[2])
        owner = Owner(tmp_path / "reads")
        text = owner.receive().text
        assert text == CODES[2]  # not CODES[1], which nobody holds up any more
        owner.close()
        assert reader.stop() == 0
    finally:
        reader.process.kill()
