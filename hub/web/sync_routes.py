"""The protocol's calls over HTTP: docs/protocol.md."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool

from hub.node import HubNode
from hub.services.devices import KnownDevice
from hub.services.ledger import EPOCH
from hub.web import openapi
from hub.web.access import Anyone, DeviceCall, FromDevice, bounded_body, lanes_of, node_of
from hub.web.hot import HotCall, Work, hot_route
from hub.web.lanes import Rank
from hub.web.wakeup import Wakeup
from sync import protocol
from sync.claim import ClaimMessage, answer_to_row
from sync.errors import MessageError
from sync.protocol import (
    PAGE_ROWS_MAX,
    WAIT_S_MAX,
    Acknowledged,
    EnrolRequest,
    LeaseRequest,
    Page,
    Rejoin,
    ReleaseMessage,
    Telemetry,
    answers_to_row,
    heads_to_row,
    on_behalf,
    scope_of,
    segment_from_json,
)
from sync.state import Role
from tickets.ids import device_id as parse_device_id

T = TypeVar("T")

router = APIRouter()
AnyDevice = Annotated[DeviceCall, Depends(FromDevice())]
Node = Annotated[DeviceCall, Depends(FromDevice(Role.VENUE))]
Lessee = Annotated[DeviceCall, Depends(FromDevice(Role.KIOSK, Role.VENUE))]


@router.post(protocol.ENROL, dependencies=[Depends(Anyone())])
async def enrol(request: Request) -> dict[str, Any]:
    """One-time token in, signed answer out; the token is the authentication."""
    message = EnrolRequest.from_json(await bounded_body(request.receive))
    node = node_of(request)
    return (await lanes_of(request).run(Rank.UPLOAD, lambda: node.enrol(message))).to_row()


@router.get(protocol.CHANGES)
async def changes(request: Request, call: AnyDevice) -> dict[str, Any]:
    """The next page; with `wait` it is held back until there is one. No database connection is held meanwhile."""
    scope = scope_of(call.sender.role)
    cursor, seen = request.query_params.get("cursor"), request.query_params.get("seen")
    known = request.query_params.get("acknowledged")
    acknowledged = None if known is None else Acknowledged.from_text(known)
    limit = int(_number(request, "limit", default=1000, limit=PAGE_ROWS_MAX))
    schema = int(_number(request, "schema", default=1, limit=1_000))
    deadline_s = time.monotonic() + _number(request, "wait", default=0, limit=WAIT_S_MAX)
    wakeup: Wakeup = request.app.state.wakeup
    node, lanes = node_of(request), lanes_of(request)

    def look() -> Page:
        return node.changes(
            cursor,
            rows_max=limit,
            scope=scope,
            schema=schema,
            sender=call.sender,
            seen=seen,
            acknowledged=acknowledged,
        )

    with wakeup.listening() as listener:
        while True:
            listener.looking()
            page = await lanes.read(look)
            left_s = deadline_s - time.monotonic()
            if page.tables or page.news or left_s <= 0 or wakeup.stopping or await request.is_disconnected():
                return page.to_row()
            await listener.wait(timeout_s=left_s)


@router.get(protocol.HEADS)
async def heads(request: Request, call: Node) -> dict[str, Any]:
    """Where the hub's copies of one device's chains end: for a venue node that was not there when they grew."""
    _ = call
    try:
        device = parse_device_id(request.query_params.get("device", ""))
    except ValueError as error:
        raise MessageError(f"'device': {error}") from error
    node = node_of(request)
    return heads_to_row(await lanes_of(request).read(lambda: node.heads(device)))


def _operations(body: bytes) -> Work:
    """Also of a device that is shut out: what it did is kept, and rejected until a person has looked."""
    segment, carried = segment_from_json(body), on_behalf(body)
    return lambda node, sender: answers_to_row(node.operations(segment, sender=sender, carried=carried))


def _claim(body: bytes) -> Work:
    message = ClaimMessage.from_json(body)
    return lambda node, sender: answer_to_row(message.op, node.claim(message, sender=sender), epoch=EPOCH)


def _release(body: bytes) -> Work:
    message = ReleaseMessage.from_json(body)

    def work(node: HubNode, sender: KnownDevice) -> dict[str, Any]:
        node.release(message, sender=sender)
        return {"protocol": protocol.VERSION}

    return work


HOT = (
    hot_route(protocol.CLAIM, HotCall(FromDevice(Role.GATE), Rank.CLAIM, _claim)),
    hot_route(protocol.RELEASE, HotCall(FromDevice(Role.GATE), Rank.CLAIM, _release)),
    hot_route(protocol.OPERATIONS, HotCall(FromDevice(revoked_too=True), Rank.UPLOAD, _operations, large=True)),
)


@router.post(protocol.LEASE)
async def lease(request: Request, call: Lessee) -> dict[str, Any]:
    wanted, carried = LeaseRequest.from_json(call.body), on_behalf(call.body)
    node = node_of(request)

    return (await _asked(request, lambda: node.lease(wanted, sender=call.sender, carried=carried))).to_row()


@router.post(protocol.TELEMETRY)
async def telemetry(request: Request, call: AnyDevice) -> dict[str, Any]:
    message, carried = Telemetry.from_json(call.body), on_behalf(call.body)
    node = node_of(request)
    await lanes_of(request).run(Rank.REST, lambda: node.telemetry(message, sender=call.sender, carried=carried))
    return {"protocol": protocol.VERSION}


@router.post(protocol.REJOIN)
async def rejoin(request: Request, call: AnyDevice) -> dict[str, Any]:
    held, carried = Rejoin.from_json(call.body), on_behalf(call.body)
    node = node_of(request)
    known = await _asked(request, lambda: node.rejoin(held, sender=call.sender, carried=carried))
    return {"protocol": protocol.VERSION, "known_seq": known}


async def _asked(request: Request, call: Callable[[], T]) -> T:
    """A call that a hub answers by writing, and a venue node by asking its hub: whoever waits for a line must not stand before claims."""
    if node_of(request).asks_upstream:
        return await run_in_threadpool(call)
    return await lanes_of(request).run(Rank.UPLOAD, call)


def _number(request: Request, name: str, *, default: float, limit: float) -> float:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError as error:
        raise MessageError(f"'{name}' is a number from 0 to {limit:g}") from error
    if not 0 <= value < float("inf"):
        raise MessageError(f"'{name}' is a number from 0 to {limit:g}")
    return min(value, limit)


@router.get(openapi.PATH, dependencies=[Depends(Anyone())])
async def description() -> Response:
    """All of these calls as OpenAPI."""
    return Response(_DESCRIPTION, media_type="application/json")


_DESCRIPTION = orjson.dumps(openapi.document())
