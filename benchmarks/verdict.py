"""From a frame to a durable verdict: what a guest waits for at the gate.

    python -m benchmarks.verdict [--quick]

A 1280x720 picture of a printed ticket (4.2 pixels a module, turned, a little blurred and noisy, MJPEG at quality 80 as cameras give
it, already unpacked) -> the reader's decoder -> the packet between the
processes -> the real lane: signature, 1 000 000 tickets in the cache, journal on this disk, one synced commit. The clock stops where the
verdict may be shown. What follows the light (chaining) is done each time as at a gate, and told as a stage of its own. Goals: `p50_ms`
<= 5; `p99_ms` <= 25 or <= 3 x `fdatasync_p99_ms` of the same run (4 KiB appended and synced between the scans). Peer: pyzbar
in the decoder's place.
"""

from __future__ import annotations

import gc
import os
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import segno
import structlog

from benchmarks.figures import percentile, quick, say
from scanner.gate.lane import Lane
from scanner.gate.rescue import open_or_set_aside
from scanner.gate.store import Store
from scanner.reading.decode import Cascade, Code, decode_zbar
from scanner.reading.frame import Picture
from scanner.reading.variants import grey
from sync.cache import Cache
from tests.support.gate_device import DAY_END, DAY_START, NOON, GateDevice, signed, ticket_of
from tickets.admission import VerdictKind
from tickets.clock import FixedClock
from tickets.read import Read

BENCH = "verdict"
PIXELS_A_MODULE = 4.2
"""A module of 6 dots (0.75 mm) in front of a 720p camera that sees 23 cm (research: sync-and-scan 2.2)."""
NOISE_SIGMA = 3
"""Indoor light. Decoding costs zxing-cpp six times as much at 8, which is near darkness."""
FRAME_WIDTH, FRAME_HEIGHT = 1280, 720
MISSES_SHARE_MAX = 0.02


@dataclass
class Times:
    """Milliseconds, one a scan."""

    whole: list[float] = field(default_factory=list)
    decode: list[float] = field(default_factory=list)
    lane: list[float] = field(default_factory=list)
    finish: list[float] = field(default_factory=list)
    disk: list[float] = field(default_factory=list)
    misses: int = 0


def frame(text: str, chance: random.Random) -> Picture:
    """A ticket held in front of the camera, as the camera gives it."""
    symbol = np.array(
        [[0 if dark else 255 for dark in row] for row in segno.make_qr(text, error="m").matrix_iter(border=4)]
    )
    side = round(symbol.shape[0] * PIXELS_A_MODULE)
    paper = cv2.resize(symbol.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
    scene = np.full((FRAME_HEIGHT, FRAME_WIDTH), 96, np.uint8)
    cv2.rectangle(scene, (300, 40), (980, 700), 228, -1)  # the ticket's paper, and print above the code
    for line in range(4):
        cv2.putText(scene, "SHIOSAI SEASIDE PARK", (340, 90 + 30 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 40, 2)
    left, top = 440 + chance.randrange(120), 260 + chance.randrange(120)
    scene[top : top + side, left : left + side] = np.where(paper == 0, 40, 228)
    turn = cv2.getRotationMatrix2D((FRAME_WIDTH / 2, FRAME_HEIGHT / 2), chance.uniform(-12, 12), 1.0)
    scene = cv2.warpAffine(scene, turn, (FRAME_WIDTH, FRAME_HEIGHT), borderValue=96)
    scene = cv2.GaussianBlur(scene, (0, 0), 0.7)
    noise = np.random.default_rng(chance.randrange(2**32)).normal(0, NOISE_SIGMA, scene.shape)
    noisy = np.clip(scene + noise, 0, 255).astype(np.uint8)
    packed = cv2.imencode(".jpg", cv2.cvtColor(noisy, cv2.COLOR_GRAY2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return cv2.imdecode(packed, cv2.IMREAD_COLOR)


def fill(path: Path, tickets: int, shown: list[str]) -> None:
    """A cache generation with `tickets` rows, the shown ones among them, and a use for each fifth; in key order, so in seconds."""
    Cache.create(path).close()
    chance = random.Random(11)
    ids = {ticket_of(seed) for seed in shown}
    while len(ids) < tickets:
        ids.add(chance.randbytes(10))  # type: ignore[arg-type]
    known = {ticket_of(seed) for seed in shown}
    ordered = sorted(ids)
    begins, ends = int(DAY_START.timestamp()), int(DAY_END.timestamp())
    at = NOON.isoformat()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA synchronous=OFF")
    db.execute("DROP INDEX ticket_by_short_id")
    db.execute("BEGIN")
    db.executemany(
        "INSERT INTO ticket (ticket, variant, uses, state, not_before, expires, language, short_id)"
        " VALUES (?, 1, 1, 'valid', ?, ?, 'ja', ?)",
        ((ticket, begins, ends, f"{number % 1_000_000:06d}") for number, ticket in enumerate(ordered)),
    )
    used = (ticket for number, ticket in enumerate(ordered) if number % 5 == 0 and ticket not in known)
    db.executemany(
        "INSERT INTO used (op, ticket, passage, units, window, at, gate, released) VALUES (?, ?, 'entry', 1, '', ?, 'B', 0)",
        ((b"use---" + ticket, ticket, at) for ticket in used),
    )
    db.execute("COMMIT")
    db.execute("CREATE INDEX ticket_by_short_id ON ticket (short_id)")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    os.sync()  # what the snapshot left behind is not the scans' to wait for


def run(lane: Lane, seeds: list[str], decode: Callable[[Picture], list[Code]], disk: Path) -> Times:
    """Each ticket shown once; each must be admitted."""
    times, chance, block = Times(), random.Random(5), b"\0" * 4096
    clock = time.perf_counter
    with disk.open("wb", buffering=0) as file:
        for seed in seeds:
            begun = clock()
            picture = frame(signed(seed), chance)
            start = clock()
            codes = decode(picture)
            decoded = clock()
            if not codes:
                times.misses += 1
                continue
            read = Read.from_packet(Read(codes[0].text, NOON, "camera").to_packet())
            answer = lane.scan(read.text, source=read.source)
            done = clock()
            if answer.verdict.kind is not VerdictKind.ADMIT:
                raise SystemExit(f"{BENCH}: {seed} was not admitted: {answer.verdict}")
            lane.finish()
            finished = clock()
            time.sleep(
                start - begun
            )  # as long after the last sync as the scan's was, or the file system has nothing left to do
            written = clock()
            file.write(block)
            os.fdatasync(file.fileno())
            synced = clock()
            times.whole.append((done - start) * 1000)
            times.decode.append((decoded - start) * 1000)
            times.lane.append((done - decoded) * 1000)
            times.finish.append((finished - done) * 1000)
            times.disk.append((synced - written) * 1000)
    return times


def tell(times: Times) -> None:
    for figure, values in (
        ("", times.whole),
        ("decode_", times.decode),
        ("lane_", times.lane),
        ("chain_", times.finish),
    ):
        say(BENCH, f"{figure}p50_ms", percentile(values, 0.50), "ms")
        say(BENCH, f"{figure}p99_ms", percentile(values, 0.99), "ms")
    say(BENCH, "fdatasync_p50_ms", percentile(times.disk, 0.50), "ms")
    say(BENCH, "fdatasync_p99_ms", percentile(times.disk, 0.99), "ms")
    say(BENCH, "scans", len(times.whole), "scans")
    say(BENCH, "decode_misses", times.misses, "frames")


def main() -> int:
    small = quick(str(__doc__).splitlines()[0])
    scans, peers, tickets = (60, 20, 20_000) if small else (600, 150, 1_000_000)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(40), logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )
    warm = [f"warm {number}" for number in range(20)]
    ours, theirs = [f"ours {n}" for n in range(scans)], [f"peer {n}" for n in range(peers)]
    with tempfile.TemporaryDirectory(
        dir=Path.cwd(), prefix=".bench-"
    ) as folder:  # the disk we live on, never a RAM disk
        device = GateDevice(Path(folder) / "state", clock=FixedClock(NOON))
        started = time.perf_counter()
        fill(device.state.cache(1), tickets, [*warm, *ours, *theirs])
        say(BENCH, "cache_built_s", time.perf_counter() - started, "s")
        granting = device.journal()
        device.grant(granting)
        granting.engine.dispose()
        journal, _ = open_or_set_aside(device.state, clock=device.clock, random_bytes=os.urandom)
        store = Store(device.state, journal)
        store.refresh()
        lane = Lane(store, gate="A", label="A", clock=device.clock, random_bytes=os.urandom)
        gc.collect()
        gc.freeze()  # as the gate does after its start
        disk = Path(folder) / "disk"
        run(lane, warm, Cascade().read, disk)
        times = run(lane, ours, Cascade().read, disk)
        if times.misses > scans * MISSES_SHARE_MAX:
            raise SystemExit(f"{BENCH}: {times.misses} of {scans} frames were not read")
        tell(times)
        peer = run(lane, theirs, lambda picture: decode_zbar(grey(picture)), disk)
        if peer.whole:
            say(BENCH, "p50_ms_pyzbar", percentile(peer.whole, 0.50), "ms")
            say(BENCH, "p99_ms_pyzbar", percentile(peer.whole, 0.99), "ms")
        say(BENCH, "decode_misses_pyzbar", peer.misses, "frames")
        journal.verify()
        store.close()
        journal.engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
