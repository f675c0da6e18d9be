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
    EnrolRequest,
    LeaseRequest,
    ReleaseMessage,
    Telemetry,
    answers_to_row,
    segment_from_json,
)
from sync.state import Role

router = APIRouter()
AnyDevice = Annotated[DeviceCall, Depends(FromDevice())]
Kiosk = Annotated[DeviceCall, Depends(FromDevice(Role.KIOSK))]
Borrower = Annotated[DeviceCall, Depends(FromDevice(Role.KIOSK, Role.VENUE))]
Gate = Annotated[DeviceCall, Depends(FromDevice(Role.GATE))]


@router.post(protocol.ENROL, dependencies=[Depends(Anyone())])
async def enrol(request: Request) -> dict[str, Any]:
    """One-time token in, signed answer out; the token is the authentication."""
    message = EnrolRequest.from_json(await bounded_body(request))
    return (await run_in_threadpool(node_of(request).enrol, message)).to_row()


@router.get(protocol.CHANGES)
async def changes(request: Request, call: AnyDevice) -> dict[str, Any]:
    """The next page; with `wait` it is held back until there is one. No database connection is held meanwhile."""
    _ = call
    cursor = request.query_params.get("cursor")
    limit = int(_number(request, "limit", default=1000, limit=PAGE_ROWS_MAX))
    deadline_s = time.monotonic() + _number(request, "wait", default=0, limit=WAIT_S_MAX)
    wakeup: Wakeup = request.app.state.wakeup
    node = node_of(request)
    while True:
        page = await run_in_threadpool(lambda: node.changes(cursor, rows_max=limit))
        left_s = deadline_s - time.monotonic()
        if page.tables or left_s <= 0 or wakeup.stopping or await request.is_disconnected():
            return page.to_row()
        await wakeup.wait(timeout_s=left_s)


@router.post(protocol.OPERATIONS)
async def operations(request: Request, call: AnyDevice) -> dict[str, Any]:
    segment = segment_from_json(call.body)
    answers = await run_in_threadpool(lambda: node_of(request).operations(segment, sender=call.sender))
    return answers_to_row(answers)


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
async def lease(request: Request, call: Borrower) -> dict[str, Any]:
    wanted = LeaseRequest.from_json(call.body)
    return (await run_in_threadpool(lambda: node_of(request).lease(wanted, sender=call.sender))).to_row()


@router.post(protocol.CERTIFICATE)
async def certificate(request: Request, call: Kiosk) -> dict[str, Any]:
    return (await run_in_threadpool(lambda: node_of(request).certificate(sender=call.sender))).to_row()


@router.post(protocol.TELEMETRY)
async def telemetry(request: Request, call: AnyDevice) -> dict[str, Any]:
    message = Telemetry.from_json(call.body)
    await run_in_threadpool(lambda: node_of(request).telemetry(message, sender=call.sender))
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
