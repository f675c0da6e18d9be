"""A small HTTP/1.1 server for emulated payment services, and the faults of the line that any of them can have.

SPEC = NAME ["=" VALUE] ["@" OPERATION] ["#" N] [":always"]

Without @OPERATION a fault strikes any request, without #N the next one that fits, else the N-th from now; once, unless :always.
A fault of the line is told apart by when it strikes: *before* the service took the request in, or *after* it stored it.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from emulators.errors import BadSetting, BadSpec
from emulators.events import Events, listen_for_commands

BODY_MAX_BYTES = 1_000_000
LINE_FAULTS = {"reset-before", "reset-after", "503-before", "503-after", "html-after", "401", "429", "slow"}
CLOCK = "clock"
GRAMMAR = """faults (--fault NAME[=VALUE][@OPERATION][#N][:always], repeatable; also {"do": "fault", "spec": SPEC}):
 of the line (the next request, or that of OPERATION, or the N-th of them; once, or :always)
  reset-before, reset-after   the connection is reset before the request is taken in, or after it was stored
  503-before, 503-after       answered 503 without, or after, having stored it
  html-after                  stored, and answered 200 with a page that is no JSON
  401                         refused: UNAUTHORIZED
  429[=SECONDS]               refused: too many requests, with Retry-After
  slow=MS                     answered MS late
 lasting, until {"do": "heal", "fault": NAME}
  clock=SECONDS               the service's clock is off by so much"""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        try:
            found = json.loads(self.raw or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Fault:
    name: str
    value: str = ""
    operation: str = ""
    in_n: int = 1
    always: bool = False


class Faults:
    """The faults that wait. `once` and `lasting` name what the device itself knows beside those of the line."""

    def __init__(self, *, once: Iterable[str], lasting: Iterable[str], operations: Iterable[str]) -> None:
        self._lasting_names = {*lasting, CLOCK}
        self._names = {*once, *LINE_FAULTS, *self._lasting_names}
        self._operations = set(operations)
        self._waiting: list[Fault] = []

    def add(self, spec: str) -> None:
        """Raises BadSpec, one line."""
        match = re.fullmatch(r"([a-z0-9-]+)(?:=([^@#:]*))?(?:@([a-z-]+))?(?:#([1-9]\d{0,3}))?(:always)?", spec)
        if match is None or match[1] not in self._names:
            raise BadSpec(
                f"fault {spec!r}: NAME[=VALUE][@OPERATION][#N][:always], NAME of {', '.join(sorted(self._names))}"
            )
        if match[3] and (match[3] not in self._operations or match[1] not in LINE_FAULTS):
            raise BadSpec(
                f"fault {spec!r}: @OPERATION is for faults of the line: {', '.join(sorted(self._operations))}"
            )
        number = match[1] in {"429", "slow", CLOCK} and match[2] is not None
        if (number and not re.fullmatch(r"-?\d{1,9}", match[2])) or (match[1] in {"slow", CLOCK} and not number):
            raise BadSpec(f"fault {spec!r}: {match[1]}=NUMBER")
        fault = Fault(match[1], match[2] or "", match[3] or "", int(match[4] or 1), bool(match[5]))
        fault.always = fault.always or fault.name in self._lasting_names
        self._waiting.append(fault)

    def heal(self, name: str) -> None:
        self._waiting = [fault for fault in self._waiting if fault.name != name]

    def clear(self) -> None:
        self._waiting = []

    def take(self, name: str) -> Fault | None:
        """A fault of the device that is due now; used up unless it lasts."""
        for fault in self._waiting:
            if fault.name == name:
                fault.in_n -= 1
                if fault.in_n > 0 and not fault.always:
                    return None
                if not fault.always:
                    self._waiting.remove(fault)
                return fault
        return None

    def of_line(self, operation: str) -> Fault | None:
        for fault in self._waiting:
            if fault.name in LINE_FAULTS and fault.operation in ("", operation):
                fault.in_n -= 1
                if fault.in_n > 0 and not fault.always:
                    continue
                if not fault.always:
                    self._waiting.remove(fault)
                return fault
        return None

    def now(self) -> datetime:
        """The service's clock."""
        return datetime.now(UTC) + timedelta(seconds=int(self.value(CLOCK) or 0))

    def value(self, name: str) -> str | None:
        return next((fault.value for fault in self._waiting if fault.name == name), None)


class Books:
    """The service's own ledger: one JSON line a money event, on standard output and, kept, in a file."""

    def __init__(self, path: Path | None, events: Events) -> None:
        self._events = events
        try:
            self._file = None if path is None else path.open("ab", buffering=0)
        except OSError as error:
            raise BadSetting(f"--ledger {path}: cannot be opened ({error.strerror})") from error

    def write(self, event: str, **values: Any) -> None:
        if self._file is not None:
            self._file.write((json.dumps({"event": event, **values}, ensure_ascii=False) + "\n").encode())
            os.fsync(self._file.fileno())
        self._events.say(event, **values)


class Web:
    """Serves one emulated service. `operation` names a request for faults and events; `answer` does it."""

    def __init__(
        self, *, faults: Faults, events: Events,
        operation: Callable[[Request], str], answer: Callable[[Request, str], Response],
        refusal: Callable[[int], dict[str, Any]],
    ) -> None:  # fmt: skip
        self._faults = faults
        self._events = events
        self._operation = operation
        self._answer = answer
        self._refusal = refusal
        self._count = 0
        self._clients: set[asyncio.StreamWriter] = set()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            while (request := await _read(reader)) is not None:
                if not await self._exchange(request, writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            self._clients.discard(writer)
            writer.close()

    def close(self) -> None:
        for writer in list(self._clients):
            writer.transport.abort()

    async def _exchange(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        operation = self._operation(request)
        fault = self._faults.of_line(operation)
        name = fault.name if fault else ""
        self._count += 1
        self._events.say("request", n=self._count, operation=operation, path=request.path, fault=name)
        match name:
            case "reset-before":
                return _reset(writer)
            case "503-before":
                response = Response(503, self._refusal(503))
            case "401":
                response = Response(401, self._refusal(401))
            case "429":
                response = Response(429, self._refusal(429), {"Retry-After": fault.value if fault else ""})
            case _:
                response = self._answer(request, operation)
        match name:
            case "reset-after":
                return _reset(writer)
            case "503-after":
                response = Response(503, self._refusal(503))
            case "slow":
                await asyncio.sleep(int(fault.value if fault else 0) / 1000)
        body = b"<html>it works</html>" if name == "html-after" else json.dumps(response.body).encode()
        head = {
            "Date": format_datetime(self._faults.now(), usegmt=True),
            "Content-Type": "application/json",
            **response.headers,
        }
        head["Content-Length"] = str(len(body))
        lines = [f"HTTP/1.1 {response.status} X", *(f"{key}: {value}" for key, value in head.items() if value), "", ""]
        writer.write("\r\n".join(lines).encode("latin-1") + body)
        await writer.drain()
        self._events.say("answered", n=self._count, operation=operation, status=response.status)
        return request.headers.get("connection", "").lower() != "close"


async def run(listen: str, web: Web, events: Events, obey: Callable[[dict[str, Any]], None]) -> None:
    """Serve until SIGTERM or SIGINT; `obey` raises BadSpec for a command it does not know."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise BadSetting(f"--listen {listen}: HOST:PORT is allowed, such as 127.0.0.1:0")
    try:
        server = await asyncio.start_server(web.talk, host, int(port), limit=BODY_MAX_BYTES)
    except OSError as error:
        raise BadSetting(f"--listen {listen}: {error.strerror}") from error
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)

    def command(values: dict[str, Any]) -> None:
        try:
            obey(values)
        except BadSpec as error:
            events.say("error", why=str(error), code=error.code)
            return
        events.say("done", do=values["do"])

    bound = server.sockets[0].getsockname()
    events.say("listening", host=bound[0], port=bound[1], url=f"http://{bound[0]}:{bound[1]}")
    listen_for_commands(sys.stdin, loop, command)
    await stop.wait()
    server.close()
    web.close()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    with contextlib.suppress(asyncio.IncompleteReadError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if not 0 <= length <= BODY_MAX_BYTES:
            return None
        parts = urlsplit(target)
        return Request(method, parts.path, dict(parse_qsl(parts.query)), headers, await reader.readexactly(length))
    return None


def _reset(writer: asyncio.StreamWriter) -> bool:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False
