"""Fetching a snapshot: resumably, checked before it counts, and never under a name that anyone reads.

What is here already is kept in `snapshot.part` beside the manifest that it belongs to, so a cut at any byte, or a kill, costs only
what was on its way. The file is unpacked while it comes in. It becomes `cache-<n>.db`, n a number never used, only after its digest,
its pages and its schema were looked at; putting it in force is the caller's.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import zstandard

from sync import snapshot
from sync.cache import SCHEMA
from sync.client import Hub
from sync.errors import CacheBroken, HubRefused, HubUnreachable, MessageError, StoreFull
from sync.protocol import Page
from sync.snapshot import Manifest, NoSnapshot, SignedManifest
from sync.state import StateDir, write_durably

PART, UNPACKED, MANIFEST = "snapshot.part", "snapshot.unpacked", "snapshot.json"
FREE_BYTES_MIN = 128 * 1024 * 1024
"""What a snapshot leaves free on the disk: the journal comes first."""
SYNC_BYTES = 8 * 1024 * 1024
"""So much is written before the disk is asked to begin, so that the last sync has little left to wait for."""
SLOW_S = 60.0
SLOW_BYTES_S = 1024
"""A line that brings less than this for so long is as good as none; what it brought is kept."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A checked file at `path` (UNPACKED), to be moved to its number. `grants` is what of it goes into the journal."""

    path: Path
    manifest: Manifest
    grants: Page | None


class Bootstrap:
    """One thread, one at a time in a state directory. `worked` is called while bytes come in."""

    def __init__(
        self,
        state: StateDir,
        hub: Hub,
        *,
        hub_key: bytes,
        worked: Callable[[], None],
        told: Callable[[str, str], None],
        free_bytes: Callable[[Path], int] | None = None,
    ) -> None:
        self._folder, self._hub, self._hub_key = state.path, hub, hub_key
        self._worked, self._told = worked, told
        self._free_bytes = free_bytes or _free_bytes

    def fetch(self, *, wait_s: float) -> Fetched | NoSnapshot:
        """A whole, checked snapshot; or why there is none. Raises HubUnreachable (go on later: what came is kept), HubRefused, StoreFull,
        MessageError and CacheBroken (what came cannot be used and is gone; the next try starts afresh).
        """
        signed = self._begun()
        if signed is None:
            answer = self._hub.snapshot(wait_s=wait_s)
            if isinstance(answer, NoSnapshot):
                return answer
            signed = answer
        manifest = signed.checked(self._hub_key)
        if manifest.schema != SCHEMA:
            return NoSnapshot.FEW  # of another version's cache: this one pages
        self._need_room(manifest)
        write_durably(self._folder / MANIFEST, json.dumps(signed.to_row(), ensure_ascii=False).encode())
        try:
            return self._take_in(manifest)
        except HubRefused as refused:
            if refused.status != 404:
                raise
            self.sweep()  # replaced at the hub meanwhile; the next step asks for the newest
            raise HubUnreachable("the snapshot was replaced while it came in") from refused
        except (MessageError, CacheBroken):
            self.sweep()
            raise

    def sweep(self) -> None:
        """Throw away what was begun."""
        for name in (PART, UNPACKED, MANIFEST):
            (self._folder / name).unlink(missing_ok=True)

    def _begun(self) -> SignedManifest | None:
        """The manifest of what is here in part, if both can be used."""
        try:
            answer = snapshot.answer_from_json((self._folder / MANIFEST).read_bytes())
            if isinstance(answer, SignedManifest) and (self._folder / PART).stat().st_size:
                answer.checked(self._hub_key)
                return answer
        except (OSError, MessageError):
            pass
        self.sweep()
        return None

    def _need_room(self, manifest: Manifest) -> None:
        here = self._part_size()
        needed = manifest.content_size + max(0, manifest.size - here) + FREE_BYTES_MIN
        free = self._free_bytes(self._folder)
        if free < needed:
            raise StoreFull(f"a snapshot needs {needed >> 20} MiB free, {free >> 20} MiB are; the old cache stays")

    def _part_size(self) -> int:
        try:
            return (self._folder / PART).stat().st_size
        except OSError:
            return 0

    def _take_in(self, manifest: Manifest) -> Fetched:
        part, unpacked = self._folder / PART, self._folder / UNPACKED
        if self._part_size() > manifest.size:
            part.unlink()
        with part.open("a+b") as packed, unpacked.open("wb") as content:
            packed.seek(0)
            intake = _Intake(manifest, content)
            while block := packed.read(1 << 20):
                intake.feed(block)
                self._worked()
            if intake.packed < manifest.size:
                intake = self._download(manifest, packed, content, intake)
            intake.finish()
            os.fdatasync(content.fileno())
        try:
            grants = snapshot.check_content(unpacked, manifest)
        finally:
            self._worked()
        return Fetched(unpacked, manifest, grants)

    def _download(self, manifest: Manifest, packed: IO[bytes], content: IO[bytes], intake: _Intake) -> _Intake:
        began_s, before = time.monotonic(), intake.packed
        with self._hub.snapshot_file(manifest, start=intake.packed) as body:
            if body.began != intake.packed:
                if body.began != 0:
                    raise MessageError("a snapshot that goes on at another byte")
                packed.truncate(0)
                content.seek(0)
                content.truncate()
                intake, before = _Intake(manifest, content), 0
            for chunk in body.chunks:
                packed.write(chunk)  # opened to append: always at the end
                intake.feed(chunk)
                self._worked()
                passed_s = time.monotonic() - began_s
                if passed_s > SLOW_S and (intake.packed - before) < SLOW_BYTES_S * passed_s:
                    raise HubUnreachable("a snapshot that hardly comes in")
        if intake.packed < manifest.size:
            raise HubUnreachable("half a snapshot")
        return intake


class _Intake:
    """Packed bytes in, content out, never more of either than the manifest says."""

    def __init__(self, manifest: Manifest, content: IO[bytes]) -> None:
        self._manifest, self._content = manifest, content
        self._packed_digest, self._content_digest = hashlib.sha256(), hashlib.sha256()
        self._unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        self.packed = self._unpacked = self._synced = 0

    def feed(self, chunk: bytes) -> None:
        self.packed += len(chunk)
        if self.packed > self._manifest.size:
            raise CacheBroken("snapshot: longer than its manifest says")
        self._packed_digest.update(chunk)
        # In small pieces: what one piece can unpack to is bounded (zstd packs at most 128 KiB into a few bytes), so that a
        # bomb is noticed before it fills memory or disk.
        for start in range(0, len(chunk), _PIECE):
            try:
                plain = self._unpacker.decompress(chunk[start : start + _PIECE])
            except zstandard.ZstdError as error:
                raise CacheBroken(f"snapshot: cannot be unpacked ({error})") from error
            self._unpacked += len(plain)
            if self._unpacked > self._manifest.content_size:
                raise CacheBroken("snapshot: unpacks to more than its manifest says")
            self._content_digest.update(plain)
            self._content.write(plain)
        if self._unpacked - self._synced >= SYNC_BYTES:
            self._content.flush()
            _begin_writing(self._content.fileno(), self._synced, self._unpacked - self._synced)
            self._synced = self._unpacked

    def finish(self) -> None:
        """Raises CacheBroken unless exactly the promised bytes came."""
        same = (
            self.packed == self._manifest.size
            and self._unpacked == self._manifest.content_size
            and self._packed_digest.hexdigest() == self._manifest.sha256
            and self._content_digest.hexdigest() == self._manifest.content_sha256
        )
        if not same:
            raise CacheBroken("snapshot: not the file that the hub signed for")
        self._content.flush()


_PIECE = 4096


def _begin_writing(descriptor: int, offset: int, length: int) -> None:
    """Ask the kernel to start writing a stretch out and to forget it once it is written; waits for nothing."""
    os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free
