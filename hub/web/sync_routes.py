"""The protocol's calls over HTTP: docs/protocol.md."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse

from hub.errors import SnapshotGone
from hub.node import HubNode
from hub.services.devices import KnownDevice
from hub.web import openapi
from hub.web.access import Anyone, DeviceCall, FromDevice, bounded_body, lanes_of, node_of
from hub.web.hot import HotCall, HotClaim, Work, hot_route
from hub.web.lanes import Rank
from hub.web.wakeup import Wakeup
from sync import protocol, snapshot
from sync.errors import MessageError
from sync.protocol import (
    PAGE_ROWS_MAX,
    WAIT_S_MAX,
    EnrolRequest,
    LeaseRequest,
    Rejoin,
    ReleaseMessage,
    Telemetry,
    answers_to_row,
    scope_of,
    segment_from_json,
)
from sync.state import Role

BUILDING_LOOK_S = 1.0
"""Nothing in the feed rings when a snapshot is ready."""

router = APIRouter()
AnyDevice = Annotated[DeviceCall, Depends(FromDevice())]
Gate = Annotated[DeviceCall, Depends(FromDevice(Role.GATE))]
Kiosk = Annotated[DeviceCall, Depends(FromDevice(Role.KIOSK))]
Borrower = Annotated[DeviceCall, Depends(FromDevice(Role.KIOSK, Role.VENUE))]


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
    cursor = request.query_params.get("cursor")
    limit = int(_number(request, "limit", default=1000, limit=PAGE_ROWS_MAX))
    schema = int(_number(request, "schema", default=1, limit=1_000))
    deadline_s = time.monotonic() + _number(request, "wait", default=0, limit=WAIT_S_MAX)
    wakeup: Wakeup = request.app.state.wakeup
    node, lanes = node_of(request), lanes_of(request)
    with wakeup.listening() as listener:
        while True:
            listener.looking()
            page = await lanes.read(lambda: node.changes(cursor, rows_max=limit, scope=scope, schema=schema))
            left_s = deadline_s - time.monotonic()
            if page.tables or left_s <= 0 or wakeup.stopping or await request.is_disconnected():
                return page.to_row()
            await listener.wait(timeout_s=left_s)


@router.get(snapshot.SNAPSHOT)
async def newest_snapshot(request: Request, call: AnyDevice) -> dict[str, Any]:
    """The signed manifest, or why there is none; while the first one is being built the answer is held back for `wait` seconds."""
    scope = scope_of(call.sender.role)
    deadline_s = time.monotonic() + _number(request, "wait", default=0, limit=snapshot.WAIT_S_MAX)
    wakeup: Wakeup = request.app.state.wakeup
    node, lanes = node_of(request), lanes_of(request)
    with wakeup.listening() as listener:
        while True:
            listener.looking()
            answer = await lanes.read(lambda: node.snapshot(scope=scope))
            left_s = deadline_s - time.monotonic()
            waits = answer is snapshot.NoSnapshot.BUILDING
            if not waits or left_s <= 0 or wakeup.stopping or await request.is_disconnected():
                return snapshot.answer_to_row(answer)
            await listener.wait(timeout_s=min(left_s, BUILDING_LOOK_S))


@router.get(snapshot.SNAPSHOT + "/{sha256}")
async def snapshot_file(request: Request, sha256: str, call: AnyDevice) -> Response:
    """The packed file, whole or from a byte on (Range, If-Range). 404 when it is gone: ask for the manifest again."""
    scope = scope_of(call.sender.role)
    node, path = node_of(request), None
    if snapshot.is_digest(sha256):
        path = await lanes_of(request).read(lambda: node.snapshot_file(sha256, scope=scope))
    if path is None:
        raise SnapshotGone("this snapshot is not here any more; ask for the newest")
    return FileResponse(path, media_type="application/zstd", headers={"ETag": f'"{sha256}"'})


def _operations(body: bytes) -> Work:
    segment = segment_from_json(body)
    return lambda node, sender: answers_to_row(node.operations(segment, sender=sender))


@router.get(protocol.ARBITER)
async def arbiter(request: Request, call: Gate) -> dict[str, Any]:
    """Whether this one rules, and in which epoch: what a gate asks to keep its line warm."""
    _ = call
    reign = await lanes_of(request).read(node_of(request).reign)
    return {"protocol": protocol.VERSION, "epoch": reign.epoch, "rules": reign.rules}


def _release(body: bytes) -> Work:
    message = ReleaseMessage.from_json(body)

    def work(node: HubNode, sender: KnownDevice) -> dict[str, Any]:
        node.release(message, sender=sender)
        return {"protocol": protocol.VERSION}

    return work


HOT = (
    hot_route(protocol.CLAIM, HotClaim(FromDevice(Role.GATE))),
    hot_route(protocol.RELEASE, HotCall(FromDevice(Role.GATE), Rank.CLAIM, _release)),
    hot_route(protocol.OPERATIONS, HotCall(FromDevice(), Rank.UPLOAD, _operations, large=True)),
)


@router.post(protocol.LEASE)
async def lease(request: Request, call: Borrower) -> dict[str, Any]:
    wanted = LeaseRequest.from_json(call.body)
    node = node_of(request)
    if node.borrower is not None:
        await asyncio.to_thread(lambda: node.borrow(wanted, sender=call.sender))
    return (await lanes_of(request).run(Rank.UPLOAD, lambda: node.lend(wanted, sender=call.sender))).to_row()


@router.post(protocol.CERTIFICATE)
async def certificate(request: Request, call: Kiosk) -> dict[str, Any]:
    node = node_of(request)
    return (await lanes_of(request).run(Rank.REST, lambda: node.certificate(sender=call.sender))).to_row()


@router.post(protocol.TELEMETRY)
async def telemetry(request: Request, call: AnyDevice) -> dict[str, Any]:
    message = Telemetry.from_json(call.body)
    node = node_of(request)
    await lanes_of(request).run(Rank.REST, lambda: node.telemetry(message, sender=call.sender))
    return {"protocol": protocol.VERSION}


@router.post(protocol.REJOIN)
async def rejoin(request: Request, call: AnyDevice) -> dict[str, Any]:
    held = Rejoin.from_json(call.body)
    node = node_of(request)
    known = await lanes_of(request).run(Rank.UPLOAD, lambda: node.rejoin(held, sender=call.sender))
    return {"protocol": protocol.VERSION, "known_seq": known}


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
