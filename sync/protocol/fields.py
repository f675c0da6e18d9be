"""How a message's fields are read: each wrong one is a MessageError that names it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sync.errors import MessageError, SegmentError


class reading:  # noqa: N801 used like a function
    """Turns what parsing raises into a MessageError that names the message."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyError):
            raise MessageError(f"{self._what}: {error} is missing") from error
        if isinstance(error, ValueError | TypeError | AttributeError | RecursionError | SegmentError):
            raise MessageError(f"{self._what} that cannot be read: {error}") from error


def object_of(text: bytes | str) -> dict[str, Any]:
    row = json.loads(text)
    if not isinstance(row, dict):
        raise TypeError("an object is expected")
    return row


def text_of(row: Mapping[str, Any], key: str, *, chars_max: int = 1 << 20) -> str:
    value = row[key]
    if not isinstance(value, str) or len(value) > chars_max:
        raise ValueError(f"'{key}' is a text of at most {chars_max} characters")
    return value


def count_of(row: Mapping[str, Any], key: str, *, limit: int = (1 << 63) - 1) -> int:
    value = row[key]
    if type(value) is not int or not 0 <= value <= limit:
        raise ValueError(f"'{key}' is a whole number from 0 to {limit}")
    return value


def flag_of(row: Mapping[str, Any], key: str) -> bool:
    value = row[key]
    if not isinstance(value, bool):
        raise TypeError(f"'{key}' is true or false")
    return value


def bytes_of(row: Mapping[str, Any], key: str, size: int) -> bytes:
    value = bytes.fromhex(text_of(row, key))
    if len(value) != size:
        raise ValueError(f"'{key}' is {size} bytes of hex")
    return value


def instant_of(row: Mapping[str, Any], key: str) -> datetime:
    value = datetime.fromisoformat(text_of(row, key))
    if value.tzinfo is None:
        raise ValueError(f"'{key}' has no time zone")
    return value


def list_of(row: Mapping[str, Any], key: str, *, items_max: int = 1_000_000) -> list[Any]:
    value = row[key]
    if not isinstance(value, list) or len(value) > items_max:
        raise ValueError(f"'{key}' is a list of at most {items_max}")
    return value
