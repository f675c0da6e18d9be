"""`script/bench start`: how soon the windows stand, and how much memory the processes hold once they have really worked.

The whole venue runs as it does in the demo, on an Xvfb of its own (SDL's offscreen driver grows without end on software GL and
would say nothing about a device). Start: from the process's start to READY, which both windows send after their first frame; files
are cached by a start that is not counted. Memory is VmRSS, read after a sale in each language was paid, printed and pushed, its
tickets were scanned, and every kind of screen and of verdict was shown. What a window costs is told beside an empty Kivy
window of the same size, driver and settings in the same run.
"""

from __future__ import annotations

import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import quick, say
from script.story.office import Office
from script.story.pointer import Pointer
from script.story.processes import Program, StoryError
from script.story.staff import Staff
from script.story.venue import Display, Placed, Venue
from sync import granted
from sync.store import open_engine, reading
from tests.screen.gate.gate_samples import every_view, ready

KIOSK = Placed(left=0, top=0, width=1080, height=1920)
GATE = Placed(left=1080, top=0, width=720, height=1280)
OUT_OF_VIEW_S = 1.6
"""The reader wants a code out of view this long before the same one counts as shown again."""
SETTLE_S = 2.0
"""After the last touch, so that what is let go has been let go."""


def main() -> int:
    counted = 2 if quick(__doc__ or "") else 5
    with tempfile.TemporaryDirectory(prefix="kaisatsu-bench-") as name:
        directory = Path(name)
        display = Display(width=KIOSK.width + GATE.width, height=KIOSK.height, logs=directory)
        venue = Venue(directory, display=display.name, kiosk=KIOSK, gate=GATE, headless=True)
        try:
            _open(venue)
            kiosk_s = [_restart_s(venue, "kiosk", "kiosk", "kiosk") for _ in range(counted + 1)][1:]
            screen_s = [_restart_s(venue, "gate", "gate-screen", "scanner.screen") for _ in range(counted + 1)][1:]
            say("start", "kiosk_start_s", statistics.median(kiosk_s), "s")
            say("start", "gate_screen_start_s", statistics.median(screen_s), "s")
            say("start", "starts_counted", counted, "count")
            _work(venue, display.name)
            _say_memory(venue)
            _over_empty(venue, display.name, "kiosk", KIOSK, rss_mb(venue.program("kiosk-kiosk")))
            venue.stop("kiosk-kiosk")
            venue.stop("gate-gate-screen")
            _over_empty(venue, display.name, "gate_screen", GATE, _all_verdicts(directory, display.name))
        except StoryError as error:
            sys.stderr.write(f"start: {error}\n")
            return 1
        finally:
            venue.close()
            display.close()
    return 0


def rss_mb(program: Program) -> float:
    """Resident memory of a running process, in units of 10^6 bytes, as the kernel tells it."""
    for line in Path(f"/proc/{program.process.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise StoryError(f"{program.name} has no resident memory: it has ended")


# --- the venue


def _open(venue: Venue) -> None:
    venue.open_hub()
    for role in ("kiosk", "gate"):
        done = venue.enrol(role)
        if done.returncode != 0:
            raise StoryError(done.stderr.strip())
    venue.open_counter(terminal=["--pause-ms", "300", "--host-ms", "100"], printer=[])
    venue.open_kiosk()
    venue.open_gate()
    _until(lambda: _knows(venue, "kiosk") and _knows(venue, "gate"), "kiosk and gate have heard from the hub")


def _knows(venue: Venue, role: str) -> bool:
    with reading(open_engine(venue.directory / f"{role}-state" / "journal.db")) as connection:
        return granted.catalogue_text(connection) is not None and bool(granted.keys(connection))


def _restart_s(venue: Venue, device: str, daemon: str, module: str) -> float:
    """Start it anew; seconds from the process's start to READY."""
    venue.stop(f"{device}-{daemon}")
    program = venue.start_daemon(device, daemon, module)
    program.wait_ready()
    return program.ready_after_s


# --- real work


def _work(venue: Venue, display: str) -> None:
    """Two visits through every kind of screen, one in each language, the second into an unknown payment; every paper to the gate."""
    pointer = Pointer(display, venue.targets, left=KIOSK.left, top=KIOSK.top)
    _until(lambda: bool(pointer.shown()["enabled"].get("language.ja")), "the kiosk sells")
    staff = Staff(venue.directory / "gate-run" / "gate-screen.sock")
    _buy(venue, pointer, "ja", receipt=True)
    papers = venue.papers()
    for paper in [*papers, papers[0]]:
        venue.camera.take_away()
        time.sleep(OUT_OF_VIEW_S if paper is papers[0] else 0.2)
        staff.look_away()
        venue.camera.show(paper)
        if paper is not papers[-1]:  # the receipt has no code
            staff.verdict()
    staff.close()
    _buy(venue, pointer, "en", receipt=False)
    _until(lambda: _sales_at_hub(venue) == 2, "the hub has both sales")
    _doubtful(venue, pointer)
    time.sleep(SETTLE_S)


def _buy(venue: Venue, pointer: Pointer, language: str, *, receipt: bool) -> None:
    """Every screen that a guest can come to by touching, and the paper running out on the way."""
    touch, screen = pointer.touch, pointer.wait_screen
    screen("attract", timeout_s=60)
    touch(f"language.{language}")
    screen("products")
    touch("product.admission")
    screen("people")
    touch("plus.2")
    touch("next")
    screen("basket")
    touch("another")
    screen("products")
    touch("product.athletics")
    screen("slots")
    touch(_first(pointer, "slot."))
    screen("people")
    touch("next")
    screen("basket")
    touch("change")
    screen("change")
    touch("back")
    screen("basket")
    touch("staff")
    touch("continue")
    touch("next")
    screen("method")
    printer = venue.program("printer-device")
    printer.tell({"do": "fault", "spec": "paper-out@cut=1:heal=2"})
    touch("pay.card")
    screen("paying")
    screen("printing", timeout_s=60)
    screen("take", timeout_s=60)
    touch("receipt.yes" if receipt else "receipt.no")
    screen("thanks", timeout_s=60)
    touch("done")
    screen("attract")


def _doubtful(venue: Venue, pointer: Pointer) -> None:
    """The line breaks before the proof, and the terminal will not say how it ended: the screen with a number for staff."""
    touch, screen = pointer.touch, pointer.wait_screen
    for fault in ("lost-before-completion", "repeat-silent"):
        venue.program("terminal").tell({"do": "fault", "spec": fault})
    touch("language.ja")
    screen("products")
    touch("product.ramune")
    screen("people")
    touch("next")
    screen("basket")
    touch("next")
    screen("method")
    touch("pay.card")
    screen("paying")
    screen("claim", timeout_s=180)


def _first(pointer: Pointer, prefix: str) -> str:
    _until(lambda: any(name.startswith(prefix) for name in pointer.shown()["targets"]), f"a key {prefix}")
    shown = pointer.shown()
    return next(name for name in shown["targets"] if name.startswith(prefix) and shown["enabled"][name])


def _sales_at_hub(venue: Venue) -> int:
    account = venue.seeded["office"]
    return len(Office(venue.hub_url, user=account["user"], password=account["password"]).sale_numbers())


# --- memory


def _say_memory(venue: Venue) -> None:
    say("start", "gate_rss_mb", rss_mb(venue.program("gate-gate")), "MB")
    say("start", "sync_rss_mb", max(rss_mb(venue.program(f"{device}-sync")) for device in ("kiosk", "gate")), "MB")
    say("start", "printer_rss_mb", rss_mb(venue.program("kiosk-printer")), "MB")
    say("start", "reader_rss_mb", rss_mb(venue.program("gate-reader")), "MB")


def _over_empty(venue: Venue, display: str, name: str, place: Placed, ours_mb: float) -> None:
    empty_mb = _empty_window_mb(venue, display, name, place)
    say("start", f"{name}_rss_mb", ours_mb, "MB")
    say("start", f"{name}_empty_window_rss_mb", empty_mb, "MB")
    say("start", f"{name}_over_empty_window_mb", ours_mb - empty_mb, "MB")


def _empty_window_mb(venue: Venue, display: str, name: str, place: Placed) -> float:
    home = venue.directory / f"{name}-empty"
    home.mkdir()
    arguments = ["benchmarks._empty_window", str(place.width), str(place.height), str(place.left), str(home)]
    empty = _window(f"{name}-empty", arguments, venue.logs, display)
    try:
        empty.wait_ready()
        time.sleep(SETTLE_S)
        return rss_mb(empty)
    finally:
        empty.stop()


def _all_verdicts(directory: Path, display: str) -> float:
    """A gate screen of its own, at the socket of a gate that shows it everything a gate can say; its memory after that."""
    address = directory / "every-view.sock"
    settings = directory / "every-view.json"
    home = directory / "every-view"
    place = {"width_px": GATE.width, "height_px": GATE.height, "left_px": GATE.left, "top_px": GATE.top}
    settings.write_text(json.dumps({"view_socket": str(address), "runtime_dir": str(home), "volume": 0.0, **place}))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(address))
        listener.listen(1)
        listener.settimeout(60)
        screen = _window("every-view", ["scanner.screen", str(settings)], directory / "logs", display)
        try:
            screen.wait_ready()
            peer, _ = listener.accept()
            log = screen.log
            for view in every_view():
                before = log.read_bytes().count(b'"verdict_drawn"')
                peer.send(view.to_packet())
                if view.verdict is not None:
                    _until(
                        lambda count=before: log.read_bytes().count(b'"verdict_drawn"') > count, "the verdict is drawn"
                    )
            peer.send(ready().to_packet())
            time.sleep(SETTLE_S)
            return rss_mb(screen)
        finally:
            screen.stop()


def _window(name: str, arguments: list[str], logs: Path, display: str) -> Program:
    environment = {"DISPLAY": display, "LIBGL_ALWAYS_SOFTWARE": "1"}
    return Program(name, arguments, logs=logs, env=environment, notifies=True)


def _until(so: Callable[[], bool], what: str, *, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not so():
        if time.monotonic() > deadline:
            raise StoryError(f"not so after {timeout_s:.0f} s: {what}")
        time.sleep(0.03)


if __name__ == "__main__":
    raise SystemExit(main())
