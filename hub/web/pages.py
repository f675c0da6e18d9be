"""One page for all who ask the same: a thousand devices that were woken together stand at the same cursor.

A read is joined by whoever asks before it begins, never after, so nobody gets a page from before their question. Who among them was
shut out since is looked up in the same moment as the page and told so alone.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias

from hub.web.lanes import Lanes
from sync.hop import HopError
from tickets.ids import DeviceId

Read: TypeAlias = Callable[[Sequence[DeviceId]], "Shared"]


class Shared:
    """What one read came to: the answer's bytes, whether it says anything new, and who may not have it."""

    __slots__ = ("content", "is_news", "shut_out")

    def __init__(self, content: bytes, *, is_news: bool, shut_out: frozenset[DeviceId]) -> None:
        self.content, self.is_news, self.shut_out = content, is_news, shut_out


class Pages:
    """Used on the server's event loop alone; the reads run in its lanes."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._open: dict[Hashable, _Read] = {}

    async def get(self, key: Hashable, device: DeviceId, read: Read) -> Shared:
        """The page that `key` names in full. `read` gets everybody who is to have it. Raises what it does, Busy, HopError for a device that
        was shut out.
        """
        found = self._open.get(key)
        if found is None or not found.join(device):
            found = self._open[key] = self._begin(key, device, read)
        shared: Shared = await asyncio.shield(found.task)  # one who hangs up takes it from nobody
        if device in shared.shut_out:
            raise HopError("revoked", "this device was shut out at the hub")
        return shared

    def _begin(self, key: Hashable, device: DeviceId, read: Read) -> _Read:
        begun = _Read(device)
        begun.task = asyncio.ensure_future(self._lanes.read(lambda: read(begun.begin())))
        begun.task.add_done_callback(lambda _: self._close(key, begun))
        return begun

    def _close(self, key: Hashable, done: _Read) -> None:
        if not done.task.cancelled():
            done.task.exception()  # told to whoever still waits
        if self._open.get(key) is done:
            del self._open[key]


class _Read:
    """One read, open to others until its thread takes it on."""

    task: asyncio.Future[Shared]

    def __init__(self, device: DeviceId) -> None:
        self._devices: set[DeviceId] | None = {device}
        self._lock = threading.Lock()

    def join(self, device: DeviceId) -> bool:
        """False where it has begun."""
        with self._lock:
            if self._devices is None:
                return False
            self._devices.add(device)
            return True

    def begin(self) -> Sequence[DeviceId]:
        with self._lock:
            assert self._devices is not None
            devices, self._devices = sorted(self._devices), None
            return devices
