"""The `kaisatsu` command: a table of contents. Each subcommand imports its part only when it runs."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn, Optional

import typer

app = typer.Typer(
    name="kaisatsu",
    help="Kaisatsu 改札: sell tickets at a kiosk, check them at a gate, with the line to the hub or without it.",
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
app.add_typer(hub, name="hub", rich_help_panel=None)
app.add_typer(gate, name="gate")
app.add_typer(config, name="config")

FileOption = Annotated[
    Optional[Path],  # noqa: UP045 Typer reads this form on every Python we run on
    typer.Option("--file", help="Settings of this device; without it /etc/kaisatsu/kaisatsu.toml where that exists."),
]
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(help="Enrol this device by the one-time LINK that the hub gave.")
def enrol(
    link: Annotated[str, typer.Argument(help="http(s)://HUB/enrol?token=...&key=...")],
    state: Annotated[Path, typer.Option("--state", help="State directory.")] = Path("/var/lib/kaisatsu"),
) -> None:
    from sync.enrol import enrol as redeem
    from sync.errors import SyncError
    from sync.state import StateDir
    from tickets.clock import SystemClock

    state.mkdir(parents=True, exist_ok=True)
    try:
        identity = redeem(link, StateDir(state), clock=SystemClock(), random_bytes=os.urandom)
    except SyncError as error:
        _stop(str(error))
    line = {"device": identity.device.hex(), "role": identity.role, "label": identity.label, "gate": identity.gate}
    print(json.dumps({"event": "enrolled", **line}, ensure_ascii=False))


@app.command(help="Read the codes on pictures; one JSON line a FILE, also for a picture without a code.")
def decode(files: Annotated[list[str], typer.Argument(metavar="FILE...")]) -> None:
    from scanner.reading.files import decode_file

    for file in files:
        print(json.dumps(decode_file(file), ensure_ascii=False), flush=True)


@gate.command("check", context_settings=PASS_ON, help="Decide on CODE as the gate in --state DIR would, and record it.")
def gate_check(context: typer.Context) -> None:
    from scanner.gate.check import main

    _exit(main(context.args))


@app.command(context_settings=PASS_ON, help="Printer or payment terminal for the other end of a real wire.")
def emulate(context: typer.Context) -> None:
    if importlib.util.find_spec("emulators") is None:
        _stop("the emulators are not installed on this device; they are a separate program (package 'emulators')")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "emulators", *context.args])  # noqa: S606 our own interpreter


@hub.command("serve", help="Serve devices and office; prints one JSON line when ready.")
def hub_serve(
    database: Annotated[str, typer.Option("--database", help="SQLAlchemy URL, such as sqlite:///hub.db")],
    listen: Annotated[str, typer.Option("--listen", help="HOST:PORT; port 0 takes a free one.")] = "127.0.0.1:8443",
) -> None:
    from hub.command import serve

    host, port = _address(listen)
    _run_hub(lambda: serve(database_url=database, host=host, port=port))


@hub.command(
    "seed",
    help="Put a made-up venue into an empty hub; prints links to enrol a kiosk and a gate, and the office's password.",
)
def hub_seed(
    database: Annotated[
        str, typer.Option("--database", help="SQLAlchemy URL, such as sqlite:///hub.db")
    ] = "sqlite:///hub.db",
    url: Annotated[str, typer.Option("--url", help="How devices reach the hub.")] = "http://127.0.0.1:8443",
) -> None:
    from hub.command import seed

    _run_hub(lambda: seed(database_url=database, base_url=url))


@hub.command("link", help="A new one-time link to enrol a device.")
def hub_link(
    role: Annotated[str, typer.Option("--role", help="kiosk or gate")],
    label: Annotated[str, typer.Option("--label", help="What people call it: K3, B")],
    at_gate: Annotated[Optional[str], typer.Option("--gate", help="For a gate: its place in the catalogue.")] = None,  # noqa: UP045
    database: Annotated[str, typer.Option("--database", help="SQLAlchemy URL")] = "sqlite:///hub.db",
    url: Annotated[str, typer.Option("--url", help="How devices reach the hub.")] = "http://127.0.0.1:8443",
) -> None:
    from hub.command import link
    from sync.state import Role

    if role not in list(Role):
        _stop(f"--role {role}: not one of: {', '.join(Role)}")
    _run_hub(lambda: link(database_url=database, base_url=url, role=Role(role), label=label, gate=at_gate))


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
    app()
