"""The protocol's calls over HTTP: docs/protocol.md."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from hub.errors import SnapshotGone
from hub.node import HubNode
from hub.services import uploads
from hub.services.devices import KnownDevice
from hub.web import openapi
from hub.web.access import Anyone, DeviceCall, FromDevice, bounded_body, lanes_of, node_of
from hub.web.hot import HotCall, HotClaim, Work, hot_route
from hub.web.lanes import Rank
from hub.web.pages import Pages, Shared
from hub.web.wakeup import Wakeup
from sync import protocol, snapshot
from sync.errors import MessageError
from sync.protocol import (
    PAGE_ROWS_MAX,
    WAIT_S_MAX,
    Acknowledged,
    EnrolRequest,
    LeaseRequest,
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
from tickets.ids import DeviceId
from tickets.ids import device_id as parse_device_id

T = TypeVar("T")

BUILDING_LOOK_S = 1.0
"""Nothing in the feed rings when a snapshot is ready."""

router = APIRouter()
AnyDevice = Annotated[DeviceCall, Depends(FromDevice())]
Node = Annotated[DeviceCall, Depends(FromDevice(Role.VENUE))]
Gate = Annotated[DeviceCall, Depends(FromDevice(Role.GATE, rank=Rank.CLAIM))]
Borrower = Annotated[DeviceCall, Depends(FromDevice(Role.KIOSK, Role.VENUE))]


@router.post(protocol.ENROL, dependencies=[Depends(Anyone())])
async def enrol(request: Request) -> dict[str, Any]:
    """One-time token in, signed answer out; the token is the authentication."""
    message = EnrolRequest.from_json(await bounded_body(request.receive))
    node = node_of(request)
    return (await lanes_of(request).run(Rank.UPLOAD, lambda: node.enrol(message))).to_row()


@router.get(protocol.CHANGES)
async def changes(request: Request, call: AnyDevice) -> Response:
    """The next page; with `wait` it is held back until there is one. No database connection is held meanwhile."""
    scope = scope_of(call.sender.role)
    cursor, seen = request.query_params.get("cursor"), request.query_params.get("seen")
    known = request.query_params.get("acknowledged")
    acknowledged = None if known is None else Acknowledged.from_text(known)
    limit = int(_number(request, "limit", default=1000, limit=PAGE_ROWS_MAX))
    schema = int(_number(request, "schema", default=1, limit=1_000))
    deadline_s = time.monotonic() + _number(request, "wait", default=0, limit=WAIT_S_MAX)
    wakeup: Wakeup = request.app.state.wakeup
    node = node_of(request)
    pages: Pages = request.app.state.pages
    key: tuple[Hashable, ...] = (cursor, scope, schema, limit)
    if node.asks_upstream and (seen is not None or acknowledged is not None):
        key = (*key, call.sender.device, seen, acknowledged)  # a node tells each device of its own chain

    def look(devices: Sequence[DeviceId]) -> Shared:
        page, shut_out = node.changes_for(
            devices, cursor, rows_max=limit, scope=scope, schema=schema, seen=seen, acknowledged=acknowledged
        )
        return Shared(orjson.dumps(page.to_row()), is_news=bool(page.tables or page.news), shut_out=shut_out)

    with wakeup.listening() as listener:
        while True:
            listener.looking()
            page = await pages.get(key, call.sender.device, look)
            left_s = deadline_s - time.monotonic()
            if page.is_news or left_s <= 0 or wakeup.stopping or await request.is_disconnected():
                return Response(page.content, media_type="application/json")
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
    """Also of a device that is shut out: what it did is kept, and rejected until a person has looked."""
    segment, carried = segment_from_json(body), on_behalf(body)
    said = uploads.understand(segment)  # here, while the writer's thread waits for the disk with another segment
    return lambda node, sender: answers_to_row(node.operations(segment, sender=sender, carried=carried, said=said))


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
    hot_route(protocol.CLAIM, HotClaim(FromDevice(Role.GATE, rank=Rank.CLAIM))),
    hot_route(protocol.RELEASE, HotCall(FromDevice(Role.GATE, rank=Rank.CLAIM), Rank.CLAIM, _release)),
    hot_route(
        protocol.OPERATIONS,
        HotCall(FromDevice(revoked_too=True, rank=Rank.UPLOAD), Rank.UPLOAD, _operations, large=True),
    ),
)


@router.post(protocol.LEASE)
async def lease(request: Request, call: Borrower) -> dict[str, Any]:
    wanted, carried = LeaseRequest.from_json(call.body), on_behalf(call.body)
    node = node_of(request)
    if node.borrower is not None:
        await asyncio.to_thread(lambda: node.borrow(wanted, sender=call.sender))
    return (await _asked(request, lambda: node.lend(wanted, sender=call.sender, carried=carried))).to_row()


@router.post(protocol.CERTIFICATE)
async def certificate(request: Request, call: Borrower) -> dict[str, Any]:
    node, carried = node_of(request), on_behalf(call.body)
    return (await _asked(request, lambda: node.certificate(sender=call.sender, carried=carried))).to_row()


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
