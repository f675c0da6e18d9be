"""What the printer says about itself, byte for byte, and when."""

import numpy as np
import pytest

from emulators.errors import BadSpec
from emulators.printer import faults, status
from emulators.printer.realtime import CLEAR, Scanner
from emulators.printer.status import Condition

CUT = b"\x1dVB\x00"
ASK_ALL = b"\x10\x04\x01\x10\x04\x02\x10\x04\x03\x10\x04\x04"
INIT = b"\x1b@"
FEED_200 = b"\x1bJ\xc8"


def mark(text: str) -> bytes:
    return b"\x1d(H\x06\x0000" + text.encode()


def said(text: str) -> bytes:
    return b"\x37\x22" + text.encode() + b"\x00"


# The table of the bits, written out: DLE EOT 1 to 4, and the first three ASB bytes.
TABLE = [
    ({}, "12 12 12 12", "10 00 00"),
    ({"cover_open": True}, "1a 16 12 12", "38 00 00"),
    ({"cover_open": True, "opened_while_printing": True}, "1a 56 52 12", "38 40 00"),
    ({"paper_end": True}, "1a 32 12 7e", "18 00 0f"),
    ({"near_end": True}, "12 12 12 1e", "10 00 03"),
    ({"cutter_error": True}, "1a 52 1a 12", "18 08 00"),
    ({"unrecoverable": True}, "1a 52 32 12", "18 20 00"),
    ({"head_hot": True}, "1a 52 52 12", "18 40 00"),
]


@pytest.mark.parametrize(("condition", "eot", "asb"), TABLE)
def test_status_bytes(condition, eot, asb) -> None:
    state = Condition(**condition)
    assert b"".join(status.dle_eot(state, n) for n in (1, 2, 3, 4)) == bytes.fromhex(eot)
    assert status.asb(state) == bytes.fromhex(asb + "0f")


@pytest.mark.parametrize("condition", [case[0] for case in TABLE])
def test_every_answer_has_its_fixed_bits(condition) -> None:
    state = Condition(**condition)
    assert all(status.dle_eot(state, n)[0] & 0x93 == 0x12 for n in (1, 2, 3, 4))
    first, *others = status.asb(state)
    assert first & 0x93 == 0x10
    assert all(byte & 0x90 == 0 for byte in (*others, *status.paper_sensors(state)))


def test_asb_comes_at_once_and_then_with_each_change_asked_for(bench) -> None:
    printer = bench()
    assert printer.give(INIT + b"\x1da\x08") == bytes.fromhex("10 00 00 0f")
    assert printer.do(do="open-cover") == b""  # only paper was asked for
    assert printer.do(do="fault", spec="near-end") == bytes.fromhex("38 00 03 0f")
    assert printer.do(do="close-cover") == b""
    assert printer.give(b"\x1da\xff") == bytes.fromhex("10 00 03 0f")
    assert printer.do(do="fault", spec="paper-out") == bytes.fromhex("18 00 0f 0f")
    assert printer.do(do="load-paper") == bytes.fromhex("10 00 00 0f")
    assert printer.give(b"\x1da\x00") == b""
    assert printer.do(do="open-cover") == b""


def test_power_and_reset_switch_asb_off(bench) -> None:
    for end in ({"do": "power-off"}, None):
        printer = bench()
        printer.give(INIT + b"\x1da\xff")
        if end:
            printer.do(**end)
            printer.do(do="power-on")
        else:
            printer.give(INIT)
        assert printer.do(do="open-cover") == b""


def test_a_process_id_is_said_only_when_all_before_it_is_printed(bench) -> None:
    printer = bench()
    assert printer.give(INIT + FEED_200 + CUT + mark("0001") + b"\x1dr\x01", budget_dots=199) == b"\x00"
    assert printer.seen("mark") == []  # the parser got there (GS r), the paper did not
    assert printer.work(96) == b""
    assert printer.work(1) == said("0001")
    assert [event["event"] for event in printer.events if event["event"] in {"cut", "mark"}] == ["cut", "mark"]


def test_process_ids_keep_their_order(bench) -> None:
    printer = bench()
    job = b"".join(FEED_200 + CUT + mark(f"{i:04d}") for i in range(1, 11))
    assert printer.give(INIT + job) == b"".join(said(f"{i:04d}") for i in range(1, 11))


def test_older_models_do_not_know_process_ids(bench) -> None:
    printer = bench("no-process-id")
    assert printer.give(INIT + FEED_200 + CUT + mark("0001") + b"\x1dr\x01") == b"\x00"
    assert printer.seen("error") == []


def test_offline_response(bench) -> None:
    for d, answer in ((2, "37 23 42 00"), (1, "37 23 00"), (0, "")):
        printer = bench()
        printer.give(INIT + b"\x1d(H\x03\x001" + b"0" + bytes([d]))
        assert printer.do(do="fault", spec="paper-out") == bytes.fromhex(answer), d


def test_paper_out_in_a_coupon_stops_there_and_the_rest_follows_on_the_new_roll(bench) -> None:
    printer = bench("paper-out@dots=300")
    answers = printer.give(INIT + b"\x1da\xff" + FEED_200 + CUT + mark("0001") + b"X\n" + FEED_200 + CUT + mark("0002"))
    assert answers == bytes.fromhex("10 00 00 0f") + said("0001") + bytes.fromhex("18 00 0f 0f")
    assert printer.give(ASK_ALL) == bytes.fromhex("1a 32 12 7e")
    assert printer.give(b"\x1dr\x01") == b""  # not executed while offline
    assert printer.do(do="load-paper") == bytes.fromhex("10 00 00 0f") + b"\x00" + said("0002")
    assert [cut["n"] for cut in printer.seen("cut")] == [1, 2]


def test_clear_before_the_reload_lets_nothing_of_the_torn_coupon_come_again(bench) -> None:
    printer = bench("paper-out@dots=100")
    printer.give(INIT + b"X\n" + FEED_200 + CUT + mark("0001"))
    assert printer.give(CLEAR) == status.CLEAR_REPLY
    assert printer.do(do="load-paper") == b""
    (torn,) = printer.seen("torn")
    assert torn["reason"] == "paper-out"
    assert torn["dots"] == 96 + 100
    assert printer.give(INIT + FEED_200 + CUT + mark("0002")) == said("0002")
    assert not printer.picture().any()


def test_clear_aborts_a_half_read_picture(bench) -> None:
    printer = bench()
    header = b"\x1dv0\x00\x48\x00\x78\x02"  # 576 x 632
    printer.give(INIT + header + b"\xff" * 1000)
    assert printer.give(CLEAR) == status.CLEAR_REPLY
    assert printer.give(INIT + b"ok\n" + CUT + mark("0002")) == said("0002")
    assert printer.seen("error") == []


def test_clear_aborts_a_half_read_block(bench) -> None:
    printer = bench()
    printer.give(INIT + b"\x1d(k\x00\x101P0abc")
    assert printer.give(CLEAR) == status.CLEAR_REPLY
    assert printer.give(INIT + CUT + mark("0002")) == said("0002")


def test_real_time_commands_are_heard_in_front_of_a_full_buffer(bench) -> None:
    printer = bench("paper-out@dots=0", rx_bytes=256)
    printer.give(INIT + b"x" * 100 + ASK_ALL + b"\n" * 152)
    assert printer.device.room_bytes == 0
    printer = bench("cover", rx_bytes=1024)
    assert printer.give(INIT + b"x\n" * 300 + ASK_ALL) == bytes.fromhex("1a 16 12 12")


def test_cutter_jam(bench) -> None:
    printer = bench("cutter@cut=2")
    job = b"".join(FEED_200 + CUT + mark(f"000{i}") for i in (1, 2, 3))
    assert printer.give(INIT + job) == said("0001")
    assert printer.give(b"\x10\x04\x03") == b"\x1a"
    assert printer.give(b"\x10\x05\x01") == b""  # still jammed
    printer.do(do="clear-jam")
    assert printer.give(b"\x10\x05\x01") == said("0002") + said("0003")
    assert len(printer.seen("cut")) == 3


def test_cutter_jam_cleared(bench) -> None:
    printer = bench("cutter@cut=1")
    printer.give(INIT + FEED_200 + CUT + mark("0001"))
    printer.do(do="clear-jam")
    printer.give(b"\x10\x05\x02")
    assert printer.give(INIT + FEED_200 + CUT + mark("0002")) == said("0002")
    assert len(printer.seen("cut")) == 1


def test_cover_open_while_printing_goes_on_after_closing(bench) -> None:
    printer = bench("cover@dots=50")
    assert printer.give(INIT + FEED_200 + CUT + mark("0001")) == b""
    assert printer.give(ASK_ALL) == bytes.fromhex("1a 56 52 12")
    assert printer.do(do="close-cover") == said("0001")


def test_power_lost_forgets_everything_and_shows_what_hung_in_the_printer(bench) -> None:
    printer = bench("power@dots=20")
    assert printer.give(INIT + b"\x1da\xff" + b"X\n" + FEED_200 + CUT + mark("0001")) == bytes.fromhex("10 00 00 0f")
    assert printer.give(ASK_ALL) == b""
    (torn,) = printer.seen("torn")
    assert torn["reason"] == "power"
    assert printer.do(do="power-on") == b""
    assert printer.give(ASK_ALL) == bytes.fromhex("12 12 12 12")
    assert printer.seen("cut") == []


def test_power_lost_between_the_cut_and_the_reply(bench) -> None:
    printer = bench("power@mark=2")
    assert printer.give(INIT + b"".join(FEED_200 + CUT + mark(f"000{i}") for i in (1, 2, 3))) == said("0001")
    assert len(printer.seen("cut")) == 2


def test_a_cut_without_feeding_cuts_above_the_last_rows(bench) -> None:
    printer = bench(gap_dots=96)
    printer.give(INIT + b"\x1b3\x18" + b"H\n" + FEED_200 + b"H\n" + b"\x1dV\x01" + b"\x1dVB\x00")
    first, second = printer.picture(1), printer.picture(2)
    assert len(first) == 24 + 200 + 24
    assert first[96 : 96 + 24].any()
    assert not first[96 + 24 :].any()  # the second H is still between head and cutter
    assert second[96 - 24 : 96].any()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_real_time_commands_are_found_in_any_pieces(size) -> None:
    stream = b"ab\x10\x04\x04\x10\x10\x05\x02x" + CLEAR[:4] + CLEAR + b"\x10\x04\x09\x10\x04\x01"
    scanner = Scanner(scan_raster=True)
    found, at = [], 0
    for i in range(0, len(stream), size):
        chunk = stream[i : i + size]
        found += [(hit.command, at + hit.end) for hit in scanner.scan(chunk)]
        at += len(chunk)
    assert found == [(b"\x10\x04\x04", 5), (b"\x10\x05\x02", 9), (CLEAR, 24), (b"\x10\x04\x01", 30)]


def test_real_time_commands_inside_a_picture_are_performed_as_real_printers_do(bench) -> None:
    rows = np.zeros((4, 72), dtype=np.uint8)
    rows[1, 3:6] = (0x10, 0x04, 0x02)
    picture = b"\x1dv0\x00\x48\x00\x04\x00" + rows.tobytes()
    assert bench().give(INIT + picture) == b"\x12"
    deaf = bench(scan_raster=False)
    assert deaf.give(INIT + picture + b"\x10\x04\x04") == b"\x12"
    rows[1, 3:6] = (0x10, 0x05, 0x02)
    assert len(bench().give(INIT + b"\x1dv0\x00\x48\x00\x04\x00" + rows.tobytes())) == 0


@pytest.mark.parametrize("size", [1, 3, 50])
def test_with_pictures_skipped_only_commands_outside_count(size) -> None:
    inside = b"\x10\x04\x01" * 24
    stream = (
        b"\x1dv0\x00\x48\x00\x01\x00" + inside + b"\x10\x04\x02" + b"\x1d(k\x06\x001P0\x10\x04\x03" + b"\x10\x04\x04"
    )
    stream += b"\x1b*\x21\x01\x00\x10\x04\x01" + b"\x10\x04\x03"
    scanner = Scanner(scan_raster=False)
    found = [hit.command[2] for i in range(0, len(stream), size) for hit in scanner.scan(stream[i : i + size])]
    assert found == [2, 4, 3]


GOOD = ["paper-out@dots=1200", "paper-out@cut=3", "near-end@cut=2", "cover@dots=5:heal=0.5", "cutter@cut=2", "power@dots=9",
        "stall@cut=1:seconds=3", "no-process-id", "mute", "reply-late=200", "reply-lost@n=2", "power@mark=1",
        "stall@byte=100", "reply-split", "reply-merge", "head-hot@dots=1", "unrecoverable", "paper-out"]  # fmt: skip
BAD = ["", "paper", "paper-out@n=1", "paper-out@dots=x", "paper-out@dots", "cutter@dots=1", "reply-late", "reply-late=-1",
       "mute@cut=1", "mute=1", "stall:heal=1", "power@dots=1:heal=x", "no-process-id:heal=1", "paper-out=5"]  # fmt: skip


@pytest.mark.parametrize("spec", GOOD)
def test_good_fault_specs(spec) -> None:
    assert faults.parse(spec).spec == spec


@pytest.mark.parametrize("spec", BAD)
def test_bad_fault_specs_say_so_in_one_line(spec) -> None:
    with pytest.raises(BadSpec) as caught:
        faults.parse(spec)
    assert repr(spec) in str(caught.value)
    assert "\n" not in str(caught.value)
