"""Tell systemd what is so: sd_notify(3) in one datagram, and nothing at all where no supervisor listens.

`alive()` is a promise that work was done since the last call. It belongs in the work loop, never in a timer thread.
"""

from __future__ import annotations

import os
import socket


def ready(status: str = "") -> None:
    _send(f"READY=1\nSTATUS={status}" if status else "READY=1")


def alive() -> None:
    _send("WATCHDOG=1")


def stopping() -> None:
    _send("STOPPING=1")


def _send(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # an abstract socket is written with @ in the environment
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram:
        try:
            datagram.connect(address)
            datagram.send(message.encode())
        except OSError:
            return  # the supervisor has gone; its absence must not stop a sale
