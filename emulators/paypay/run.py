"""The PayPay service as a process: its paths, its signature, and its guests on standard input."""

import argparse
import base64
import hashlib
import hmac
import re
import sys
from pathlib import Path
from typing import Any

from emulators import web
from emulators.errors import BadSpec
from emulators.events import Events, log
from emulators.paypay import service
from emulators.paypay.service import Refused, Service
from emulators.web import Books, Faults, Request, Response, Web

SKEW_MAX_S = 120

ROUTES = {
    "create": ("POST", r"/v2/codes"),
    "delete": ("DELETE", r"/v2/codes/([^/]+)"),
    "details": ("GET", r"/v2/codes/payments/([^/]+)"),
    "cancel": ("DELETE", r"/v2/payments/([^/]+)"),
    "create-refund": ("POST", r"/v2/refunds/?"),
    "refund": ("GET", r"/v2/refunds/([^/]+)"),
}


def operation(request: Request) -> str:
    for name, (method, pattern) in ROUTES.items():
        if method == request.method and re.fullmatch(pattern, request.path):
            return name
    return "unknown"


def refusal(status: int) -> dict[str, Any]:
    codes = {401: ("UNAUTHORIZED", "08100016"), 429: ("RATE_LIMIT", "08100998")}
    return result(*codes.get(status, ("MAINTENANCE_MODE", "08100999")))


def result(code: str, code_id: str, data: Any = None) -> dict[str, Any]:
    return {"resultInfo": {"code": code, "message": code.capitalize(), "codeId": code_id}, "data": data}


class Api:
    def __init__(self, paypay: Service, *, key: str, secret: str, merchant: str) -> None:
        self._paypay = paypay
        self._key = key
        self._secret = secret
        self._merchant = merchant

    def answer(self, request: Request, name: str) -> Response:
        if not self._is_signed(request):
            return Response(401, refusal(401))
        if request.headers.get("x-assume-merchant") != self._merchant:
            return Response(401, result("OP_OUT_OF_SCOPE", "08100023"))
        try:
            return self._do(request, name)
        except Refused as error:
            return Response(error.status, result(error.code, error.code_id))

    def _do(self, request: Request, name: str) -> Response:
        paypay = self._paypay
        match = re.fullmatch(ROUTES[name][1], request.path) if name in ROUTES else None
        key = match[1] if match is not None and match.groups() else ""
        match name:
            case "create":
                return Response(201, result("SUCCESS", "08100001", paypay.create(request.body)))
            case "delete":
                paypay.delete(key)
                return Response(200, result("SUCCESS", "08100001"))
            case "details":
                return Response(200, result("SUCCESS", "08100001", paypay.details(key)))
            case "cancel":
                paypay.cancel(key)
                return Response(202, result("REQUEST_ACCEPTED", "08100001"))
            case "create-refund":
                return Response(201, result("SUCCESS", "08100001", paypay.refund(request.body)))
            case "refund":
                return Response(200, result("SUCCESS", "08100001", paypay.refund_details(key)))
            case _:
                raise Refused(404, "RESOURCE_NOT_FOUND", "00200001")

    def _is_signed(self, request: Request) -> bool:
        """Whether the header is signed with our secret over this very request, within two minutes of our clock."""
        parts = request.headers.get("authorization", "").removeprefix("hmac OPA-Auth:").split(":")
        if len(parts) != 5 or parts[0] != self._key or not parts[3].isdecimal():
            return False
        _, mac, nonce, epoch, digest = parts
        if abs(int(epoch) - self._paypay.now().timestamp()) > SKEW_MAX_S:
            return False
        kind = checksum = "empty"
        if request.raw:
            kind = request.headers.get("content-type", "")
            checksum = base64.b64encode(
                hashlib.md5(kind.encode() + request.raw, usedforsecurity=False).digest()
            ).decode()
        text = f"{request.path}\n{request.method}\n{nonce}\n{epoch}\n{kind}\n{checksum}"
        right = base64.b64encode(hmac.digest(self._secret.encode(), text.encode(), "sha256")).decode()
        return hmac.compare_digest(mac, right) and digest == checksum


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m emulators paypay`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "PayPay's Open Payment API for QR codes: money events as JSON lines on standard output."
    parser.epilog = (
        f"{web.GRAMMAR}\n{service.GRAMMAR}\n\noperations: {', '.join(ROUTES)}\n\ncommands on standard input, a line each:"
        '\n  {"do": "pay"}, {"do": "walk-away"} (with --attended), {"do": "tell"} (ends a details-lag), {"do": "settle-refunds"}, {"do": "reset"},'
        '\n  {"do": "fault", "spec": SPEC}, {"do": "heal", "fault": NAME}'
    )
    parser.add_argument(
        "--listen", metavar="HOST:PORT", default="127.0.0.1:0", help="port 0 takes a free one (default)"
    )
    parser.add_argument("--ledger", metavar="FILE", type=Path, help="money events as JSON lines, kept")
    parser.add_argument("--fault", metavar="SPEC", action="append", default=[], help="see below; repeatable")
    parser.add_argument("--key", default="emulated-key", help="the API key (default emulated-key)")
    parser.add_argument("--secret", default="emulated-secret", help="its secret (default emulated-secret)")
    parser.add_argument("--merchant", default="M1EMULATED", help="(default M1EMULATED)")
    parser.add_argument("--pause-ms", type=int, default=3000, help="until the guest has paid (default 3000)")
    parser.add_argument("--attended", action="store_true", help="the guest pays when standard input says so")


async def serve(options: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT."""
    events = Events(sys.stdout)
    faults = Faults(once=service.ONCE, lasting=service.LASTING, operations=ROUTES)
    for spec in options.fault:
        faults.add(spec)
    books = Books(options.ledger, events)
    paypay = Service(
        books=books, faults=faults, now=faults.now, pause_s=options.pause_ms / 1000, attended=options.attended
    )
    api = Api(paypay, key=options.key, secret=options.secret, merchant=options.merchant)
    server = Web(faults=faults, events=events, operation=operation, answer=api.answer, refusal=refusal)

    def obey(command: dict[str, Any]) -> None:
        match command.get("do"):
            case "pay" | "walk-away":
                paypay.guests.put_nowait(command)
            case "settle-refunds":
                paypay.settle_refunds()
            case "tell":
                paypay.tell()
            case "reset":
                paypay.reset()
            case "fault":
                faults.add(str(command.get("spec")))
            case "heal":
                faults.heal(str(command.get("fault")))
            case _:
                raise BadSpec(
                    f"unknown command {command}; do: pay, walk-away, tell, settle-refunds, reset, fault, heal"
                )

    log.info("paypay listens")
    await web.run(options.listen, server, events, obey)
