"""`kaisatsu hub ...`: the central server's commands. Each imports its part only when it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Optional

import typer

from config.stop import stop

hub = typer.Typer(help="The central server.", no_args_is_help=True, rich_markup_mode=None)
lease = typer.Typer(help="Stock that kiosks hold.", no_args_is_help=True, rich_markup_mode=None)
slot = typer.Typer(help="Slots and their stock.", no_args_is_help=True, rich_markup_mode=None)
arbiter = typer.Typer(help="Who rules over the tickets' uses.", no_args_is_help=True, rich_markup_mode=None)
operations = typer.Typer(
    help="Records that the hub could not apply, or that contradict something.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
hub.add_typer(arbiter, name="arbiter")
hub.add_typer(lease, name="lease")
hub.add_typer(slot, name="slot")
hub.add_typer(operations, name="operations")

DatabaseOption = Annotated[str, typer.Option("--database", help="SQLAlchemy URL, such as sqlite:///hub.db")]
KeyFileOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--key-file", help="The hub's signing key; without it beside the SQLite file, as FILE.key."),
]
TlsCertOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--tls-cert", help="Certificate chain, PEM, in place of the hub's own."),
]


@hub.command("serve", help="Serve devices and office; prints one JSON line when ready.")
def hub_serve(
    database: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--database", help="SQLAlchemy URL, such as sqlite:///hub.db; with --venue one in its directory."),
    ] = None,
    listen: Annotated[
        str,
        typer.Option(
            "--listen", help="HOST:PORT; port 0 takes a free one. Beyond loopback with TLS, by a key of its own."
        ),
    ] = "127.0.0.1:8443",
    key_file: KeyFileOption = None,
    workers: Annotated[int, typer.Option("--workers", help="Processes; more than 1 with PostgreSQL.")] = 1,
    tls_cert: TlsCertOption = None,
    tls_key: Annotated[Optional[Path], typer.Option("--tls-key", help="Its key, PEM.")] = None,  # noqa: UP045
    tls: Annotated[bool, typer.Option("--tls", help="TLS also on loopback.")] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Without TLS also beyond loopback: something else protects the line.")
    ] = False,
    venue: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--venue", metavar="DIR", help="As the venue node enrolled in DIR: relay and arbiter on the LAN."),
    ] = None,
) -> None:
    from hub.serving import serve

    if venue is None and database is None:
        stop("hub serve: --database URL is missing, or --venue DIR for a venue node")

    host, port = _address(listen)
    _run_hub(
        lambda: serve(
            database_url=database,
            host=host,
            port=port,
            key_file=key_file,
            tls_cert=tls_cert,
            tls_key=tls_key,
            force_tls=tls,
            insecure=insecure,
            workers=workers,
            venue_dir=venue,
        )
    )


@hub.command(
    "seed",
    help="Put a made-up venue into a hub; prints links for a kiosk and a gate, and the office's password. Again: new links, a new password.",
)
def hub_seed(
    database: DatabaseOption = "sqlite:///hub.db",
    url: Annotated[str, typer.Option("--url", help="How devices reach the hub.")] = "http://127.0.0.1:8443",
    key_file: KeyFileOption = None,
    tls_cert: TlsCertOption = None,
) -> None:
    from hub.command import seed

    _run_hub(lambda: seed(database_url=database, base_url=url, key_file=key_file, tls_cert=tls_cert))


@hub.command("backup", help="Copy the hub's SQLite database to a new file while it serves. The key file is kept apart.")
def hub_backup(
    to: Annotated[Path, typer.Option("--to", help="The copy; must not be there yet.")],
    database: Annotated[str, typer.Option("--database", help="SQLAlchemy URL")] = "sqlite:///hub.db",
) -> None:
    from hub.command import backup

    _run_hub(lambda: backup(database_url=database, to=to))


@hub.command(
    "restored",
    help="After a database was put back: why the hub believes so, and which kiosks have still to say what they hold.",
)
def hub_restored(
    database: Annotated[str, typer.Option("--database", help="SQLAlchemy URL")] = "sqlite:///hub.db",
    key_file: Annotated[Optional[Path], typer.Option("--key-file", help="The hub's key.")] = None,  # noqa: UP045
    again: Annotated[
        bool, typer.Option("--again", help="It was put back, though nothing shows it: every device begins anew.")
    ] = False,
    without: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--without", help="Label of a device that will never report; what it held may be sold twice."),
    ] = None,
    by: Annotated[str, typer.Option("--by", help="Who says so; on record.")] = "",
) -> None:
    from hub.command import restored

    _run_hub(lambda: restored(database_url=database, key_file=key_file, again=again, without=without, by=by))


@operations.command("list", help="List them, a JSON line each.")
def hub_operations(
    rejected: Annotated[bool, typer.Option("--rejected", help="Only those that had no effect.")] = False,
    database: Annotated[str, typer.Option("--database", help="SQLAlchemy URL")] = "sqlite:///hub.db",
    key_file: KeyFileOption = None,
) -> None:
    from hub.operations import show

    _run_hub(lambda: show(database_url=database, key_file=key_file, rejected_only=rejected))


@operations.command("retry", help="Apply a rejected record again, after its cause was mended.")
def hub_operations_retry(
    op: Annotated[str, typer.Argument(metavar="OP", help="Its id, as the list says it.")],
    by: Annotated[str, typer.Option("--by", help="Who you are.")] = "command line",
    database: Annotated[str, typer.Option("--database", help="SQLAlchemy URL")] = "sqlite:///hub.db",
    key_file: KeyFileOption = None,
) -> None:
    from hub.operations import retry

    _run_hub(lambda: retry(op, database_url=database, key_file=key_file, by=by))


@operations.command("settle", help="Say that a record was dealt with otherwise, who did, and how.")
def hub_operations_settle(
    op: Annotated[str, typer.Argument(metavar="OP", help="Its id, as the list says it.")],
    by: Annotated[str, typer.Option("--by", help="Who you are.")],
    because: Annotated[str, typer.Option("--because", help="How it was settled.")],
    database: Annotated[str, typer.Option("--database", help="SQLAlchemy URL")] = "sqlite:///hub.db",
    key_file: KeyFileOption = None,
) -> None:
    from hub.operations import settle

    _run_hub(lambda: settle(op, database_url=database, key_file=key_file, by=by, because=because))


@hub.command(
    "link",
    help="A new one-time link to enrol a device; also as a QR code or a text file. `kaisatsu enrol` takes each of them.",
)
def hub_link(
    role: Annotated[str, typer.Option("--role", help="kiosk, gate, or venue for a venue node")],
    label: Annotated[str, typer.Option("--label", help="What people call it: K3, B")],
    at_gate: Annotated[Optional[str], typer.Option("--gate", help="For a gate: its place in the catalogue.")] = None,  # noqa: UP045
    database: DatabaseOption = "sqlite:///hub.db",
    url: Annotated[str, typer.Option("--url", help="How devices reach the hub.")] = "http://127.0.0.1:8443",
    key_file: KeyFileOption = None,
    tls_cert: TlsCertOption = None,
    qr: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--qr", metavar="FILE", help="The link as a QR code too, a new FILE.png or FILE.svg."),
    ] = None,
    to: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--to", metavar="FILE", help="The link as a text file too, a new one, for its owner alone."),
    ] = None,
) -> None:
    from hub.command import link
    from sync.state import Role

    if role not in list(Role):
        stop(f"--role {role}: not one of: {', '.join(Role)}")
    _run_hub(
        lambda: link(
            database_url=database,
            base_url=url,
            role=Role(role),
            label=label,
            gate=at_gate,
            key_file=key_file,
            tls_cert=tls_cert,
            to=to,
            qr=qr,
        )
    )


@hub.command(
    "tls",
    help="The hub's own TLS key. STEP: show; announce the next one to all devices; change to it (from the next start on); forget the old one.",
)
def hub_tls(
    step: Annotated[str, typer.Argument(metavar="STEP", help="show, announce, change or forget; in this order.")],
    database: DatabaseOption = "sqlite:///hub.db",
    key_file: KeyFileOption = None,
) -> None:
    from hub.command import change_tls_key

    _run_hub(lambda: change_tls_key(database_url=database, step=step, key_file=key_file))


@arbiter.command("show", help="The arbiter in force, and who named whom since when.")
def arbiter_show(
    database: DatabaseOption = "sqlite:///hub.db",
    key_file: KeyFileOption = None,
) -> None:
    from hub.arbiter_command import show

    _run_hub(lambda: show(database_url=database, key_file=key_file))


@arbiter.command(
    "set", help="Name another arbiter, in the next epoch: gates believe it alone as soon as they hear of it."
)
def arbiter_set(
    node: Annotated[str, typer.Option("--node", help="A venue node's label, or hub.")],
    by: Annotated[str, typer.Option("--by", help="Who does it; kept on record.")],
    url: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--url", help="Where devices reach it; may be repeated. For the hub: where they were enrolled."),
    ] = None,
    tls: Annotated[Optional[str], typer.Option("--tls", help="SHA-256 of its TLS key, in hex.")] = None,  # noqa: UP045
    after: Annotated[int, typer.Option("--after", help="An epoch that devices have seen, after a restore.")] = 0,
    database: DatabaseOption = "sqlite:///hub.db",
    key_file: KeyFileOption = None,
) -> None:
    from hub.arbiter_command import name

    _run_hub(
        lambda: name(database_url=database, node=node, urls=url or [], tls=tls, by=by, after=after, key_file=key_file)
    )


ByOption = Annotated[str, typer.Option("--by", help="Who decides this: a person's name, kept with it.")]


@lease.command("show", help="How the stock of today's slots stands, and who holds what; a JSON line a slot.")
def lease_show(
    database: DatabaseOption = "sqlite:///hub.db",
    key_file: KeyFileOption = None,
) -> None:
    from hub.stock_command import show

    _run_hub(lambda: show(database_url=database, key_file=key_file))


@lease.command(
    "take-back",
    help="Give up what DEVICE holds of SLOT, because it will not sell it any more. Says how many may be sold twice; does it with --yes.",
)
def lease_take_back(
    slot: Annotated[str, typer.Argument(help="As `hub lease show` names it.")],
    device: Annotated[str, typer.Argument(help="The kiosk's label, or the start of its id.")],
    by: ByOption,
    because: Annotated[str, typer.Option("--because", help="Why; kept with it.")] = "",
    sure: Annotated[
        bool, typer.Option("--yes", help="Do it. Until the kiosk comes back, what it held is at risk.")
    ] = False,
    database: DatabaseOption = "sqlite:///hub.db",
    key_file: KeyFileOption = None,
) -> None:
    from hub.stock_command import take_back

    if sure and not because.strip():
        stop("--because TEXT: taking a lease back needs a reason")
    _run_hub(
        lambda: take_back(
            database_url=database, key_file=key_file, slot=slot, device=device, by=by, reason=because, sure=sure
        )
    )


@slot.command(
    "capacity",
    help="Give SLOT another capacity. Below what kiosks hold, they are asked to give back what they have not sold.",
)
def slot_capacity(
    name: Annotated[str, typer.Argument(metavar="SLOT")],
    units: Annotated[int, typer.Argument(metavar="UNITS", min=0, max=100_000)],
    by: ByOption,
    database: DatabaseOption = "sqlite:///hub.db",
    key_file: KeyFileOption = None,
) -> None:
    from hub.stock_command import set_capacity

    _run_hub(lambda: set_capacity(database_url=database, key_file=key_file, slot=name, capacity=units, by=by))


@slot.command("cancel", help="Stop the sale of SLOT. Tickets that were sold stay as they are.")
def slot_cancel(
    name: Annotated[str, typer.Argument(metavar="SLOT")],
    by: ByOption,
    database: DatabaseOption = "sqlite:///hub.db",
    key_file: KeyFileOption = None,
) -> None:
    from hub.stock_command import cancel

    _run_hub(lambda: cancel(database_url=database, key_file=key_file, slot=name, by=by))


def _run_hub(command: Callable[[], object]) -> None:
    from hub.errors import HubError

    try:
        command()
    except HubError as error:
        stop(str(error))


def _address(listen: str) -> tuple[str, int]:
    host, separator, port = listen.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        stop(f"--listen {listen}: HOST:PORT is expected, with a port from 0 to 65535")
    return host.strip("[]"), int(port)
