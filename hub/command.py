"""The hub's commands as functions; `kaisatsu hub` wires them to the command line. JSON lines on standard output, logs on standard error."""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import socket
import ssl
import sys
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
import uvicorn

from hub.database import open_database, sqlite_path
from hub.errors import HubError
from hub.node import HubNode, load_key
from hub.services import accounts, devices, venue
from hub.venue.node import VenueNode
from hub.venue.run import Errands, open_venue
from hub.web.app import create_app
from hub.web.wakeup import Wakeup
from sync.service import log as service_log
from sync.service import notify
from sync.state import Role
from tickets.clock import SystemClock

DEFAULT_BASE_URL = "http://127.0.0.1:8200"
SLOT_DAYS = 8
ATHLETICS_TIMES = [(hour, minute) for hour in range(9, 17) for minute in (0, 30)]
ATHLETICS_MINUTES, ATHLETICS_CAPACITY = 30, 20

log = structlog.get_logger()


def open_node(database_url: str, *, key_file: Path | None = None) -> HubNode:
    """The hub over a database, migrated; its key stands beside a SQLite file unless named. Raises HubError."""
    path = sqlite_path(database_url)
    if key_file is None:
        if path is None:
            raise HubError("a database that is no SQLite file needs a key file of its own")
        key_file = path.with_name(path.name + ".key")
    engine = open_database(database_url)
    return HubNode(engine, load_key(key_file, random_bytes=os.urandom), clock=SystemClock(), random_bytes=os.urandom)


def serve(
    *,
    database_url: str | None,
    host: str,
    port: int,
    key_file: Path | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    insecure: bool = False,
    venue_dir: Path | None = None,
) -> None:
    """Run the hub until SIGTERM or SIGINT. Port 0 takes a free one; the line {"event": "listening", "url"} says which.

    `venue_dir`: run as the venue node that is enrolled there, with its database in that directory unless one is named.

    Raises HubError for an address that others can reach without TLS, unless `insecure` says that something else protects the line.
    """
    check_listen(host, tls_cert=tls_cert, tls_key=tls_key, insecure=insecure)
    service_log.configure("kaisatsu-hub" if venue_dir is None else "kaisatsu-venue")
    listener = _listen(host, port)
    if venue_dir is None:
        if database_url is None:
            raise HubError("--database is missing; such as sqlite:///hub.db")
        node = open_node(database_url, key_file=key_file)
        app = create_app(node)
    else:
        node = open_venue(venue_dir, database_url=database_url)
        app = create_app(node, office=False)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=3,
        timeout_keep_alive=75,
        limit_concurrency=4096,
        ssl_certfile=None if tls_cert is None else str(tls_cert),
        ssl_keyfile=None if tls_key is None else str(tls_key),
    )
    server = _Server(config, app.state.wakeup)
    if isinstance(node, VenueNode):
        assert venue_dir is not None
        _serve_venue(server, node, venue_dir, listener)
    else:
        server.run(sockets=[listener])
    node.engine.dispose()


def _serve_venue(server: _Server, node: VenueNode, venue_dir: Path, listener: socket.socket) -> None:
    """Serve the venue while two threads keep up with the hub. A bug in one of them ends the process with an error."""
    broken = threading.Event()

    def failed() -> None:
        broken.set()
        server.should_exit = True

    errands = Errands(node, venue_dir, failed=failed)
    errands.start()
    try:
        server.run(sockets=[listener])
    finally:
        errands.stop()
    if broken.is_set():
        raise SystemExit(1)


def check_listen(host: str, *, tls_cert: Path | None, tls_key: Path | None, insecure: bool) -> None:
    """Raises HubError, in one line, for TLS files that cannot be used and for plain HTTP where others could listen in or answer."""
    if tls_key is not None and tls_cert is None:
        raise HubError("--tls-key needs --tls-cert")
    for option, path in (("--tls-cert", tls_cert), ("--tls-key", tls_key)):
        if path is not None and not path.is_file():
            raise HubError(f"{option} {path}: no such file")
    if tls_cert is not None:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(tls_cert, tls_key)
        except (OSError, ValueError) as error:
            raise HubError(f"--tls-cert {tls_cert}: not a certificate with its key ({error})") from error
    elif not insecure and not _is_loopback(host):
        raise HubError(
            f"--listen {host}: without TLS only loopback is allowed; give --tls-cert and --tls-key, or --insecure where "
            "something else protects the line"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    """Bound before anything else is opened, so that a port that is taken is one line and not a server that dies in its log."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        raise HubError(f"{host}:{port}: cannot listen there ({error.strerror})") from error


class _Server(uvicorn.Server):
    """Says when it listens, and sends long polls home when it is told to stop."""

    def __init__(self, config: uvicorn.Config, wakeup: Wakeup) -> None:
        super().__init__(config)
        self._wakeup = wakeup

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            address = self.servers[0].sockets[0].getsockname()
            host = f"[{address[0]}]" if ":" in address[0] else address[0]
            scheme = "https" if self.config.is_ssl else "http"
            say({"event": "listening", "url": f"{scheme}://{host}:{address[1]}"})
            log.info("listening", host=address[0], port=address[1])
            notify.ready("listening")

    def handle_exit(self, sig: int, frame: Any) -> None:
        notify.stopping()
        self._wakeup.stop()
        super().handle_exit(sig, frame)


def seed(*, database_url: str, base_url: str = DEFAULT_BASE_URL, key_file: Path | None = None) -> dict[str, Any]:
    """Put in the made-up venue, its slots for today and the next seven days, an office account, and links for one kiosk and one gate.

    Prints one line and returns it: {"event": "seeded", "links": {"kiosk", "gate"}, "office": {"user", "password"}, "hub_key"}. Run
    again it adds what is missing, and makes new links and a new password.
    """
    node = open_node(database_url, key_file=key_file)
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
            "kiosk": make_link(node, role=Role.KIOSK, label="K2", base_url=base_url),
            "gate": make_link(node, role=Role.GATE, label="A", gate="A", base_url=base_url),
        },
        "office": {"user": "office", "password": password},
        "hub_key": node.public.hex(),
    }
    node.engine.dispose()
    say(line)
    return line


def make_link(node: HubNode, *, role: Role, label: str, gate: str | None = None, base_url: str) -> str:
    """A one-time link that enrols one device within 24 hours. Raises BadRequest."""
    with node.write() as connection:
        return devices.link(
            connection,
            role=role,
            label=label,
            gate=gate,
            base_url=base_url,
            hub_key=node.public,
            now=node.clock.now_utc(),
            random_bytes=node.random_bytes,
        )


def link(
    *,
    database_url: str,
    role: Role,
    label: str,
    gate: str | None = None,
    base_url: str = DEFAULT_BASE_URL,
    key_file: Path | None = None,
) -> dict[str, Any]:
    """`kaisatsu hub link`: print {"event": "link", "role", "label", "link"}. A gate without a name of its own has its label."""
    node = open_node(database_url, key_file=key_file)
    place = (gate or label) if role is Role.GATE else None
    made = make_link(node, role=role, label=label, gate=place, base_url=base_url)
    node.engine.dispose()
    line = {"event": "link", "role": role, "label": label, "link": made}
    say(line)
    return line


def say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def main(argv: Sequence[str]) -> int:
    """`python -m hub serve|seed --database URL ...`, for units and tests; people use `kaisatsu hub`."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m hub")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("serve", "seed", "link"):
        command = commands.add_parser(name)
        command.add_argument("--database", required=name != "serve")
        command.add_argument("--key-file", type=Path)
        if name == "serve":
            command.add_argument("--listen", default="127.0.0.1:8200")
            command.add_argument("--tls-cert", type=Path)
            command.add_argument("--tls-key", type=Path)
            command.add_argument("--insecure", action="store_true")
            command.add_argument("--venue", type=Path)
        else:
            command.add_argument("--base-url", default=DEFAULT_BASE_URL)
        if name == "link":
            command.add_argument("--role", type=Role, required=True)
            command.add_argument("--label", required=True)
            command.add_argument("--gate")
    given = parser.parse_args(argv)
    try:
        match given.command:
            case "serve":
                host, _, port = given.listen.rpartition(":")
                serve(
                    database_url=given.database,
                    host=host.strip("[]") or "127.0.0.1",
                    port=int(port),
                    key_file=given.key_file,
                    tls_cert=given.tls_cert,
                    tls_key=given.tls_key,
                    insecure=given.insecure,
                    venue_dir=given.venue,
                )
            case "seed":
                seed(database_url=given.database, base_url=given.base_url, key_file=given.key_file)
            case "link":
                link(
                    database_url=given.database,
                    role=given.role,
                    label=given.label,
                    gate=given.gate,
                    base_url=given.base_url,
                    key_file=given.key_file,
                )
    except (HubError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0
