"""The `kaisatsu` command. Its help is a table of contents; each subcommand imports its part only when it runs.

A wrong call is one line on standard error and status 2, whichever part of the command notices it.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn, Optional

import typer
import typer.core

from config.hub_command import hub
from config.stop import stop

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
config = typer.Typer(
    help="Settings: where each comes from, and the daemons' files.", no_args_is_help=True, rich_markup_mode=None
)
payment = typer.Typer(help="Payments in doubt (処理未了) of this kiosk.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(payment, name="payment")
app.add_typer(gate, name="gate")
app.add_typer(hub, name="hub")
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
        stop(str(error))
    except OSError as error:
        stop(f"--state {state}: cannot be made ({error.strerror})")
    try:
        identity = redeem(found, StateDir(state), clock=SystemClock(), random_bytes=os.urandom)
    except SyncError as error:
        stop(str(error))
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
        stop(f"{finding}: not one of: {', '.join(Finding)}")
    try:
        rule(_kiosk_ledger(state), attempt, Finding(finding), by=by, why=why)
    except RulingRefused as error:
        stop(str(error))
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
        stop("the emulators are not installed on this device; they are a separate program (package 'emulators')")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "emulators", *context.args])  # noqa: S606 our own interpreter


@config.command("write", help="Check all settings and write one JSON file a daemon into the run-time directory.")
def config_write(
    file: FileOption = None,
    only: Annotated[Optional[list[str]], typer.Option("--only", help="Of these daemons; may be repeated.")] = None,  # noqa: UP045
) -> None:
    from config.layers import DAEMONS, ConfigError, load
    from config.write import write

    for daemon in only or []:
        if daemon not in DAEMONS:
            stop(f"--only {daemon}: not one of: {', '.join(DAEMONS)}")
    try:
        for path in write(load(_file(file)), daemons=tuple(only or [])):
            print(path)
    except ConfigError as error:
        stop(str(error))


@config.command("show", help="Every setting in force; --origin says where each comes from.")
def config_show(file: FileOption = None, origin: Annotated[bool, typer.Option("--origin")] = False) -> None:
    from config.layers import ConfigError, load

    try:
        sections = load(_file(file))
    except ConfigError as error:
        stop(str(error))
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
        stop(str(error))


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
