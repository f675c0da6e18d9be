"""A snapshot: a whole cache as one file, and the signed manifest that says what the file must be.

Hub and device share this module: the hub makes manifests, a device (or a venue node that only passes them on) checks them. A file
becomes a generation only after `check_content`; it must never be opened for writing before that, and nothing in it is believed but
the tables and indexes that this version makes itself.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import create_engine

from sync import cache as cache_file
from sync.errors import CacheBroken, MessageError
from sync.protocol import CURSOR_CHARS_MAX, VERSION, Page

SNAPSHOT = "/v1/snapshot"
CONTEXT = b"kaisatsu/snapshot/1"
MANIFEST_CHARS_MAX = 4096
PACKED_BYTES_MAX = 1 << 31
CONTENT_BYTES_MAX = 1 << 32
WAIT_S_MAX = 10.0
"""How long a hub holds the question back while it builds the first one."""
GRANTS = "grants"
"""The key in the file's `meta` under which what goes into the journal (catalogue, keys, slots) travels: a page of the feed as text."""
_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_schema"
_FILE_PATH = re.compile(rf"{SNAPSHOT}/[0-9a-f]{{64}}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the packed file is. `size` and `sha256` are of the file as it travels (zstd), `content_size` and `content_sha256` of the
    SQLite file inside. `cursor` is where the feed goes on. `url` is a path at whatever node the manifest came from.
    """

    schema: int
    cursor: str
    size: int
    sha256: str
    content_size: int
    content_sha256: str
    url: str
    built_at: datetime
    tickets: int
    uses: int

    def to_text(self) -> str:
        row = {
            "schema": self.schema,
            "cursor": self.cursor,
            "size": self.size,
            "sha256": self.sha256,
            "content_size": self.content_size,
            "content_sha256": self.content_sha256,
            "url": self.url,
            "built_at": self.built_at.isoformat(),
            "tickets": self.tickets,
            "uses": self.uses,
        }
        return json.dumps(row, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Manifest:
        """Raises MessageError for what makes no sense."""
        try:
            row = json.loads(text)
            manifest = cls(
                schema=_whole(row["schema"], 1 << 31),
                cursor=_text(row["cursor"], CURSOR_CHARS_MAX),
                size=_whole(row["size"], PACKED_BYTES_MAX),
                sha256=_digest(row["sha256"]),
                content_size=_whole(row["content_size"], CONTENT_BYTES_MAX),
                content_sha256=_digest(row["content_sha256"]),
                url=_text(row["url"], 128),
                built_at=datetime.fromisoformat(row["built_at"]),
                tickets=_whole(row["tickets"], 1 << 40),
                uses=_whole(row["uses"], 1 << 40),
            )
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            raise MessageError(f"a snapshot's manifest that cannot be read: {error}") from error
        if not _FILE_PATH.fullmatch(manifest.url):
            raise MessageError("a snapshot's url is a path of this protocol")
        return manifest

    @property
    def etag(self) -> str:
        return f'"{self.sha256}"'


def file_path(sha256: str) -> str:
    return f"{SNAPSHOT}/{sha256}"


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """The manifest's text and the hub's signature over CONTEXT || text: kept, checked and passed on as it came."""

    text: str
    signature: bytes

    @classmethod
    def sign(cls, manifest: Manifest, key: Ed25519PrivateKey) -> SignedManifest:
        text = manifest.to_text()
        return cls(text, key.sign(CONTEXT + text.encode()))

    def to_row(self) -> dict[str, Any]:
        return {"protocol": VERSION, "text": self.text, "signature": self.signature.hex()}

    def checked(self, hub_key: bytes) -> Manifest:
        """What it says. Raises MessageError for a signature of somebody else and for a manifest that makes no sense."""
        try:
            Ed25519PublicKey.from_public_bytes(hub_key).verify(self.signature, CONTEXT + self.text.encode())
        except (InvalidSignature, ValueError) as error:
            raise MessageError("a snapshot that the hub has not signed") from error
        return Manifest.from_text(self.text)


class NoSnapshot(StrEnum):
    """Why there is none: paging is cheaper, or it is being made (ask again)."""

    FEW = "few"
    BUILDING = "building"


def answer_to_row(answer: SignedManifest | NoSnapshot) -> dict[str, Any]:
    if isinstance(answer, SignedManifest):
        return answer.to_row()
    return {"protocol": VERSION, "text": None, "signature": None, "why": answer.value}


def answer_from_json(text: bytes | str) -> SignedManifest | NoSnapshot:
    """Raises MessageError. A reason that this version does not know means paging."""
    try:
        row = json.loads(text)
        if row["text"] is None:
            return NoSnapshot.BUILDING if row.get("why") == NoSnapshot.BUILDING else NoSnapshot.FEW
        return SignedManifest(_text(row["text"], MANIFEST_CHARS_MAX), bytes.fromhex(row["signature"]))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise MessageError(f"an answer about a snapshot that cannot be read: {error}") from error


@cache
def expected_schema() -> frozenset[tuple[str, str, str, str | None]]:
    """Exactly what `sqlite_schema` of a cache holds: (type, name, table, sql)."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        cache_file.metadata.create_all(connection)
        rows = connection.exec_driver_sql(_SCHEMA).all()
    engine.dispose()
    return frozenset(_schema_row(*row) for row in rows)


def _schema_row(kind: str, name: str, table: str, sql: str | None) -> tuple[str, str, str, str | None]:
    """White space is how a statement was sent, not what it says."""
    return kind, name, table, None if sql is None else " ".join(sql.split())


def check_content(path: Path, manifest: Manifest) -> Page | None:
    """Look at an unpacked file before anyone else does: is it SQLite to its last page, has it exactly the tables of a cache, does it
    stand where the manifest says? Returns the page of grants in it, if it has one. Raises CacheBroken, MessageError.

    Opened read-only, immutable, with nothing in its schema trusted and all but a few limits at zero.
    """
    _check_header(path)
    db = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True, isolation_level=None)
    try:
        db.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        db.setlimit(sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 0)
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 64 * 1024 * 1024)
        for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0", "query_only=ON"):
            db.execute(f"PRAGMA {pragma}")
        found = frozenset(_schema_row(*row) for row in db.execute(_SCHEMA))
        if found != expected_schema():
            strange = sorted({str(row[1])[:40] for row in found ^ expected_schema()})
            raise CacheBroken(f"snapshot: not the tables of a cache ({', '.join(strange[:5])})")
        verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise CacheBroken(f"snapshot: {verdict}")
        meta = dict(db.execute("SELECT key, value FROM meta"))
    except sqlite3.Error as error:
        raise CacheBroken(f"snapshot: cannot be read ({error})") from error
    finally:
        db.close()
    if meta.get("schema") != str(cache_file.SCHEMA) or manifest.schema != cache_file.SCHEMA:
        raise CacheBroken(f"snapshot: schema {meta.get('schema')}; this version reads {cache_file.SCHEMA}")
    if meta.get("cursor") != manifest.cursor:
        raise CacheBroken("snapshot: does not stand where its manifest says")
    grants = meta.get(GRANTS)
    return None if grants is None else Page.from_json(grants)


def _check_header(path: Path) -> None:
    """SQLite file format 1.3: magic, page size at 16 (1 means 65536), pages at 28; no log beside it (18 and 19 are 1)."""
    size = os.stat(path).st_size  # noqa: PTH116 one number of an open question, no path work
    with path.open("rb") as file:
        head = file.read(100)
    page = int.from_bytes(head[16:18], "big")
    page = 65536 if page == 1 else page
    whole = len(head) == 100 and page >= 512 and size == page * int.from_bytes(head[28:32], "big")
    if not whole or not head.startswith(b"SQLite format 3\0"):
        raise CacheBroken("snapshot: not a whole SQLite file")
    if head[18:20] != b"\x01\x01":
        raise CacheBroken("snapshot: a file that leans on a log")


def _whole(value: Any, limit: int) -> int:
    if type(value) is not int or not 0 <= value <= limit:
        raise ValueError(f"a whole number from 0 to {limit} is expected")
    return value


def _text(value: Any, chars_max: int) -> str:
    if not isinstance(value, str) or len(value) > chars_max:
        raise ValueError(f"a text of at most {chars_max} characters is expected")
    return value


def is_digest(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not is_digest(value):
        raise ValueError("64 hex digits are expected")
    return value
