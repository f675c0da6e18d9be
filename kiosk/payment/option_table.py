"""A terminal's settings table (JSON or TOML) read into its driver's own frozen dataclass, strictly.

It never guesses: an unknown key, a missing one, another type each end in one line that says which key and what is allowed.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}


def read(table: Mapping[str, Any], cls: type[T], *, where: str) -> T:
    """`table` as a `cls` (fields: str, int, float, bool, Path). Raises ValueError, one line that begins with `where`."""
    assert dataclasses.is_dataclass(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for key in table:
        if key not in fields:
            raise ValueError(f"{where}: unknown key '{key}'; allowed: {', '.join(sorted(fields))}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in table:
            values[name] = _convert(table[name], hints[name], where=f"{where}: key '{name}'")
        elif field.default is dataclasses.MISSING:
            raise ValueError(f"{where}: key '{name}' is missing")
    try:
        return typing.cast("T", cls(**values))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def secret(path: Path, *, where: str) -> str:
    """A secret kept in a file of its own, without the line's end. Raises ValueError, one line that never holds the secret."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ValueError(f"{where}: {path} cannot be read ({why})") from error
    if not text or not text.isprintable() or " " in text or len(text) > 4096:
        raise ValueError(f"{where}: {path} must hold one word of up to 4096 characters")
    return text


def _convert(value: Any, hint: Any, *, where: str) -> Any:
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise ValueError(f"{where}: {_WORDS.get(hint, hint.__name__)} is expected, found {value!r}")
