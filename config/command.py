"""The `kaisatsu` command. Its help is a table of contents; each subcommand imports its part only when it runs.

A wrong call is one line on standard error and status 2, whichever part of the command notices it.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, Optional

import typer
import typer.core

CONTENTS = {
    "At the kiosk": {
        "payment list": "Payments whose outcome is not proven yet",
        "payment rule": "Settle a stuck payment by what a person found out",
    },
    "At the gate": {
        "decode": "Read the codes on pictures",
        "gate check": "Decide on one code, as the gate would",
    },
    "The hub": {
        "hub serve": "Serve devices and the office; --venue: a venue node",
        "hub seed": "Put a made-up venue into a hub of its own",
        "hub link": "Make a one-time link that enrols a device",
        "hub arbiter show": "Who rules over the tickets' uses",
        "hub arbiter set": "Name another arbiter",
        "hub lease show": "How today's slots stand, and who holds what",
        "hub lease take-back": "Give up what a lost kiosk holds of a slot",
        "hub slot capacity": "Change how many a slot has",
        "hub slot cancel": "Stop the sale of a slot",
        "hub tls": "Show or change the hub's TLS key",
        "hub backup": "Copy the hub's SQLite database while it serves",
        "hub restored": "After a restore: which kiosks are waited for",
        "hub operations list": "Records that could not be applied",
        "hub operations retry": "Apply one again, its cause being mended",
        "hub operations settle": "Say how one was dealt with",
    },
    "On a device": {
        "enrol": "Make this machine a kiosk, a gate or a node",
        "config show": "Every setting in force, and where it comes from",
        "config write": "Check all settings and write the daemons' files",
    },
    "To try it out": {
        "emulate printer": "A receipt printer; its paper becomes pictures",
        "emulate terminal": "A payment terminal that speaks ZVT",
        "emulate square": "Square's Terminal API with one Terminal",
        "emulate paypay": "PayPay's Open Payment API and its guests",
    },
}
"""What `kaisatsu --help` lists, in the order in which a newcomer reads."""


class Contents(typer.core.TyperGroup):
    """The first page of the help: every command there is, by the place where it is used."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  (Typer's signature)
        width = max(len(name) for section in CONTENTS.values() for name in section)
        for title, section in CONTENTS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in section.items()])


WrongUse: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""Where it lives depends on Typer's version: its own copy of Click, or Click."""

app = typer.Typer(
    name="kaisatsu",
    cls=Contents,
    help="Kaisatsu 改札: sell tickets at a kiosk, check them at a gate, with the line to the hub or without it.",
    epilog="kaisatsu COMMAND --help says more. Selling, printing, reading and syncing are daemons under systemd (kaisatsu.target).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
gate = typer.Typer(help="What a gate says to a code.", no_args_is_help=True, rich_markup_mode=None)
hub = typer.Typer(help="The central server.", no_args_is_help=True, rich_markup_mode=None)
config = typer.Typer(
    help="Settings: where each comes from, and the daemons' files.", no_args_is_help=True, rich_markup_mode=None
)
payment = typer.Typer(help="Payments in doubt (処理未了) of this kiosk.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(payment, name="payment")
app.add_typer(gate, name="gate")
lease = typer.Typer(help="Stock that kiosks hold.", no_args_is_help=True, rich_markup_mode=None)
slot = typer.Typer(help="Slots and their stock.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(hub, name="hub")
arbiter = typer.Typer(help="Who rules over the tickets' uses.", no_args_is_help=True, rich_markup_mode=None)
hub.add_typer(arbiter, name="arbiter")
hub.add_typer(lease, name="lease")
hub.add_typer(slot, name="slot")
operations = typer.Typer(
    help="Records that the hub could not apply, or that contradict something.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
hub.add_typer(operations, name="operations")
app.add_typer(config, name="config")

FileOption = Annotated[
    Optional[Path],  # noqa: UP045 Typer reads this form on every Python we run on
    typer.Option("--file", help="Settings of this device; without it /etc/kaisatsu/kaisatsu.toml where that exists."),
]
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


STATE = Path("/var/lib/kaisatsu")
StateOption = Annotated[Path, typer.Option("--state", help="State directory.")]


@app.command(help="Enrol this device by the one-time link that the hub gave, or by a file with it.")
def enrol(
    link: Annotated[
        str,
        typer.Argument(
            metavar="LINK|FILE",
            help="http(s)://HUB/enrol?token=...&key=..., a text file with it, or a picture of its QR code (PNG, JPEG, a photograph).",
        ),
    ],
    state: StateOption = STATE,
) -> None:
    from config.link import link_of
    from sync.enrol import enrol as redeem
    from sync.errors import SyncError
    from sync.state import StateDir
    from tickets.clock import SystemClock

    try:
        found = link_of(link)
        state.mkdir(parents=True, exist_ok=True)
    except SyncError as error:
        _stop(str(error))
    except OSError as error:
        _stop(f"--state {state}: cannot be made ({error.strerror})")
    try:
        identity = redeem(found, StateDir(state), clock=SystemClock(), random_bytes=os.urandom)
    except SyncError as error:
        _stop(str(error))
    line = {"device": identity.device.hex(), "role": identity.role, "label": identity.label, "gate": identity.gate}
    _say({"event": "enrolled", **line})


@app.command(help="Read the codes on pictures; one JSON line a FILE, also for a picture without a code.")
def decode(files: Annotated[list[str], typer.Argument(metavar="FILE...")]) -> None:
    from scanner.reading.files import decode_file

    for file in files:
        _say(decode_file(file))


@payment.command("list", help="One JSON line a payment that is not proven charged or not charged.")
def payment_list(state: StateOption = STATE) -> None:
    from dataclasses import asdict

    from kiosk.sale.by_hand import open_payments

    for found in open_payments(_kiosk_ledger(state)):
        _say(asdict(found))


@payment.command("rule", help="Record what a person found out about a stuck payment; the card reader opens again.")
def payment_rule(
    attempt: Annotated[str, typer.Argument(metavar="ATTEMPT", help="As `payment list` names it.")],
    finding: Annotated[str, typer.Argument(metavar="FINDING", help="not_charged, refunded or kept")],
    by: Annotated[str, typer.Option("--by", help="Who found out.")],
    why: Annotated[str, typer.Option("--why", help="By what: terminal's journal, acquirer's word, ...")],
    state: StateOption = STATE,
) -> None:
    from kiosk.sale.by_hand import Finding, RulingRefused, rule

    if finding not in list(Finding):
        _stop(f"{finding}: not one of: {', '.join(Finding)}")
    try:
        rule(_kiosk_ledger(state), attempt, Finding(finding), by=by, why=why)
    except RulingRefused as error:
        _stop(str(error))
    _say({"event": "ruled", "attempt": attempt, "finding": finding})


@gate.command("check", context_settings=PASS_ON, help="Decide on CODE as the gate in --state DIR would, and record it.")
def gate_check(context: typer.Context) -> None:
    from scanner.gate.check import main

    _exit(main(context.args))


@app.command(
    context_settings=PASS_ON, help="Printer, payment terminal or payment service for the other end of a real wire."
)
def emulate(context: typer.Context) -> None:
    if importlib.util.find_spec("emulators") is None:
        _stop("the emulators are not installed on this device; they are a separate program (package 'emulators')")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "emulators", *context.args])  # noqa: S606 our own interpreter


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
    from hub.command import serve

    if venue is None and database is None:
        _stop("hub serve: --database URL is missing, or --venue DIR for a venue node")

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
        _stop(f"--role {role}: not one of: {', '.join(Role)}")
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
        _stop("--because TEXT: taking a lease back needs a reason")
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


@config.command("write", help="Check all settings and write one JSON file a daemon into the run-time directory.")
def config_write(
    file: FileOption = None,
    only: Annotated[Optional[list[str]], typer.Option("--only", help="Of these daemons; may be repeated.")] = None,  # noqa: UP045
) -> None:
    from config.layers import DAEMONS, ConfigError, load
    from config.write import write

    for daemon in only or []:
        if daemon not in DAEMONS:
            _stop(f"--only {daemon}: not one of: {', '.join(DAEMONS)}")
    try:
        for path in write(load(_file(file)), daemons=tuple(only or [])):
            print(path)
    except ConfigError as error:
        _stop(str(error))


@config.command("show", help="Every setting in force; --origin says where each comes from.")
def config_show(file: FileOption = None, origin: Annotated[bool, typer.Option("--origin")] = False) -> None:
    from config.layers import ConfigError, load

    try:
        sections = load(_file(file))
    except ConfigError as error:
        _stop(str(error))
    for name, section in sections.items():
        print(f"[{name}]")
        for key, value in sorted(section.items()):
            text = "(none)" if value.value is None else json.dumps(value.value, ensure_ascii=False)
            print(f"{key} = {text}" + (f"    # {value.origin}" if origin else ""))
        print()


def _kiosk_ledger(state: Path) -> Any:
    from kiosk.sale.by_hand import ledger_of
    from sync.errors import SyncError
    from sync.state import StateDir

    try:
        return ledger_of(StateDir(state))
    except SyncError as error:
        _stop(str(error))


def _run_hub(command: Callable[[], object]) -> None:
    from hub.errors import HubError

    try:
        command()
    except HubError as error:
        _stop(str(error))


def _file(given: Path | None) -> Path | None:
    from config.layers import DEFAULT_FILE

    if given is not None:
        return given
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _say(line: dict[str, Any]) -> None:
    """One JSON line. A file's name that is no UTF-8 is escaped, so that who reads the line gets it back exactly."""
    text = json.dumps(line, ensure_ascii=False)
    print(text if _is_utf8(text) else json.dumps(line), flush=True)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _address(listen: str) -> tuple[str, int]:
    host, separator, port = listen.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        _stop(f"--listen {listen}: HOST:PORT is expected, with a port from 0 to 65535")
    return host.strip("[]"), int(port)


def _stop(message: str) -> NoReturn:
    sys.stderr.write(f"kaisatsu: {message}\n")
    raise typer.Exit(2)


def _exit(status: int) -> NoReturn:
    raise typer.Exit(status)


def main() -> None:
    """The entry point of the `kaisatsu` program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # JSON is UTF-8 in every locale
    try:
        sys.exit(app(prog_name="kaisatsu", standalone_mode=False) or 0)
    except WrongUse as error:
        sys.exit(_wrong_use(error))
    except BrokenPipeError:  # whoever read our lines has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _wrong_use(error: Any) -> int:
    """A group without a command answers with its help; everything else is one line."""
    text: str = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{text}\n")
        return 2
    where = getattr(getattr(error, "ctx", None), "command_path", "kaisatsu")
    sys.stderr.write(f"{where}: {' '.join(text.split())} See {where} --help\n")
    return 2
