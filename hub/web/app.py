"""The hub as an ASGI application: routes, the one translation from errors to answers, and the headers that every answer has."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.errors import ChainGap, HubError
from hub.node import HubNode
from hub.services.accounts import SignInLimit
from hub.web import office_routes, sync_routes
from hub.web.access import SignInFirst
from hub.web.wakeup import Wakeup
from sync.client import TIME_HEADER
from sync.errors import MessageError
from sync.hop import HopError
from sync.protocol import Problem
from sync.service import notify

log = structlog.get_logger()

BEAT_S = 15.0

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


def create_app(node: HubNode, *, office: bool = True) -> FastAPI:
    """The application around one node; a venue node has no office. There is no documentation endpoint: docs/protocol.md is the
    documentation.
    """
    wakeup = Wakeup()
    node.on_change = wakeup.ring

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        wakeup.attach()
        beat = asyncio.create_task(_beat(node))
        yield
        beat.cancel()

    app = FastAPI(title="Kaisatsu hub", openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.node, app.state.wakeup, app.state.sign_in_limit = node, wakeup, SignInLimit()
    app.include_router(sync_routes.router)
    if office:
        app.include_router(office_routes.router)
        app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")

    app.add_middleware(_Headers, node=node)
    app.add_exception_handler(HubError, _refused)
    app.add_exception_handler(HopError, _refused)
    app.add_exception_handler(MessageError, _refused)
    app.add_exception_handler(DBAPIError, _busy)
    app.add_exception_handler(PoolTimeout, _busy)
    return app


async def _beat(node: HubNode) -> None:
    """Tell the supervisor that this hub answers: its loop turns and its database reads."""
    while True:
        with contextlib.suppress(DBAPIError, PoolTimeout):
            await run_in_threadpool(node.look)
            notify.alive()
        await asyncio.sleep(BEAT_S)


class _Headers:
    """The security headers and the hub's clock on every answer."""

    def __init__(self, app: ASGIApp, node: HubNode) -> None:
        self._app, self._node = app, node

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                headers[TIME_HEADER] = str(int(self._node.clock.now_utc().timestamp() * 1000))
                if not scope["path"].startswith("/static/"):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


def _refused(request: Request, error: Exception) -> Response:
    """Our own no, as the protocol's JSON for devices and as a page for people."""
    known_seq = None
    match error:
        case HopError():
            status, word = 503 if error.error == "busy" else 401, error.error
        case HubError():
            status, word = error.status, error.error
            known_seq = error.known_seq if isinstance(error, ChainGap) else None
        case _:
            status, word = 400, "message"
    if request.url.path.startswith("/v1/"):
        log.info("refused", path=request.url.path, status=status, error=word)
        return JSONResponse(Problem(word, str(error), known_seq).to_row(), status_code=status)
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
