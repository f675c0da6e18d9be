"""`script/bench sale`: from the proof of charge on the terminal's wire to the first byte on the printer's.

The whole sale is real: engine, journal, spool process, ZVT and ESC/POS over TCP. Two taps on the wires carry the bytes and note
the time: 06 0F from the terminal (the proof, ZVT PA00P015 2.2.6), and the first byte after it towards the printer that belongs
to a coupon. Goal: 95 of 100 within 150 ms.
"""

from __future__ import annotations

import selectors
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import fdatasync_ms, percentile, quick, say
from kiosk.visit import effect, event
from sync.service import log
from tests.support.counter import Counter

COUPON_BYTES_MIN = 64
"""Status questions to the printer are a few bytes; a coupon's first write is hundreds."""
PROOF, AUTHORISE = b"\x06\x0f", b"\x06\x01"


class Tap:
    """Carries one wire and shows what passes before it goes on."""

    def __init__(self, port: int, *, to_device: Callable[[bytes], None], to_us: Callable[[bytes], None]) -> None:
        self._port = port
        self._to_device, self._to_us = to_device, to_us
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            far = socket.create_connection(("127.0.0.1", self._port))
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(near, selectors.EVENT_READ, (near, far, self._to_device))
            selector.register(far, selectors.EVENT_READ, (far, near, self._to_us))
            while True:
                for key, _ in selector.select():
                    source, other, look = key.data
                    try:
                        data = source.recv(65536)
                    except OSError:
                        data = b""
                    if not data:
                        near.close()
                        far.close()
                        return
                    look(data)
                    other.sendall(data)


class Watch:
    """One sale at a time: when the proof passed, and when the first coupon's first byte did."""

    def __init__(self) -> None:
        self.next()

    def next(self) -> None:
        self.is_payment = False
        self.proof_at: float | None = None
        self.byte_at: float | None = None

    def to_terminal(self, data: bytes) -> None:
        self.is_payment = self.is_payment or data.startswith(AUTHORISE)

    def from_terminal(self, data: bytes) -> None:
        if self.is_payment and self.proof_at is None and data.startswith(PROOF):
            self.proof_at = time.perf_counter()

    def to_printer(self, data: bytes) -> None:
        if self.proof_at is not None and self.byte_at is None and len(data) >= COUPON_BYTES_MIN:
            self.byte_at = time.perf_counter()


def main() -> int:
    count = 8 if quick(__doc__ or "") else 100
    log.configure("bench-sale")  # standard output is for figures alone
    with tempfile.TemporaryDirectory(prefix="kaisatsu-bench-") as directory:
        watch = Watch()
        desk = Counter(Path(directory), terminal=["--pause-ms", "5", "--host-ms", "5"], printer=[], spool=False)
        try:
            terminal = Tap(desk.port_of["terminal"], to_device=watch.to_terminal, to_us=watch.from_terminal)
            printer = Tap(desk.port_of["printer"], to_device=watch.to_printer, to_us=lambda _: None)
            desk.port_of |= {"terminal": terminal.port, "printer": printer.port}
            desk.start_spool()
            desk.start_engine()
            desk.wait_open()
            taken = [_one(desk, watch) for _ in range(count)]
        finally:
            desk.stop()
        say("sale", "proof_to_first_byte_ms_p50", percentile(taken, 0.5), "ms")
        say("sale", "proof_to_first_byte_ms_p95", percentile(taken, 0.95), "ms")
        say("sale", "sales", len(taken), "count")
        say("sale", "fdatasync_p99_ms", percentile(fdatasync_ms(Path(directory)), 0.99), "ms")
    return 0


def _one(desk: Counter, watch: Watch) -> float:
    """A family's order, paid and printed; milliseconds between proof and paper."""
    watch.next()
    desk.buy()
    said = desk.outcome()
    if not isinstance(said, event.Paid):
        sys.stderr.write(f"sale: {said} instead of a payment\n")
        raise SystemExit(1)
    desk.wait(event.Printed, timeout_s=60)
    desk.engine.perform(effect.ClearGuest())
    assert watch.proof_at is not None, "the proof passed the tap"
    assert watch.byte_at is not None, "a coupon passed the tap"
    return (watch.byte_at - watch.proof_at) * 1000


if __name__ == "__main__":
    raise SystemExit(main())
