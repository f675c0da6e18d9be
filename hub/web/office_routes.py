"""The office's pages: rendered here, work on a phone, no script."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from hub.errors import NotFound
from hub.node import HubNode
from hub.services import accounts, resolve, tickets, venue
from hub.services.accounts import Session, SignInLimit
from hub.services.today import today
from hub.web.access import SESSION_COOKIE, Anyone, FromOffice, find_session, form_of, node_of, same_origin
from hub.web.view import View, page
from hub.web.words import LANGUAGES
from tickets.ids import OpId, TicketId
from tickets.ids import op_id as parse_op_id
from tickets.ids import ticket_id as parse_ticket_id
from tickets.language import Language
from tickets.short_id import ShortIdError
from tickets.short_id import parse as parse_short_id

router = APIRouter(default_response_class=HTMLResponse)
Office = Annotated[Session, Depends(FromOffice())]
Public = [Depends(Anyone())]
LANGUAGE_COOKIE = "kaisatsu_language"


def view_of(request: Request) -> View:
    """Language by cookie, else by what the browser asks for."""
    node = node_of(request)
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    if chosen not in LANGUAGES:
        chosen = "en" if request.headers.get("accept-language", "ja").lower().startswith("en") else "ja"
    with node.read() as connection:
        catalogue = venue.find_catalogue(connection)
    return View(language=chosen, catalogue=catalogue, now=node.clock.now_utc())


@router.get("/", dependencies=Public)
async def root() -> Response:
    return RedirectResponse("/today", status_code=303)


@router.get("/sign-in", dependencies=Public)
async def sign_in_page(request: Request) -> Response:
    view = await run_in_threadpool(view_of, request)
    return HTMLResponse(page("sign_in.html", view, failed=None, name=""))


@router.post("/sign-in", dependencies=Public)
async def sign_in(request: Request) -> Response:
    """Open a session. Tries are limited by address and slowed by name, counted before the password is looked at; wrong ones take as
    long as right ones.
    """
    same_origin(request)
    form = await form_of(request)
    name, password = form.get("name", "")[:64], form.get("password", "")
    node, limit = node_of(request), _limit(request)
    address = request.client.host if request.client else ""
    view = await run_in_threadpool(view_of, request)
    tried = limit.begin(address=address, name=name, monotonic_s=node.clock.monotonic_s())
    if tried is None:
        body = page("sign_in.html", view, failed="sign_in_limited", name=name)
        return HTMLResponse(body, status_code=429, headers={"Retry-After": "60"})
    if tried.wait_s:
        await asyncio.sleep(tried.wait_s)
    token = await run_in_threadpool(_open_session, node, name, password)
    if token is None:
        return HTMLResponse(page("sign_in.html", view, failed="sign_in_failed", name=name), status_code=401)
    limit.succeeded(tried)
    response = RedirectResponse("/today", status_code=303)
    response.set_cookie(
        SESSION_COOKIE,
        token,
        max_age=int(accounts.SESSION_LIFE.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


def _open_session(node: HubNode, name: str, password: str) -> str | None:
    with node.read() as connection:
        held = accounts.password_hash_of(connection, name)
    if not accounts.password_fits(held, password):
        return None
    with node.write() as connection:
        return accounts.begin_session(connection, name, now=node.clock.now_utc(), random_bytes=node.random_bytes)


@router.post("/sign-out")
async def sign_out(request: Request, who: Office) -> Response:
    _ = who
    token = request.cookies[SESSION_COOKIE]

    def end() -> None:
        with node_of(request).write() as connection:
            accounts.end_session(connection, token)

    await run_in_threadpool(end)
    response = RedirectResponse("/sign-in", status_code=303)
    response.delete_cookie(SESSION_COOKIE)
    return response


@router.get("/language/{language}", dependencies=Public)
async def choose_language(language: Language) -> Response:
    response = RedirectResponse("/today", status_code=303)
    response.set_cookie(LANGUAGE_COOKIE, language, max_age=365 * 86_400, httponly=True, samesite="strict")
    return response


@router.get("/today")
async def today_page(request: Request, who: Office) -> Response:
    node = node_of(request)

    def render() -> str:
        view = view_of(request)
        with node.read() as connection:
            shown = today(connection, now=view.now)
        heard = {
            row.device.device: max(filter(None, (row.heard_at, node.last_contact(row.device.device))), default=None)
            for row in shown.devices
        }
        return page("today.html", view, t=shown, heard=heard, who=who, here="today")

    return HTMLResponse(await run_in_threadpool(render))


@router.get("/find")
async def find(request: Request, who: Office) -> Response:
    """A ticket by the digits under its code; several when the digits came back on another day."""

    def look() -> Response:
        view = view_of(request)
        try:
            digits = parse_short_id(request.query_params.get("digits", "")[:32])
        except ShortIdError as error:
            raise NotFound(view.word("find_none")) from error
        with node_of(request).read() as connection:
            found = tickets.by_short_id(connection, digits)
            if not found:
                raise NotFound(view.word("find_none"))
            if len(found) == 1:
                return RedirectResponse(f"/tickets/{found[0].hex()}", status_code=303)
            stories = [tickets.story(connection, item) for item in found]
        return HTMLResponse(page("found.html", view, stories=stories, who=who, here="today"))

    return await run_in_threadpool(look)


@router.get("/tickets/{ticket}")
async def ticket_page(request: Request, ticket: str, who: Office) -> Response:
    def render() -> str:
        view = view_of(request)
        with node_of(request).read() as connection:
            told = tickets.story(connection, _ticket_id(ticket))
        events = [
            *((datetime.fromisoformat(row.at), "use", row) for row in told.uses),
            *((datetime.fromisoformat(row.at), "refusal", row) for row in told.refusals),
            *((datetime.fromisoformat(row.at), "change", row) for row in told.changes),
        ]
        events.sort(key=lambda event: event[0], reverse=True)
        spent = sum(row.units for row in told.uses if not row.released)
        return page("ticket.html", view, told=told, events=events, spent=spent, who=who, here="ticket")

    return HTMLResponse(await run_in_threadpool(render))


@router.post("/tickets/{ticket}/cancel")
async def cancel(request: Request, ticket: str, who: Office) -> Response:
    form = await form_of(request)
    ticket_id = _ticket_id(ticket)
    reason = form.get("reason", "")
    await run_in_threadpool(lambda: node_of(request).cancel_ticket(ticket_id, by=who.account, reason=reason))
    return RedirectResponse(f"/tickets/{ticket_id.hex()}", status_code=303)


@router.get("/operations")
async def operations_page(request: Request, who: Office) -> Response:
    """What devices sent and the hub could not apply, or that contradicts something: to be settled or tried again."""

    def render() -> str:
        view = view_of(request)
        with node_of(request).read() as connection:
            open_ones, done = resolve.unsettled(connection), resolve.settled(connection)
        return page("operations.html", view, open=open_ones, done=done, who=who, here="operations")

    return HTMLResponse(await run_in_threadpool(render))


@router.post("/operations/{op}/settle")
async def settle_operation(request: Request, op: str, who: Office) -> Response:
    form, op_id = await form_of(request), _op_id(op)
    because = form.get("because", "")
    await run_in_threadpool(lambda: node_of(request).settle_operation(op_id, by=who.account, because=because))
    return RedirectResponse("/operations", status_code=303)


@router.post("/operations/{op}/retry")
async def retry_operation(request: Request, op: str, who: Office) -> Response:
    op_id = _op_id(op)
    await run_in_threadpool(lambda: node_of(request).retry_operation(op_id, by=who.account))
    return RedirectResponse("/operations", status_code=303)


def _op_id(text: str) -> OpId:
    try:
        return parse_op_id(text)
    except ValueError as error:
        raise NotFound("no such operation") from error


def problem_page(request: Request, *, status: int, detail: str) -> Response:
    """A page for people instead of an error text."""
    view = view_of(request)
    who = find_session(request)
    return HTMLResponse(page("problem.html", view, detail=detail, who=who, here=""), status_code=status)


def _ticket_id(text: str) -> TicketId:
    try:
        return parse_ticket_id(text)
    except ValueError as error:
        raise NotFound("no such ticket") from error


def _limit(request: Request) -> SignInLimit:
    limit: SignInLimit = request.app.state.sign_in_limit
    return limit
