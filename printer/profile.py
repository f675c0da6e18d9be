"""What a printer model can do: a TOML file of our own, over the model data that python-escpos ships (its data only).

A feature that nobody has stated is absent. Claiming a process id or a kanji font that the printer lacks loses tickets; claiming
too little only costs speed.
"""

from __future__ import annotations

import importlib.util
import json
import tomllib
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from printer.errors import ProfileError

SHIPPED = Path(__file__).parent / "profiles"

MM_PER_INCH = 25.4


class Encoding(StrEnum):
    """raster: every dot is ours, for USB and Ethernet. native: the printer's own type, for serial lines."""

    RASTER = "raster"
    NATIVE = "native"


class Gaiji(StrEnum):
    """Which two-byte characters the printer's font has beyond ASCII and half-width kana: JIS X 0208, or also NEC's row 13."""

    JIS0208 = "jis0208"
    NEC = "nec"


@dataclass(frozen=True, slots=True)
class Profile:
    """`strip_dots` rows a GS v 0 command at most (a QR is never split and may exceed it); `rx_buffer` bytes; `feed_units_per_dot`
    vertical motion units a dot (ESC J, ESC 3). `status`: answers DLE EOT; `asb`: reports by itself (GS a); `process_id`: GS ( H;
    `clear`: DLE DC4 fn 8; `answers_in_order`: GS r.
    """

    name: str
    width_dots: int
    dpi: int
    encoding: Encoding = Encoding.RASTER
    kanji: bool = False
    gaiji: Gaiji = Gaiji.JIS0208
    native_qr: bool = False
    strip_dots: int = 200
    cutter: bool = False
    near_end: bool = False
    status: bool = False
    asb: bool = False
    process_id: bool = False
    clear: bool = False
    answers_in_order: bool = False
    rx_buffer: int = 4096
    feed_units_per_dot: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("width_dots", 256, 1024),
            ("dpi", 150, 400),
            ("strip_dots", 24, 2000),
            ("rx_buffer", 32, 1 << 24),
            ("feed_units_per_dot", 1, 4),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ProfileError(f"profile '{self.name}': key '{name}': {value} is not from {low} to {high}")
        if self.encoding is Encoding.NATIVE and not (self.kanji and self.native_qr):
            raise ProfileError(
                f"profile '{self.name}': key 'encoding': native needs kanji and native_qr; allowed: raster"
            )

    @property
    def cells(self) -> int:
        """Columns of half-width characters (Font A, 12 dots)."""
        return self.width_dots // 12

    def mm(self, dots: int) -> float:
        return dots * MM_PER_INCH / self.dpi


def load(name: str | Path) -> Profile:
    """The profile of a shipped name (`generic-80`) or of a TOML file. Raises ProfileError in one line."""
    path = Path(name)
    if path.suffix != ".toml":
        path = SHIPPED / f"{name}.toml"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.toml")))
            raise ProfileError(f"profile '{name}' is not shipped; known: {known}; or the path of a .toml file")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ProfileError(f"{path}: not TOML ({error})") from error
    base = raw.pop("base", None)
    values: dict[str, Any] = {"name": path.stem}
    if base is not None:
        values.update(_from_database(base, where=f"{path}: key 'base'"))
    allowed = {field.name: str(field.type) for field in fields(Profile)}
    for key, value in raw.items():
        if key not in allowed:
            raise ProfileError(f"{path}: unknown key '{key}'; allowed: base, {', '.join(sorted(allowed))}")
        values[key] = _value(value, allowed[key], where=f"{path}: key '{key}'")
    for key in ("width_dots", "dpi"):
        if key not in values:
            raise ProfileError(f"{path}: key '{key}' is missing, and no base gives it")
    return Profile(**values)


def reference(name: str) -> str:
    """`name` so that `load` finds the same profile from another process: a shipped name as it is, a file by its whole path."""
    path = Path(name)
    return name if path.suffix != ".toml" else str(path.resolve())


def _value(value: Any, kind: str, *, where: str) -> Any:
    enums: dict[str, type[StrEnum]] = {"Encoding": Encoding, "Gaiji": Gaiji}
    if kind in enums:
        try:
            return enums[kind](value)
        except ValueError as error:
            raise ProfileError(f"{where}: '{value}' is not one of: {', '.join(enums[kind])}") from error
    if type(value).__name__ != kind:
        raise ProfileError(f"{where}: {kind} is expected, found {type(value).__name__}")
    return value


def _from_database(model: str, *, where: str) -> dict[str, Any]:
    """Width, resolution, cutter and QR of a model in python-escpos's capabilities.json, read without importing the library."""
    spec = importlib.util.find_spec("escpos")
    if spec is None or not spec.submodule_search_locations:
        raise ProfileError(f"{where}: python-escpos, whose model data it names, is not installed")
    text = (Path(next(iter(spec.submodule_search_locations))) / "capabilities.json").read_text(encoding="utf-8")
    profiles = json.loads(text)["profiles"]
    if model not in profiles:
        raise ProfileError(f"{where}: '{model}' is not one of: {', '.join(sorted(profiles))}")
    entry = profiles[model]
    values: dict[str, Any] = {
        "native_qr": bool(entry["features"].get("qrCode")),
        "cutter": bool(entry["features"].get("paperFullCut") or entry["features"].get("paperPartCut")),
    }
    media = {"width_dots": entry["media"]["width"].get("pixels"), "dpi": entry["media"].get("dpi")}
    return values | {key: found for key, found in media.items() if isinstance(found, int)}
