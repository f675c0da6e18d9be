"""Mailbox, settings, folder, delivery, capture: the pieces between a picture and the gate's socket."""

from __future__ import annotations

import os
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from reading_codes import qr

from scanner.reading.capture import Capture
from scanner.reading.delivery import Delivery
from scanner.reading.errors import SourceEndedError, SourceGoneError
from scanner.reading.folder import Folder
from scanner.reading.frame import Frame
from scanner.reading.mailbox import Mailbox
from scanner.reading.settings import Settings
from sync.service.settings import SettingsError, load
from tickets.clock import FixedClock, SystemClock
from tickets.read import Read

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


def frame(seen_s: float) -> Frame:
    return Frame(np.zeros((2, 2), np.uint8), at=NOW, seen_s=seen_s)


def test_the_newest_frame_wins() -> None:
    box = Mailbox()
    for n in range(5):
        box.post(frame(n))
    taken = box.take(timeout_s=0)
    assert taken is not None
    assert taken.seen_s == 4
    assert box.take(timeout_s=0) is None


def test_files_wait_for_their_turn() -> None:
    box, taken = Mailbox(), []

    def put() -> None:
        for n in range(20):
            box.post_and_wait(frame(n))
        box.close()

    thread = threading.Thread(target=put)
    thread.start()
    while not box.drained:
        if (got := box.take(timeout_s=5)) is not None:
            taken.append(got.seen_s)
    thread.join(timeout=5)
    assert taken == list(range(20))


def test_closing_frees_whoever_waits() -> None:
    box = Mailbox()
    box.post(frame(1))
    thread = threading.Thread(target=lambda: box.post_and_wait(frame(2)))
    thread.start()
    box.close()
    thread.join(timeout=5)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"reads_socket": "/run/x", "source": "wedge"}', "'wedge' is not one of: camera, video, folder, screen"),
        ('{"reads_socket": "/run/x", "source": "screen", "region": "1,2,3"}', "LEFT,TOP,WIDTH,HEIGHT"),
        ('{"reads_socket": "/run/x", "source": "camera", "frames_per_s": 0.0}', "0.2 to 240"),
        ('{"reads_socket": "/run/x", "source": "folder", "location": ""}', "needs one"),
        ('{"reads_socket": "/run/x", "source": "camera", "camera": 1}', "unknown key 'camera'"),
    ],
)
def test_wrong_settings_say_what_is_allowed(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "reader.json"
    path.write_text(text)
    with pytest.raises(SettingsError) as raised:
        load(path, Settings)
    assert says in str(raised.value)
    assert str(path) in str(raised.value)


class ByHand:
    """A source whose frames and faults are a list: what a real camera does cannot be ordered."""

    name, live = "by hand", True

    def __init__(self, *events: Frame | Exception | None, closed: threading.Event) -> None:
        self._events = list(events)
        self._closed = closed
        self.opened = 0

    def open(self) -> None:
        self.opened += 1

    def next(self) -> Frame | None:
        if not self._events:
            self._closed.wait(5)
            raise SourceEndedError("over")
        event = self._events.pop(0)
        if isinstance(event, Exception):
            raise event
        return event

    def close(self) -> None:
        return


def test_a_camera_that_went_away_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scanner.reading.capture.RETRY_FIRST_S", 0.01)
    closed, box = threading.Event(), Mailbox()
    source = ByHand(frame(1), SourceGoneError("unplugged"), frame(2), closed=closed)
    capture = Capture(source, box)
    capture.start()
    seen = []
    while len(seen) < 1 or seen[-1] != 2:
        if (got := box.take(timeout_s=5)) is not None:
            seen.append(got.seen_s)
    assert source.opened == 2
    closed.set()
    capture.stop()
    assert capture.failed is None


def test_a_fault_of_ours_is_reported_not_swallowed() -> None:
    box = Mailbox()
    capture = Capture(ByHand(ZeroDivisionError("bug"), closed=threading.Event()), box)
    capture.start()
    assert box.take(timeout_s=5) is None
    capture.stop()
    assert isinstance(capture.failed, ZeroDivisionError)


def save(path: Path, text: str) -> None:
    assert cv2.imwrite(str(path), qr(text))


def shown(folder: Folder, tries: int = 8) -> list[tuple[int, ...]]:
    return [got.picture.shape for _ in range(tries) if (got := folder.next()) is not None]


def test_pictures_come_by_name_each_once_and_new_ones_as_they_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scanner.reading.folder.LOOK_EVERY_S", 0)
    for n in (3, 1, 2):
        cv2.imwrite(str(tmp_path / f"{n}.png"), np.zeros((n, 10), np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    folder = Folder(path=tmp_path, settle_s=0, clock=SystemClock())
    folder.open()
    assert shown(folder) == [(1, 10), (2, 10), (3, 10)]
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((9, 10), np.uint8))
    assert shown(folder) == [(9, 10)]
    os.utime(tmp_path / "2.png", ns=(1, 1))  # written anew: shown anew
    assert shown(folder) == [(2, 10)]


def test_a_half_written_picture_is_waited_for_and_a_torn_one_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scanner.reading.folder.LOOK_EVERY_S", 0)
    clock = FixedClock(NOW)
    whole = tmp_path / "b.png"
    cv2.imwrite(str(whole), np.zeros((4, 10), np.uint8))
    half = tmp_path / "a.png"
    half.write_bytes(whole.read_bytes()[:20])
    folder = Folder(path=tmp_path, settle_s=0.5, clock=clock)
    assert shown(folder) == []  # b waits for its turn
    half.write_bytes(whole.read_bytes())
    assert shown(folder) == [(4, 10), (4, 10)]
    (tmp_path / "c.png").write_bytes(b"\x89PNG torn")
    cv2.imwrite(str(tmp_path / "d.png"), np.zeros((5, 10), np.uint8))
    assert shown(folder) == []
    clock.elapsed_s = 1.0
    assert shown(folder) == [(5, 10)]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceGoneError, match="there is no folder"):
        Folder(path=tmp_path / "none", settle_s=0, clock=SystemClock()).open()


def listen(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server.bind(str(path))
    server.listen(1)
    server.settimeout(5)
    return server


def test_delivery_survives_the_restart_of_its_peer(tmp_path: Path) -> None:
    path, clock = tmp_path / "reads", FixedClock(NOW)
    read = Read(text="T1:A ", at=NOW, source="camera")
    delivery = Delivery(path, clock=clock)
    assert not delivery.send(read)  # nobody there: given back, not queued
    server = listen(path)
    assert not delivery.send(read)  # still backing off
    clock.elapsed_s = 10
    assert delivery.send(read)
    peer, _ = server.accept()
    assert Read.from_packet(peer.recv(65536)) == read
    peer.close()
    server.close()
    path.unlink()
    server = listen(path)
    assert delivery.send(read)  # the old socket is dead; the new one is found within the same call
    peer, _ = server.accept()
    assert Read.from_packet(peer.recv(65536)).text == "T1:A "
    delivery.close()
    server.close()


def test_a_peer_that_does_not_take_its_packets_never_blocks_the_reader(tmp_path: Path) -> None:
    server = listen(tmp_path / "reads")
    delivery = Delivery(tmp_path / "reads", clock=FixedClock(NOW))
    read = Read(text="T1:" + "A" * 4000, at=NOW, source="camera")
    sent = [delivery.send(read) for _ in range(500)]
    assert sent[0]
    assert not sent[-1]
    delivery.close()
    server.close()
