"""A peer that plays exact bytes on a real socket: what no well-meaning terminal does, and what the driver must not make of it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from kiosk.payment import AttemptId, Health, Method, OrderRef, Outcome, PayRequest, TerminalLinkError
from kiosk.payment.zvt import HoldMode, Options, TcpLink, Timers, ZvtTerminal, connect
from tickets.money import Money

TIMERS = Timers(t3_s=0.5, t4_s=0.5, after_confirm_s=0.5, poll_s=0.01, hold_extend_after_s=5)
REGISTER = ["<06 00", ">80 00 00 06 0F 0A 19 10 29 29 00 10 06 49 03 92", "<80 00 00"]
PAY = [*REGISTER, "<06 01", ">80 00 00"]
APPROVED = "04 0F 19 27 00 04 00 00 00 00 33 00 0B 00 00 11 87 00 11 88 00 00 11 29 29 00 10 06"
BASELINE = {"terminal_id": "29001006", "last": {"trace": 10, "receipt_no": 10, "turnover": 10}, "total_minor": None}


class Peer:
    """Plays one script a connection. `<` waits for a unit that begins so, `>` sends, `~` takes seconds, `!` closes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._scripts: list[list[str]] = []
        self.heard: list[str] = []
        self.trouble: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.port = self._listener.getsockname()[1]

    def play(self, *scripts: list[str]) -> None:
        self._scripts = list(scripts)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()
        if self._thread.is_alive():
            self._thread.join(5)

    def _serve(self) -> None:
        for script in self._scripts:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(3)
                try:
                    self._act(connection, script)
                except OSError as error:
                    self.trouble.append(repr(error))

    def _act(self, connection: socket.socket, script: list[str]) -> None:
        for line in script:
            wanted = bytes.fromhex(line[1:]) if line[0] in "<>" else b""
            match line[0]:
                case "<":
                    unit = self._unit(connection)
                    self.heard.append(unit.hex(" ").upper())
                    if not unit.startswith(wanted):
                        self.trouble.append(f"wanted {line}, heard {self.heard[-1]}")
                        return
                case "~":
                    time.sleep(float(line[1:]))  # the terminal takes its time; nobody is waited for by this
                case ">":
                    connection.sendall(wanted)
                case _:
                    return
        while data := connection.recv(100):  # whatever else the driver says is on record
            self.heard.append(data.hex(" ").upper())

    def _unit(self, connection: socket.socket) -> bytes:
        head = self._exactly(connection, 3)
        return head + self._exactly(connection, head[2])

    @staticmethod
    def _exactly(connection: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = connection.recv(size - len(data))
            if not more:
                raise ConnectionError("the driver hung up")
            data += more
        return data


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


@pytest.fixture
def terminal(peer: Peer) -> Iterator[ZvtTerminal]:
    made = ZvtTerminal(TcpLink("127.0.0.1", peer.port), Options(timers=TIMERS))
    yield made
    made.close()


REQUEST = PayRequest(AttemptId("a1"), OrderRef("o1"), Money(3300, "JPY"), Method.CARD, 60, BASELINE)


def pay(terminal):
    return terminal.authorise(REQUEST, lambda _: None)


def test_proof_and_the_bytes_of_it(peer, terminal):
    peer.play([*PAY, ">" + APPROVED, "<80 00 00", ">06 0F 00", "<80 00 00"])
    proof = terminal.confirm(pay(terminal))
    assert proof.outcome is Outcome.APPROVED_FINAL
    assert proof.trace == proof.receipt_no == proof.turnover == 11
    terminal.close()
    peer.close()
    assert peer.trouble == []
    assert peer.heard[0] == "06 00 14 00 00 00 BE 03 92 06 0C 26 04 0A 02 06 D3 1F 73 03 00 00 00"
    assert peer.heard[2] == "06 01 0E 04 00 00 00 00 33 00 49 03 92 01 1E 02 09"


def test_everything_twice_is_answered_once_where_it_counts(peer, terminal):
    twice = f"{APPROVED} {APPROVED}"
    peer.play(
        [
            *REGISTER,
            "<06 01",
            ">80 00 00 80 00 00 04 FF 01 0A 04 FF 01 0A",
            "<80 00 00",
            f">{twice}",
            "<80 00 00",  # the one word that makes it final: exactly one, and only after confirm
            ">06 0F 00 06 0F 00",
            "<80 00 00",
            "<05 01",
            ">80 00 00 06 0F 01 00",
            "<80 00 00",
        ]
    )
    held = pay(terminal)
    assert held.outcome is Outcome.APPROVED_HELD
    assert terminal.confirm(held).outcome is Outcome.APPROVED_FINAL
    assert terminal.health() is Health.READY
    terminal.close()
    peer.close()
    assert peer.trouble == []


def test_glued_behind_the_consent(peer, terminal):
    """Portalum ZvtClientTest: what stands right behind 80 00 00 must be processed."""
    peer.play(
        [
            *REGISTER,
            "<06 01",
            ">80 00 00 04 FF 01 0A",
            "<80 00 00",
            f">{APPROVED}",
            "<80 00 00",
            ">06 0F 00",
            "<80 00 00",
        ]
    )
    assert terminal.confirm(pay(terminal)).outcome is Outcome.APPROVED_FINAL


def test_84_00_is_consent_too(peer, terminal):
    peer.play([*REGISTER, "<06 01", ">84 00 00", f">{APPROVED}", "<84 66 00", ">06 1E 01 05", "<80 00 00"])
    held = pay(terminal)
    assert held.outcome is Outcome.APPROVED_HELD
    assert terminal.void(held).outcome is Outcome.NOT_CHARGED


@pytest.mark.parametrize(
    "foreign",
    [
        "04 0F 19 27 00 04 00 00 00 00 05 00 0B 00 00 11 87 00 11 88 00 00 11 29 29 00 10 06",  # another amount
        "04 0F 19 27 00 04 00 00 00 00 33 00 0B 00 00 10 87 00 10 88 00 00 10 29 29 00 10 06",  # the baseline again
        "04 0F 19 27 00 04 00 00 00 00 33 00 0B 00 00 11 87 00 11 88 00 00 11 29 29 00 10 07",  # another terminal
        "04 0F 0C 27 00 04 00 00 00 00 33 00 49 09 78",  # euros
    ],
)
def test_an_approval_that_is_not_ours_gets_no_answer(peer, terminal, foreign):
    peer.play([*PAY, f">{foreign}"])
    doubt = pay(terminal)
    assert (doubt.outcome, doubt.code) == (Outcome.UNKNOWN, "foreign_status")
    terminal.close()
    peer.close()
    assert peer.heard[3:] == []


def test_an_approval_out_of_turn_gets_no_answer_and_ends_the_connection(peer, terminal):
    """A 04 0F of a payment long given up comes while nobody asked: the next command goes over a new connection."""
    peer.play(
        [*REGISTER, "<05 01", ">80 00 00 06 0F 01 00", "<80 00 00", f">{APPROVED} {APPROVED}"],
        [*REGISTER, "<05 01", ">80 00 00 06 0F 01 00", "<80 00 00"],
    )
    assert terminal.open() is Health.READY
    assert terminal._session.wire._link.receive(3) is not None  # the stray unit has arrived; the first of two
    assert terminal.health() is Health.READY
    terminal.close()
    peer.close()
    assert peer.trouble == []
    assert [unit[:5] for unit in peer.heard] == ["06 00", "80 00", "05 01", "80 00"] * 2


def test_an_approval_before_the_answer_to_our_command_is_not_taken(peer, terminal):
    peer.play([*REGISTER, "<06 01", f">{APPROVED}"])
    doubt = pay(terminal)
    assert (doubt.outcome, doubt.code) == (Outcome.UNKNOWN, "terminal_link")
    terminal.close()
    peer.close()
    assert peer.heard[3:] == []


def test_no_second_06_01_whatever_happens(peer, terminal):
    """A financial command is sent once: silence, a hang-up and nonsense all end in UNKNOWN."""
    peer.play([*REGISTER, "<06 01"], [*REGISTER, "<06 01", "!"], [*REGISTER, "<06 01", ">80 00 00 06 D1 01"])
    for code in ("terminal_silent", "terminal_link", "terminal_silent"):
        doubt = pay(terminal)
        assert (doubt.outcome, doubt.code) == (Outcome.UNKNOWN, code)
    terminal.close()
    peer.close()
    assert [unit[:5] for unit in peer.heard].count("06 01") == 3


def test_silence_after_our_consent_is_unknown(peer, terminal):
    peer.play([*PAY, f">{APPROVED}", "<80 00 00"])
    doubt = terminal.confirm(pay(terminal))
    assert (doubt.outcome, doubt.code) == (Outcome.UNKNOWN, "terminal_silent")
    assert doubt.receipt_no == 11


@pytest.mark.parametrize(
    ("end", "outcome", "code"),
    [
        ("06 1E 01 6C", Outcome.UNKNOWN, "aborted_while_held"),
        ("04 0F 02 27 6C 06 1E 01 6C", Outcome.NOT_CHARGED, "reversed_by_terminal"),
        ("04 0F 02 27 6C 06 0F 00", Outcome.UNKNOWN, "contradicts"),
    ],
)
def test_an_end_other_than_06_0f_is_no_proof(peer, terminal, end, outcome, code):
    peer.play([*PAY, f">{APPROVED}", "<80 00 00", f">{end}"])
    told = terminal.confirm(pay(terminal))
    assert (told.outcome, told.code) == (outcome, code)


def test_a_completion_after_a_refusal_is_no_proof(peer, terminal):
    peer.play([*PAY, f">{APPROVED}", "<84 66 00", ">06 0F 00"])
    told = terminal.void(pay(terminal))
    assert (told.outcome, told.code) == (Outcome.UNKNOWN, "contradicts")


def test_a_wrong_pin_is_asked_again(peer, terminal):
    peer.play(
        [*PAY, ">04 0F 02 27 37", "<80 00 00", ">04 FF 01 0A", "<80 00 00", f">{APPROVED}", "<80 00 00", ">06 0F 00"]
    )
    assert terminal.confirm(pay(terminal)).outcome is Outcome.APPROVED_FINAL


@pytest.mark.parametrize(
    "rest",
    [
        [">04 0F 05 33 27 00 04 00"],  # a field nobody knows hides the result
        [">04 0F 02 27 05", "<80 00 00", ">06 0F 00"],  # declined, and yet completed
        [">06 0F 00"],  # completed without a word about the result
    ],
)
def test_neither_yes_nor_no_is_unknown(peer, terminal, rest):
    peer.play([*PAY, *rest])
    assert pay(terminal).outcome is Outcome.UNKNOWN


def test_a_command_nobody_knows_is_refused_and_the_payment_goes_on(peer, terminal):
    peer.play([*PAY, ">06 D8 00", "<84 83 00", ">04 01 00", "<80 00 00", f">{APPROVED}", "<80 00 00", ">06 0F 00"])
    assert terminal.confirm(pay(terminal)).outcome is Outcome.APPROVED_FINAL


def test_reversal_of_another_payment_is_found_out(peer, terminal):
    """Portalum issue 24: a terminal reverses its last payment whatever the receipt number says."""
    peer.play(
        [
            *PAY,
            f">{APPROVED}",
            "<80 00 00",
            ">06 0F 00",
            "<80 00 00",
            "<06 20",
            f">80 00 00 {APPROVED}",
            "<80 00 00",
            ">06 0F 00",
            "<80 00 00",
            "<06 30 10 00 00 00 87 00 11 04 00 00 00 00 33 00 49 03 92",
            ">80 00 00 04 0F 0E 27 00 04 00 00 00 00 02 22 37 00 00 12 87 00 13",
            "<80 00 00",
            ">06 0F 00",
        ]
    )
    proof = terminal.confirm(pay(terminal))
    back = terminal.reverse(proof, key="k")
    assert (back.outcome, back.code) == (Outcome.UNKNOWN, "other_reversed")


def test_registration_runs_what_the_terminal_says_it_needs(peer, terminal):
    """Status bits 01 and 02: initialisation, diagnosis."""
    peer.play(
        [
            "<06 00",
            ">80 00 00 06 0F 02 19 13",
            "<80 00 00",
            "<06 93 03 00 00 00",
            ">80 00 00 06 0F 00",
            "<80 00 00",
            "<06 70 00",
            ">80 00 00 06 0F 00",
            "<80 00 00",
            "<05 01 00",
            ">80 00 00 06 0F 01 51",
        ]
    )
    assert terminal.open() is Health.NEEDS_SERVICE
    assert terminal.caps.holds


def test_a_terminal_without_vending_mode_is_asked_for_no_hold(peer):
    made = ZvtTerminal(TcpLink("127.0.0.1", peer.port), Options(timers=TIMERS, hold=HoldMode.AUTO))
    peer.play(
        [
            "<06 00",
            ">80 00 00 06 0F 02 19 00",
            "<80 00 00",
            "<06 01 0A 04 00 00 00 00 33 00 49 03 92",
            f">80 00 00 {APPROVED}",
            "<80 00 00",
            ">06 0F 00",
            "<80 00 00",
        ]
    )
    assert pay(made).outcome is Outcome.APPROVED_FINAL
    assert not made.caps.holds
    made.close()


def test_busy_terminal_is_told_to_stop_and_asked_again_later(peer, terminal):
    peer.play([*REGISTER, "<05 01", ">84 9C 00", "<06 B0 00"])
    told = terminal.query(REQUEST, seen=None)
    assert (told.outcome, told.code) == (Outcome.IN_PROGRESS, "in_progress")


def test_terminal_that_refuses_registration(peer, terminal):
    peer.play(["<06 00", ">84 1E 01 6F"], ["<06 00", ">80 00 00 06 1E 01 6F"])
    for _ in range(2):
        with pytest.raises(TerminalLinkError, match="registration refused"):
            terminal.baseline()


def test_the_terminal_may_ask_for_more_time(peer, terminal):
    """T4 is half a second here; 04 FF 0A 01 makes it a minute, the next 04 FF half a second again."""
    peer.play([*PAY, ">04 FF 02 0A 01", "<80 00 00", "~0.8", f">{APPROVED}", "<80 00 00", ">06 0F 00"])
    assert terminal.confirm(pay(terminal)).outcome is Outcome.APPROVED_FINAL


def test_without_asking_it_may_not_take_more_time(peer, terminal):
    peer.play([*PAY, ">04 FF 01 0A", "<80 00 00", "~0.8", f">{APPROVED}"])
    assert pay(terminal).code == "terminal_silent"


def test_cancelled_while_still_connecting_sends_nothing(peer, terminal):
    peer.play([*REGISTER])
    told = terminal.authorise(REQUEST, lambda _: terminal.cancel())
    assert (told.outcome, told.code) == (Outcome.CANCELLED, "cancelled_before_sending")
    terminal.close()
    peer.close()
    assert peer.heard[2:] == []


@pytest.mark.parametrize("address", ["", "127.0.0.1", "tcp://", "udp://h", "serial:///dev/x?speed=1", "serial://dev"])
def test_an_address_that_cannot_be_meant(address):
    with pytest.raises(ValueError, match="is allowed"):
        connect(address, Options())


def test_addresses(peer):
    peer.play([*REGISTER, "<05 01", ">80 00 00 06 0F 01 00"])
    terminal = connect(f"tcp://127.0.0.1:{peer.port}", Options(timers=TIMERS))
    assert terminal.open() is Health.READY
    terminal.close()
    assert connect("serial:///dev/no-such-line?baud=115200", Options()).open() is Health.OFFLINE
