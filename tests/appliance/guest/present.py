"""Stands in for a daemon in the guest of script/spike-kms: does inside the unit's own sandbox what that daemon will need.

Loads the libraries of the daemon named on the command line, writes into the shared database, binds a doorbell, and says how
each went on standard error as lines that begin with SPIKE. It proves units, users and groups, not the program.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

NAME = sys.argv[1]
LIBRARIES = {
    "sync": "sqlalchemy cryptography.hazmat.primitives.asymmetric.ed25519 cbor2 zstandard zeroconf",
    "printer": "sqlalchemy PIL.ImageFont segno serial escpos.printer ctypes",
    "reader": "cv2 zxingcpp pyzbar.pyzbar numpy serial ctypes",
    "gate": "sqlalchemy cryptography.hazmat.primitives.asymmetric.ed25519 cbor2 serial",
    "hub": "fastapi uvicorn jinja2 alembic sqlalchemy argon2 PIL.ImageFont",
}[NAME]
BELL = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
STATE, RUN = Path("/var/lib/kaisatsu"), Path("/run/kaisatsu")


def attempt(what: str, act: Callable[[], object]) -> None:
    try:
        told = act()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        told = f"FAILED {type(error).__name__}: {error}"
    print(f"SPIKE {NAME} {what}: {told}", file=sys.stderr, flush=True)


def write_shared() -> str:
    """Through the product's own door: another account's file must be writable, its WAL and index too."""
    from sync.store import open_engine

    with open_engine(STATE / "spike.db").begin() as db:
        db.exec_driver_sql("CREATE TABLE IF NOT EXISTS seen (name TEXT)")
        db.exec_driver_sql("INSERT INTO seen VALUES (?)", (NAME,))
        return "wrote; there are now " + ",".join(row[0] for row in db.exec_driver_sql("SELECT name FROM seen"))


def ring() -> str:
    BELL.bind(str(RUN / f"{NAME}.bell"))
    others = [path for path in RUN.glob("*.bell") if path.stem != NAME]
    for other in others:
        BELL.sendto(b"\0", str(other))
    return "rang " + ",".join(path.stem for path in others)


for library in LIBRARIES.split():
    attempt(f"load {library}", lambda library=library: "ok" if importlib.import_module(library) else "")  # type: ignore[misc]
if NAME == "reader":
    attempt("look into the state directory (must fail)", lambda: list(STATE.iterdir()))
elif NAME != "hub":
    attempt("shared database", write_shared)
if NAME != "hub":
    attempt("doorbell", ring)
attempt("write to /etc (must fail)", lambda: Path("/etc/spike").write_text(""))
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
    supervisor.connect(os.environ["NOTIFY_SOCKET"])
    supervisor.send(b"READY=1")
    while True:
        time.sleep(5)
        supervisor.send(b"WATCHDOG=1")
