"""The printer as a program: real sockets, a real pseudo-terminal, commands on standard input."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zxingcpp
from PIL import Image

from emulators.__main__ import main

CUT = b"\x1dVB\x00"
INIT = b"\x1b@\x1bR\x08\x1bt\x01\x1cC\x01"
CLEAR = bytes.fromhex("10140801031401060208")
FEED_200 = b"\x1bJ\xc8"


def mark(text: str) -> bytes:
    return b"\x1d(H\x06\x0000" + text.encode()


def said(text: str) -> bytes:
    return b"\x37\x22" + text.encode() + b"\x00"


def qr(data: bytes) -> bytes:
    return (
        b"\x1d(k\x04\x001A2\x00\x1d(k\x03\x001C\x06\x1d(k\x03\x001E1\x1d(k"
        + (len(data) + 3).to_bytes(2, "little")
        + b"1P0"
        + data
        + b"\x1d(k\x03\x001Q0"
    )


def ticket(n: int) -> bytes:
    title = "のりもの回数券".encode("cp932")
    return (
        INIT + b"\x1ba\x01" + title + b"\n\x1bJ\x20" + qr(b"T1:COUPON %d" % n) + b"\x1bJ\x20" + CUT + mark(f"{n:04d}")
    )


def test_a_book_of_coupons_comes_out_as_pictures_that_decode(printer, tmp_path: Path) -> None:
    running = printer()
    wire = running.connect()
    for n in range(1, 4):
        wire.send(ticket(n))
        assert wire.take(7) == said(f"{n:04d}")
    cuts = [running.wait("cut", n=n) for n in range(1, 4)]
    for n, cut in enumerate(cuts, 1):
        assert cut["kind"] == "partial"
        assert cut["file"] == str(tmp_path / "out" / f"ticket-{n:04d}.png")
        picture = Image.open(cut["file"])
        assert picture.mode == "1"
        assert picture.size == (576, cut["dots"])
        assert [found.text for found in zxingcpp.read_barcodes(picture)] == [f"T1:COUPON {n}"]
    assert (tmp_path / "out" / "printer.bin").read_bytes() == b"".join(ticket(n) for n in range(1, 4))
    wire.close()
    running.wait("disconnected")
    assert running.close() == 0


def test_the_first_line_is_where_it_listens_and_times_are_monotonic(printer) -> None:
    before = time.monotonic()
    running = printer()
    assert running.events[0]["event"] == "listening"
    assert running.events[0]["host"] == "127.0.0.1"
    assert before < running.events[0]["t"] < time.monotonic()


def test_a_second_client_is_turned_away_and_the_next_is_served(printer) -> None:
    running = printer()
    first, second = running.connect(), running.connect()
    running.wait("refused")
    assert second.gone()
    first.send(b"\x10\x04\x01")
    assert first.take(1) == b"\x12"
    first.close()
    running.wait("disconnected")
    third = running.connect()
    third.send(b"\x10\x04\x01")
    assert third.take(1) == b"\x12"


def test_what_a_client_left_behind_is_still_printed(printer) -> None:
    running = printer()
    wire = running.connect()
    wire.send(INIT + FEED_200 + CUT)
    wire.close()
    running.wait("cut", n=1)


def test_speed_is_kept(printer) -> None:
    running = printer("--speed", 200, "--cutter-gap-dots", 0)
    wire = running.connect()
    begin = time.monotonic()
    wire.send(INIT + FEED_200 * 4 + CUT + mark("0001"))
    wire.send(b"\x10\x04\x01")
    assert wire.take(1) == b"\x12"  # at once, long before the paper is through
    assert time.monotonic() - begin < 0.35
    assert wire.take(7) == said("0001")
    assert 0.48 <= time.monotonic() - begin < 0.9  # 100 mm at 200 mm/s


def test_status_is_heard_while_paper_is_out_and_the_rest_follows(printer) -> None:
    running = printer("--fault", "paper-out@dots=150")
    wire = running.connect()
    wire.send(INIT + b"\x1da\xff" + FEED_200 + CUT + mark("0001"))
    assert wire.take(8) == bytes.fromhex("10 00 00 0f 18 00 0f 0f")
    wire.send(b"\x10\x04\x04")
    assert wire.take(1) == b"\x7e"
    assert wire.quiet()
    running.do(do="load-paper")
    assert wire.take(11) == bytes.fromhex("10 00 00 0f") + said("0001")


def test_paper_out_in_a_coupon_clear_and_again_from_the_start(printer, tmp_path: Path) -> None:
    running = printer("--fault", "paper-out@dots=300")
    wire = running.connect()
    wire.send(ticket(1))
    running.wait("fault", fault="paper-out")
    wire.send(CLEAR)
    assert wire.take(3) == b"\x37\x25\x00"
    running.do(do="load-paper")
    wire.send(ticket(2))
    assert wire.take(7) == said("0002")
    assert len(running.seen("torn")) == 1
    assert Image.open(running.seen("torn")[0]["file"]).size == (576, 96 + 300)
    (cut,) = running.seen("cut")
    assert [found.text for found in zxingcpp.read_barcodes(Image.open(cut["file"]))] == ["T1:COUPON 2"]


def test_power_lost_resets_the_link_and_comes_back_forgetful(printer) -> None:
    running = printer("--fault", "power@dots=100")
    wire = running.connect()
    wire.send(INIT + b"\x1da\xffX\n" + FEED_200 + CUT + mark("0001"))
    assert wire.take(4) == bytes.fromhex("10 00 00 0f")
    assert wire.gone()
    running.wait("torn", reason="power")
    with pytest.raises(ConnectionRefusedError):
        running.connect()
    running.do(do="power-on")
    again = running.connect()
    again.send(b"\x10\x04\x01")
    assert again.take(1) == b"\x12"
    again.send(ticket(2))
    assert again.take(7) == said("0002")
    assert len(running.seen("cut")) == 1


def test_power_comes_back_by_itself(printer) -> None:
    running = printer("--fault", "power@cut=1:heal=0.1")
    wire = running.connect()
    wire.send(ticket(1))
    assert wire.gone()  # cut, and no word about it
    running.wait("done", do="power-on")
    again = running.connect()
    again.send(ticket(1))
    assert again.take(7) == said("0001")
    assert len(running.seen("cut")) == 2


def test_a_full_buffer_pushes_back_and_nothing_is_lost(printer) -> None:
    running = printer("--rx-bytes", 256, "--speed", 2000, "--no-scan-raster")
    rows = np.random.default_rng(5).integers(0, 256, (400, 72), dtype=np.uint8)
    wire = running.connect()
    wire.send(INIT + b"\x1dv0\x00\x48\x00\x90\x01" + rows.tobytes() + CUT + mark("0001"))
    assert wire.take(7) == said("0001")
    picture = ~np.asarray(Image.open(running.wait("cut")["file"]))
    assert np.array_equal(np.packbits(picture[96:], axis=1), rows)


def test_real_time_commands_stay_behind_unread_data_when_the_buffer_is_full(printer) -> None:
    running = printer("--rx-bytes", 512, "--fault", "paper-out")
    wire = running.connect()
    wire.send(INIT + b"x\n" * 4000 + b"\x10\x04\x04")
    assert wire.quiet()
    running.do(do="load-paper")
    assert wire.take(1) == b"\x12"


def test_a_stopped_printer_lets_a_dead_client_go_so_that_another_can_clear_it(printer) -> None:
    running = printer("--rx-bytes", 512, "--fault", "paper-out")
    wire = running.connect()
    wire.send(INIT + b"x\n" * 4000)
    wire.close()
    running.wait("disconnected")
    again = running.connect()
    again.send(CLEAR)  # no room even for this; a real one's buffer is full as well
    running.do(do="load-paper")
    assert again.take(3) == b"\x37\x25\x00"


def test_mute_lost_late_split_and_merged_replies(printer) -> None:
    running = printer("--fault", "reply-lost@n=1", "--fault", "reply-split")
    wire = running.connect()
    wire.send(ticket(1) + ticket(2))
    assert wire.take(7) == said("0002")
    running.wait("reply-lost")
    running.do(do="heal", fault="reply-split")
    running.do(do="fault", spec="reply-merge")
    wire.send(ticket(3))
    running.wait("mark", id="0003")
    wire.send(b"\x10\x04\x01")
    assert wire.sock.recv(100) == said("0003") + b"\x12"
    running.do(do="heal", fault="reply-merge")
    running.do(do="fault", spec="reply-late=150")
    wire.send(ticket(4) + b"\x1dr\x01")
    assert wire.take(8) == b"\x00" + said("0004")
    running.do(do="fault", spec="mute")
    wire.send(ticket(5) + b"\x10\x04\x01")
    running.wait("mark", id="0005")
    assert wire.quiet()


def test_a_stalled_link_answers_when_it_is_over(printer) -> None:
    running = printer("--fault", "stall@cut=1:seconds=0.4")
    wire = running.connect()
    wire.send(ticket(1))
    running.wait("cut")
    begin = time.monotonic()
    wire.send(b"\x10\x04\x01")
    assert wire.take(8) == said("0001") + b"\x12"
    assert time.monotonic() - begin > 0.25


def test_a_serial_printer(start, pty, tmp_path: Path) -> None:
    link = tmp_path / "tty"
    running = start("printer", "--pty", link, "--out", tmp_path / "out", "--speed", 0, "--fault", "power@cut=2")
    assert running.listening["pty"] == str(link)
    wire = pty(link)
    wire.send(b"\x10\x04\x01")
    assert wire.take(1) == b"\x12"
    wire.send(ticket(1))
    assert wire.take(7) == said("0001")
    wire.send(ticket(2))
    running.wait("cut", n=2)
    wire.send(b"\x10\x04\x01")
    assert wire.quiet()  # no power
    running.do(do="power-on")
    wire.send(b"\x10\x04\x01")
    assert wire.take(1) == b"\x12"
    assert wire.quiet(), wire.take(1)  # and no answer to what was asked of a dead printer
    wire.send(ticket(3))
    assert wire.take(7) == said("0003")
    assert running.close() == 0
    assert not link.is_symlink()


def test_line_rate(printer) -> None:
    running = printer("--bytes-per-s", 2000)
    wire = running.connect()
    begin = time.monotonic()
    wire.send(INIT + b"x" * 600 + b"\n" + CUT + mark("0001"))
    assert wire.take(7) == said("0001")
    assert time.monotonic() - begin >= 0.25


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--listen", "nowhere"], "HOST:PORT"),
        (["--listen", "127.0.0.1:0", "--fault", "paper"], "unknown name 'paper'"),
        (["--listen", "127.0.0.1:0", "--width-dots", "100"], "multiple of 8"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(arguments, says, tmp_path: Path, capsys) -> None:
    assert main(["printer", "--out", str(tmp_path / "out"), *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line


def test_a_port_that_is_taken(printer, tmp_path: Path) -> None:
    running = printer()
    host, port = running.address
    done = subprocess.run(
        [sys.executable, "-m", "emulators", "printer", "--out", str(tmp_path), "--listen", f"{host}:{port}"],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


def test_unreadable_commands_are_told_and_do_no_harm(printer) -> None:
    running = printer()
    for line in ("nonsense", '{"do": "dance"}', '{"do": "fault", "spec": "x"}', "[1]"):
        running._child.stdin.write(line + "\n")
        running._child.stdin.flush()
        assert running.wait("error")["lost"] is False
    running.do(do="status")
