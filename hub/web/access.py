"""Who may call a route. Every route has exactly one `Access` among its dependencies; a test walks all routes and tries the others."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.types import Receive, Scope

from hub.errors import BadRequest, HubError, NotAllowed
from hub.node import HubNode
from hub.services import accounts
from hub.services.accounts import Session
from hub.services.devices import KnownDevice
from hub.web.allowance import Allowance
from hub.web.lanes import Lanes, Rank
from sync import hop
from sync.protocol import REQUEST_BYTES_MAX
from sync.state import Role

SESSION_COOKIE = "kaisatsu_session"
BODY_S = 30.0
"""So long a body may take: a whole one of 1 MiB at 35 kB/s, a device's own segment of 256 KiB at 9 kB/s."""


class Who(StrEnum):
    ANYONE = "anyone"
    DEVICE = "device"
    OFFICE = "office"


class SignInFirst(HubError):
    """A page for signed-in people, asked for by somebody who is not."""

    error = "sign_in"
    status = 401


@dataclass(frozen=True, slots=True)
class DeviceCall:
    """A request whose signature holds: who sent it, and its body as it was signed."""

    sender: KnownDevice
    body: bytes


class Access:
    """Marks a route; subclasses are the dependency that checks it."""

    who: Who


class Anyone(Access):
    who = Who.ANYONE

    def __call__(self) -> None:
        return None


class FromDevice(Access):
    """A request signed by an enrolled device of one of `roles`, not revoked; `revoked_too` for what a device that is shut out may still
    say.
    """

    who = Who.DEVICE

    def __init__(self, *roles: Role, revoked_too: bool = False, rank: Rank = Rank.REST) -> None:
        self.roles = roles or tuple(Role)
        self.rank = rank
        self.revoked_too = revoked_too

    async def __call__(self, request: Request) -> DeviceCall:
        body = await bounded_body(request.receive)
        state = request.app.state
        return DeviceCall(await self.sender(request.scope, body, state.node, state.lanes, state.allowance), body)

    async def sender(self, scope: Scope, body: bytes, node: HubNode, lanes: Lanes, allowance: Allowance) -> KnownDevice:
        """Who signed this request, if they may call this and have not called too often. Raises HopError, NotAllowed, TooMany."""
        claimed = _claimed(scope, body)
        known = node.senders.held(claimed.device)
        if known is None:
            known = await lanes.look(self.rank, lambda: node.senders.look(claimed.device))
        sender = node.admit(claimed, known, revoked_too=self.revoked_too, allowed=allowance.take)
        if sender.role not in self.roles:
            raise NotAllowed(f"a {sender.role} may not call this")
        return sender


class FromOffice(Access):
    """A signed-in person; for anything that changes something, from our own page with its form token."""

    who = Who.OFFICE

    async def __call__(self, request: Request) -> Session:
        held = await run_in_threadpool(find_session, request)
        if held is None:
            raise SignInFirst("sign in first")
        if request.method not in ("GET", "HEAD"):
            same_origin(request)
            form = await form_of(request)
            if not accounts.csrf_fits(held, form.get("csrf", "")):
                raise NotAllowed("this form is too old; open the page again")
        return held


def node_of(request: Request) -> HubNode:
    node: HubNode = request.app.state.node
    return node


def lanes_of(request: Request) -> Lanes:
    lanes: Lanes = request.app.state.lanes
    return lanes


def find_session(request: Request) -> Session | None:
    token = request.cookies.get(SESSION_COOKIE)
    if not token:
        return None
    node = node_of(request)
    with node.read() as connection:
        return accounts.find_session(connection, token, now=node.clock.now_utc())


def same_origin(request: Request) -> None:
    """Browsers say where a form came from. Raises NotAllowed for another site's."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise NotAllowed("a form of another site")


async def bounded_body(receive: Receive) -> bytes:
    """The whole body, REQUEST_BYTES_MAX at most, within BODY_S. Raises TooLarge, TooSlow, and BadRequest where it was cut off."""
    try:
        async with asyncio.timeout(BODY_S):
            return await _whole(receive)
    except TimeoutError as error:
        raise TooSlow(f"the body did not come within {BODY_S:.0f} s") from error


async def _whole(receive: Receive) -> bytes:
    chunks, size = [], 0
    while (message := await receive())["type"] == "http.request":
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > REQUEST_BYTES_MAX:
            raise TooLarge(f"at most {REQUEST_BYTES_MAX} bytes are allowed")
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)
    raise BadRequest("the request was cut off")


def declared_too_large(scope: Scope) -> bool:
    """Whether a request says of itself that its body is longer than any may be. A number that is none the parser refuses."""
    return any(
        name == b"content-length" and value.isdigit() and int(value) > REQUEST_BYTES_MAX
        for name, value in scope["headers"]
    )


class TooSlow(BadRequest):
    error = "too_slow"
    status = 408


class TooLarge(BadRequest):
    error = "too_large"
    status = 413


async def form_of(request: Request) -> Mapping[str, str]:
    """The text fields of a form."""
    try:
        async with asyncio.timeout(BODY_S):
            form = await request.form(max_files=0, max_fields=20, max_part_size=4096)
    except TimeoutError as error:
        raise TooSlow(f"the form did not come within {BODY_S:.0f} s") from error
    return {name: value for name, value in form.items() if isinstance(value, str)}


_SINGLE = {b"host", b"content-digest", b"signature-input", b"signature"}


def _claimed(scope: Scope, body: bytes) -> hop.Claimed:
    """Read a request's signature out of what came over the wire, byte for byte. A field that decides must stand there once."""
    found: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in _SINGLE:
            if name in found:
                raise hop.HopError("signature", f"{name.decode()} stands there twice")
            found[name] = value.decode("latin-1")
    if b"signature-input" not in found:
        raise hop.HopError("unsigned", "a signature of a device is expected")
    target = hop.Target(
        method=scope["method"],
        authority=hop.authority(found.get(b"host", ""), tls=scope["scheme"] == "https"),
        path=scope["raw_path"].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
    )
    return hop.read(
        target,
        body,
        digest=found.get(b"content-digest"),
        signature_input=found.get(b"signature-input"),
        signature=found.get(b"signature"),
    )


def access_of(route: Any) -> list[Access]:
    """The markers of a route, for the test that walks them all."""
    if isinstance(getattr(route, "endpoint", None), Marked):
        return [route.endpoint.access]
    return [part.call for part in route.dependant.dependencies if isinstance(part.call, Access)]


class Marked:
    """An endpoint that looks at who calls by itself and not through FastAPI's dependencies."""

    access: Access
