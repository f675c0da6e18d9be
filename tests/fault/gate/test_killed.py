"""kill -9 at the worst moments: no green is forgotten, none counts twice, no number is left out."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from scanner.gate import tables
from scanner.view import ViewKind
from sync import journal as journal_tables
from sync.operation import Admission, Mode, from_body
from tests.support.gate_device import signed, ticket_of
from tests.support.gate_process import GateProcess, now_day
from tickets.admission import Reason, VerdictKind

pytestmark = pytest.mark.flow


def today(seed: str) -> str:
    not_before, expires = now_day()
    return signed(seed, not_before=not_before, expires=expires)


def admissions(gate: GateProcess) -> list[Admission]:
    journal = gate.device.journal()  # raises if the chain does not hold
    with journal.read() as connection:
        found = [from_body(body) for body in connection.scalars(select(journal_tables.operation.c.body))]
    journal.engine.dispose()
    return [operation for operation in found if isinstance(operation, Admission)]


def rows(gate: GateProcess) -> list[Any]:
    journal = gate.device.journal()
    with journal.read() as connection:
        found = list(connection.execute(select(tables.pending)))
    journal.engine.dispose()
    return found


@pytest.fixture
def silent_arbiter() -> Iterator[tuple[str, threading.Event]]:
    """Somebody who says that he rules, takes every claim and answers none; the event says that one has arrived."""
    listener = socket.create_server(("127.0.0.1", 0))
    arrived = threading.Event()
    kept: list[socket.socket] = []

    def answer(peer: socket.socket) -> None:
        body = b'{"protocol":1,"epoch":1,"rules":true}'
        with contextlib.suppress(OSError):
            while head := peer.recv(65536):
                if head.startswith(b"POST"):
                    arrived.set()
                else:
                    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
                kept.append(peer)
                threading.Thread(target=answer, args=(peer,), daemon=True).start()
            except OSError:
                return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", arrived
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for peer in kept:
        peer.close()
    thread.join(5)


def test_killed_between_pending_and_chained(tmp_path: Path, silent_arbiter: tuple[str, threading.Event]) -> None:
    """The claim is on the wire: its row is on the disk, nothing is chained, no light was on."""
    url, arrived = silent_arbiter
    gate = GateProcess(tmp_path, arbiter_url=url, arbiter_deadline_ms=5000)
    try:
        gate.start()
        reader = gate.reader()
        reader.show(today("t"))
        assert arrived.wait(30)
        gate.kill()
        (row,) = rows(gate)
        assert (row.ticket, row.verdict, row.chained) == (ticket_of("t"), None, 0)
        assert admissions(gate) == []
        gate.settings.write_text(gate.settings.read_text(encoding="utf-8").replace("5000", "50"), encoding="utf-8")
        gate.start()
        screen, reader = gate.screen(), gate.reader()
        screen.next(ViewKind.READY)
        (done,) = admissions(gate)
        assert (done.op, done.interrupted, done.mode) == (row.op.hex(), True, Mode.POLICY)
        assert rows(gate)[0].interrupted == 1
        reader.show(today("t"))
        assert screen.next().reason is Reason.ALREADY_USED
        assert gate.health().facts["interrupted"] == 1
    finally:
        gate.close()


def test_killed_again_and_again(tmp_path: Path) -> None:
    """Tickets in a row, each shown twice; the process dies at random moments of the walk."""
    chance = random.Random(7)
    gate = GateProcess(tmp_path)
    green: list[str] = []
    try:
        for turn in range(5):
            gate.start()
            screen, reader = gate.screen(), gate.reader()
            screen.next(ViewKind.READY)
            stop_after = chance.randrange(1, 12)
            for number in range(stop_after):
                seed = f"ticket {turn} {number // 2}"
                reader.show(today(seed))
                if number == stop_after - 1:
                    break  # this one is killed somewhere between its packet and its operation
                if screen.next().verdict is VerdictKind.ADMIT:
                    green.append(seed)
            threading.Event().wait(chance.random() * 0.01)
            gate.kill()
            try:
                if screen.next().verdict is VerdictKind.ADMIT:  # it had reached the screen before it died
                    green.append(seed)
            except ConnectionResetError:
                pass
            screen.close()
        gate.start()
        gate.screen().next(ViewKind.READY)
        assert gate.stop() == 0
        assert len(green) == len(set(green))
        done = admissions(gate)
        tickets = [operation.ticket for operation in done]
        assert len(tickets) == len(set(tickets))  # none twice
        assert {ticket_of(seed).hex() for seed in green} <= set(tickets)  # no green forgotten
        assert all(row.chained for row in rows(gate))
    finally:
        gate.close()
