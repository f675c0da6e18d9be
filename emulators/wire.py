"""The real wires: one TCP port or one pseudo-terminal, one client at a time. It knows no protocol.

A second TCP client is turned away with a reset, as Ethernet interfaces of printers and terminals do. A
pseudo-terminal has no connect and no hang-up, as a serial line has none.
"""

import asyncio
import contextlib
import errno
import os
import select
import socket
import struct
import tty
from abc import ABC, abstractmethod
from pathlib import Path

from emulators.errors import BadSetting

READ_LIMIT_BYTES = 16_384


class Wire(ABC):
    """One client's line. `read` gives b"" when the other end is gone; `write` to a dead line is silently lost."""

    name: str
    serial: bool

    @abstractmethod
    async def read(self, limit_bytes: int = READ_LIMIT_BYTES) -> bytes: ...

    @abstractmethod
    async def write(self, data: bytes) -> None: ...

    @abstractmethod
    def write_now(self, data: bytes) -> None:
        """Send what the line takes without waiting; the rest is lost."""

    def hung_up(self) -> bool:
        """Whether the other end has closed, even if bytes of its are still unread."""
        return False

    @abstractmethod
    def close(self, *, reset: bool = False) -> None: ...


class TcpWire(Wire):
    """A connected socket."""

    serial = False

    def __init__(self, sock: socket.socket, name: str) -> None:
        self.name = name
        self._sock = sock
        self._open = True

    async def read(self, limit_bytes: int = READ_LIMIT_BYTES) -> bytes:
        try:
            return await asyncio.get_running_loop().sock_recv(self._sock, limit_bytes)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().sock_sendall(self._sock, data)

    def write_now(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._sock.send(data)

    def hung_up(self) -> bool:
        if not self._open:
            return True
        poll = select.poll()
        poll.register(self._sock, select.POLLRDHUP)
        return bool(poll.poll(0))

    def close(self, *, reset: bool = False) -> None:
        """Close in good order, or with a reset as a machine that loses its power or refuses a caller."""
        if not self._open:
            return
        self._open = False
        if reset:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)  # wakes a pending read
        # The event loop must see that wake-up first: closed at once, the descriptor's number stays in its selector, and the
        # next client that gets this number is never read.
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._sock.close)


class PtyWire(Wire):
    """The master end of a pseudo-terminal; our own hold on the slave keeps it alive between clients."""

    serial = True

    def __init__(self, master: int, slave: int, name: str) -> None:
        self.name = name
        self._master = master
        self._slave = slave
        os.set_blocking(master, False)

    async def _ready(self, *, write: bool) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        (loop.add_writer if write else loop.add_reader)(
            self._master, lambda: None if ready.done() else ready.set_result(None)
        )
        try:
            await ready
        finally:
            (loop.remove_writer if write else loop.remove_reader)(self._master)

    async def read(self, limit_bytes: int = READ_LIMIT_BYTES) -> bytes:
        while True:
            await self._ready(write=False)
            try:
                return os.read(self._master, limit_bytes)
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno == errno.EIO:
                    return b""
                raise

    async def write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:
                await self._ready(write=True)

    def write_now(self, data: bytes) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._master, data)

    def close(self, *, reset: bool = False) -> None:
        """A serial line stays; a reset only drops what the other end sent and nobody has read."""
        if reset:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._master, READ_LIMIT_BYTES):
                    pass


class Port(ABC):
    """Where a client comes from."""

    @abstractmethod
    def describe(self) -> dict[str, object]: ...

    @abstractmethod
    async def accept(self) -> Wire: ...

    @abstractmethod
    def deaf(self) -> None:
        """Be unreachable, as a machine without power."""

    @abstractmethod
    def hear(self) -> None:
        """Be reachable again, under the same address."""

    @abstractmethod
    def close(self) -> None: ...


class TcpPort(Port):
    """A listening socket. `receive_bytes` bounds what the kernel takes in for us, so that back-pressure is real."""

    def __init__(self, host: str, port: int, receive_bytes: int | None = None) -> None:
        try:
            if port == 0:  # a port asked for by number stays bound while deaf; a given one (0) would be lost
                with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                    probe.bind((host, 0))
                    port = probe.getsockname()[1]
            self._sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if receive_bytes is not None:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            self._sock.setblocking(False)
            self._sock.bind((host, port))
            self._sock.listen(4)
        except OSError as error:
            raise BadSetting(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
        self._host, self._port = self._sock.getsockname()[:2]
        self._hearing = asyncio.Event()
        self._hearing.set()

    def describe(self) -> dict[str, object]:
        return {"host": self._host, "port": self._port}

    async def accept(self) -> Wire:
        loop = asyncio.get_running_loop()
        while True:
            await self._hearing.wait()
            try:
                sock, address = await loop.sock_accept(self._sock)
            except OSError:  # deaf meanwhile
                await asyncio.sleep(0)
                continue
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return TcpWire(sock, f"{address[0]}:{address[1]}")

    def deaf(self) -> None:
        # Linux: a shut-down listening socket refuses callers but keeps its port; listen() brings it back.
        self._hearing.clear()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def hear(self) -> None:
        self._sock.listen(4)
        self._hearing.set()

    def close(self) -> None:
        self._sock.close()


class PtyPort(Port):
    """A pseudo-terminal whose slave is reachable under `path` (a symbolic link, replaced if it is one)."""

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_symlink():
            raise BadSetting(f"{path} exists and is no symbolic link")
        path.unlink(missing_ok=True)
        master, slave = os.openpty()
        tty.setraw(slave)
        path.symlink_to(os.ttyname(slave))
        self._path = path
        self._wire = PtyWire(master, slave, str(path))
        self._taken = False

    def describe(self) -> dict[str, object]:
        return {"pty": str(self._path)}

    async def accept(self) -> Wire:
        if self._taken:
            await asyncio.get_running_loop().create_future()  # there is no second client on a serial line
        self._taken = True
        return self._wire

    def deaf(self) -> None:
        pass

    def hear(self) -> None:
        pass

    def close(self) -> None:
        self._path.unlink(missing_ok=True)


def open_port(listen: str | None, pty: str | None, receive_bytes: int | None = None) -> Port:
    """The port that `--listen HOST:PORT` or `--pty PATH` asks for. Raises BadSetting with one clear line."""
    if pty is not None:
        return PtyPort(Path(pty))
    host, colon, number = (listen or "").rpartition(":")
    if not colon or not number.isdecimal() or int(number) > 65_535:
        raise BadSetting(f"--listen {listen!r}: HOST:PORT is needed, with a port from 0 to 65535")
    return TcpPort(host or "127.0.0.1", int(number), receive_bytes)
