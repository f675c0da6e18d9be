"""The terminal's ledger: numbers go on, a torn line is cut off, charges are what they are; and its fault grammar."""

import json
from pathlib import Path

import pytest

from emulators.errors import BadSpec
from emulators.terminal import faults
from emulators.terminal.ledger import Ledger, State


def ledger(path: Path) -> Ledger:
    return Ledger(path, lambda: "2026-11-21T10:00:00+09:00")


def pay(book: Ledger, amount: int, brand: str = "VISA") -> int:
    trace = book.authorised(amount=amount, currency=392, brand=brand).trace
    for state in (State.HELD, State.CONFIRMED, State.STORED):
        book.move(trace, state)
    return trace


def test_it_remembers_what_it_charged(tmp_path: Path) -> None:
    path = tmp_path / "book" / "ledger.jsonl"
    book = ledger(path)
    pay(book, 1000)
    second = pay(book, 2000)
    book.reversal(book.transactions[second])
    book.refused_by_host(amount=5, currency=392, brand="VISA", code=5)
    book.close()
    again = ledger(path)
    assert [t.amount for t in again.charged()] == [1000]
    assert again.last is not None
    assert (again.last.trace, again.last.result) == (4, 5)
    assert pay(again, 3000) == 5
    assert again.transactions[5].receipt == 3
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()][:4] == [
        "authorised", "held", "confirmed", "stored",
    ]  # fmt: skip


@pytest.mark.parametrize("torn", [b'{"event": "stor', b'{"event": "stored", "trace": 1}', b"\x00\x00\x00"])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, torn) -> None:
    path = tmp_path / "ledger.jsonl"
    book = ledger(path)
    book.authorised(amount=700, currency=392, brand="JCB")
    book.close()
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    again = ledger(path)
    assert [t.state for t in again.open] == [State.AUTHORISED]
    assert path.read_bytes() == whole


def test_receipt_numbers_wrap_and_a_reversal_does_not_set_them_back(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text(
        '{"event": "authorised", "at": "", "trace": 20000, "receipt": 9998, "turnover": 20000, "amount": 1, "currency": 392,'
        ' "brand": "VISA"}\n'
    )
    book = ledger(path)
    last = pay(book, 10)
    assert book.transactions[last].receipt == 9999
    first = pay(book, 20)
    assert book.transactions[first].receipt == 1
    book.reversal(book.transactions[last])
    assert book.transactions[pay(book, 30)].receipt == 2


def test_a_closed_day_is_not_charged_again(tmp_path: Path) -> None:
    book = ledger(tmp_path / "ledger.jsonl")
    pay(book, 1000)
    book.close_day(total=1000, count=1)
    pay(book, 50)
    assert [t.amount for t in ledger(tmp_path / "ledger.jsonl").charged()] == [50]


GOOD = ["decline=05", "decline=71@payment=3", "cancel", "no-answer", "no-answer=0620", "busy", "lost-before-host",
        "ack-lost:reverse", "ack-lost:decline", "ack-lost:keep", "ack-lost@payment=2:keep", "die@frame=12", "needs-eod",
        "slow=200", "banner", "reversal=B4", "lost-after-status:always", "repeat-old", "no-ack@frame=1", "bad-crc@frame=2",
        "bad-crc=3@frame=2", "nak=2@frame=4", "lost-ack@frame=3", "cut@frame=1", "clock-jump=-86400", "other-till", "other-till=70",
        "more-time=3", "status=DC", "eod-reboot=90000", "impatient=0", "no-paper", "reversal-wrong"]  # fmt: skip
BAD = ["", "decline", "decline=5", "decline=zz", "die", "die@payment=1", "slow", "slow=x", "ack-lost:perhaps", "banner@payment=1",
       "cancel@payment=0", "lost-before-host=1", "needs-eod:always", "busy=06", "cut", "nak=x@frame=1", "more-time=0", "more-time=100", "clock-jump=soon", "status=9", "impatient"]  # fmt: skip


@pytest.mark.parametrize("spec", GOOD)
def test_good_specs(spec) -> None:
    assert faults.parse(spec).spec == spec


@pytest.mark.parametrize("spec", BAD)
def test_bad_specs(spec) -> None:
    with pytest.raises(BadSpec) as caught:
        faults.parse(spec)
    assert repr(spec) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_faults_strike_once_at_their_payment_or_always() -> None:
    waiting = faults.Faults(
        [faults.parse(spec) for spec in ("decline=05@payment=2", "cancel", "lost-before-host:always")]
    )
    assert waiting.of_payment("decline", 1) is None
    assert waiting.of_payment("decline", 2) is not None
    assert waiting.of_payment("decline", 2) is None
    assert waiting.of_payment("cancel", 7) is not None
    assert waiting.of_payment("cancel", 8) is None
    assert all(waiting.of_payment("lost-before-host", n) for n in range(1, 5))
