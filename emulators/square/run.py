"""The Square service as a process: its paths, and its guests on standard input."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from emulators import web
from emulators.errors import BadSpec
from emulators.events import Events, log
from emulators.square import service
from emulators.square.service import Refused, Service
from emulators.web import Books, Faults, Request, Response, Web

ROUTES = {
    "create": ("POST", r"/v2/terminals/checkouts"),
    "search": ("POST", r"/v2/terminals/checkouts/search"),
    "checkout": ("GET", r"/v2/terminals/checkouts/([^/]+)"),
    "cancel-checkout": ("POST", r"/v2/terminals/checkouts/([^/]+)/cancel"),
    "payments": ("GET", r"/v2/payments"),
    "payment": ("GET", r"/v2/payments/([^/]+)"),
    "complete": ("POST", r"/v2/payments/([^/]+)/complete"),
    "cancel-payment": ("POST", r"/v2/payments/([^/]+)/cancel"),
    "refunds": ("GET", r"/v2/refunds"),
    "refund": ("GET", r"/v2/refunds/([^/]+)"),
    "create-refund": ("POST", r"/v2/refunds"),
    "device": ("GET", r"/v2/devices/([^/]+)"),
}


def operation(request: Request) -> str:
    path = request.path.replace("%3A", ":")
    for name, (method, pattern) in ROUTES.items():
        if method == request.method and re.fullmatch(pattern, path):
            return name
    return "unknown"


def refusal(status: int) -> dict[str, Any]:
    codes = {401: ("AUTHENTICATION_ERROR", "UNAUTHORIZED"), 429: ("RATE_LIMIT_ERROR", "RATE_LIMITED")}
    category, code = codes.get(status, ("API_ERROR", "SERVICE_UNAVAILABLE"))
    return {"errors": [{"category": category, "code": code}]}


class Api:
    def __init__(self, square: Service, token: str) -> None:
        self._square = square
        self._token = token

    def answer(self, request: Request, name: str) -> Response:
        if request.headers.get("authorization") != f"Bearer {self._token}":
            return Response(401, refusal(401))
        try:
            return Response(200, self._do(request, name))
        except Refused as error:
            detail = {"category": "INVALID_REQUEST_ERROR", "code": error.code, "detail": error.detail}
            return Response(error.status, {"errors": [detail]})

    def _do(self, request: Request, name: str) -> dict[str, Any]:
        square = self._square
        match = re.fullmatch(ROUTES[name][1], request.path.replace("%3A", ":")) if name in ROUTES else None
        key = match[1] if match is not None and match.groups() else ""
        match name:
            case "create":
                return {"checkout": square.create_checkout(request.body)}
            case "search":
                return square.search(request.body)
            case "checkout":
                return {"checkout": square.look(key)}
            case "cancel-checkout":
                return {"checkout": square.cancel_checkout(key)}
            case "payments" | "refunds":
                return square.listed(name, request.query)
            case "payment":
                return {"payment": square.found(square.payments, key)}
            case "complete":
                return {"payment": square.complete(key)}
            case "cancel-payment":
                return {"payment": square.cancel_payment(key)}
            case "refund":
                return {"refund": square.found(square.refunds, key)}
            case "create-refund":
                return {"refund": square.refund(request.body)}
            case "device":
                return {"device": square.device(key)}
            case _:
                raise Refused(404, "NOT_FOUND", request.path)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m emulators square`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Square's Terminal API with one Terminal: money events as JSON lines on standard output."
    parser.epilog = (
        f"{web.GRAMMAR}\n{service.GRAMMAR}\n\noperations: {', '.join(ROUTES)}\n\ncommands on standard input, a line each:"
        '\n  {"do": "tap", "brand": "VISA"}, {"do": "cancel"}, {"do": "decline"} (with --attended),'
        '\n  {"do": "settle-refunds"}, {"do": "reset"}, {"do": "fault", "spec": SPEC}, {"do": "heal", "fault": NAME}'
    )
    parser.add_argument(
        "--listen", metavar="HOST:PORT", default="127.0.0.1:0", help="port 0 takes a free one (default)"
    )
    parser.add_argument("--ledger", metavar="FILE", type=Path, help="money events as JSON lines, kept")
    parser.add_argument("--fault", metavar="SPEC", action="append", default=[], help="see below; repeatable")
    parser.add_argument("--token", default="emulated-token", help="the access token (default emulated-token)")
    parser.add_argument("--location", default="L1EMULATED", help="(default L1EMULATED)")
    parser.add_argument("--device", dest="device_id", default="D1EMULATED", help="(default D1EMULATED)")
    parser.add_argument("--pause-ms", type=int, default=1500, help="until the guest has paid (default 1500)")
    parser.add_argument(
        "--speed", type=float, default=1.0, help="deadlines and holds run so many times faster (default 1)"
    )
    parser.add_argument("--attended", action="store_true", help="the guest acts when standard input says so")


async def serve(options: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT."""
    events = Events(sys.stdout)
    faults = Faults(once=service.ONCE, lasting=service.LASTING, operations=ROUTES)
    for spec in options.fault:
        faults.add(spec)
    books = Books(options.ledger, events)
    square = Service(
        books=books, faults=faults, now=faults.now, location_id=options.location, device_id=options.device_id,
        pause_s=options.pause_ms / 1000, attended=options.attended, speed=options.speed,
    )  # fmt: skip
    server = Web(
        faults=faults, events=events, operation=operation, answer=Api(square, options.token).answer, refusal=refusal
    )

    def obey(command: dict[str, Any]) -> None:
        match command.get("do"):
            case "tap" | "cancel" | "decline":
                square.guests.put_nowait(command)
            case "settle-refunds":
                square.settle_refunds()
            case "reset":
                square.reset()
            case "fault":
                faults.add(str(command.get("spec")))
            case "heal":
                faults.heal(str(command.get("fault")))
            case _:
                raise BadSpec(
                    f"unknown command {command}; do: tap, cancel, decline, settle-refunds, reset, fault, heal"
                )

    log.info("square listens")
    await web.run(options.listen, server, events, obey)
