"""The hub's commands as functions; `kaisatsu hub` wires them to the command line. JSON lines on standard output, logs on standard error."""

from __future__ import annotations

import base64
import gc
import ipaddress
import json
import os
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
import uvicorn

from hub import tls as hub_tls
from hub import witness
from hub.backup import backup as copy_database
from hub.database import open_database, sqlite_path
from hub.discovery import Announcer
from hub.errors import BadRequest, HubError
from hub.link_files import reserved
from hub.node import HubNode, load_key
from hub.services import accounts, devices, reign, restore, venue
from hub.services.snapshot import Shelf
from hub.venue.node import VenueNode
from hub.venue.run import VENUE_KEY, Errands, open_venue
from hub.web.app import create_app
from hub.web.connection import BoundedHead, log_as_events
from hub.web.wakeup import Wakeup
from hub.workers import WORKERS_MAX, WorkOrder, run_workers
from sync.service import log as service_log
from sync.service import notify
from sync.state import Role
from tickets.clock import SystemClock

DEFAULT_BASE_URL = "http://127.0.0.1:8200"
SLOT_DAYS = 8
ATHLETICS_TIMES = [(hour, minute) for hour in range(9, 17) for minute in (0, 30)]
ATHLETICS_MINUTES, ATHLETICS_CAPACITY = 30, 20

GC_EVERY = 50_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Tls:
    """What a hub serves with: `cert` holds the chain and, where `key` is None, the key too."""

    cert: Path
    key: Path | None = None


def key_file_of(database_url: str, key_file: Path | None) -> Path:
    """Where the hub's signing key stands: beside a SQLite file unless named. Raises HubError."""
    path = sqlite_path(database_url)
    if key_file is not None:
        return key_file
    if path is None:
        raise HubError("a database that is no SQLite file needs a key file of its own (--key-file)")
    return path.with_name(path.name + ".key")


def open_node(database_url: str, *, key_file: Path | None = None) -> HubNode:
    """The hub over a database, migrated; its key stands beside a SQLite file unless named. Raises HubError."""
    file = key_file_of(database_url, key_file)
    engine = open_database(database_url)
    node = HubNode(
        engine,
        load_key(file, random_bytes=os.urandom),
        clock=SystemClock(),
        random_bytes=os.urandom,
        shelf=Shelf((sqlite_path(database_url) or file).with_suffix(".snapshots")),
    )
    witness.watch(node, file)
    if node.restored is not None:
        log.error("restored", why=node.restored)
    return node


def serve(
    *,
    database_url: str | None,
    host: str,
    port: int,
    key_file: Path | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    force_tls: bool = False,
    insecure: bool = False,
    workers: int = 1,
    venue_dir: Path | None = None,
) -> None:
    """Run the hub until SIGTERM or SIGINT. Port 0 takes a free one; the line {"event": "listening", "url"} says which, and with TLS its
    key's pin as "tls".

    TLS where others could listen in or answer, with the hub's own key unless `tls_cert` is given; on loopback only with `force_tls` or
    `tls_cert`; nowhere with `insecure`. Several workers share one listening socket. `venue_dir`: run as the venue node that is enrolled
    there, with its database in that directory unless another is named. Raises HubError.
    """
    secured = check_listen(host, tls_cert=tls_cert, tls_key=tls_key, force_tls=force_tls, insecure=insecure)
    if venue_dir is not None:
        _serve_venue(
            venue_dir,
            database_url,
            _listen(host, port),
            given=None if tls_cert is None else Tls(tls_cert, tls_key),
            secured=secured,
            host=host,
            workers=workers,
        )
        return
    if database_url is None:
        raise HubError("--database is missing; such as sqlite:///hub.db")
    check_workers(database_url, workers)
    file = key_file_of(database_url, key_file)
    service_log.configure("kaisatsu-hub")
    listener = _listen(host, port)
    node = open_node(database_url, key_file=file)
    chosen = None
    if secured:
        chosen = Tls(tls_cert, tls_key) if tls_cert is not None else _own_tls(file, host)
    if workers == 1:
        run_server(
            node,
            listener,
            database_url=database_url,
            tls=chosen,
            started=lambda: _listening(listener, tls=chosen),
            on_beat=notify.alive,
        )
        node.engine.dispose()
        return
    node.engine.dispose()  # the workers open their own; this process only watches over them
    order = WorkOrder(
        database_url=database_url,
        key_file=str(file),
        tls_cert=None if chosen is None else str(chosen.cert),
        tls_key=None if chosen is None or chosen.key is None else str(chosen.key),
    )
    run_workers(listener, order, count=workers, ready=lambda: _listening(listener, tls=chosen))


def _own_tls(key_file: Path, host: str) -> Tls:
    names = () if host in ("", "0.0.0.0", "::") else (host,)  # noqa: S104  a comparison
    return Tls(hub_tls.own(hub_tls.files_of(key_file).now, names=names))


def _serve_venue(
    venue_dir: Path,
    database_url: str | None,
    listener: socket.socket,
    *,
    given: Tls | None,
    secured: bool,
    host: str,
    workers: int,
) -> None:
    """Serve a venue while two threads keep up with the hub. A bug in one of them ends the process with an error."""
    if workers != 1:
        raise HubError(f"--workers {workers}: a venue node is one process")
    service_log.configure("kaisatsu-venue")
    node = open_venue(venue_dir, database_url=database_url)
    chosen = (given or _own_tls(venue_dir / VENUE_KEY, host)) if secured else None
    node.tls_pin = None if chosen is None else hub_tls.pin_of_file(chosen.cert)
    broken = threading.Event()
    servers: list[_Server] = []

    def failed() -> None:
        broken.set()
        for server in servers:
            server.should_exit = True

    errands = Errands(node, venue_dir, failed=failed)
    errands.start()
    try:
        with _announced(node, listener, host):
            run_server(
                node,
                listener,
                database_url=None,
                tls=chosen,
                started=lambda: _listening(listener, tls=chosen),
                on_beat=notify.alive,
                office=False,
                made=servers.append,
            )
    finally:
        errands.stop()
        node.engine.dispose()
    if broken.is_set():
        raise SystemExit(1)


def _announced(node: VenueNode, listener: socket.socket, host: str) -> AbstractContextManager[object]:
    """Say on the LAN where the node is; not where it speaks to its own machine alone, or without TLS: nobody looks for such a one."""
    if node.tls_pin is None or _is_loopback(host):
        return nullcontext()
    port = int(listener.getsockname()[1])
    addresses = () if host in ("", "0.0.0.0", "::") else (host,)  # noqa: S104  a comparison
    return Announcer(node.identity.device, port=port, tls=node.tls_pin, addresses=addresses)


def run_server(
    node: HubNode,
    listener: socket.socket,
    *,
    database_url: str | None,
    tls: Tls | None,
    started: Callable[[], None],
    on_beat: Callable[[], None],
    office: bool = True,
    made: Callable[[_Server], None] | None = None,
) -> None:
    """Serve on a listening socket in this process until SIGTERM or SIGINT; with `database_url` snapshots are built in a process aside.
    `made` gets the server, which can be told to exit.
    """
    app = create_app(node, office=office, on_beat=on_beat, database_url=database_url)
    # A segment is some ten thousand small objects without cycles: looking through all of them again and again was 7 % of an upload.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_EVERY)
    log_as_events()
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        http=BoundedHead,
        loop="uvloop",
        ws="none",
        proxy_headers=False,
        timeout_graceful_shutdown=3,
        timeout_keep_alive=75,
        limit_concurrency=4096,
        ssl_certfile=None if tls is None else str(tls.cert),
        ssl_keyfile=None if tls is None or tls.key is None else str(tls.key),
    )
    server = _Server(config, app.state.wakeup, started)
    if made is not None:
        made(server)
    server.run(sockets=[listener])


def _listening(listener: socket.socket, *, tls: Tls | None) -> None:
    address = listener.getsockname()
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    line = {"event": "listening", "url": f"{'http' if tls is None else 'https'}://{host}:{address[1]}"}
    if tls is not None:
        line["tls"] = hub_tls.pin_of_file(tls.cert).hex()
    say(line)
    log.info("listening", host=address[0], port=address[1])
    notify.ready("listening")


def check_workers(database_url: str, workers: int) -> None:
    """Raises HubError for a number of workers that the database cannot bear."""
    if not 1 <= workers <= WORKERS_MAX:
        raise HubError(f"--workers {workers}: 1 to {WORKERS_MAX} is allowed")
    if workers > 1 and sqlite_path(database_url) is not None:
        raise HubError(f"--workers {workers}: SQLite has one writer; several workers need PostgreSQL")


def check_listen(
    host: str, *, tls_cert: Path | None, tls_key: Path | None, force_tls: bool = False, insecure: bool = False
) -> bool:
    """Whether the hub serves TLS there. Raises HubError, in one line, for TLS files that cannot be used and options that contradict."""
    if tls_key is not None and tls_cert is None:
        raise HubError("--tls-key needs --tls-cert")
    if insecure and (force_tls or tls_cert is not None):
        raise HubError("--insecure goes without --tls and --tls-cert")
    for option, path in (("--tls-cert", tls_cert), ("--tls-key", tls_key)):
        if path is not None and not path.is_file():
            raise HubError(f"{option} {path}: no such file")
    if tls_cert is not None:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(tls_cert, tls_key)
        except (OSError, ValueError) as error:
            raise HubError(f"--tls-cert {tls_cert}: not a certificate with its key ({error})") from error
        return True
    return force_tls or not (insecure or _is_loopback(host))


def pin_for(base_url: str, *, key_file: Path, tls_cert: Path | None = None) -> bytes | None:
    """The TLS key that a link to `base_url` names: the hub's own, or that of `tls_cert`; None for http."""
    if not base_url.startswith("https:"):
        return None
    return hub_tls.pin_of_file(tls_cert or hub_tls.own(hub_tls.files_of(key_file).now))


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

    def __init__(self, config: uvicorn.Config, wakeup: Wakeup, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._wakeup, self._said = wakeup, started

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._said()

    def handle_exit(self, sig: int, frame: Any) -> None:
        notify.stopping()
        self._wakeup.stop()
        super().handle_exit(sig, frame)


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


def say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()


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


def work() -> int:
    """`python -m hub worker`: one of several processes of `serve --workers`, started by that and by nobody else."""
    from hub.workers import open_line

    with open_line() as line:
        order = line.order
        service_log.configure("kaisatsu-hub")
        node = open_node(order.database_url, key_file=Path(order.key_file))
        tls = (
            None
            if order.tls_cert is None
            else Tls(Path(order.tls_cert), Path(order.tls_key) if order.tls_key else None)
        )
        run_server(
            node,
            line.listener,
            database_url=order.database_url,
            tls=tls,
            started=line.ready,
            on_beat=line.beat,
        )
        node.engine.dispose()
    return 0
