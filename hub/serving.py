"""Serving: the hub or a venue node on a listening socket, with TLS where others could listen in, by one process or several workers."""

from __future__ import annotations

import gc
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import uvicorn

from hub import tls as hub_tls
from hub.database import sqlite_path
from hub.discovery import Announcer
from hub.errors import HubError
from hub.node import HubNode
from hub.opening import key_file_of, open_node, say
from hub.venue.node import VenueNode
from hub.venue.run import VENUE_KEY, Errands, open_venue
from hub.web.app import create_app
from hub.web.connection import BoundedHead, log_as_events
from hub.web.wakeup import Wakeup
from hub.workers import WORKERS_MAX, WorkOrder, run_workers
from sync.service import log as service_log
from sync.service import notify

GC_EVERY = 50_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Tls:
    """What a hub serves with: `cert` holds the chain and, where `key` is None, the key too."""

    cert: Path
    key: Path | None = None


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
