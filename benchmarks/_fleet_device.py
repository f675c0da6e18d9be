"""One virtual device of the fleet: a socket, a key, a chain of its own in memory, and an account of all it did.

The bytes are the protocol's (requests signed as sync.hop says, segments chained and signed by sync.chain); there is no disk under it, so
what is measured is the hub. It must never take an operation for delivered that was not answered.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync import hop, protocol
from sync.chain import SEGMENT_OPERATIONS_MAX, ZERO_HASH, cut, operation_hash
from sync.client import TIME_HEADER
from sync.operation import Operation, to_body
from sync.protocol import segment_to_row
from tickets.ids import DeviceId

try:
    from sync.client import NONCE_HEADER
    from sync.nonce import RANDOM_BYTES, answer_to
except ImportError:  # before the hub gave out nonces of its own
    NONCE_HEADER = ""

SEGMENT_MAX = min(200, SEGMENT_OPERATIONS_MAX)
BACKOFF_S_MAX = 4.0
_CURSOR = re.compile(rb'"cursor":\s*"([^"]*)"')


class Refused(Exception):
    """An answer that is no 200."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body[:200]!r}")
        self.status, self.body = status, body


@dataclass(slots=True)
class Fleet:
    """What all devices share: where the hub is, when it is over, and what they found."""

    host: str
    port: int
    ends_s: float
    waits: list[tuple[float, float]] = field(default_factory=list)
    """(when it was sent, how long it took in ms) of each claim that was answered."""
    seen: Counter[str] = field(default_factory=Counter)
    answered: list[tuple[float, int]] = field(default_factory=list)
    """(when, how many) operations were answered."""

    def going_on(self) -> bool:
        return time.monotonic() < self.ends_s


class Wire:
    """One kept-alive connection, opened anew after any trouble."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, row: dict[str, object] | None, *, within_s: float) -> bytes:
        """The body of a 200. Raises OSError, TimeoutError, EOFError for a line without an answer, Refused."""
        body = b"" if row is None else json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
        for last in (False, True):
            try:
                status, content = await asyncio.wait_for(self._exchange(method, path, body), within_s)
            except (OSError, TimeoutError, EOFError):
                self.close()
                raise
            if status == 200:
                return content
            if status == 401 and not last:
                self._device.fleet.seen["signed_again"] += 1
                continue  # the hub has told its time, or its nonce: once more
            raise Refused(status, content)
        raise AssertionError

    async def _exchange(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        device = self._device
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(device.fleet.host, device.fleet.port)
        assert self._reader is not None
        host = f"{device.fleet.host}:{device.fleet.port}"
        message = hop.Message(method=method, url=f"http://{host}{path}")
        if body:
            message.headers["Content-Type"] = "application/json"
        now = datetime.now(UTC) + device.offset
        hop.sign(message, body, device=device.device, key=device.key, now=now, nonce=device.nonce())
        head = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in message.headers.items()]
        self._writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        await self._writer.drain()
        text = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = int(text.split(" ", 2)[1])
        headers = {
            line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in text.split("\r\n")[1:] if line
        }
        device.hears(headers)
        content = await self._reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return status, content

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


class Device:
    """A gate or a kiosk: what it does is handed in as `acts`, which appends operations and may claim."""

    def __init__(
        self, fleet: Fleet, device: DeviceId, key: Ed25519PrivateKey, label: str, *, every_s: float, seed: int
    ) -> None:
        self.fleet, self.device, self.key, self.label = fleet, device, key, label
        self.every_s = every_s
        self.chance = random.Random(seed)
        self.offset = timedelta(0)
        self.bodies: list[str] = []
        self.acknowledged = 0
        self.head = self._acknowledged_head = ZERO_HASH
        self._hub_nonce = ""
        self._wire, self._feed = Wire(self), Wire(self)
        self._claims = Wire(self)
        self._hanging: asyncio.Task[object] | None = None
        self._cut_to = 0
        self.failures = 0
        self.has_ended = False
        """No guest comes any more."""

    def nonce(self) -> str:
        if NONCE_HEADER:
            return str(answer_to(self._hub_nonce, os.urandom(RANDOM_BYTES)))
        return os.urandom(16).hex()

    def hears(self, headers: dict[str, str]) -> None:
        said = headers.get(TIME_HEADER.lower(), "")
        if said.isdigit():
            self.offset = datetime.fromtimestamp(int(said) / 1000, tz=UTC) - datetime.now(UTC)
        if NONCE_HEADER:
            self._hub_nonce = headers.get(NONCE_HEADER, self._hub_nonce)

    def append(self, what: Operation) -> None:
        body = to_body(what)
        self.head = operation_hash(self.device, 1, len(self.bodies) + 1, self.head, body)
        self.bodies.append(body)

    @property
    def unsent(self) -> int:
        return len(self.bodies) - self.acknowledged

    async def claim(self, row: dict[str, object], *, deadline_s: float) -> dict[str, object] | None:
        """The answer, or None after the deadline. A late call hangs on, and meanwhile the next claim is silence at once."""
        if self._hanging is not None and not self._hanging.done():
            self.fleet.seen["claims_silent"] += 1
            return None
        self._hanging = asyncio.ensure_future(self._claim(row))
        done, _ = await asyncio.wait({self._hanging}, timeout=deadline_s)
        answer = self._hanging.result() if done else None
        self.fleet.seen["claims_answered" if answer is not None else "claims_silent"] += 1
        return answer  # type: ignore[return-value]

    async def _claim(self, row: dict[str, object]) -> object:
        began = time.monotonic()
        try:
            content = await self._claims.ask("POST", protocol.CLAIM, row, within_s=10)
        except (OSError, TimeoutError, EOFError, Refused) as error:
            self.fleet.seen[f"claim_{type(error).__name__}"] += 1
            return None
        self.fleet.waits.append((began, (time.monotonic() - began) * 1000))
        return json.loads(content)

    async def act(self, acts: Callable[[Device], object]) -> None:
        """Guests come at random, on average every `every_s`."""
        await self._until(self.chance.uniform(0, self.every_s))
        while self.fleet.going_on():
            result = acts(self)
            if asyncio.iscoroutine(result):
                await result
            await self._until(self.chance.expovariate(1 / self.every_s))
        self.has_ended = True

    async def push(self, every_s: float) -> None:
        """Segments in order, each until it is answered; full jitter after a failure. Ends when all is answered and no guest comes."""
        await self._until(self.chance.uniform(0, every_s))
        while not self.has_ended or self.unsent:
            pause_s = self.chance.uniform(0.5, 1.5) * every_s if self.fleet.going_on() else 0.2
            try:
                while self.unsent:
                    await self._push_segment()
                    self.failures = 0
            except (OSError, TimeoutError, EOFError, Refused) as error:
                if isinstance(error, Refused) and error.status not in (429, 503):
                    self.fleet.seen[f"refused {error}"[:120]] += 1
                self.failures += 1
                pause_s = self.chance.uniform(0, min(BACKOFF_S_MAX, 0.25 * 2**self.failures))
            await (self._until(pause_s) if self.fleet.going_on() else asyncio.sleep(pause_s))

    async def _until(self, pause_s: float) -> None:
        """Wait, but not beyond the end."""
        await asyncio.sleep(max(0.0, min(pause_s, self.fleet.ends_s - time.monotonic())))

    async def _push_segment(self) -> None:
        """Cut once, sent again byte for byte: as many operations as there were when it was cut."""
        first = self.acknowledged + 1
        last = self._cut_to if self._cut_to >= first else min(len(self.bodies), first + SEGMENT_MAX - 1)
        self._cut_to = last
        segment = cut(
            device=self.device,
            incarnation=1,
            first=first,
            before=self._acknowledged_head,
            bodies=tuple(self.bodies[first - 1 : last]),
            key=self.key,
        )
        content = await self._wire.ask("POST", protocol.OPERATIONS, segment_to_row(segment), within_s=30)
        answers = protocol.answers_from_json(content)
        assert len(answers) == len(segment.bodies)
        self.fleet.seen.update(f"answer_{answer.status}" for answer in answers)
        self.acknowledged, self._acknowledged_head = last, segment.head
        self.fleet.answered.append((time.monotonic(), len(answers)))

    async def follow(self, within_s: float) -> None:
        """The feed, as a long poll, from some moment `within_s` on; once it has answered at once again, as the daemon asks (sync.daemon.pull)."""
        cursor: str | None = None
        await asyncio.sleep(self.chance.uniform(0, within_s))
        while self.fleet.going_on():
            query = {"wait": "20.000", "limit": "1000"} | ({} if cursor is None else {"cursor": cursor})
            try:
                content = await self._feed.ask("GET", f"{protocol.CHANGES}?{urlencode(query)}", None, within_s=40)
                found = _CURSOR.search(content)
                cursor = found[1].decode() if found else None
                self.fleet.seen["polls"] += 1
            except (OSError, TimeoutError, EOFError, Refused) as error:
                self.fleet.seen[f"poll_{type(error).__name__}"] += 1
                if isinstance(error, Refused) and error.status == 410:
                    cursor = None
                await asyncio.sleep(self.chance.uniform(0, BACKOFF_S_MAX))

    async def tell(self, every_s: float) -> None:
        wire = Wire(self)
        await asyncio.sleep(self.chance.uniform(0, every_s))
        while self.fleet.going_on():
            row = protocol.Telemetry(at=datetime.now(UTC), software="fleet", unsent=self.unsent, parts=()).to_row()
            try:
                await wire.ask("POST", protocol.TELEMETRY, row, within_s=10)
                self.fleet.seen["telemetry"] += 1
            except (OSError, TimeoutError, EOFError, Refused) as error:
                self.fleet.seen[f"telemetry_{type(error).__name__}"] += 1
            wire.close()
            await asyncio.sleep(every_s * self.chance.uniform(0.8, 1.2))
        wire.close()

    def close(self) -> None:
        for wire in (self._wire, self._feed, self._claims):
            wire.close()
