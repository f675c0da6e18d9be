"""The protocol's calls over HTTP: docs/protocol.md."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool

from hub.services.ledger import EPOCH
from hub.web.access import Anyone, DeviceCall, FromDevice, bounded_body, node_of
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
    ReleaseMessage,
    Telemetry,
    answers_to_row,
    heads_to_row,
    on_behalf,
    segment_from_json,
)
from sync.state import Role
from tickets.ids import device_id as parse_device_id

router = APIRouter()
AnyDevice = Annotated[DeviceCall, Depends(FromDevice())]
OnceDevice = Annotated[DeviceCall, Depends(FromDevice(revoked_too=True))]
Lessee = Annotated[DeviceCall, Depends(FromDevice(Role.KIOSK, Role.VENUE))]
Node = Annotated[DeviceCall, Depends(FromDevice(Role.VENUE))]
Gate = Annotated[DeviceCall, Depends(FromDevice(Role.GATE))]


@router.post(protocol.ENROL, dependencies=[Depends(Anyone())])
async def enrol(request: Request) -> dict[str, Any]:
    """One-time token in, signed answer out; the token is the authentication."""
    message = EnrolRequest.from_json(await bounded_body(request))
    return (await run_in_threadpool(node_of(request).enrol, message)).to_row()


@router.get(protocol.CHANGES)
async def changes(request: Request, call: AnyDevice) -> dict[str, Any]:
    """The next page; with `wait` it is held back until there is one. No database connection is held meanwhile."""
    cursor, seen = request.query_params.get("cursor"), request.query_params.get("seen")
    known = request.query_params.get("acknowledged")
    acknowledged = None if known is None else Acknowledged.from_text(known)
    limit = int(_number(request, "limit", default=1000, limit=PAGE_ROWS_MAX))
    deadline_s = time.monotonic() + _number(request, "wait", default=0, limit=WAIT_S_MAX)
    wakeup: Wakeup = request.app.state.wakeup
    node = node_of(request)
    while True:
        page = await run_in_threadpool(
            lambda: node.changes(cursor, rows_max=limit, sender=call.sender, seen=seen, acknowledged=acknowledged)
        )
        left_s = deadline_s - time.monotonic()
        if page.tables or page.news or left_s <= 0 or wakeup.stopping or await request.is_disconnected():
            return page.to_row()
        await wakeup.wait(timeout_s=left_s)


@router.post(protocol.OPERATIONS)
async def operations(request: Request, call: OnceDevice) -> dict[str, Any]:
    """Also of a device that is shut out: what it did is kept, and rejected until a person has looked."""
    segment, carried = segment_from_json(call.body), on_behalf(call.body)
    answers = await run_in_threadpool(lambda: node_of(request).operations(segment, sender=call.sender, carried=carried))
    return answers_to_row(answers)


@router.get(protocol.HEADS)
async def heads(request: Request, call: Node) -> dict[str, Any]:
    """Where the hub's copies of one device's chains end: for a venue node that was not there when they grew."""
    _ = call
    try:
        device = parse_device_id(request.query_params.get("device", ""))
    except ValueError as error:
        raise MessageError(f"'device': {error}") from error
    return heads_to_row(await run_in_threadpool(lambda: node_of(request).heads(device)))


@router.post(protocol.CLAIM)
async def claim(request: Request, call: Gate) -> dict[str, Any]:
    message = ClaimMessage.from_json(call.body)
    answer = await run_in_threadpool(lambda: node_of(request).claim(message, sender=call.sender))
    return answer_to_row(message.op, answer, epoch=EPOCH)


@router.post(protocol.RELEASE)
async def release(request: Request, call: Gate) -> dict[str, Any]:
    message = ReleaseMessage.from_json(call.body)
    await run_in_threadpool(lambda: node_of(request).release(message, sender=call.sender))
    return {"protocol": protocol.VERSION}


@router.post(protocol.LEASE)
async def lease(request: Request, call: Lessee) -> dict[str, Any]:
    wanted, carried = LeaseRequest.from_json(call.body), on_behalf(call.body)
    answer = await run_in_threadpool(lambda: node_of(request).lease(wanted, sender=call.sender, carried=carried))
    return answer.to_row()


@router.post(protocol.TELEMETRY)
async def telemetry(request: Request, call: AnyDevice) -> dict[str, Any]:
    message, carried = Telemetry.from_json(call.body), on_behalf(call.body)
    await run_in_threadpool(lambda: node_of(request).telemetry(message, sender=call.sender, carried=carried))
    return {"protocol": protocol.VERSION}


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
