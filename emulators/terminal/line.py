"""The line to the till: messages as they are over TCP, or framed with checksums and acknowledgements over serial.

Serial block: 10 02 | message, every 10 doubled | 10 03 | CRC low, CRC high. CRC-16/KERMIT over the undoubled message
and 03; the two CRC bytes are never doubled. One byte 06 says well received, 15 says again.
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable

from emulators.terminal.apdu import ACK, Apdu, take
from emulators.wire import Wire

ACK_BYTE, NAK_BYTE = 0x06, 0x15
DLE, STX, ETX = 0x10, 0x02, 0x03
REPEATS_MAX = 2
GLUE_S = 0.05


class LineLost(Exception):
    """The till cannot be reached any more."""


def crc(data: bytes) -> int:
    """CRC-16/KERMIT: reflected polynomial 8408h, start 0; check value of "123456789" is 2189h."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x8408 if value & 1 else 0)
    return value


def frame(message: bytes) -> bytes:
    """A message as a serial block."""
    check = crc(message + bytes([ETX])).to_bytes(2, "little")
    return b"\x10\x02" + message.replace(b"\x10", b"\x10\x10") + b"\x10\x03" + check


class Deframer:
    """Serial bytes to blocks. Events: ("frame", message), ("bad", b"") for a wrong checksum, ("ack"|"nak", b"")."""

    def __init__(self) -> None:
        self._state: Callable[[int], list[tuple[str, bytes]]] = self._outside
        self._message = bytearray()
        self._check = bytearray()

    @property
    def inside(self) -> bool:
        """Whether a block has begun and not ended."""
        return self._state != self._outside

    def forget(self) -> None:
        self._state = self._outside

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        found = []
        for byte in data:
            found += self._state(byte)
        return found

    def _outside(self, byte: int) -> list[tuple[str, bytes]]:
        if byte == ACK_BYTE:
            return [("ack", b"")]
        if byte == NAK_BYTE:
            return [("nak", b"")]
        if byte == DLE:
            self._state = self._begin
        return []

    def _begin(self, byte: int) -> list[tuple[str, bytes]]:
        self._message.clear()
        self._check.clear()
        self._state = self._inside if byte == STX else self._outside
        return []

    def _inside(self, byte: int) -> list[tuple[str, bytes]]:
        if byte == DLE:
            self._state = self._escaped
        else:
            self._message.append(byte)
        return []

    def _escaped(self, byte: int) -> list[tuple[str, bytes]]:
        if byte == DLE:
            self._message.append(DLE)
            self._state = self._inside
        elif byte == ETX:
            self._state = self._checking
        elif byte == STX:  # a new block begins: the old one was torn
            self._message.clear()
            self._state = self._inside
        else:
            self._state = self._outside
            return [("bad", b"")]
        return []

    def _checking(self, byte: int) -> list[tuple[str, bytes]]:
        self._check.append(byte)
        if len(self._check) < 2:
            return []
        self._state = self._outside
        message = bytes(self._message)
        good = int.from_bytes(self._check, "little") == crc(message + bytes([ETX]))
        return [("frame", message)] if good else [("bad", b"")]


class Line(ABC):
    """Messages to and from one till. `watch(direction, apdu)` sees each of them first."""

    def __init__(self, wire: Wire, watch: Callable[[str, Apdu], None]) -> None:
        self.wire = wire
        self.watch = watch
        self.delay_s = 0.0
        self.split = False
        self.twice_next = False
        self.glue = False
        self._kept = b""
        self._inbox: asyncio.Queue[Apdu | None] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read())
        self.lost = False

    @abstractmethod
    async def _read(self) -> None: ...

    @abstractmethod
    async def send(self, apdu: Apdu) -> None:
        """Send one message. Raises LineLost."""

    async def receive(self, timeout_s: float | None) -> Apdu | None:
        """The next message, or None when `timeout_s` has passed. Raises LineLost."""
        if self.lost:
            raise LineLost
        try:
            # Not wait_for: in Python 3.11 it can swallow a cancellation that meets a message.
            async with asyncio.timeout(timeout_s):
                found = await self._inbox.get()
        except TimeoutError:
            return None
        if found is None:
            self.lost = True
            raise LineLost
        return found

    async def _write(self, data: bytes) -> None:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if not self.split:
            await self.wire.write(data)
            return
        for byte in data:
            await self.wire.write(bytes([byte]))
            await asyncio.sleep(0.001)

    def cut(self) -> None:
        """Lose the line from our side, as if a cable were pulled."""
        self.lost = True
        self._reader.cancel()
        self.wire.close(reset=True)

    async def close(self) -> None:
        self._reader.cancel()
        await asyncio.wait({self._reader})
        self.wire.close()


class TcpLine(Line):
    """Messages follow each other in the stream, without any frame."""

    async def _read(self) -> None:
        buffer = bytearray()
        while data := await self.wire.read():
            buffer += data
            while (apdu := take(buffer)) is not None:
                self.watch("in", apdu)
                if self.lost:  # cut at this message
                    self._inbox.put_nowait(None)
                    return
                self._inbox.put_nowait(apdu)
        self._inbox.put_nowait(None)

    async def send(self, apdu: Apdu) -> None:
        if self.lost:
            raise LineLost
        self.watch("out", apdu)
        if self.lost:
            raise LineLost
        if self.twice_next:
            self.twice_next = False
            await self._write(apdu.encode())
        if self.glue and apdu == ACK:
            self._kept += apdu.encode()
            asyncio.get_running_loop().call_later(GLUE_S, self._unglue)
            return
        kept, self._kept = self._kept, b""
        await self._write(kept + apdu.encode())

    def _unglue(self) -> None:
        """Nothing followed: an acknowledgement cannot wait for ever."""
        kept, self._kept = self._kept, b""
        if not self.lost:
            self.wire.write_now(kept)


class SerialLine(Line):
    """Blocks with acknowledgement. t1: silence inside a block; t2: how long the other end may take to acknowledge."""

    def __init__(self, wire: Wire, watch: Callable[[str, Apdu], None], *, t1_s: float = 0.2, t2_s: float = 5.0) -> None:
        self._t1_s = t1_s
        self._t2_s = t2_s
        self._acks: asyncio.Queue[bool] = asyncio.Queue()
        self._last = b""
        self._sending = False
        self.bad_crc_next = 0
        self.ignore_next = False
        self.refuse_next = 0
        self.lose_ack_next = False
        self._deaf = False  # waiting for an acknowledgement that was lost: half duplex, nothing else is heard
        super().__init__(wire, watch)

    async def _read(self) -> None:
        deframer = Deframer()
        while True:
            try:
                async with asyncio.timeout(self._t1_s if deframer.inside else None):
                    data = await self.wire.read()
            except TimeoutError:
                deframer.forget()
                await self.wire.write(bytes([NAK_BYTE]))
                continue
            if not data:
                break
            for kind, message in deframer.feed(data):
                await self._take(kind, message)
        self._inbox.put_nowait(None)

    async def _take(self, kind: str, message: bytes) -> None:
        if kind == "ack" and self._sending and self.lose_ack_next:
            self.lose_ack_next, self._deaf = False, True
            return
        if kind in {"ack", "nak"}:
            self._deaf = False
            # Over from this byte on: the till's next block may stand in the same piece, before `send` gets to run.
            self._sending = self._sending and kind == "nak"
            self._acks.put_nowait(kind == "ack")
            return
        if self._deaf and not (self._sending and message == self._last):
            return
        if kind == "frame" and self.refuse_next:
            self.refuse_next -= 1
            kind = "bad"
        if kind == "bad":
            await self.wire.write(bytes([NAK_BYTE]))
            return
        if self.ignore_next:  # a lost acknowledgement: the block is taken, the till does not learn it
            self.ignore_next = False
        else:
            await self.wire.write(bytes([ACK_BYTE]))
        # Half duplex: a till that repeats its last block while ours is unacknowledged missed our acknowledgement.
        if self._sending and message == self._last:
            return
        self._last = message
        buffer = bytearray(message)
        apdu = take(buffer)
        if apdu is not None and not buffer:
            self.watch("in", apdu)
            self._inbox.put_nowait(None if self.lost else apdu)

    async def send(self, apdu: Apdu) -> None:
        if self.lost:
            raise LineLost
        self.watch("out", apdu)
        if self.lost:
            raise LineLost
        block = frame(apdu.encode())
        self._sending = True
        try:
            for _ in range(1 + REPEATS_MAX):
                while not self._acks.empty():
                    self._acks.get_nowait()
                sent = block
                if self.bad_crc_next:
                    self.bad_crc_next -= 1
                    sent = block[:-1] + bytes([block[-1] ^ 0xFF])
                await self._write(sent)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._t2_s):
                        if await self._acks.get():
                            return
        finally:
            self._sending = False
        self.lost = True
        raise LineLost
