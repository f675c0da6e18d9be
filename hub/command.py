"""The hub's commands as functions; `kaisatsu hub` wires them to the command line. JSON lines on standard output, logs on standard error."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from hub import tls as hub_tls
from hub import witness
from hub.backup import backup as copy_database
from hub.errors import BadRequest, HubError
from hub.link_files import reserved
from hub.node import HubNode
from hub.opening import key_file_of, open_node, say
from hub.services import accounts, devices, reign, restore, venue
from hub.serving import pin_for, serve, work
from sync.state import Role
from tickets.clock import SystemClock

DEFAULT_BASE_URL = "http://127.0.0.1:8200"
SLOT_DAYS = 8
ATHLETICS_TIMES = [(hour, minute) for hour in range(9, 17) for minute in (0, 30)]
ATHLETICS_MINUTES, ATHLETICS_CAPACITY = 30, 20
log = structlog.get_logger()


def seed(
    *,
    database_url: str,
    base_url: str = DEFAULT_BASE_URL,
    key_file: Path | None = None,
    tls_cert: Path | None = None,
) -> dict[str, Any]:
    """Put in the made-up venue, its slots for today and the next seven days, an office account, and links for one kiosk and one gate.

    Prints one line and returns it: {"event": "seeded", "links": {"kiosk", "gate"}, "office": {"user", "password"}, "hub_key"}. Run
    again it adds what is missing, and makes new links and a new password.
    """
    node = open_node(database_url, key_file=key_file)
    pin = pin_for(base_url, key_file=key_file_of(database_url, key_file), tls_cert=tls_cert)
    document = json.loads((Path(__file__).parent / "demo_venue.json").read_text(encoding="utf-8"))
    now = node.clock.now_utc()
    password = base64.b32encode(os.urandom(10)).decode().lower()
    with node.write() as connection:
        venue.publish_catalogue(connection, document, now=now)
        day = venue.catalogue(connection).venue.day
        for offset in range(SLOT_DAYS):
            venue.open_slots(
                connection,
                "athletics",
                day=day.of(now) + timedelta(days=offset),
                times=ATHLETICS_TIMES,
                minutes=ATHLETICS_MINUTES,
                capacity=ATHLETICS_CAPACITY,
            )
        accounts.add_account(connection, "office", password, now=now)
    line = {
        "event": "seeded",
        "links": {
            "kiosk": make_link(node, role=Role.KIOSK, label="K2", base_url=base_url, pin=pin),
            "gate": make_link(node, role=Role.GATE, label="A", gate="A", base_url=base_url, pin=pin),
        },
        "office": {"user": "office", "password": password},
        "hub_key": node.public.hex(),
    }
    node.engine.dispose()
    say(line)
    return line


def make_link(
    node: HubNode, *, role: Role, label: str, gate: str | None = None, base_url: str, pin: bytes | None = None
) -> str:
    """A one-time link that enrols one device within 24 hours. `pin` is the TLS key to expect, for https. Raises BadRequest."""
    if base_url.startswith("https:") != (pin is not None):
        raise BadRequest(f"{base_url}: a link to https names the hub's TLS key, one to http names none")
    with node.write() as connection:
        made = devices.link(
            connection,
            role=role,
            label=label,
            gate=gate,
            base_url=base_url,
            hub_key=node.public,
            now=node.clock.now_utc(),
            random_bytes=node.random_bytes,
        )
    return made if pin is None else f"{made}&tls={pin.hex()}"


def link(
    *,
    database_url: str,
    role: Role,
    label: str,
    gate: str | None = None,
    base_url: str = DEFAULT_BASE_URL,
    key_file: Path | None = None,
    tls_cert: Path | None = None,
    to: Path | None = None,
    qr: Path | None = None,
) -> dict[str, Any]:
    """`kaisatsu hub link`: print {"event": "link", "role", "label", "link"}, and "to", "qr": the files that hold it too, where asked for.

    A gate without a name of its own has its label. Raises HubError; then neither file is there.
    """
    place = (gate or label) if role is Role.GATE else None
    with reserved(to=to, qr=qr) as files:
        node = open_node(database_url, key_file=key_file)
        try:
            pin = pin_for(base_url, key_file=key_file_of(database_url, key_file), tls_cert=tls_cert)
            made = make_link(node, role=role, label=label, gate=place, base_url=base_url, pin=pin)
        finally:
            node.engine.dispose()
        files.write(made)
    line = {"event": "link", "role": role, "label": label, "link": made}
    line |= {name: str(file) for name, file in (("to", to), ("qr", qr)) if file is not None}
    say(line)
    return line


def backup(*, database_url: str, to: Path) -> dict[str, Any]:
    """`kaisatsu hub backup`: print {"event": "backed_up", "file", "bytes"}. The key file is not in it. Raises HubError."""
    line = {
        "event": "backed_up",
        "file": str(to),
        "bytes": copy_database(database_url, to, now=SystemClock().now_utc()),
    }
    say(line)
    return line


def restored(
    *, database_url: str, key_file: Path | None = None, again: bool = False, without: str | None = None, by: str = ""
) -> dict[str, Any]:
    """`kaisatsu hub restored`: whether the database was put back, and which kiosks have still to say what they hold; nothing is lent until
    then, and nothing confirmed at gates until every gate has. `again` says that it was put back where nothing else shows it; `without` gives one of them up, by name.

    Prints {"event": "restored", "why", "awaited", "gates"}. Raises HubError.
    """
    node = open_node(database_url, key_file=key_file)
    try:
        if again:
            node.begin_again("somebody said that this database was put back")
            node.restored = node.restored or "as you said"
        if without is not None:
            if not by:
                raise HubError("--without needs --by: whoever gives a device up is put on record")
            node.give_up_on(without, by=by)
        with node.read() as connection:
            line = {
                "event": "restored",
                "why": node.restored,
                "awaited": list(restore.awaited(connection)),
                "gates": list(reign.awaited(connection)),
            }
        witness.keep(node)
    finally:
        node.engine.dispose()
    say(line)
    return line


def change_tls_key(*, database_url: str, step: str, key_file: Path | None = None) -> dict[str, Any]:
    """`kaisatsu hub tls STEP`: show; announce (make the next key, devices take both); change (serve with it from the next start); forget
    (devices take it alone). Prints {"event": "tls", "step", "pins": what devices take, "serves": what the file holds}. Raises HubError.
    """
    file = key_file_of(database_url, key_file)
    files, node = hub_tls.files_of(file), open_node(database_url, key_file=file)
    match step:
        case "show":
            hub_tls.own(files.now)
        case "announce":
            hub_tls.announce_next(node, files)
        case "change":
            hub_tls.change(node, files)
        case "forget":
            hub_tls.forget(node, hub_tls.pin_of_file(files.now))
        case _:
            raise HubError(f"{step}: not one of: show, announce, change, forget")
    with node.read() as connection:
        said = hub_tls.newest(connection, node)
    serves = hub_tls.pin_of_file(files.now)
    node.engine.dispose()
    pins = (serves,) if said is None else said.pins
    line = {"event": "tls", "step": step, "pins": [pin.hex() for pin in pins], "serves": serves.hex()}
    say(line)
    return line


_COMMANDS: dict[str, Callable[..., object]] = {
    "serve": serve,
    "seed": seed,
    "link": link,
    "backup": backup,
    "restored": restored,
}


def main(argv: Sequence[str]) -> int:
    """`python -m hub serve|seed --database URL ...`, for units and tests; people use `kaisatsu hub`."""
    import argparse

    if list(argv) == ["worker"]:
        return work()
    parser = argparse.ArgumentParser(prog="python -m hub")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("serve", "seed", "link", "backup", "restored"):
        command = commands.add_parser(name)
        command.add_argument("--database", dest="database_url", required=name != "serve")
        if name != "backup":
            command.add_argument("--key-file", type=Path)
        if name not in ("backup", "restored"):
            command.add_argument("--tls-cert", type=Path)
        if name == "backup":
            command.add_argument("--to", type=Path, required=True)
        if name == "restored":
            command.add_argument("--again", action="store_true")
            command.add_argument("--without")
            command.add_argument("--by", default="")
        if name == "serve":
            command.add_argument("--listen", default="127.0.0.1:8200")
            command.add_argument("--tls-key", type=Path)
            command.add_argument("--tls", dest="force_tls", action="store_true")
            command.add_argument("--insecure", action="store_true")
            command.add_argument("--workers", type=int, default=1)
            command.add_argument("--venue", type=Path, dest="venue_dir")
        if name in ("seed", "link"):
            command.add_argument("--base-url", default=DEFAULT_BASE_URL)
        if name == "link":
            command.add_argument("--role", type=Role, required=True)
            command.add_argument("--label", required=True)
            command.add_argument("--gate")
            command.add_argument("--to", type=Path)
            command.add_argument("--qr", type=Path)
    given = vars(parser.parse_args(argv))
    chosen: str = given.pop("command")
    if chosen == "serve":
        host, _, port = given.pop("listen").rpartition(":")
        given |= {"host": host.strip("[]") or "127.0.0.1", "port": int(port)}
    try:
        _COMMANDS[chosen](**given)
    except (HubError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0
