"""A daemon's settings: one JSON file, written by `kaisatsu config write`, read into the daemon's own frozen dataclass.

The composition root has validated every layer already; this check is for files edited by hand and for two versions side by
side, and it says in one line which file, which key, and what is allowed.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import types
import typing
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class SettingsError(Exception):
    """A settings file that cannot be used. The message is one line: file, key, what is allowed."""

    code = "settings"


def load(path: Path, cls: type[T]) -> T:
    """Read `path` (a JSON object) into the dataclass `cls`.

    Field types may be str, int, float, bool, Path, `X | None`, and tuple[str, ...].
    Raises SettingsError for a missing file, no JSON, an unknown or missing key, or a value of another type.
    """
    assert dataclasses.is_dataclass(cls)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: not JSON ({error})") from error
    if not isinstance(raw, dict):
        raise SettingsError(f"{path}: an object of settings is expected, found {type(raw).__name__}")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in raw:
        if key not in fields:
            raise SettingsError(f"{path}: unknown key '{key}'; allowed: {', '.join(sorted(fields))}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in raw:
            values[name] = _convert(raw[name], hints[name], where=f"{path}: key '{name}'")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise SettingsError(f"{path}: key '{name}' is missing")
    try:
        return cls(**values)
    except ValueError as error:  # a check in the dataclass's own __post_init__
        raise SettingsError(f"{path}: {error}") from error


def load_or_exit(argv: list[str], cls: type[T]) -> T:
    """The settings named by a daemon's only argument; a bad file ends the process with status 2 and one line."""
    if len(argv) != 2:
        sys.stderr.write("usage: python -m PACKAGE SETTINGS.json\n")
        raise SystemExit(2)
    try:
        return load(Path(argv[1]), cls)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error


def _convert(value: Any, hint: Any, *, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        return _convert(value, next(option for option in options if option is not type(None)), where=where)
    if origin is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise SettingsError(f"{where}: a list of texts is expected")
        return tuple(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    if isinstance(hint, type) and isinstance(value, str) and issubclass(hint, StrEnum):
        try:
            return hint(value)
        except ValueError as error:
            raise SettingsError(f"{where}: '{value}' is not one of: {', '.join(hint)}") from error
    raise SettingsError(f"{where}: {getattr(hint, '__name__', hint)} is expected, found {type(value).__name__}")
