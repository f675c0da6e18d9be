"""The hub as an ASGI application: routes, the one translation from errors to answers, and the headers that every answer has."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.database import is_postgresql
from hub.errors import Busy, HubError
from hub.node import HubNode
from hub.services.accounts import SignInLimit
from hub.web import chores, office_routes, stock_routes, sync_routes
from hub.web.access import SignInFirst, TooLarge, declared_too_large
from hub.web.across import AcrossWorkers
from hub.web.allowance import Allowance
from hub.web.hot import refusal
from hub.web.lanes import Lanes, Rank
from hub.web.pages import Pages
from hub.web.wakeup import Wakeup
from sync.client import NONCE_HEADER, TIME_HEADER
from sync.errors import MessageError
from sync.hop import HopError
from sync.protocol import REQUEST_BYTES_MAX, Problem
from sync.service import notify

log = structlog.get_logger()

BEAT_S = 15.0
SNAPSHOT_LOOK_S = 10.0
POSTGRESQL_WRITERS = 8
NODE_WRITERS = 3
"""A venue node that takes in a strange chain asks its hub first: claims go on beside it."""

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


def create_app(
    node: HubNode,
    *,
    office: bool = True,
    on_beat: Callable[[], None] = notify.alive,
    database_url: str | None = None,
) -> FastAPI:
    """The application around one node; a venue node has no office. `on_beat` is called every BEAT_S seconds while loop and database work.
    With the address of its database it has snapshots built in a process aside.
    """
    wakeup = Wakeup()
    node.on_change = wakeup.ring
    writers = POSTGRESQL_WRITERS if is_postgresql(node.engine) else 1
    if node.asks_upstream:
        writers = max(writers, NODE_WRITERS)
    lanes = Lanes(writers=writers)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        wakeup.attach()
        across = AcrossWorkers(node.engine, wakeup.ring) if is_postgresql(node.engine) else None
        if across is not None:
            across.start()

            def everywhere(here: Callable[[], None] = wakeup.ring, there: Callable[[], None] = across.tell) -> None:
                here()
                there()

            node.on_change = everywhere
        tasks = [
            asyncio.create_task(_beat(node, lanes, on_beat)),
            asyncio.create_task(wakeup.watch(lambda: _look(node, lanes))),
            asyncio.create_task(chores.run(node)),
        ]
        if database_url is not None and node.shelf is not None:
            tasks.append(asyncio.create_task(_build_snapshots(node, database_url)))
        yield
        for task in tasks:
            task.cancel()
        node.on_change = wakeup.ring
        loop = asyncio.get_running_loop()
        if across is not None:
            await loop.run_in_executor(None, across.stop)
        await loop.run_in_executor(None, lanes.stop)
        await loop.run_in_executor(None, node.close_desk)

    app = FastAPI(title="Kaisatsu hub", openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.node, app.state.wakeup, app.state.sign_in_limit = node, wakeup, SignInLimit()
    app.state.lanes, app.state.allowance = lanes, Allowance(node.clock)
    app.state.pages = Pages(lanes)
    every_answer = _every_answer(node, SECURITY_HEADERS)
    app.state.every_answer = _every_answer(node, {"X-Content-Type-Options": "nosniff"})  # devices draw no pages
    app.include_router(sync_routes.router)
    app.router.routes.extend(sync_routes.HOT)
    if office:
        app.include_router(office_routes.router)
        app.include_router(stock_routes.router)
        app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")

    app.add_middleware(_Front, every_answer=every_answer, hot={route.path: route for route in sync_routes.HOT})
    app.add_exception_handler(HubError, _refused)
    app.add_exception_handler(HopError, _refused)
    app.add_exception_handler(MessageError, _refused)
    app.add_exception_handler(DBAPIError, _busy)
    app.add_exception_handler(PoolTimeout, _busy)
    return app


async def _look(node: HubNode, lanes: Lanes) -> int | None:
    """The feed's newest number, None while the database does not answer."""
    try:
        return await lanes.look(Rank.CLAIM, node.look)
    except (Busy, DBAPIError, PoolTimeout):
        return None


async def _beat(node: HubNode, lanes: Lanes, on_beat: Callable[[], None]) -> None:
    """Tell whoever watches over this process that it works: its loop turns and its database reads."""
    while True:
        if await _look(node, lanes) is not None:
            on_beat()
        await asyncio.sleep(BEAT_S)


async def _build_snapshots(node: HubNode, database_url: str) -> None:
    """Look now and then whether a snapshot is due. A build that fails is told and tried again: devices page meanwhile."""
    while True:
        try:
            built = await run_in_threadpool(node.build_snapshot, database_url)
            if built is not None:
                log.info("snapshot_built", tickets=built.manifest.tickets, bytes=built.manifest.size)
        except (HubError, DBAPIError, PoolTimeout, OSError) as error:
            log.warning("snapshot_failed", why=str(error) if isinstance(error, HubError) else type(error).__name__)
        await asyncio.sleep(SNAPSHOT_LOOK_S)


def _every_answer(node: HubNode, security: Mapping[str, str]) -> Callable[[], list[tuple[bytes, bytes]]]:
    """The header fields that every answer has: security, the hub's clock, the nonce to sign the next request over."""
    fixed = [(name.lower().encode(), value.encode()) for name, value in security.items()]
    fixed.append((b"cache-control", b"no-store"))
    time_name, nonce_name = TIME_HEADER.lower().encode(), NONCE_HEADER.encode()

    def fields() -> list[tuple[bytes, bytes]]:
        now = node.clock.now_utc()
        return [
            *fixed,
            (time_name, str(int(now.timestamp() * 1000)).encode()),
            (nonce_name, node.nonces.current(now).encode()),
        ]

    return fields


class _Front:
    """Before everything else: the hot calls to their endpoints, the header fields of every answer to all others."""

    def __init__(
        self, app: ASGIApp, every_answer: Callable[[], list[tuple[bytes, bytes]]], hot: Mapping[str, Route]
    ) -> None:
        self._app, self._every_answer = app, every_answer
        self._hot: dict[str, ASGIApp] = {path: route.app for path, route in hot.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._answer(scope, receive, send)
        except asyncio.CancelledError:
            # This process stops and waited for it long enough: its caller comes again, and who watches reads one line.
            log.info("cut_off", path=scope["path"])
            with contextlib.suppress(RuntimeError):  # the answer had begun
                await self._refuse(Busy(retry_after_s=1), scope, send)

    async def _refuse(self, error: HubError, scope: Scope, send: Send) -> None:
        status, row, more = refusal(error, path=scope["path"])
        content = orjson.dumps(row)
        length = (b"content-length", str(len(content)).encode())
        fields = [(b"content-type", b"application/json"), length, *more]
        await send({"type": "http.response.start", "status": status, "headers": [*fields, *self._every_answer()]})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if declared_too_large(scope):
            await self._refuse(TooLarge(f"at most {REQUEST_BYTES_MAX} bytes are allowed"), scope, send)
            return
        if scope["method"] == "POST" and (call := self._hot.get(scope["path"])) is not None:
            await call(scope, receive, send)
            return
        static = scope["path"].startswith("/static/")

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    *(field for field in self._every_answer() if not (static and field[0] == b"cache-control")),
                ]
            await send(message)

        await self._app(scope, receive, with_headers)


def _refused(request: Request, error: Exception) -> Response:
    """Our own no, as the protocol's JSON for devices and as a page for people."""
    status, row, more = refusal(error, path=request.url.path)
    if request.url.path.startswith("/v1/"):
        headers = {name.decode(): value.decode() for name, value in more}
        return JSONResponse(row, status_code=status, headers=headers)
    if isinstance(error, SignInFirst) and request.method == "GET":
        return RedirectResponse("/sign-in", status_code=303)
    return office_routes.problem_page(request, status=status, detail=str(error))


def _busy(request: Request, error: Exception) -> Response:
    """The database did not answer in time or not at all: devices come again, people are told so."""
    log.error("database", path=request.url.path, error=type(error).__name__)
    if request.url.path.startswith("/v1/"):
        row = Problem("busy", "the hub is busy; try again").to_row()
        return JSONResponse(row, status_code=503, headers={"Retry-After": "2"})
    return office_routes.problem_page(request, status=503, detail="busy")
