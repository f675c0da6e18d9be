"""Who may call a route. Every route has exactly one `Access` among its dependencies; a test walks all routes and tries the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from hub.errors import BadRequest, HubError, NotAllowed
from hub.node import HubNode
from hub.services import accounts
from hub.services.accounts import Session
from hub.services.devices import KnownDevice
from sync import hop
from sync.protocol import REQUEST_BYTES_MAX
from sync.state import Role

SESSION_COOKIE = "kaisatsu_session"


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

    def __init__(self, *roles: Role, revoked_too: bool = False) -> None:
        self.roles = roles or tuple(Role)
        self.revoked_too = revoked_too

    async def __call__(self, request: Request) -> DeviceCall:
        body = await bounded_body(request)
        sent = hop.Message(method=request.method, url=str(request.url), headers=_headers(request))
        sender = await run_in_threadpool(node_of(request).authenticate, sent, body, revoked_too=self.revoked_too)
        if sender.role not in self.roles:
            raise NotAllowed(f"a {sender.role} may not call this")
        return DeviceCall(sender, body)


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


async def bounded_body(request: Request) -> bytes:
    """The whole body, REQUEST_BYTES_MAX at most."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > REQUEST_BYTES_MAX:
            raise TooLarge(f"at most {REQUEST_BYTES_MAX} bytes are allowed")
        chunks.append(chunk)
    return b"".join(chunks)


class TooLarge(BadRequest):
    error = "too_large"
    status = 413


async def form_of(request: Request) -> Mapping[str, str]:
    """The text fields of a form."""
    form = await request.form(max_files=0, max_fields=20, max_part_size=4096)
    return {name: value for name, value in form.items() if isinstance(value, str)}


def _headers(request: Request) -> dict[str, str]:
    """Field lines of one name are joined, as RFC 9421 2.1 has it."""
    result: dict[str, str] = {}
    for name, value in request.headers.items():
        result[name] = f"{result[name]}, {value}" if name in result else value
    return result


def access_of(route: Any) -> list[Access]:
    """The markers of a route, for the test that walks them all."""
    return [part.call for part in route.dependant.dependencies if isinstance(part.call, Access)]
