"""What the wire costs: signing and checking a request, and a signed claim over TLS beside the ledger.

    python -m benchmarks.hop [--quick]

`sign_us`, `verify_us`: our one profile of RFC 9421 on a claim, best of five rounds; `*_library_us` the general library on the same
request. `claim_server_cpu_us`: processor time of a hub process a claim (TLS, HTTP, signature, nonce, device, JSON; the ledger answers at
once), goal <= 400. `claim_client_cpu_us`: of the gate's side. `claims_per_s`: eight gates' threads in one process against one hub
process; what else runs on the machine lowers it. `claim_p99_ms` at 50 a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, HTTPSignatureKeyResolver, algorithms

from benchmarks.figures import percentile, quick, say
from sync import hop
from sync.claim import ClaimMessage
from sync.client import HttpHub
from sync.enrol import enrol
from sync.nonce import Nonces, answer_to
from sync.state import StateDir
from tickets.admission import Passage
from tickets.clock import SystemClock
from tickets.ids import DeviceId

BENCH = "hop"
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
DEVICE = DeviceId(b"d" * 16)
URL = "https://hub.example:8443/v1/claim"
ROUNDS = 5


class _Keys(HTTPSignatureKeyResolver):  # type: ignore[misc]
    def resolve_public_key(self, key_id: str) -> Any:
        _ = key_id
        return KEY.public_key()

    def resolve_private_key(self, key_id: str) -> Any:
        _ = key_id
        return KEY


def claim() -> ClaimMessage:
    return ClaimMessage(os.urandom(16).hex(), Passage.ENTRY, os.urandom(10).hex(), None, 1, "", "A", 1)


def best_us(work: Callable[[int], None], *, count: int) -> float:
    taken = []
    for round_ in range(ROUNDS):
        started = time.process_time()
        for number in range(count):
            work(round_ * count + number)
        taken.append((time.process_time() - started) / count * 1e6)
    return min(taken)


def weigh_signing(count: int) -> None:
    now, nonces = datetime.now(UTC), Nonces(KEY)
    body = claim().to_json().encode()
    made: list[dict[str, str]] = []
    target = hop.Target("POST", "hub.example:8443", "/v1/claim", "")

    def sign(_: int) -> None:
        nonce = answer_to(nonces.current(now), os.urandom(12))
        made.append(hop.signed_headers(target, body, device=DEVICE, key=KEY, now=now, nonce=nonce))

    public = KEY.public_key().public_bytes_raw()

    def verify(number: int) -> None:
        sent = made[number]
        claimed = hop.read(
            hop.Target("POST", "hub.example:8443", "/v1/claim", ""),
            body,
            digest=sent["Content-Digest"],
            signature_input=sent["Signature-Input"],
            signature=sent["Signature"],
        )
        hop.check(claimed, public)
        nonces.spend(claimed.device, claimed.nonce, now=now)

    say(BENCH, "sign_us", best_us(sign, count=count), "us")
    say(BENCH, "verify_us", best_us(verify, count=count), "us")
    signer = HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=_Keys())
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ED25519, key_resolver=_Keys())
    messages: list[hop.Message] = []

    def library_sign(number: int) -> None:
        message = hop.Message("POST", URL)
        nonce = answer_to(nonces.current(now), number.to_bytes(12, "big"))
        signer.sign(
            message,
            key_id=DEVICE.hex(),
            created=now,
            nonce=nonce,
            label="hop",
            tag=hop.TAG,
            covered_component_ids=hop.COVERED,
            body=body,
        )
        messages.append(message)

    def library_verify(number: int) -> None:
        verifier.verify(messages[number], expect_tag=hop.TAG, require_components=hop.COVERED, body=body)

    few = max(20, count // 10)
    say(BENCH, "sign_library_us", best_us(library_sign, count=few), "us")
    say(BENCH, "verify_library_us", best_us(library_verify, count=few), "us")


def weigh_claims(folder: Path, *, count: int, paced: int) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks._hop_server", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        gates = [_gate(folder / f"gate-{number}", link) for number, link in enumerate(told["links"])]
        for gate in gates:
            gate.claim(claim(), deadline_s=5)  # connected, and with a nonce
        watched = psutil.Process(told["pid"])

        taken: list[float] = []
        for number in range(paced):
            due_s = time.monotonic() + 0.02
            started = time.perf_counter()
            gates[number % len(gates)].claim(claim(), deadline_s=5)
            taken.append((time.perf_counter() - started) * 1000)
            time.sleep(max(0.0, due_s - time.monotonic()))
        say(BENCH, "claim_p50_ms", percentile(taken, 0.5), "ms")
        say(BENCH, "claim_p99_ms", percentile(taken, 0.99), "ms")

        def rush(gate: HttpHub) -> None:
            for _ in range(count // len(gates)):
                gate.claim(claim(), deadline_s=5)

        before, own, started = _cpu_s(watched), time.process_time(), time.perf_counter()
        threads = [threading.Thread(target=rush, args=(gate,)) for gate in gates]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wall_s = time.perf_counter() - started
        done = count // len(gates) * len(gates)
        say(BENCH, "claims_per_s", done / wall_s, "1/s")
        say(BENCH, "claim_server_cpu_us", (_cpu_s(watched) - before) / done * 1e6, "us")
        say(BENCH, "claim_client_cpu_us", (time.process_time() - own) / done * 1e6, "us")
    finally:
        server.terminate()
        server.wait(timeout=10)


def _gate(folder: Path, link: str) -> HttpHub:
    state = StateDir(folder)
    identity = enrol(link, state, clock=SystemClock(), random_bytes=os.urandom)
    return HttpHub(
        identity.hub_url,
        device=identity.device,
        key=state.identity_key(),
        clock=SystemClock(),
        random_bytes=os.urandom,
        tls=identity.hub_tls,
    )


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    small = quick(__doc__.partition("\n")[0] if __doc__ else "")
    weigh_signing(100 if small else 2000)
    with tempfile.TemporaryDirectory() as folder:
        weigh_claims(Path(folder), count=400 if small else 8000, paced=50 if small else 500)


if __name__ == "__main__":
    main()
