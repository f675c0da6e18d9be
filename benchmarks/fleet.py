"""A thousand devices at one hub for a minute, with an outage in it and the storm after.

    python -m benchmarks.fleet [--quick] [--database URL]

Virtual devices (half gates, half kiosks) speak the real protocol to a real hub process: requests signed by RFC 9421, claims with whole
codes, chained and signed segments, long polls, telemetry. In the second third of the time the hub is killed (SIGKILL) and started again;
gates go on by policy, kiosks go on selling, and all that was kept comes in as a storm. Then each device's own account is held
against the hub's database: `lost` and `doubled` are 0, no ticket was confirmed twice. `claim_p99_ms` leaves out what was sent from the
kill until all that waited was answered; `claim_storm_p99_ms` is of that time.

Load: research (sync-and-scan 5) reckons 250 admissions/s and 40 to 80 rows of sales for 1 000 devices of 100 venues at their peak, on
a hub that has its two cores to itself. Here clients and hub share them, so a gate has a guest every 20 s and a kiosk a sale every 60 s
(25 claims/s, 8 sales/s), uploads go every 15 s, telemetry every 60 s, and the feed is asked every 25 s (together some 170 requests/s);
`offered_claims_per_s` says it. All devices are of one venue, so each follows everything that all do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, insert, select

from benchmarks._fleet_device import Device, Fleet
from benchmarks.figures import percentile, say
from hub import tables
from hub.node import HubNode
from hub.opening import open_node
from hub.services import venue
from sync import certificate
from sync.certificate import Certificate
from sync.operation import Admission, Mode, Paid, Refusal, Release, ReleaseReason, Sale, SoldLine, SoldTicket, TaxAmount
from sync.state import Role
from tickets.admission import Passage, Reason
from tickets.code import TicketCode, sign
from tickets.ids import DeviceId, Kid, TicketId

BENCH = "fleet"
ROOT = Path(__file__).parents[1]
DEADLINE_S = 0.15
GATE_EVERY_S, KIOSK_EVERY_S = 20.0, 60.0
PUSH_EVERY_S, TELL_EVERY_S, FOLLOW_WITHIN_S = 15.0, 60.0, 5.0
PRICE = 1800
AGAIN_SHARE = 0.1
"""So often a guest shows a ticket that was shown at another gate before."""
DRAIN_S = 240.0


class Hub:
    """The hub's process, which is killed and comes again on the same port and database."""

    def __init__(self, url: str, key_file: Path, log: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._url, self._key_file, self._log = url, key_file, log
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-m", "hub", "serve", "--database", self._url, "--key-file", str(self._key_file),
                    "--listen", f"127.0.0.1:{self.port}",
                ],
                cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if '"listening"' not in line:
            raise SystemExit(f"{BENCH}: the hub did not start: {self._log.read_text()[-500:]}")

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(timeout=20)


class Guests:
    """Tickets that guests hold, and which were shown before. Codes are made before the clock runs."""

    def __init__(self, keys: list[tuple[Kid, Ed25519PrivateKey]], count: int, chance: random.Random) -> None:
        now = int(time.time())
        self._fresh = []
        for number in range(count):
            kid, key = keys[number % len(keys)]
            ticket = TicketId(chance.randbytes(10))
            code = TicketCode(
                kid=kid, ticket_id=ticket, variant=1, uses=1, language=0, not_before=now - 3600, expires=now + 36_000
            )
            self._fresh.append((ticket.hex(), sign(code, key)))
        self._shown: list[tuple[str, str]] = []
        self._chance = chance

    def next(self) -> tuple[str, str]:
        if self._shown and (not self._fresh or self._chance.random() < AGAIN_SHARE):
            return self._chance.choice(self._shown[-200:])
        shown = self._fresh.pop()
        self._shown.append(shown)
        return shown


def prepare(
    node: HubNode, count: int, chance: random.Random
) -> list[tuple[DeviceId, Role, str, Ed25519PrivateKey, Kid | None, Ed25519PrivateKey]]:
    """Devices as enrolment leaves them at the hub, keys made beforehand. (device, role, label, identity key, kid, selling key)"""
    made, rows, keys = [], [], []
    now = node.clock.now_utc()
    for number in range(count):
        role = Role.GATE if number % 2 else Role.KIOSK
        identity, selling = (Ed25519PrivateKey.from_private_bytes(chance.randbytes(32)) for _ in range(2))
        device, label = DeviceId(chance.randbytes(16)), f"{'G' if number % 2 else 'K'}{number}"
        kid = Kid(number.to_bytes(4, "big")) if role is Role.KIOSK else None
        rows.append(
            {
                "device": device,
                "role": role.value,
                "label": label,
                "gate": "A" if role is Role.GATE else None,
                "identity": identity.public_key().public_bytes_raw(),
                "enrolled_at": tables.stamp(now),
            }
        )
        if kid is not None:
            public = selling.public_key().public_bytes_raw()
            text, signature = certificate.issue(
                Certificate(
                    kid=kid,
                    public=public,
                    device=device.hex(),
                    not_before=int(now.timestamp()) - 86_400,
                    expires=int((now + timedelta(days=400)).timestamp()),
                    tickets_max=1_000_000,
                ),
                node.key,
            )
            keys.append({"kid": kid, "device": device, "public": public, "certificate": text, "signature": signature})
        made.append((device, role, label, identity, kid, selling))
    with node.write() as connection:
        venue.publish_catalogue(
            connection, json.loads((ROOT / "hub" / "demo_venue.json").read_text(encoding="utf-8")), now=now
        )
        connection.execute(insert(tables.device), rows)
        connection.execute(insert(tables.selling_key), keys)
    return made


def scans(guests: Guests) -> Any:
    """A gate's guest: claim under an operation of its own, wait 150 ms, then exactly one operation under the same id."""

    async def scan(gate: Device) -> None:
        ticket, code = guests.next()
        op, at = gate.chance.randbytes(16).hex(), datetime.now(UTC).isoformat()
        row: dict[str, object] = {
            "op": op, "kind": "entry", "ticket": ticket, "code": code, "units": 1, "window": "", "gate": "A", "epoch": 1,
        }  # fmt: skip
        answer = await gate.claim(row, deadline_s=DEADLINE_S)
        if answer is not None and answer.get("result", answer.get("answer")) == "denied":
            gate.append(Refusal(op, at, ticket, Reason(str(answer["reason"])), "A", f"{len(gate.bodies) % 999:03d}"))
            return
        epoch = None if answer is None else int(answer.get("epoch", 1))  # type: ignore[call-overload]
        mode = Mode.POLICY if epoch is None else Mode.CONFIRMED
        gate.append(Admission(op, at, ticket, code, Passage.ENTRY, 1, "", "A", mode, epoch))
        if gate.chance.random() < 0.02:
            gate.append(Release(gate.chance.randbytes(16).hex(), at, op, ReleaseReason.NOT_PASSED, "A"))

    return scan


def sells(kid: Kid) -> Any:
    def sell(kiosk: Device) -> None:
        number = len(kiosk.bodies)
        count = kiosk.chance.randrange(1, 4)
        now = datetime.now(UTC)
        tickets = tuple(
            SoldTicket(
                ticket=kiosk.chance.randbytes(10).hex(), kid=kid.hex(), variant=1, uses=1, language="ja",
                not_before=int(now.timestamp()) - 3600, expires=int(now.timestamp()) + 36_000,
                short_id=f"{kiosk.chance.randrange(1_000_000):06d}", line=0,
            )
            for _ in range(count)
        )  # fmt: skip
        total = PRICE * count
        kiosk.append(
            Sale(
                op=kiosk.chance.randbytes(16).hex(), at=now.isoformat(), order=kiosk.chance.randbytes(10).hex(),
                number=f"{kiosk.label}-{number:04d}", language="ja", currency="JPY", total_minor=total,
                lines=(SoldLine(variant=1, count=count, unit_minor=PRICE, tax_bp=1000),),
                tax=(TaxAmount(tax_bp=1000, gross_minor=total, tax_minor=total * 1000 // 11000),),
                paid=Paid(tender="card", attempt=f"{number}"), tickets=tickets,
            )
        )  # fmt: skip

    return sell


async def run(
    hub: Hub, made: list[Any], guests: Guests, *, seconds: float, outage_s: float
) -> tuple[Fleet, list[Device], tuple[float, float, float]]:
    """Everyone for `seconds`, the hub dead for `outage_s` from a third on. (the fleet, its devices, (began, killed, calm again))"""
    began = time.monotonic()
    fleet = Fleet("127.0.0.1", hub.port, began + seconds)
    shrink = min(1.0, seconds / 60)  # a short run has each thing happen as often in it
    devices: list[Device] = []
    guests_come, pushes, beside = [], [], []
    for number, (device_id, role, label, identity, kid, _) in enumerate(made):
        every_s = (GATE_EVERY_S if role is Role.GATE else KIOSK_EVERY_S) * shrink
        device = Device(fleet, device_id, identity, label, every_s=every_s, seed=number)
        devices.append(device)
        guests_come.append(asyncio.ensure_future(device.act(scans(guests) if role is Role.GATE else sells(kid))))
        pushes.append(asyncio.ensure_future(device.push(PUSH_EVERY_S * shrink)))
        beside.append(asyncio.ensure_future(device.follow(FOLLOW_WITHIN_S * shrink)))
        beside.append(asyncio.ensure_future(device.tell(TELL_EVERY_S * shrink)))
    await asyncio.sleep(seconds / 3)
    killed = time.monotonic()
    await asyncio.to_thread(hub.kill)
    waiting = 0
    await asyncio.sleep(outage_s)
    await asyncio.to_thread(hub.start)
    back, waiting = time.monotonic(), sum(device.unsent for device in devices)
    fleet.seen["waiting_after_outage"] = waiting
    target = [len(device.bodies) for device in devices]
    while any(device.acknowledged < count for device, count in zip(devices, target, strict=True)):
        for task in (*pushes, *guests_come, *beside):
            if task.done():
                task.result()  # a device that fell over is a fault of the bench, and not to be waited for
        if time.monotonic() > back + DRAIN_S:
            break
        await asyncio.sleep(0.1)
    calm = time.monotonic()
    fleet.seen["storm_ms"] = round((calm - back) * 1000)
    await asyncio.sleep(max(0.0, fleet.ends_s - time.monotonic()))
    done, late = await asyncio.wait(guests_come, timeout=15 + GATE_EVERY_S)  # who is at a gate now is still let in
    pushed, waiting_still = await asyncio.wait(pushes, timeout=DRAIN_S)
    for task in (*late, *waiting_still, *beside):
        task.cancel()
    for task in (*done, *pushed):
        task.result()
    for device in devices:
        device.close()
    return fleet, devices, (began, killed, calm)


def judge(node: HubNode, devices: list[Device]) -> dict[str, int]:
    """Each device's own account against the hub's database."""
    found: Counter[str] = Counter()
    sales = admitted = 0
    with node.read() as connection:
        kept: dict[tuple[bytes, int], list[str]] = {}
        for row in connection.execute(
            select(tables.operation.c.device, tables.operation.c.seq, tables.operation.c.body)
        ):
            kept.setdefault((row.device, row.seq), []).append(row.body)
        uses = {row.op.hex(): row for row in connection.execute(select(tables.used))}
        charged = Counter(dict(connection.execute(select(tables.payment.c.op, tables.payment.c.amount_minor)).all()))
        tickets = set(connection.scalars(select(tables.ticket.c.ticket)))
        confirmed = connection.execute(
            select(tables.used.c.ticket, func.sum(tables.used.c.units).label("units"))
            .where(tables.used.c.released == 0, tables.used.c.mode == Mode.CONFIRMED)
            .group_by(tables.used.c.ticket)
        ).all()
        found["confirmed_twice"] = sum(int(row.units) > 1 for row in confirmed)
        from hub.services import ledger

        found["conflicts"] = len(ledger.all_conflicts(connection))
    expected: dict[str, bool] = {}
    money = 0
    for device in devices:
        for seq, body in enumerate(device.bodies, start=1):
            there = kept.pop((device.device, seq), [])
            found["operations"] += 1
            found["lost"] += body not in there
            found["doubled"] += max(0, len(there) - 1)
            what = json.loads(body)
            match what["kind"]:
                case "admission":
                    expected[what["op"]] = True
                    admitted += 1
                case "release":
                    expected[what["of"]] = False
                case "sale":
                    sales += 1
                    money += what["total_minor"]
                    found["lost"] += charged.pop(bytes.fromhex(what["op"]), None) != what["total_minor"]
                    found["lost"] += sum(bytes.fromhex(sold["ticket"]) not in tickets for sold in what["tickets"])
    for op, counts in expected.items():
        found["lost"] += op not in uses or bool(uses[op].released) == counts
    found["doubled"] += (
        len(kept) + len(charged) + sum(not row.released and not expected.get(op, False) for op, row in uses.items())
    )
    found["sales"], found["admissions"], found["unanswered"] = sales, admitted, sum(device.unsent for device in devices)
    return dict(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100 devices for 8 s; the goals hold without it")
    parser.add_argument("--database", help="a fresh PostgreSQL database's URL; without it SQLite on this disk")
    parser.add_argument("--devices", type=int, metavar="N", help="so many instead, to find where a machine's end is")
    given = parser.parse_args()
    count, seconds, outage_s = (100, 8.0, 1.5) if given.quick else (1000, 60.0, 8.0)
    count = given.devices or count
    chance = random.Random(5)
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as name:
        folder = Path(name)
        url, key_file = given.database or f"sqlite:///{folder / 'hub.db'}", folder / "hub.key"
        node = open_node(url, key_file=key_file)
        made = prepare(node, count, chance)
        node.engine.dispose()
        selling = [(kid, key) for _, _, _, _, kid, key in made if kid is not None]
        guests = Guests(selling, round(count * 3.5) + 200, chance)
        hub = Hub(url, key_file, folder / "hub.log")
        hub.start()
        try:
            fleet, devices, (began, killed, calm) = asyncio.run(
                run(hub, made, guests, seconds=seconds, outage_s=outage_s)
            )
        finally:
            hub.stop()
        node = open_node(url, key_file=key_file)
        found = judge(node, devices)
        node.engine.dispose()
    ordinary = [ms for sent, ms in fleet.waits if not killed - 1 <= sent <= calm]
    storm = [ms for sent, ms in fleet.waits if killed - 1 <= sent <= calm]
    took_s = max(at for at, _ in fleet.answered) - began
    say(BENCH, "devices", count, "devices")
    say(BENCH, "lost", found["lost"] + found["unanswered"], "operations")
    say(BENCH, "doubled", found["doubled"], "operations")
    say(BENCH, "confirmed_twice", found["confirmed_twice"], "tickets")
    say(BENCH, "claim_p50_ms", percentile(ordinary, 0.50), "ms")
    say(BENCH, "claim_p99_ms", percentile(ordinary, 0.99), "ms")
    if storm:
        say(BENCH, "claim_storm_p99_ms", percentile(storm, 0.99), "ms")
    say(BENCH, "operations", found["operations"], "operations")
    say(BENCH, "operations_per_s", sum(many for _, many in fleet.answered) / took_s, "1/s")
    say(BENCH, "offered_claims_per_s", count / 2 / GATE_EVERY_S / min(1.0, seconds / 60), "1/s")
    for figure in ("admissions", "sales", "conflicts"):
        say(BENCH, figure, found[figure], figure)
    for figure in ("claims_answered", "claims_silent", "polls", "telemetry", "waiting_after_outage", "storm_ms"):
        say(BENCH, figure, fleet.seen[figure], "ms" if figure.endswith("_ms") else figure)
    for name, times in sorted(fleet.seen.items()):
        if name.startswith("refused "):
            sys.stderr.write(f"{name}: {times} times\n")
    return 0 if not (found["lost"] + found["unanswered"] + found["doubled"] + found["confirmed_twice"]) else 1


if __name__ == "__main__":
    sys.exit(main())
