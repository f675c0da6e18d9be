"""The terminal as a process: one wire, one ledger, one till at a time."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from emulators import wire
from emulators.errors import BadSetting, BadSpec
from emulators.events import Events, listen_for_commands, log
from emulators.terminal import commands, faults
from emulators.terminal.apdu import Apdu
from emulators.terminal.faults import Personality
from emulators.terminal.ledger import Ledger
from emulators.terminal.line import Line, LineLost, SerialLine, TcpLine
from emulators.terminal.messages import Identity
from emulators.terminal.payment import settle
from emulators.terminal.talk import Act, Customer, Talk, Terminal

SILENT_S = 2.0
BANNER = bytes([0, 0, 0, 0x3E]) + b'"VER|1.0.0|APP|EMULATOR"'.ljust(0x3E)


class Process:
    """Accepts tills one after the other and turns standard input into customers and faults."""

    def __init__(self, terminal: Terminal, port: wire.Port, *, t2_s: float, silent_s: float = SILENT_S) -> None:
        self._silent_s = silent_s
        self._terminal = terminal
        self._port = port
        self._t2_s = t2_s
        self._line: Line | None = None
        self._client: wire.Wire | None = None
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        terminal = self._terminal
        while True:
            client = await self._port.accept()
            if self._task is not None and self._client is not None and self._client.hung_up():
                await asyncio.wait({self._task}, timeout=self._silent_s)  # it is about to learn that its till has gone
            deaf = asyncio.get_running_loop().time() < terminal.deaf_until_s
            if deaf or (self._task is not None and not self._task.done()):
                client.close(reset=True)
                terminal.events.say("refused", client=client.name)
                continue
            self._client = client
            self._task = asyncio.create_task(self._serve(client))

    async def _serve(self, client: wire.Wire) -> None:
        terminal = self._terminal
        terminal.events.say("connected", client=client.name)
        if not client.serial and terminal.faults.lasting("banner"):
            await client.write(BANNER)
        while True:
            line = self._line = self._open(client)
            try:
                await self._talk(line)
            except LineLost:
                pass
            finally:
                await line.close()
                self._line = None
            if not client.serial:
                break
            # A serial line cannot be closed; it can be dead for a while, and what is said into it then is lost.
            await asyncio.sleep(max(self._silent_s, terminal.deaf_until_s - asyncio.get_running_loop().time()))
            client.close(reset=True)
        terminal.events.say("disconnected", client=client.name)

    def _open(self, client: wire.Wire) -> Line:
        return SerialLine(client, self._watch, t2_s=self._t2_s) if client.serial else TcpLine(client, self._watch)

    async def _talk(self, line: Line) -> None:
        talk = Talk(self._terminal, line)
        while True:
            command = await talk.receive_command()
            slow = self._terminal.faults.lasting("slow")
            line.delay_s = int(slow.value) / 1000 if slow else 0.0
            line.split = self._terminal.faults.lasting("split") is not None
            line.glue = self._terminal.faults.lasting("glue") is not None
            await commands.obey(talk, command)

    def _watch(self, direction: str, apdu: Apdu) -> None:
        terminal = self._terminal
        terminal.frames += 1
        terminal.events.say("frame", dir=direction, hex=apdu.shown(), name=apdu.name, n=terminal.frames)
        if terminal.faults.of_frame("die", terminal.frames):
            os.kill(os.getpid(), signal.SIGKILL)
        line = self._line
        if line is None:
            return
        if terminal.faults.of_frame("cut", terminal.frames):
            line.cut()
        if terminal.faults.of_frame("twice", terminal.frames):
            line.twice_next = True
        if isinstance(line, SerialLine):
            if (found := terminal.faults.of_frame("bad-crc", terminal.frames)) is not None:
                line.bad_crc_next = int(found.value or 1)
            if (found := terminal.faults.of_frame("nak", terminal.frames)) is not None:
                line.refuse_next = int(found.value or 1)
            if terminal.faults.of_frame("no-ack", terminal.frames):
                line.ignore_next = True
            if terminal.faults.of_frame("lost-ack", terminal.frames):
                line.lose_ack_next = True

    def obey(self, command: dict[str, Any]) -> None:
        """A line from standard input."""
        try:
            self._do(command)
        except BadSpec as error:
            self._terminal.events.say("error", why=str(error), code=error.code)
            return
        self._terminal.events.say(
            "done", do=command["do"], frames=self._terminal.frames, payments=self._terminal.payments
        )

    def _do(self, command: dict[str, Any]) -> None:
        terminal = self._terminal
        match command.get("do"):
            case "present":
                terminal.customer.put_nowait(Customer(Act.PRESENT))
            case "cancel":
                terminal.customer.put_nowait(Customer(Act.CANCEL, 0x6C))
            case "decline":
                code = str(command.get("code", "05"))
                faults.check_value("decline", "decline", code)
                terminal.customer.put_nowait(Customer(Act.DECLINE, int(code, 16)))
            case "fault":
                terminal.faults.add(faults.parse(str(command.get("spec"))))
            case "heal":
                terminal.faults.heal(str(command.get("fault")))
            case _:
                raise BadSpec(f'unknown command {command}; {{"do": ...}} takes present, cancel, decline, fault, heal')

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=SILENT_S)
        self._port.close()


class ListFaults(argparse.Action):
    """Prints what `--fault` knows and ends, whatever other options are missing."""

    def __init__(self, option_strings: list[str], **more: Any) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help=more.get("help"))

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        for line in faults.listed():
            print(json.dumps(line, ensure_ascii=False))
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m emulators terminal`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "A ZVT card terminal in vending mode: one JSON line a message on standard output."
    parser.epilog = (
        faults.GRAMMAR
        + '\n\ncommands on standard input, a line each: {"do": "present"} (with --attended), {"do": "cancel"},'
        + '\n  {"do": "decline", "code": "05"}, {"do": "fault", "spec": SPEC}, {"do": "heal", "fault": NAME}'
    )
    parser.add_argument("--list-faults", action=ListFaults, help="the names for --fault, a JSON line each, and exit")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--listen", metavar="HOST:PORT", help="a TCP port (20007 is usual); port 0 takes a free one")
    where.add_argument("--pty", metavar="PATH", help="a pseudo-terminal, reachable under PATH, with serial framing")
    parser.add_argument("--ledger", metavar="FILE", type=Path, required=True, help="what was charged; JSON lines, kept")
    parser.add_argument("--fault", metavar="SPEC", action="append", default=[], help="see below; repeatable")
    parser.add_argument("--personality", choices=list(Personality), default=Personality.REVERSE, help="see below")
    parser.add_argument("--brand", default="VISA", help="the customer's card (default VISA)")
    parser.add_argument("--pause-ms", type=int, default=400, help="until the customer presents the card (default 400)")
    parser.add_argument("--host-ms", type=int, default=100, help="how long the host takes (default 100)")
    parser.add_argument(
        "--repeat-ms", type=int, default=2000, help="until 04 0F is repeated after 84 9C (default 2000)"
    )
    parser.add_argument("--t2-ms", type=int, default=5000, help="serial: wait for an acknowledgement (default 5000)")
    parser.add_argument("--t3-ms", type=int, default=5000, help="wait for an answer to a message (default 5000)")
    parser.add_argument(
        "--silent-ms", type=int, default=2000, help="serial: how long a broken line stays dead (default 2000)"
    )
    parser.add_argument("--attended", action="store_true", help="the card comes when standard input says so")
    parser.add_argument("--password", default="123456", help="six digits (default 123456)")
    parser.add_argument("--tid", type=int, default=28004869, help="terminal number (default 28004869)")
    parser.add_argument(
        "--currency", type=int, action="append", default=None, help="ISO 4217 number; repeatable (default 392, yen)"
    )


async def serve(options: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT."""
    if len(options.password) != 6 or not options.password.isdecimal():
        raise BadSetting("--password needs six digits")
    if not 0 <= options.tid <= 99_999_999:
        raise BadSetting(f"--tid {options.tid}: up to eight digits are allowed")
    if not options.brand.isascii() or not 1 <= len(options.brand) <= 24:
        raise BadSetting("--brand needs 1 to 24 ASCII characters")
    events = Events(sys.stdout)

    waiting = faults.Faults([faults.parse(spec) for spec in options.fault])

    def now() -> datetime:
        jump = waiting.lasting("clock-jump")
        return datetime.now().astimezone() + timedelta(seconds=int(jump.value) if jump else 0)

    try:
        ledger = Ledger(options.ledger, lambda: now().isoformat(timespec="seconds"))
    except OSError as error:
        raise BadSetting(f"--ledger {options.ledger}: cannot be opened ({error.strerror})") from error
    terminal = Terminal(
        who=Identity(tid=options.tid, merchant="100461763"), ledger=ledger, faults=waiting, events=events, now=now,
        password=options.password, currencies=tuple(options.currency or (392,)), brand=options.brand.upper(),
        personality=Personality(options.personality), pause_s=options.pause_ms / 1000, host_s=options.host_ms / 1000,
        repeat_s=options.repeat_ms / 1000, attended=options.attended, t3_s=options.t3_ms / 1000,
    )  # fmt: skip
    for transaction in ledger.open:  # the power went before the till's answer counted
        settle(terminal, transaction, terminal.personality, reason="restart")
    port = wire.open_port(options.listen, options.pty)
    process = Process(terminal, port, t2_s=options.t2_ms / 1000, silent_s=options.silent_ms / 1000)
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(process.run())
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, running.cancel)
    events.say("listening", **port.describe())
    log.info("terminal listens")
    listen_for_commands(sys.stdin, loop, process.obey)
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await process.close()
    ledger.close()
