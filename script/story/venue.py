"""The made-up venue on this machine: hub, kiosk and gate as separate processes, terminal and printer as emulators, real wires.

Everything is started by the commands and settings files of an installed device; only addresses and directories differ.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from script.story.camera import Camera
from script.story.line import Line
from script.story.processes import Program, StoryError, run

KIOSK_PX = (1080, 1920)
GATE_PX = (720, 1280)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a window stands on the display, in pixels."""

    left: int
    top: int
    width: int
    height: int


class Venue:
    """Call `open_hub`, `enrol`, `open_counter`, `open_kiosk`, `open_gate` in this order; `close` whatever has been opened."""

    def __init__(self, directory: Path, *, display: str, kiosk: Placed, gate: Placed, headless: bool) -> None:
        self.directory = directory
        self.logs = directory / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.paper = directory / "paper"
        self.ledger = directory / "terminal-ledger.jsonl"
        self.targets = directory / "kiosk-run" / "targets.json"
        self.camera = Camera(directory / "camera", seed=20261123)
        self.kiosk_at, self.gate_at = kiosk, gate
        self._headless = headless
        self._environment = {"DISPLAY": display, "LIBGL_ALWAYS_SOFTWARE": "1"} if headless else {"DISPLAY": display}
        self._programs: dict[str, Program] = {}
        self._daemons: dict[str, tuple[str, str, str]] = {}
        self._ports: dict[str, int] = {}
        self.line: Line | None = None
        self.hub_url = ""
        self.seeded: dict[str, Any] = {}

    # --- opening

    def open_hub(self) -> None:
        """A hub with the made-up venue, and the cable that devices reach it by."""
        database = f"sqlite:///{self.directory / 'hub.db'}"
        hub = self._start("hub", ["config", "hub", "serve", "--database", database, "--listen", "127.0.0.1:0"])
        self.hub_url = hub.wait_line("listening")["url"].rstrip("/")
        host, port = self.hub_url.removeprefix("http://").rsplit(":", 1)
        self.line = Line((host, int(port)))
        seeded = run(["config", "hub", "seed", "--database", database, "--url", self.device_url])
        if seeded.returncode != 0:
            raise StoryError(f"the hub could not be seeded: {seeded.stderr.strip()}")
        self.seeded = json.loads(seeded.stdout.strip().splitlines()[-1])

    @property
    def device_url(self) -> str:
        assert self.line is not None
        return f"http://{self.line.address[0]}:{self.line.address[1]}"

    def enrol(self, role: str) -> subprocess.CompletedProcess[str]:
        """Redeem the role's one-time link into its state directory, as a technician does."""
        return run(["config", "enrol", self.seeded["links"][role], "--state", str(self.directory / f"{role}-state")])

    def open_counter(self, *, terminal: list[str], printer: list[str]) -> None:
        """Terminal and printer, each at the other end of a wire."""
        made = self._start(
            "terminal",
            ["config", "emulate", "terminal", "--listen", "127.0.0.1:0", "--ledger", str(self.ledger), *terminal],
        )
        self._ports["terminal"] = made.wait_line("listening")["port"]
        made = self._start(
            "printer-device",
            ["config", "emulate", "printer", "--listen", "127.0.0.1:0", "--out", str(self.paper), *printer],
        )
        self._ports["printer"] = made.wait_line("listening")["port"]

    def open_kiosk(self) -> None:
        left, top, width, height = self.kiosk_at.left, self.kiosk_at.top, self.kiosk_at.width, self.kiosk_at.height
        self._configure(
            "kiosk",
            {
                "printer": {
                    "link": "tcp",
                    "address": f"127.0.0.1:{self._ports['printer']}",
                    "progress_doorbells": [str(self.directory / "kiosk-run" / "kiosk.bell")],
                },
                "kiosk": {
                    "terminal_address": f"tcp://127.0.0.1:{self._ports['terminal']}",
                    "terminal_password": 123456,
                    "fullscreen": False,
                    "width_px": width,
                    "height_px": height,
                    "left_px": left,
                    "top_px": top,
                    "show_cursor": not self._headless,
                    "say_targets": str(self.targets),
                },
            },
            ["sync", "printer", "kiosk"],
        )
        self.start_daemon("kiosk", "sync", "sync").wait_ready()
        self.start_daemon("kiosk", "printer", "printer").wait_ready()
        self.start_daemon("kiosk", "kiosk", "kiosk").wait_ready()

    def open_second_kiosk(self, label: str) -> Program:
        """Another kiosk of real parts, sold at by a program instead of fingers: enrolled by a link of its own, with its own terminal and
        printer. The program that sells; it has said "open".
        """
        listen = ["--listen", "127.0.0.1:0"]
        paper, ledger = self.directory / f"paper-{label}", self.directory / f"terminal-ledger-{label}.jsonl"
        terminal = self._start(
            f"terminal-{label}",
            ["config", "emulate", "terminal", *listen, "--ledger", str(ledger), "--pause-ms", "20", "--host-ms", "20"],
        )
        printer = self._start(
            f"printer-device-{label}",
            ["config", "emulate", "printer", *listen, "--out", str(paper), "--speed", "0"],
        )
        database = f"sqlite:///{self.directory / 'hub.db'}"
        made = run(
            [
                *("config", "hub", "link", "--role", "kiosk", "--label", label),
                *("--database", database, "--url", self.device_url),
            ]
        )
        if made.returncode != 0:
            raise StoryError(f"no link for {label}: {made.stderr.strip()}")
        link, name = json.loads(made.stdout)["link"], f"kiosk-{label}"
        done = run(["config", "enrol", link, "--state", str(self.directory / f"{name}-state")])
        if done.returncode != 0:
            raise StoryError(done.stderr.strip())
        wires = {program.name: program.wait_line("listening")["port"] for program in (terminal, printer)}
        run_dir = self.directory / f"{name}-run"
        self._configure(
            name,
            {
                "printer": {
                    "link": "tcp",
                    "address": f"127.0.0.1:{wires[printer.name]}",
                    "progress_doorbells": [str(run_dir / "kiosk.bell")],
                },
                "kiosk": {
                    "terminal_address": f"tcp://127.0.0.1:{wires[terminal.name]}",
                    "terminal_password": 123456,
                },
            },
            ["sync", "printer", "kiosk"],
        )
        together = [self.start_daemon(name, "sync", "sync"), self.start_daemon(name, "printer", "printer")]
        seller = self._start(f"{name}-seller", ["script.story.seller", str(run_dir / "kiosk.json")])
        for program in together:
            program.wait_ready()
        seller.wait_line("open")
        return seller

    def open_gate(self) -> None:
        left, top, width, height = self.gate_at.left, self.gate_at.top, self.gate_at.width, self.gate_at.height
        self._configure(
            "gate",
            {
                "reader": {
                    "source": "folder",
                    "location": str(self.directory / "camera"),
                    "rearm_ms": 400,
                    "settle_ms": 10,
                },
                "gate-screen": {
                    "width_px": width,
                    "height_px": height,
                    "left_px": left,
                    "top_px": top,
                    "volume": 0.0 if self._headless else 0.8,
                },
            },
            ["sync", "reader", "gate", "gate-screen"],
        )
        self.start_daemon("gate", "sync", "sync").wait_ready()
        # Screen and reader look for the gate until it is there, so the three may start together.
        together = [
            self.start_daemon("gate", "gate", "scanner.gate"),
            self.start_daemon("gate", "gate-screen", "scanner.screen"),
            self.start_daemon("gate", "reader", "scanner.reading"),
        ]
        for program in together:
            program.wait_ready()

    def _configure(self, device: str, sections: dict[str, dict[str, Any]], daemons: list[str]) -> None:
        """Write the device's one TOML file and let `kaisatsu config write` make the daemons' files of it."""
        run_dir = self.directory / f"{device}-run"
        run_dir.mkdir(exist_ok=True)
        file = self.directory / f"{device}.toml"
        head = {"device": {"state_dir": str(self.directory / f"{device}-state"), "run_dir": str(run_dir)}}
        # Whoever plays with the line wants it back at once. In a venue the pauses grow longer, so that a thousand devices are gentle.
        everything = {**head, "sync": {"backoff_s_max": 2.0}, **sections}
        file.write_text("\n".join(_toml(name, section) for name, section in everything.items()), encoding="utf-8")
        only = [word for daemon in daemons for word in ("--only", daemon)]
        done = run(["config", "config", "write", "--file", str(file), *only])
        if done.returncode != 0:
            raise StoryError(done.stderr.strip())

    def start_daemon(self, device: str, daemon: str, module: str) -> Program:
        """Start one daemon of an open device, as systemd would; again, after `stop`. It may not be ready yet."""
        settings = self.directory / f"{device}-run" / f"{daemon}.json"
        environment = dict(self._environment) if daemon in ("kiosk", "gate-screen") else {}
        name = f"{device}-{daemon}"
        self._daemons[name] = (device, daemon, module)
        return self._start(name, [module, str(settings)], notifies=True, env=environment)

    def _start(
        self, name: str, arguments: list[str], *, notifies: bool = False, env: dict[str, str] | None = None
    ) -> Program:
        program = Program(name, arguments, logs=self.logs, notifies=notifies, env=env)
        self._programs[name] = program
        return program

    # --- looking

    def program(self, name: str) -> Program:
        return self._programs[name]

    def papers(self) -> list[Path]:
        """Pictures of what was cut off so far, in order."""
        return sorted(self.paper.glob("*.png"))

    def wait_papers(self, count: int, *, timeout_s: float = 60) -> list[Path]:
        deadline = time.monotonic() + timeout_s
        while len(self.papers()) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.papers()

    def stop(self, name: str) -> None:
        self._programs.pop(name).stop()

    def fallen(self) -> list[str]:
        """Daemons that have ended without being asked to."""
        return [name for name in self._daemons if name in self._programs and self._programs[name].ended]

    def start_again(self, name: str) -> None:
        """A daemon that has ended, with the settings it had; what its service would do."""
        self.stop(name)
        self.start_daemon(*self._daemons[name])

    def close(self) -> None:
        for program in reversed(self._programs.values()):
            with contextlib.suppress(OSError):
                program.stop()
        if self.line is not None:
            self.line.close()


def _toml(name: str, section: dict[str, Any]) -> str:
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in section.items()]
    return "\n".join([f"[{name}]", *lines, ""])


class Display:
    """The display to draw on: a given one, or an Xvfb of our own without a network socket."""

    def __init__(self, *, width: int, height: int, logs: Path) -> None:
        reader, writer = os.pipe()
        self._process = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writer), "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp", "-noreset"],
            pass_fds=(writer,),
            stdout=(logs / "xvfb.log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        os.close(writer)
        with os.fdopen(reader, encoding="ascii") as answer:
            number = answer.readline().strip()
        if not number:
            raise StoryError(f"Xvfb did not start; its log: {logs / 'xvfb.log'}")
        self.name = f":{number}"

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
