"""A TCP proxy that holds back every byte for a while, each way: a line with a round trip of twice that."""

from __future__ import annotations

import queue
import socket
import threading
import time


class DelayingProxy:
    """`with DelayingProxy(port, delay_s=0.025) as near:` connect to `near` to reach `port` over the slow line. Not slower than the
    delay: bytes that come together travel together.
    """

    def __init__(self, port: int, *, delay_s: float) -> None:
        self._port, self._delay_s = port, delay_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []

    def __enter__(self) -> int:
        threading.Thread(target=self._accept, daemon=True).start()
        return int(self._listener.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for line in self._open:
            line.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            time.sleep(2 * self._delay_s)  # SYN and its answer
            far = socket.create_connection(("127.0.0.1", self._port))
            for line in (near, far):
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open += [near, far]
            for here, there in ((near, far), (far, near)):
                self._carry(here, there)

    def _carry(self, here: socket.socket, there: socket.socket) -> None:
        waiting: queue.Queue[tuple[float, bytes]] = queue.Queue()

        def take() -> None:
            data = b"x"
            while data:
                try:
                    data = here.recv(65536)
                except OSError:
                    data = b""
                waiting.put((time.monotonic() + self._delay_s, data))

        def give() -> None:
            while True:
                due_s, data = waiting.get()
                time.sleep(max(0.0, due_s - time.monotonic()))
                try:
                    if not data:
                        there.shutdown(socket.SHUT_WR)
                        return
                    there.sendall(data)
                except OSError:
                    return

        for work in (take, give):
            threading.Thread(target=work, daemon=True).start()
