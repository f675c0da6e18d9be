"""Snapshots: the tickets and uses of a moment as a ready cache file, so that a new device need not page through a million rows.

Built from one read view of the database, in the background, at most so often; deltas go on from the cursor inside. Each scope of the
feed has a file of its own, as its cursor says; scopes of the same tables share one. A file once published never changes: its name is
its digest, the manifest beside it is replaced whole. Nothing here decides anything about a ticket.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine, Select, Table, func, select
from sqlalchemy.schema import CreateIndex, CreateTable

from hub import tables
from hub.database import is_postgresql, reading
from hub.errors import HubError
from hub.services import feed
from sync import cache as cache_file
from sync import checksum, snapshot
from sync.balance import PARTS
from sync.errors import MessageError
from sync.protocol import NODE_SCOPE, SCOPE, SCOPES, Cursor, Page
from sync.snapshot import Manifest, NoSnapshot, SignedManifest
from sync.state import write_durably

ROWS_MIN = 5_000
"""Fewer tickets and uses than this are paged: two or three pages are cheaper than a build."""
AGE_S_MAX = 600.0
"""A snapshot is built anew at most this often, and only when rows have changed since."""
CHANGES_MIN = 2_000
"""A newer one is not worth building for fewer changes than a page has."""
OLD_S = 86_400.0
"""After a day any change is enough, so that a snapshot's cursor never becomes older than what the feed remembers."""
LEVEL = 3
MANIFEST, PACKED = "newest.json", "packed.tmp"
BUILD_S_MAX = 300.0
_LOCK, _CONTENT = "building.lock", "content.tmp"
_BATCH = 20_000


@dataclass(frozen=True, slots=True)
class Built:
    """A published snapshot."""

    signed: SignedManifest
    manifest: Manifest


class Shelf:
    """The folder with what was built last. Any process of the hub may read it; one at a time builds (a lock file)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def room(self, scope: str) -> Path:
        """Where the files of a scope lie."""
        return self.folder / shelved(scope)

    def current(self, hub_key: bytes, *, scope: str = SCOPE) -> Built | None:
        """The newest one, if its file is there."""
        try:
            row = json.loads((self.room(scope) / MANIFEST).read_text(encoding="utf-8"))
            signed = SignedManifest(row["text"], bytes.fromhex(row["signature"]))
            built = Built(signed, signed.checked(hub_key))
        except (OSError, ValueError, KeyError, TypeError, MessageError):
            return None
        return built if self.file(built.manifest.sha256, scope=scope) is not None else None

    def file(self, sha256: str, *, scope: str = SCOPE) -> Path | None:
        """The scope's packed file of that digest; None when it is gone (then a device asks for the manifest again)."""
        path = self.room(scope) / f"{sha256}.zst"
        return path if path.is_file() else None

    @contextmanager
    def building(self) -> Iterator[bool]:
        """True for the one process that may build now."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def publish(self, manifest: Manifest, key: Ed25519PrivateKey) -> Built:
        """Under `building`. The one before stays for whoever is in the middle of it; older ones and leavings go."""
        signed = SignedManifest.sign(manifest, key)
        room = self.room(Cursor.decode(manifest.cursor).scope)
        (room / PACKED).rename(room / f"{manifest.sha256}.zst")
        kept = {f"{manifest.sha256}.zst", MANIFEST}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            before = json.loads(json.loads((room / MANIFEST).read_text(encoding="utf-8"))["text"])
            kept.add(f"{before['sha256']}.zst")
        write_durably(room / MANIFEST, json.dumps(signed.to_row(), ensure_ascii=False).encode())
        for file in room.iterdir():
            if file.name not in kept:
                file.unlink(missing_ok=True)
        return Built(signed, manifest)


def shelved(scope: str) -> str:
    """The scope under which a scope's snapshot is kept: the first with the same tables."""
    return next(name for name, held in SCOPES.items() if set(held) == set(SCOPES[scope]))


KEPT_SCOPES = tuple(dict.fromkeys(shelved(scope) for scope in SCOPES if scope != NODE_SCOPE))


def rows(connection: Connection) -> int:
    """How many rows a device without a cache would have to fetch."""
    return sum(
        int(connection.scalar(select(func.count()).select_from(table)) or 0) for table in (tables.ticket, tables.used)
    )


def is_wanted(connection: Connection, current: Built | None, *, now: datetime) -> bool:
    """Whether a build is due: enough rows to be worth it, and the last one too old for the changes since, or of another feed."""
    if current is not None:
        cursor = Cursor.decode(current.manifest.cursor)
        if cursor.epoch == feed.epoch(connection) and current.manifest.schema == cache_file.SCHEMA:
            if now - current.manifest.built_at < timedelta(seconds=AGE_S_MAX):
                return False
            enough = 1 if now - current.manifest.built_at > timedelta(seconds=OLD_S) else CHANGES_MIN
            return changes_since(connection, current.manifest.cursor, at_least=enough)
    return rows(connection) >= ROWS_MIN


def changes_since(connection: Connection, cursor_text: str, *, at_least: int) -> bool:
    """Whether so many changes came after a cursor."""
    cursor = Cursor.decode(cursor_text)
    return feed.more_than(connection, feed.Position(cursor.xid, cursor.position), at_least - 1)


def answer(connection: Connection, current: Built | None) -> SignedManifest | NoSnapshot:
    """What a device is told that asks for one."""
    if current is not None and Cursor.decode(current.manifest.cursor).epoch == feed.epoch(connection):
        return current.signed
    return NoSnapshot.FEW if rows(connection) < ROWS_MIN else NoSnapshot.BUILDING


def build(engine: Engine, shelf: Shelf, key: Ed25519PrivateKey, *, now: datetime) -> Built | None:
    """Build and publish from a consistent view, in this process: one for each scope; the whole venue's is returned. None while another
    process is building.

    Takes seconds of CPU on a million tickets: not for the process that answers devices (see `build_aside`).
    """
    with shelf.building() as mine:
        return _publish(shelf, prepare(engine, shelf, now=now), key) if mine else None


def _publish(shelf: Shelf, made: Mapping[str, Manifest], key: Ed25519PrivateKey) -> Built:
    """Each goes where its own cursor says: a manifest of another scope than was asked for is none."""
    if set(made) != set(KEPT_SCOPES) or any(Cursor.decode(one.cursor).scope != scope for scope, one in made.items()):
        raise MessageError("manifests of other scopes than were asked for")
    return {scope: shelf.publish(manifest, key) for scope, manifest in made.items()}[shelved(SCOPE)]


def build_aside(
    database_url: str, shelf: Shelf, key: Ed25519PrivateKey, *, now: datetime, timeout_s: float = BUILD_S_MAX
) -> Built | None:
    """The same in a process of its own, with less of the processor than devices have. Raises HubError where that fails.

    The key stays here: what the other process made is signed by this one. The address of the database goes by its standard input,
    because everybody on a machine can read a command line.
    """
    with shelf.building() as mine:
        if not mine:
            return None
        asked = json.dumps({"database_url": database_url, "folder": str(shelf.folder), "now": now.isoformat()})
        try:
            done = subprocess.run(
                [sys.executable, "-m", "hub.snapshot_process"],
                input=asked,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=True,
            )
            made = json.loads(done.stdout)
            return _publish(shelf, {scope: Manifest.from_text(text) for scope, text in made.items()}, key)
        except subprocess.CalledProcessError as error:
            raise HubError(f"no snapshot was built: {error.stderr.strip().splitlines()[-1:]}") from error
        except (subprocess.TimeoutExpired, OSError, ValueError, AttributeError, MessageError) as error:
            raise HubError(f"no snapshot was built ({type(error).__name__})") from error


def prepare(engine: Engine, shelf: Shelf, *, now: datetime) -> dict[str, Manifest]:
    """Write the files of this moment and pack each as `PACKED` in its room of the shelf, not published yet. Manifests by scope."""
    content = shelf.folder / _CONTENT
    content.unlink(missing_ok=True)
    for scope in KEPT_SCOPES:
        shelf.room(scope).mkdir(parents=True, exist_ok=True)
        (shelf.room(scope) / PACKED).unlink(missing_ok=True)
    db = sqlite3.connect(content, isolation_level=None)
    try:
        counts, said = _write(engine, db, now=now)
        made = {}
        for scope, meta in said.items():
            db.executemany(
                "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", meta
            )
            size, digest, content_size, content_digest = _pack(content, shelf.room(scope) / PACKED)
            made[scope] = Manifest(
                schema=cache_file.SCHEMA,
                cursor=dict(meta)["cursor"],
                size=size,
                sha256=digest,
                content_size=content_size,
                content_sha256=content_digest,
                url=snapshot.file_path(digest),
                built_at=now,
                tickets=counts["ticket"],
                uses=counts["used"],
            )
    finally:
        db.close()
    content.unlink()
    return made


def _write(
    engine: Engine, db: sqlite3.Connection, *, now: datetime
) -> tuple[dict[str, int], dict[str, list[tuple[str, str]]]]:
    """The cache file but for what each scope says of itself, which is returned: rows of `meta`. Rows in the order of their keys fill its
    pages from left to right; indexes are made when all rows are there. What the rows come to (sync.balance) goes with them.
    """
    db.execute("PRAGMA journal_mode=OFF")  # thrown away unless it is finished
    db.execute("PRAGMA synchronous=OFF")
    db.execute("PRAGMA cache_size=-65536")
    db.execute("BEGIN")
    dialect = cache_file_dialect()
    for table in cache_file.metadata.sorted_tables:
        db.execute(str(CreateTable(table).compile(dialect=dialect)).strip())
    with reading(engine) as connection:
        if not is_postgresql(connection):
            # In key order every row lies on another page; mapped, a million of them cost a third of what reading each would.
            connection.exec_driver_sql("PRAGMA mmap_size=2147418112")
        said = {}
        for scope in KEPT_SCOPES:
            cursor = feed.cursor_here(connection, scope=scope)
            granted = json.dumps(_grants(connection, cursor, scope=scope, now=now).to_row(), ensure_ascii=False)
            said[scope] = [("schema", str(cache_file.SCHEMA)), ("cursor", cursor), (snapshot.GRANTS, granted)]
        counts = {name: _copy(connection, db, name, target) for name, target in cache_file.FEED_TABLES.items()}
    for table in cache_file.metadata.sorted_tables:
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            db.execute(str(CreateIndex(index).compile(dialect=dialect)))
    db.execute("COMMIT")
    return counts, said


def cache_file_dialect() -> Any:
    from sqlalchemy.dialects import sqlite

    return sqlite.dialect()


def _copy(connection: Connection, db: sqlite3.Connection, name: str, target: Table) -> int:
    """All rows of one feed table, as the feed would have sent them, in key order. How many."""
    source = feed.FEEDS[name]
    columns = {column: value for column, value, _ in source.columns}
    wanted = [column.name for column in target.columns]
    key = next(iter(target.primary_key)).name
    query = select(*(columns[column] for column in wanted)).order_by(columns[key])
    places = ", ".join("?" for _ in wanted)
    names = ", ".join(f'"{column}"' for column in wanted)
    statement = f'INSERT INTO "{name}" ({names}) VALUES ({places})'  # noqa: S608 names of this module's own tables
    assert tuple(wanted) == checksum.COLUMNS[name], "rows are counted as they are written"
    sums: Counter[int] = Counter()
    before = db.total_changes
    with contextlib.closing(_raw_rows(connection, query)) as found:
        db.executemany(statement, _counted(found, target, sums))
    written = db.total_changes - before
    db.executemany(
        'INSERT INTO balance ("table", part, sum) VALUES (?, ?, ?)',
        [(name, part, checksum.to_signed(sums[part])) for part in range(PARTS)],
    )
    return written


def _counted(found: Iterable[Any], target: Table, sums: Counter[int]) -> Iterator[Any]:
    """The rows as they are, each added to the sum of its part. A row begins with its key, and its bytes stand before all else."""
    blobs = [column.type.python_type is bytes for column in target.columns]
    count = sum(blobs)
    assert all(blobs[:count]), target.name
    form = "\x1f".join([target.name, *("%s" for _ in blobs)])
    digest = checksum.digest_of_line
    for row in found:
        sums[row[0][0]] += digest(form % (*map(bytes.hex, row[:count]), *row[count:]))
        yield row


def _raw_rows(connection: Connection, query: Select[Any]) -> Any:
    """The driver's own cursor over a query, in the caller's transaction: a million rows need no wrapping, and not all at once."""
    raw: Any = connection.connection
    text = str(query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
    if not is_postgresql(connection):
        return raw.cursor().execute(text)
    cursor = raw.cursor(name="kaisatsu_snapshot")  # a cursor with a name stays at the server
    cursor.itersize = _BATCH
    cursor.execute(text)
    return cursor


def _grants(connection: Connection, cursor: str, *, scope: str, now: datetime) -> Page:
    """Everything of a scope that goes into a device's journal instead of its cache."""
    parts = []
    for name in SCOPES[scope]:
        if name not in cache_file.FEED_TABLES:
            keys: Iterable[Any] = connection.scalars(select(feed.FEEDS[name].key))
            texts = [key.hex() if isinstance(key, bytes) else key for key in keys]
            parts.append(feed.table_rows(connection, name, texts))
    return Page(cursor=cursor, more=False, tables=tuple(parts), at=now)


def _pack(content: Path, packed: Path) -> tuple[int, str, int, str]:
    """(packed size, its sha256, content size, its sha256). The packed file is on disk when this returns."""
    content_digest, digest, size = hashlib.sha256(), hashlib.sha256(), 0
    content_size = content.stat().st_size
    packer = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True).compressobj(size=content_size)
    with content.open("rb") as source, packed.open("wb") as target:

        def put(chunk: bytes) -> None:
            nonlocal size
            digest.update(chunk)
            size += len(chunk)
            target.write(chunk)

        while block := source.read(1 << 20):
            content_digest.update(block)
            put(packer.compress(block))
        put(packer.flush())
        target.flush()
        os.fsync(target.fileno())
    return size, digest.hexdigest(), content_size, content_digest.hexdigest()
