"""The checksum that hub and device compare each cycle, so that a divergence is found and not assumed away.

Each row of the feed's tables `ticket` and `used` has a digest: BLAKE2b of 8 bytes, big-endian, over the UTF-8 text

    table US value US value ...        (US: U+001F; values in the order of COLUMNS; bytes as lower-case hex, numbers in decimal)

The checksum is the sum of all digests modulo 2^64, as 16 hex digits. A sum does not depend on how anyone got to their rows, can be
moved on by what changed, and can be counted anew. It finds accidents; it is no proof against who could forge the rows themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "ticket": ("ticket", "variant", "uses", "state", "not_before", "expires", "language", "short_id", "withdrawn"),
    "used": ("op", "ticket", "passage", "units", "window", "at", "gate", "released", "mode", "arrival"),
}
"""Final for schema 2 of the feed: another list is another schema. The first column is the key."""

_MODULUS = 1 << 64
_blake2b = hashlib.blake2b


def digest(table: str, values: Iterable[Any]) -> int:
    """What one row adds; values in the order of COLUMNS[table], bytes or their hex alike."""
    written = [value.hex() if isinstance(value, bytes) else value for value in values]
    return digest_of_text(table, written)


def digest_of_text(table: str, values: Iterable[Any]) -> int:
    """The same where bytes are hex already; the quick way for many rows."""
    return digest_of_line("\x1f".join([table, *map(str, values)]))


def digest_of_line(line: str) -> int:
    """The same for a text that is put together already."""
    return int.from_bytes(_blake2b(line.encode(), digest_size=8).digest(), "big")


def add(one: int, other: int) -> int:
    return (one + other) % _MODULUS


def to_text(total: int) -> str:
    return f"{total % _MODULUS:016x}"


def to_signed(total: int) -> int:
    """For columns of 64 bits with a sign, which is what databases have."""
    total %= _MODULUS
    return total - _MODULUS if total >= 1 << 63 else total
