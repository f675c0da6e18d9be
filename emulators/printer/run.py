"""The printer as a process: one wire, one clock, one Device; replies leave as the reply faults allow."""

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from pathlib import Path
from typing import Any

from emulators import wire
from emulators.errors import BadSetting, BadSpec
from emulators.events import Events, listen_for_commands, log
from emulators.printer import faults, glyphs
from emulators.printer.device import Device, Reply, ReplyKind, Setup
from emulators.printer.faults import FaultName

DOTS_PER_MM = 8
TICK_S = 0.004
MERGE_S = 0.2
HANG_UP_LOOK_S = 0.25
LEAVING_S = 1.0


class Printer:
    """Moves bytes between the wire and the device, and paper with time."""

    def __init__(
        self, device: Device, port: wire.Port, events: Events, *, speed_mm_s: float, bytes_per_s: float, raw: Path
    ):
        self._device = device
        self._port = port
        self._events = events
        self._dots_per_s = speed_mm_s * DOTS_PER_MM
        self._bytes_per_s = bytes_per_s
        self._raw = raw.open("ab", buffering=0)
        self._client: wire.Wire | None = None
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._powered = asyncio.Event()
        self._stalled_until = 0.0
        self._out: asyncio.Queue[tuple[wire.Wire, bytes]] = asyncio.Queue()
        self._marks = 0
        self._merging: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until cancelled."""
        self._device.start()
        self._notice()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._print())
            group.create_task(self._write())

    def close(self) -> None:
        self._device.stop()
        self._raw.close()
        self._port.close()

    def obey(self, command: dict[str, Any]) -> None:
        """A line from standard input."""
        try:
            self._device.obey(command)
        except BadSpec as error:
            self._events.say("error", why=str(error), lost=False)
            return
        self._notice()
        self._work.set()
        self._events.say("done", do=command["do"])

    # -- receiving ------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            await self._powered.wait()
            client = await self._port.accept()
            if self._client is not None and self._client.hung_up():
                # The last client has gone; what it sent is still being taken in, which is short unless paper lacks.
                await asyncio.wait(self._tasks, timeout=LEAVING_S)
            if self._client is not None or not self._device.condition.powered:
                client.close(reset=True)
                self._events.say("refused", client=client.name)
                continue
            self._client = client
            self._events.say("connected", client=client.name)
            task = asyncio.create_task(self._receive(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _receive(self, client: wire.Wire) -> None:
        while True:
            if not await self._may_read(client):
                break
            limit = min(self._device.room_bytes, wire.READ_LIMIT_BYTES)
            if self._bytes_per_s:
                limit = max(1, min(limit, int(self._bytes_per_s / 50)))
            data = await client.read(limit)
            if not data or self._client is not client:
                break
            if not self._device.condition.powered:
                continue
            if self._device.idle:
                self._events.say("receiving", first=data[:4].hex(" "))
            self._raw.write(data)
            self._device.receive(data)
            self._notice()
            self._work.set()
            # The paper first: a reader that is always ready must not starve the printing.
            await asyncio.sleep(len(data) / self._bytes_per_s if self._bytes_per_s else 0)
        if self._client is client:
            self._client = None
            client.close()
            self._events.say("disconnected", client=client.name)

    async def _may_read(self, client: wire.Wire) -> bool:
        """Wait until there is room; False when the client has gone and there will be none.

        While paper moves, what a client left behind is still printed. A printer that stands still would keep its
        only connection for a dead client, and nobody could come to clear it.
        """
        while True:
            wait_s = self._stalled_until - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            elif self._device.room_bytes == 0 or not self._device.condition.powered:
                if client.hung_up() and self._device.condition.stopped:
                    return False
                self._room.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(HANG_UP_LOOK_S):
                        await self._room.wait()
            else:
                return True

    # -- printing -------------------------------------------------------------------------------------------------

    async def _print(self) -> None:
        last_s, credit_dots = time.monotonic(), 0.0
        while True:
            if not self._device.moving:
                self._work.clear()
                if not self._advance(0 if self._dots_per_s else None) and not self._device.moving:
                    await self._work.wait()
                last_s, credit_dots = time.monotonic(), 0.0
                continue
            if not self._dots_per_s:
                self._advance(None)
                await asyncio.sleep(0)
                continue
            await asyncio.sleep(TICK_S)
            now_s = time.monotonic()
            credit_dots += (now_s - last_s) * self._dots_per_s
            last_s = now_s
            whole = int(credit_dots)
            credit_dots -= whole
            self._advance(whole)

    def _advance(self, budget_dots: int | None) -> int:
        moved = self._device.work(budget_dots)
        self._notice()
        return moved

    def _notice(self) -> None:
        """Carry out what the device has decided: replies, a stall, a loss of power, healing later."""
        device = self._device
        if device.stall_seconds:
            self._stalled_until = time.monotonic() + device.stall_seconds
            device.stall_seconds = 0.0
        for seconds, verb in device.healing:
            asyncio.get_running_loop().call_later(seconds, self.obey, {"do": verb})
        device.healing.clear()
        if device.room_bytes and device.condition.powered:
            self._room.set()
        replies, device.outbox = device.outbox, []
        for reply in replies:
            self._answer(reply)
        if device.condition.powered != self._powered.is_set():
            self._switch(on=device.condition.powered)

    def _switch(self, *, on: bool) -> None:
        if on:
            if self._client is not None:  # a serial line: nobody heard what was said into it meanwhile
                self._client.close(reset=True)
            self._port.hear()
            self._powered.set()
            return
        self._powered.clear()
        self._port.deaf()
        while not self._out.empty():  # said before the power went
            client, data = self._out.get_nowait()
            client.write_now(data)
        if self._client is not None:
            client, self._client = self._client, None
            client.close(reset=True)
            self._events.say("disconnected", client=client.name)
            if client.serial:  # the line itself stays; it is only that nobody listens
                self._client = client

    # -- answering ------------------------------------------------------------------------------------------------

    def _answer(self, reply: Reply) -> None:
        schedule = self._device.schedule
        if schedule.holds(FaultName.MUTE):
            return
        if reply.kind is ReplyKind.MARK:
            self._marks += 1
            if schedule.take(FaultName.REPLY_LOST, self._marks):
                self._events.say("reply-lost", bytes=reply.data.hex(" "))
                return
            late = schedule.lasting.get(FaultName.REPLY_LATE)
            if late is not None and late.value:
                asyncio.get_running_loop().call_later(late.value / 1000, self._enqueue, reply.data, self._client)
                return
            if schedule.holds(FaultName.REPLY_MERGE):
                self._merging.append(reply.data)
                asyncio.get_running_loop().call_later(MERGE_S, self._flush_merged)
                return
        merged = b"".join(self._merging)
        self._merging.clear()
        self._enqueue(merged + reply.data, self._client)

    def _flush_merged(self) -> None:
        if self._merging:
            merged = b"".join(self._merging)
            self._merging.clear()
            self._enqueue(merged, self._client)

    def _enqueue(self, data: bytes, client: wire.Wire | None) -> None:
        # Nobody connected, nobody told: a network printer keeps no mail for a host that has gone.
        if client is not None and client is self._client:
            self._out.put_nowait((client, data))

    async def _write(self) -> None:
        while True:
            client, data = await self._out.get()
            wait_s = self._stalled_until - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            if client is not self._client:
                continue
            if self._device.schedule.holds(FaultName.REPLY_SPLIT):
                for byte in data:
                    await client.write(bytes([byte]))
                    await asyncio.sleep(0.002)
            else:
                await client.write(data)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m emulators printer`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "A strict ESC/POS printer: one PNG a cut, one JSON line an event on standard output."
    parser.epilog = (
        faults.GRAMMAR
        + "\n\non an error (an unknown byte) it prints and answers nothing until ESC @, Clear or power off and on;"
        + '\ncommands on standard input, a line each: {"do": "load-paper"}, open-cover, close-cover, clear-jam, cool,'
        + '\n  power-off, power-on, {"do": "fault", "spec": SPEC}, {"do": "heal", "fault": NAME}, status'
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--listen", metavar="HOST:PORT", help="a TCP port, as a network printer's 9100; port 0 takes a free one"
    )
    where.add_argument("--pty", metavar="PATH", help="a pseudo-terminal, reachable under PATH, as a serial printer")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="ticket-0001.png ..., torn-0001.png ..., printer.bin"
    )
    parser.add_argument("--fault", metavar="SPEC", action="append", default=[], help="see below; repeatable")
    parser.add_argument("--speed", metavar="MM_PER_S", type=float, default=150.0, help="0: at once (default 150)")
    parser.add_argument("--width-dots", type=int, default=576, help="print width, a multiple of 8 (default 576)")
    parser.add_argument(
        "--rx-bytes", type=int, default=65_536, help="receive buffer; full means back-pressure (default 65536)"
    )
    parser.add_argument(
        "--bytes-per-s", type=float, default=0.0, help="line rate, e.g. 11520 for 115200 baud (default: no limit)"
    )
    parser.add_argument(
        "--ahead-dots", type=int, default=256, help="how far interpreting runs ahead of the head (default 256)"
    )
    parser.add_argument("--cutter-gap-dots", type=int, default=96, help="from head to cutter (default 96, 12 mm)")
    parser.add_argument(
        "--scan-raster", action=argparse.BooleanOptionalAction, default=True,
        help="see real-time commands inside picture data, as real printers do (default on)",
    )  # fmt: skip


def check(options: argparse.Namespace) -> None:
    """Raise BadSetting for numbers that cannot work."""
    if options.width_dots % 8 or not 64 <= options.width_dots <= 4096:
        raise BadSetting(f"--width-dots {options.width_dots}: a multiple of 8 from 64 to 4096 is needed")
    if not 64 <= options.rx_bytes <= 1 << 26:
        raise BadSetting(f"--rx-bytes {options.rx_bytes}: 64 to 67108864 is allowed")
    if options.speed < 0 or options.bytes_per_s < 0 or options.ahead_dots < 1 or options.cutter_gap_dots < 0:
        raise BadSetting(
            "--speed and --bytes-per-s need 0 or more, --ahead-dots 1 or more, --cutter-gap-dots 0 or more"
        )


async def serve(options: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT."""
    check(options)
    first = [faults.parse(spec) for spec in options.fault]
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadSetting(f"--out {options.out}: cannot be made ({error.strerror})") from error
    events = Events(sys.stdout)
    setup = Setup(
        out=options.out, width_dots=options.width_dots, gap_dots=options.cutter_gap_dots, rx_bytes=options.rx_bytes,
        ahead_dots=options.ahead_dots, scan_raster=options.scan_raster,
    )  # fmt: skip
    port = wire.open_port(options.listen, options.pty, receive_bytes=65_536)
    glyphs.kanji("札")  # loading the font takes longer than a ticket; not while a guest's first one prints
    device = Device(setup, first, events.say)
    printer = Printer(
        device, port, events, speed_mm_s=options.speed, bytes_per_s=options.bytes_per_s, raw=options.out / "printer.bin"
    )
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(printer.run())
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, running.cancel)
    events.say("listening", **port.describe())
    log.info("printer listens")
    listen_for_commands(sys.stdin, loop, printer.obey)
    with contextlib.suppress(asyncio.CancelledError):
        await running
    printer.close()
