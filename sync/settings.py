"""The sync daemon's settings file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """`wait_s` is how long the hub holds an empty answer back; `page_rows` how many rows a page has at most; `backoff_s_max` the
    longest pause after failures; `slot_units` how much of each slot a kiosk holds to sell offline. `node_url`
    is where the venue node listens on this very machine (loopback), empty where it runs elsewhere: then the hub's statement says where.
    """

    state_dir: Path
    run_dir: Path
    wait_s: float = 10.0
    page_rows: int = 2000
    connect_timeout_s: float = 3.0
    read_timeout_s: float = 10.0
    backoff_s_max: float = 30.0
    telemetry_s: float = 20.0
    slot_units: int = 10
    node_url: str = ""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("wait_s", 0, 60),
            ("page_rows", 1, 10_000),
            ("connect_timeout_s", 0.01, 60),
            ("read_timeout_s", 0.01, 120),
            ("backoff_s_max", 0.2, 600),
            ("telemetry_s", 0.1, 3600),
            ("slot_units", 1, 10_000),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"key '{name}': {getattr(self, name)} is not from {low} to {high}")
        if self.node_url and not self.node_url.startswith(
            ("http://127.", "http://localhost", "http://[::1]", "https://")
        ):
            raise ValueError(f"key 'node_url': {self.node_url} is neither loopback nor https://")
