"""The terminal as a program, spoken to in bytes: the hold, every way to lose the line, and what the ledger says after."""

import json
import time
from pathlib import Path

import pytest

from emulators.__main__ import main
from emulators.terminal import faults

REGISTER = "06 00 06 12 34 56 9E 03 92"
PAY = "06 01 0E 04 00 00 00 00 58 00 49 03 92 01 1E 02 0A"
REPEAT = "06 20 05 12 34 56 03 03"
ACK = bytes.fromhex("80 00 00")
EXTEND = bytes.fromhex("84 9C 00")
REFUSE = bytes.fromhex("84 66 00")
STATUS_INFORMATION, INTERMEDIATE, COMPLETION, ABORT = "040f", "04ff", "060f", "061e"


class Till:
    """Speaks over TCP. `answers` maps a message's control field to what the till says to it (80 00 00 otherwise)."""

    def __init__(self, wire) -> None:
        self.wire = wire
        self.answers: dict[str, bytes] = {}
        self.heard: list[bytes] = []

    def take(self) -> bytes:
        head = self.wire.take(3)
        length = int.from_bytes(self.wire.take(2), "little") if head[2] == 0xFF else head[2]
        message = head[:2] + self.wire.take(length)
        self.heard.append(message)
        return message

    def send(self, text: str) -> None:
        self.wire.send(bytes.fromhex(text))

    def until(self, *controls: str) -> bytes:
        """Answer what comes until a message of one of these kinds, which is answered too."""
        while True:
            message = self.take()
            if message[0] not in {0x80, 0x84}:  # an answer is not answered
                self.wire.send(self.answers.get(message[:2].hex(), ACK))
            if message[:2].hex() in controls:
                return message

    def do(self, text: str) -> bytes:
        """A command to its end; its 06 0F or 06 1E (or the 84 that refused it)."""
        self.heard.clear()
        self.send(text)
        first = self.take()
        return first if first[0] == 0x84 else self.until(COMPLETION, ABORT)

    def all(self, control: str) -> list[bytes]:
        return [message for message in self.heard if message[:2].hex() == control]


def till(running) -> Till:
    return Till(running.connect())


def book(tmp_path: Path) -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]


def events(tmp_path: Path) -> list[str]:
    return [entry["event"] for entry in book(tmp_path)]


def field(message: bytes, tag: int, length: int) -> bytes:
    """A fixed field of a 04 0F, found by walking the order in which this terminal sends them."""
    data, at = message[2:], 0
    sizes = {0x27: 1, 0x04: 6, 0x0B: 3, 0x37: 3, 0x0C: 3, 0x0D: 2, 0x0E: 2, 0x17: 2, 0x19: 1, 0x29: 4, 0x2A: 15, 0x3B: 8,
             0x49: 2, 0x87: 2, 0x88: 3, 0x8A: 1}  # fmt: skip
    while at < len(data):
        this = data[at]
        size = sizes.get(this)
        if size is None and this in {0x22, 0x8B}:
            size = (data[at + 1] & 15) * 10 + (data[at + 2] & 15)
            at += 2
        assert size is not None, f"{this:02X} in {message.hex(' ')}"
        if this == tag:
            assert size == length
            return data[at + 1 : at + 1 + size]
        at += 1 + size
    raise AssertionError(f"no {tag:02X} in {message.hex(' ')}")


def test_a_payment_from_registration_to_the_proof_of_charge(terminal, tmp_path: Path) -> None:
    running = terminal()
    shop = till(running)
    assert shop.do(REGISTER) == bytes.fromhex("06 0F 19 10 29 28 00 48 69 49 03 92")
    assert shop.do(PAY) == b"\x06\x0f"
    (status,) = shop.all(STATUS_INFORMATION)
    assert field(status, 0x27, 1) == b"\x00"
    assert field(status, 0x04, 6).hex() == "000000005800"
    assert field(status, 0x49, 2).hex() == "0392"
    assert field(status, 0x29, 4).hex() == "28004869"
    assert field(status, 0x87, 2).hex() == "0001"
    assert shop.heard.index(status) < shop.heard.index(shop.all("06d1")[0]) < len(shop.heard) - 1
    assert [message[2] for message in shop.all(INTERMEDIATE)] == [0x0A, 0x04, 0x1C]
    assert events(tmp_path) == ["authorised", "held", "confirmed", "stored"]
    assert {entry["amount"] for entry in book(tmp_path)} == {5800}
    frames = running.seen("frame")
    assert frames[0]["hex"] == REGISTER
    assert frames[0]["name"] == "registration"
    assert {frame["dir"] for frame in frames} == {"in", "out"}


def test_a_till_that_compiles_receipts_itself_gets_no_lines(terminal, tmp_path: Path) -> None:
    shop = till(terminal())
    shop.do("06 00 06 12 34 56 14 03 92")
    assert shop.do(PAY) == b"\x06\x0f"
    assert [message[:2].hex() for message in shop.heard] == ["8000", STATUS_INFORMATION, COMPLETION]


def test_a_till_that_wants_text_blocks_gets_those(terminal) -> None:
    shop = till(terminal())
    shop.do("06 00 0E 12 34 56 9E 03 92 06 06 26 04 0A 02 06 D3")
    shop.do(PAY)
    assert shop.all("06d1") == []
    merchant, customer = shop.all("06d3")
    assert b"\x1f\x07\x01\x01" in merchant
    assert b"\x1f\x07\x01\x02" in customer
    assert b"************4771" in customer


def test_money_is_held_until_the_till_says_issued(terminal, tmp_path: Path) -> None:
    running = terminal("--repeat-ms", 60)
    shop = till(running)
    shop.do(REGISTER)
    shop.answers[STATUS_INFORMATION] = EXTEND
    shop.send(PAY)
    first = shop.until(STATUS_INFORMATION)
    begin = time.monotonic()
    assert shop.until(STATUS_INFORMATION) == first
    assert time.monotonic() - begin >= 0.055
    assert events(tmp_path) == ["authorised", "held"]
    shop.answers.clear()
    assert shop.until(COMPLETION, ABORT) == b"\x06\x0f"
    assert events(tmp_path) == ["authorised", "held", "confirmed", "stored"]


def test_refused_goods_are_taken_back(terminal, tmp_path: Path) -> None:
    shop = till(terminal())
    shop.do(REGISTER)
    shop.answers[STATUS_INFORMATION] = REFUSE
    assert shop.do(PAY) == b"\x06\x1e\x6c"
    assert [field(message, 0x27, 1) for message in shop.all(STATUS_INFORMATION)] == [b"\x00", b"\x6c"]
    assert b"\x04\xff\x05" in shop.heard
    assert events(tmp_path) == ["authorised", "held", "reversed"]
    assert book(tmp_path)[-1]["reason"] == "refused-by-till"
    shop.answers.clear()
    assert shop.do(REPEAT) == b"\x06\x0f"
    (status,) = shop.all(STATUS_INFORMATION)
    assert field(status, 0x27, 1) == b"\x6c"
    assert field(status, 0x0B, 3).hex() == "000001"


def test_a_hold_cannot_be_extended_for_ever(terminal, tmp_path: Path) -> None:
    shop = till(terminal())
    shop.do(REGISTER)
    shop.answers[STATUS_INFORMATION] = EXTEND
    assert shop.do(PAY.replace("02 0A", "02 03")) == b"\x06\x1e\x6c"
    assert [field(m, 0x27, 1).hex() for m in shop.all(STATUS_INFORMATION)] == ["00", "00", "00", "00", "6c"]
    assert book(tmp_path)[-1]["reason"] == "hold-too-long"


def test_a_silent_till_loses_the_payment_after_its_time(terminal, tmp_path: Path) -> None:
    shop = till(terminal())
    shop.do(REGISTER)
    shop.send(PAY.replace("01 1E", "01 01"))
    while shop.take()[:2].hex() != STATUS_INFORMATION:
        if shop.heard[-1][0] != 0x80:
            shop.wire.send(ACK)
    assert shop.until(ABORT) == b"\x06\x1e\x6c"
    assert events(tmp_path)[-1] == "reversed"


def test_a_part_of_the_goods(terminal, tmp_path: Path) -> None:
    shop = till(terminal())
    shop.do(REGISTER)
    shop.answers[STATUS_INFORMATION] = bytes.fromhex("84 9D 07 04 00 00 00 00 22 00")
    assert shop.do(PAY) == b"\x06\x0f"
    assert (events(tmp_path)[-1], book(tmp_path)[-1]["amount"]) == ("stored", 2200)


def test_a_till_that_cannot_print_gets_the_money_back(terminal, tmp_path: Path) -> None:
    shop = till(terminal())
    shop.do(REGISTER)
    shop.answers["06d1"] = bytes.fromhex("84 CC 00")
    assert shop.do(PAY) == b"\x06\x1e\xcc"
    assert events(tmp_path) == ["authorised", "held", "confirmed", "reversed"]


@pytest.mark.parametrize(("fault", "code", "ledger"), [("decline=05", 0x05, "declined"), ("decline=71", 0x71, "declined"), ("cancel", 0x6C, "cancelled")])  # fmt: skip
def test_declined_and_cancelled(terminal, tmp_path: Path, fault, code, ledger) -> None:
    shop = till(terminal("--fault", fault))
    shop.do(REGISTER)
    assert shop.do(PAY) == bytes([0x06, 0x1E, code])
    (status,) = shop.all(STATUS_INFORMATION)
    assert status[2:4] == bytes([0x27, code])
    assert events(tmp_path) == [ledger]
    assert shop.do(PAY) == b"\x06\x0f"  # once


LOST = [
    ("lost-before-host", [], None),
    ("lost-after-host-before-status", ["authorised", "reversed"], "6c"),
    ("lost-after-status", ["authorised", "held", "reversed"], "6c"),
    ("ack-lost:reverse", ["authorised", "held", "reversed"], "6c"),
    ("ack-lost:decline", ["authorised", "held", "declined"], "6c"),
    ("ack-lost:keep", ["authorised", "held", "stored"], "00"),
    ("lost-before-lines", ["authorised", "held", "confirmed", "reversed"], "6c"),
    ("lost-before-completion", ["authorised", "held", "confirmed", "stored"], "00"),
]


@pytest.mark.parametrize(("fault", "ledger", "code"), LOST)
def test_every_place_to_lose_the_line_and_what_repeat_receipt_says_after(
    terminal, tmp_path: Path, fault, ledger, code
) -> None:
    running = terminal("--fault", fault)
    shop = till(running)
    shop.do(REGISTER)
    with pytest.raises(ConnectionError):
        shop.do(PAY)
    again = till(running)  # at once, as a driver would
    assert again.do("05 01 00") == b"\x06\x0f\x00"
    assert events(tmp_path) == ledger
    end = again.do(REPEAT)
    if code is None:
        assert end == b"\x06\x1e\x83"
    else:
        (status,) = again.all(STATUS_INFORMATION)
        assert field(status, 0x27, 1).hex() == code


def test_a_till_that_leaves_in_the_hold_loses_the_payment(terminal, tmp_path: Path) -> None:
    for personality, last in (("reverse", "reversed"), ("decline", "declined"), ("keep", "stored")):
        running = terminal("--personality", personality)
        shop = till(running)
        shop.do(REGISTER)
        shop.send(PAY)
        while shop.take()[:2].hex() != STATUS_INFORMATION:
            if shop.heard[-1][0] != 0x80:
                shop.wire.send(ACK)
        shop.wire.close()
        running.wait("disconnected")
        assert events(tmp_path)[-1] == last
        running.close()


def test_killed_in_the_hold_and_started_again(terminal, tmp_path: Path) -> None:
    for personality, last in (("reverse", "reversed"), ("decline", "declined"), ("keep", "stored")):
        running = terminal()
        shop = till(running)
        shop.do(REGISTER)
        shop.answers[STATUS_INFORMATION] = EXTEND
        shop.send(PAY)
        shop.until(STATUS_INFORMATION)
        running.kill()
        assert events(tmp_path)[-1] == "held"
        again = terminal("--personality", personality)
        assert events(tmp_path)[-1] == last
        shop = till(again)
        assert shop.do(REPEAT) == b"\x84\x6b"  # registration does not survive
        shop.do(REGISTER)
        assert shop.do(REPEAT) == b"\x06\x0f"
        again.close()


def test_it_can_be_told_to_die_at_any_message(terminal, tmp_path: Path) -> None:
    # Message 12 is the till's answer to 04 0F, 13 the 04 FF after it (the lines are still to come), 51 the 06 0F.
    for frame, after in ((12, "reversed"), (13, "reversed"), (51, "stored")):
        (tmp_path / "ledger.jsonl").unlink(missing_ok=True)
        running = terminal("--fault", f"die@frame={frame}")
        shop = till(running)
        shop.do(REGISTER)
        with pytest.raises(ConnectionError):
            shop.do(PAY)
        assert running.ended() == -9
        terminal().close()
        assert events(tmp_path)[-1] == after, frame


def test_reversal(terminal, tmp_path: Path) -> None:
    shop = till(terminal())
    shop.do(REGISTER)
    shop.do(PAY)
    shop.do(PAY.replace("58 00", "12 00"))
    assert shop.do("06 30 0D 12 34 56 87 00 01 04 00 00 00 00 58 01") == b"\x06\x1e\xb5"  # wrong amount
    assert shop.do("06 30 06 12 34 56 87 00 07") == b"\x06\x1e\xb5"  # no such receipt
    assert shop.do("06 30 0D 12 34 56 87 00 01 04 00 00 00 00 58 00") == b"\x06\x0f"
    (status,) = shop.all(STATUS_INFORMATION)
    assert field(status, 0x0B, 3).hex() == "000003"
    assert field(status, 0x37, 3).hex() == "000001"
    assert field(status, 0x87, 2).hex() == "0001"
    assert shop.do("06 30 06 12 34 56 87 00 01") == b"\x06\x1e\xb4"
    assert shop.do(REPEAT) == b"\x06\x0f"
    assert field(shop.all(STATUS_INFORMATION)[0], 0x37, 3).hex() == "000001"
    assert shop.do("06 10 03 12 34 56") == b"\x06\x0f"
    (totals,) = shop.all(STATUS_INFORMATION)
    assert field(totals, 0x04, 6).hex() == "000000001200"
    assert shop.do("06 50 03 12 34 56") == b"\x06\x0f"
    assert shop.do("06 30 06 12 34 56 87 00 02") == b"\x06\x1e\xb5"  # the day is closed
    assert book(tmp_path)[-1]["event"] == "closed"
    assert (book(tmp_path)[-1]["total"], book(tmp_path)[-1]["count"]) == (1200, 1)


def test_reversal_faults(terminal, tmp_path: Path) -> None:
    running = terminal("--fault", "reversal=B5")
    shop = till(running)
    shop.do(REGISTER)
    shop.do(PAY)
    assert shop.do("06 30 06 12 34 56 87 00 01") == b"\x06\x1e\xb5"
    running.do(do="heal", fault="reversal")
    running.do(do="fault", spec="reversal-silent")
    with pytest.raises(ConnectionError):
        shop.do("06 30 06 12 34 56 87 00 01")
    assert events(tmp_path)[-1] == "reversal"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("repeat-none", None),
        ("repeat-silent", []),
        ("repeat-old", ["28004869", "000000005800", "000001"]),
        ("repeat-wrong-tid", ["28004870", "000000001200", "000002"]),
        ("repeat-wrong-amount", ["28004869", "000000001201", "000002"]),
    ],
)
def test_repeat_receipt_can_lie(terminal, fault, expected) -> None:
    shop = till(terminal("--fault", fault))
    shop.do(REGISTER)
    shop.do(PAY)
    shop.do(PAY.replace("58 00", "12 00"))
    end = shop.do(REPEAT)
    if expected is None:
        assert end == b"\x06\x1e\x83"
        return
    found = [
        [field(m, 0x29, 4).hex(), field(m, 0x04, 6).hex(), field(m, 0x0B, 3).hex()]
        for m in shop.all(STATUS_INFORMATION)
    ]
    assert found == ([expected] if expected else [])


def test_repeat_receipt_without_service_byte_only_prints(terminal) -> None:
    shop = till(terminal())
    shop.do(REGISTER)
    shop.do(PAY)
    assert shop.do("06 20 03 12 34 56") == b"\x06\x0f"
    assert shop.all(STATUS_INFORMATION) == []
    assert len(shop.all("06d1")) > 5


def test_abort_before_the_host_and_after(terminal, tmp_path: Path) -> None:
    running = terminal("--attended")
    shop = till(running)
    shop.do(REGISTER)
    shop.send(PAY)
    shop.until(INTERMEDIATE)
    shop.send("06 B0 00")
    assert shop.take() == b"\x80\x00"
    assert shop.until(ABORT) == b"\x06\x1e\x6c"
    assert events(tmp_path) == ["cancelled"]
    shop.send(PAY)
    shop.until(INTERMEDIATE)
    running.do(do="present")
    while shop.take()[:2].hex() != STATUS_INFORMATION:
        if shop.heard[-1][0] != 0x80:
            shop.wire.send(ACK)
    shop.send("06 B0 00")
    assert shop.take() == b"\x84\x83"
    shop.wire.send(ACK)
    assert shop.until(COMPLETION, ABORT) == b"\x06\x0f"


def test_a_customer_at_standard_input(terminal, tmp_path: Path) -> None:
    running = terminal("--attended", "--brand", "jcb")
    shop = till(running)
    shop.do(REGISTER)
    for command, end in (
        ({"do": "decline", "code": "71"}, "061e71"),
        ({"do": "cancel"}, "061e6c"),
        ({"do": "present"}, "060f"),
    ):
        shop.send(PAY)
        shop.until(INTERMEDIATE)
        running.do(**command)
        assert shop.until(COMPLETION, ABORT).hex() == end
    assert field(shop.all(STATUS_INFORMATION)[-1], 0x8A, 1) == b"\x0e"


def test_an_end_of_day_that_is_due(terminal) -> None:
    shop = till(terminal("--fault", "needs-eod"))
    shop.do(REGISTER)
    assert shop.do("05 01 03 12 34 56") == b"\x06\x0f\xf0"
    assert shop.do(PAY) == b"\x06\x1e\xf0"
    assert shop.do("06 50 03 12 34 56") == b"\x06\x0f"
    assert shop.do("05 01 05 12 34 56 03 04") == bytes.fromhex("06 0F F0 F0 F5") + b"1.0.0\x00"
    assert shop.do(PAY) == b"\x06\x0f"


def test_what_it_refuses(terminal) -> None:
    shop = till(terminal())
    assert shop.do(PAY) == b"\x84\x6b"  # not registered
    assert shop.do("06 00 06 99 99 99 9E 03 92") == b"\x06\x1e\x83"  # password
    assert shop.do("06 00 06 12 34 56 9E 09 78") == b"\x06\x1e\x6f"  # euro
    assert shop.do("06 00 06 12 34 56 9F 03 92") == b"\x06\x1e\x83"  # a reserved bit
    shop.do(REGISTER)
    assert shop.do("06 31 03 12 34 56") == b"\x84\x83"  # refund needs a card in a hand
    assert shop.do("07 77 00") == b"\x84\x83"
    assert shop.do("06 01 03 04 00 00") == b"\x84\x83"
    assert shop.do(PAY.replace("03 92", "08 40")) == b"\x06\x1e\x6f"
    assert shop.do(PAY.replace("58 00", "00 00")) == b"\x06\x1e\x83"
    shop.send("06 02 00")
    assert shop.take() == b"\x80\x00"
    assert shop.do(PAY) == b"\x84\x6b"


def test_busy_silent_and_unsupported_commands(terminal) -> None:
    running = terminal("--fault", "busy", "--fault", "not-supported=0620", "--fault", "no-answer=0610")
    shop = till(running)
    shop.do(REGISTER)
    assert shop.do(PAY) == b"\x84\x9c"
    assert shop.do(REPEAT) == b"\x84\x83"
    shop.send("06 10 03 12 34 56")
    assert shop.wire.quiet()
    assert shop.do(PAY) == b"\x06\x0f"


def test_banner_split_and_glued_bytes(terminal) -> None:
    shop = till(terminal("--fault", "banner", "--fault", "split"))
    assert shop.wire.take(4) == bytes.fromhex("00 00 00 3E")
    shop.wire.take(0x3E)
    shop.do(REGISTER)
    assert shop.do(REPEAT) == b"\x06\x1e\x83"
    shop = till(terminal("--fault", "glue"))
    shop.send("05 01 00")
    assert shop.wire.sock.recv(100) == bytes.fromhex("80 00 00 06 0F 01 00")
    shop.wire.send(ACK)
    shop.send("06 02 00")
    assert shop.take() == b"\x80\x00"


def test_a_late_status_information_comes_in_the_next_payment(terminal, tmp_path: Path) -> None:
    shop = till(terminal("--fault", "late-status"))
    shop.do(REGISTER)
    assert shop.do(PAY) == b"\x06\x1e\x6c"
    assert shop.all(STATUS_INFORMATION) == []
    assert shop.do(PAY.replace("58 00", "12 00")) == b"\x06\x0f"
    assert [field(m, 0x04, 6).hex()[-4:] for m in shop.all(STATUS_INFORMATION)] == ["5800", "1200"]
    assert events(tmp_path)[:2] == ["authorised", "reversed"]


def test_a_till_that_mirrors_the_last_receipt_number(terminal, tmp_path: Path) -> None:
    running = terminal("--fault", "ack-lost:keep")
    shop = till(running)
    shop.do(REGISTER)
    sync = "06 01 15 04 00 00 00 00 58 00 49 03 92 01 1E 02 0A 06 05 1F 1F 02 {}"
    with pytest.raises(ConnectionError):
        shop.do(sync.format("00 00"))
    shop = till(running)
    assert shop.do(sync.format("00 00")) == b"\x06\x0f"  # the till never saw receipt 1: taken back
    assert [e["event"] for e in book(tmp_path) if e["trace"] == 1] == ["authorised", "held", "stored", "reversed"]
    assert b"\x1f\x1f\x02\x00\x01" in shop.all(STATUS_INFORMATION)[0]  # its number is used again (chapter 4)
    assert shop.do(sync.format("00 01")) == b"\x06\x0f"
    assert [e["event"] for e in book(tmp_path) if e["receipt"] == 1][-1] == "stored"
    assert (
        shop.do(sync.replace("15", "13").replace("05 1F 1F 02 {}", "03 1F 1F 00")) == b"\x06\x0f"
    )  # "unknown": nothing moves
    assert [e["event"] for e in book(tmp_path)].count("reversed") == 1


def test_message_sequence_ids_of_the_specification(terminal, tmp_path: Path) -> None:
    """Chapter 5: 1F73 = 000000 offered and echoed; then one ascending number for both sides, echoed in each answer."""
    running = terminal("--currency", 978)
    shop = till(running)
    shop.send("06 00 14 12 34 56 9E 09 78 06 0D 26 04 0A 02 06 D3 1F 73 03 00 00 00")
    assert shop.take() == b"\x84\x83"  # a container that is cut short
    shop.send("06 00 14 12 34 56 9E 09 78 06 0C 26 04 0A 02 06 D3 1F 73 03 00 00 00")
    assert shop.until(COMPLETION)[:2] == b"\x06\x0f"
    assert shop.heard[-1].endswith(bytes.fromhex("06 06 1F 73 03 00 00 00"))
    shop.send("06 01 12 04 00 00 00 00 01 00 49 09 78 06 06 1F 73 03 00 00 01")
    shop.take()
    assert shop.heard[-1] == bytes.fromhex("80 00 06 06 1F 73 03 00 00 01")
    shop.take()
    assert shop.heard[-1] == bytes.fromhex("04 FF 0A 06 06 1F 73 03 00 00 02")
    shop.wire.send(bytes.fromhex("80 00 08 06 06 1F 73 03 00 00 01"))  # the answer to something else
    shop.wire.send(bytes.fromhex("80 00 08 06 06 1F 73 03 00 00 02"))
    running.wait("stale")
    shop.take()
    assert shop.heard[-1] == bytes.fromhex("04 FF 04 06 06 1F 73 03 00 00 03")
    shop.wire.send(bytes.fromhex("80 00 08 06 06 1F 73 03 00 00 03"))
    shop.take()
    assert shop.heard[-1][:2].hex() == STATUS_INFORMATION
    assert shop.heard[-1].endswith(bytes.fromhex("1F 73 03 00 00 04"))


def test_a_terminal_without_sequence_ids_does_not_echo_them(terminal) -> None:
    shop = till(terminal("--currency", 978, "--fault", "no-sequence"))
    assert shop.do("06 00 14 12 34 56 9E 09 78 06 0C 26 04 0A 02 06 D3 1F 73 03 00 00 00")[:2] == b"\x06\x0f"
    assert b"\x1f\x73" not in shop.heard[-1]


def test_an_order_number_twice_is_refused_where_that_was_asked_for(terminal, tmp_path: Path) -> None:
    """card complete 7.2: 1F15 with bit 04 compares 1F0D with the last successful payment's."""
    pay = "06 01 1B 04 00 00 00 00 58 00 49 03 92 01 1E 02 0A 06 0B 1F 15 01 04 1F 0D 04 4B 31 2D 37".replace(
        "2D", "41"
    )
    for personality, ends in (("decline", "061eb4"), ("reverse", "060f")):
        (tmp_path / "ledger.jsonl").unlink(missing_ok=True)
        shop = till(terminal("--personality", personality))
        shop.do(REGISTER)
        assert shop.do(pay) == b"\x06\x0f"
        assert shop.do(pay).hex() == ends
        assert events(tmp_path).count("stored") == (1 if personality == "decline" else 2)


@pytest.mark.parametrize("code", ["9C", "DC", "DF", "51"])
def test_status_enquiry_can_be_told_what_to_say(terminal, code) -> None:
    shop = till(terminal("--fault", f"status={code}"))
    shop.do(REGISTER)
    assert shop.do("05 01 00").hex() == f"060f{code.lower()}"


def test_it_may_reverse_another_payment_than_it_was_asked_for(terminal, tmp_path: Path) -> None:
    shop = till(terminal("--fault", "reversal-wrong"))
    shop.do(REGISTER)
    shop.do(PAY)
    shop.do(PAY.replace("58 00", "12 00"))
    assert shop.do("06 30 0D 12 34 56 87 00 01 04 00 00 00 00 58 00") == b"\x06\x0f"
    assert book(tmp_path)[-1]["orig_trace"] == 2


def test_after_an_end_of_day_it_may_be_deaf(terminal) -> None:
    running = terminal("--fault", "eod-reboot=300")
    shop = till(running)
    shop.do(REGISTER)
    assert shop.do("06 50 03 12 34 56").hex() == "060ffc"
    assert till(running).wire.gone()
    running.wait("refused")
    time.sleep(0.35)  # its own clock, not ours: it said for how long
    assert till(running).do("05 01 00") == b"\x06\x0f\x00"


def test_more_time_no_paper_impatience_and_another_till(terminal, tmp_path: Path) -> None:
    shop = till(terminal("--fault", "no-paper", "--repeat-ms", 10))
    shop.do(REGISTER)
    assert shop.do(PAY) == b"\x84\xcc"
    running = terminal(
        "--fault", "more-time=3", "--fault", "impatient=0", "--fault", "other-till=70", "--repeat-ms", 10
    )
    shop = till(running)
    shop.do(REGISTER)
    shop.answers[STATUS_INFORMATION] = EXTEND
    assert shop.do(PAY) == b"\x06\x1e\x6c"
    assert bytes.fromhex("04 FF 0E 03") in shop.all(INTERMEDIATE)
    assert shop.do("05 01 00") == b"\x06\x0f\x00"  # by now the other till has been served
    assert events(tmp_path) == ["authorised", "held", "reversed", "authorised", "stored"]
    assert book(tmp_path)[-1]["till"] == "other"


def test_the_line_can_break_at_any_message(terminal, tmp_path: Path) -> None:
    running = terminal("--fault", "cut@frame=12")
    shop = till(running)
    shop.do(REGISTER)
    with pytest.raises(ConnectionError):
        shop.do(PAY)
    running.wait("disconnected")
    assert events(tmp_path) == ["authorised", "held", "reversed"]


def test_faults_are_listed(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["terminal", "--list-faults"])
    assert ended.value.code == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {fault["fault"] for fault in listed} == faults.PAYMENT | faults.LASTING | faults.FRAME
    assert all(fault["does"] for fault in listed)


def test_two_tills_at_one_terminal(terminal) -> None:
    running = terminal()
    first, second = till(running), till(running)
    running.wait("refused")
    assert second.wire.gone()
    first.do(REGISTER)


# -- serial ----------------------------------------------------------------------------------------------------------


class SerialTill:
    """Frames by hand, with checksums from the published blocks where there are any."""

    def __init__(self, end) -> None:
        self.end = end

    def block(self) -> bytes:
        """The next block, acknowledged; the message without its doubling."""
        assert self.end.take(2) == b"\x10\x02"
        message = b""
        while True:
            byte = self.end.take(1)
            if byte == b"\x10":
                byte = self.end.take(1)
                if byte == b"\x03":
                    break
                assert byte == b"\x10"
            message += byte
        self.check = self.end.take(2)
        return message

    def take(self) -> bytes:
        message = self.block()
        self.end.send(b"\x06")
        return message

    def send(self, block: str) -> None:
        self.end.send(bytes.fromhex(block))
        assert self.end.take(1) == b"\x06"


STATUS_BLOCK = "10 02 05 01 00 10 03 10 06"
ACK_BLOCK = "10 02 80 00 00 10 03 F5 1F"


@pytest.fixture
def serial(start, pty, tmp_path: Path):
    def begin(*arguments):
        link = tmp_path / "tty"
        running = start(
            "terminal",
            "--pty",
            link,
            "--ledger",
            tmp_path / "ledger.jsonl",
            "--pause-ms",
            20,
            "--t2-ms",
            200,
            *arguments,
        )
        return running, SerialTill(pty(link))

    return begin


def test_serial_blocks_both_ways(serial) -> None:
    _, shop = serial()
    shop.send(STATUS_BLOCK)
    assert shop.take() == bytes.fromhex("80 00 00")
    assert shop.check == bytes.fromhex("F5 1F")
    assert shop.take() == bytes.fromhex("06 0F 01 00")
    shop.send(ACK_BLOCK)
    assert shop.end.quiet()


def test_a_whole_payment_over_serial(serial, tmp_path: Path) -> None:
    _, shop = serial("--currency", 978)
    shop.send("10 02 06 00 06 12 34 56 BA 09 78 10 03 24 C3")
    shop.take()
    assert shop.take()[:2] == b"\x06\x0f"
    shop.send(ACK_BLOCK)
    shop.send("10 02 06 01 0A 04 00 00 00 01 10 10 00 49 09 78 10 03 F2 FF")
    assert shop.take() == bytes.fromhex("80 00 00")
    heard = []
    while not heard or heard[-1][:2] != b"\x06\x0f":
        heard.append(shop.block())
        shop.end.send(
            b"\x06" + bytes.fromhex(ACK_BLOCK)
        )  # acknowledgement and answer in one piece, always the same bytes
        assert shop.end.take(1) == b"\x06"
    assert [message[:2].hex() for message in heard if message[0] == 4] == ["04ff", "04ff", "040f", "04ff"]
    assert events(tmp_path)[-1] == "stored"
    assert book(tmp_path)[-1]["amount"] == 11000


def test_a_damaged_block_is_asked_for_again(serial) -> None:
    _, shop = serial()
    shop.end.send(bytes.fromhex(STATUS_BLOCK[:-2] + "07"))
    assert shop.end.take(1) == b"\x15"
    shop.send(STATUS_BLOCK)
    assert shop.take() == bytes.fromhex("80 00 00")


def test_silence_inside_a_block_is_damage(serial) -> None:
    _, shop = serial()
    shop.end.send(bytes.fromhex(STATUS_BLOCK)[:5])
    assert shop.end.take(1) == b"\x15"
    shop.send(STATUS_BLOCK)
    assert shop.take() == bytes.fromhex("80 00 00")


def test_what_is_not_acknowledged_comes_again_three_times_in_all(serial) -> None:
    _, shop = serial()
    shop.send(STATUS_BLOCK)
    assert [shop.block() for _ in range(3)] == [bytes.fromhex("80 00 00")] * 3
    assert shop.end.quiet(0.5)


def test_what_is_refused_comes_again(serial) -> None:
    _, shop = serial("--fault", "bad-crc@frame=2")
    shop.send(STATUS_BLOCK)
    assert shop.block() == bytes.fromhex("80 00 00")
    assert shop.check != bytes.fromhex("F5 1F")
    shop.end.send(b"\x15")
    assert shop.take() == bytes.fromhex("80 00 00")
    assert shop.check == bytes.fromhex("F5 1F")
    assert shop.take() == bytes.fromhex("06 0F 01 00")


def test_a_repeated_block_is_not_done_twice(serial, tmp_path: Path) -> None:
    running, shop = serial("--fault", "no-ack@frame=1")
    shop.send("10 02 06 02 00 10 03 B9 CC")
    assert shop.take() == bytes.fromhex("80 00 00")
    shop.end.send(bytes.fromhex(STATUS_BLOCK))  # taken, but its acknowledgement is lost
    assert shop.block() == bytes.fromhex("80 00 00")
    shop.end.send(bytes.fromhex(STATUS_BLOCK))
    assert shop.end.take(1) == b"\x06"
    assert shop.take() == bytes.fromhex("80 00 00")
    assert shop.take() == bytes.fromhex("06 0F 01 00")
    assert [frame["hex"] for frame in running.seen("frame") if frame["dir"] == "in"].count("05 01 00") == 1


def test_a_lost_acknowledgement_brings_the_block_again(serial) -> None:
    _, shop = serial("--fault", "lost-ack@frame=2")
    shop.send(STATUS_BLOCK)
    assert shop.take() == bytes.fromhex("80 00 00")  # acknowledged, but that is lost
    assert shop.take() == bytes.fromhex("80 00 00")
    assert shop.take() == bytes.fromhex("06 0F 01 00")


def test_blocks_that_arrive_broken_are_refused(serial) -> None:
    _, shop = serial("--fault", "nak=2@frame=2")
    shop.send(STATUS_BLOCK)
    shop.take()
    shop.take()
    for answer in (b"\x15", b"\x15", b"\x06"):
        shop.end.send(bytes.fromhex(ACK_BLOCK))
        assert shop.end.take(1) == answer


def test_three_broken_blocks_end_the_line(serial) -> None:
    _, shop = serial("--fault", "bad-crc=3@frame=2", "--silent-ms", 50)
    shop.send(STATUS_BLOCK)
    for _ in range(3):
        shop.block()
        shop.end.send(b"\x15")
    assert shop.end.quiet(0.3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--listen", "x"], "HOST:PORT"),
        (["--listen", "127.0.0.1:0", "--fault", "lost"], "unknown name 'lost'"),
        (["--listen", "127.0.0.1:0", "--password", "12"], "six digits"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(arguments, says, tmp_path: Path, capsys) -> None:
    assert main(["terminal", "--ledger", str(tmp_path / "l"), *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line
