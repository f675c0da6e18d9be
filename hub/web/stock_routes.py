"""The office's page of stock: how each slot stands, who holds what of it, and what a person may do about it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from hub.errors import BadRequest, NotFound
from hub.services import stock, venue
from hub.services.accounts import Session
from hub.web.access import FromOffice, form_of, node_of
from hub.web.office_routes import view_of
from hub.web.view import page
from tickets.catalogue import ProductKind
from tickets.ids import DeviceId
from tickets.ids import device_id as parse_device_id

router = APIRouter(default_response_class=HTMLResponse)
Office = Annotated[Session, Depends(FromOffice())]
MINUTES_MAX = 24 * 60


@router.get("/stock")
async def stock_page(request: Request, who: Office) -> Response:
    """Today's slots that are not over."""

    def render() -> str:
        view = view_of(request)
        with node_of(request).read() as connection:
            day = venue.catalogue(connection).venue.day
            today = day.of(view.now)
            shown = stock.stories(
                connection, starts_from=day.starts(today), starts_before=day.ends(today), now=view.now
            )
            products = venue.catalogue(connection).products.values()
        timed = [product for product in products if product.kind is ProductKind.SLOT]
        return page("stock.html", view, stories=shown, products=timed, who=who, here="stock")

    return HTMLResponse(await run_in_threadpool(render))


@router.post("/stock")
async def open_slot(request: Request, who: Office) -> Response:
    """One more slot today, for a product that is sold by slots."""
    form = await form_of(request)

    def do() -> None:
        hour, minute = _clock(form.get("starts", ""))
        minutes = _number(form, "minutes", low=1, high=MINUTES_MAX)
        capacity = _number(form, "capacity", low=0, high=stock.CAPACITY_MAX)
        node = node_of(request)
        with node.write() as connection:
            found = venue.catalogue(connection)
            product = form.get("product", "")
            if product not in found.products:
                raise BadRequest("no such product")
            opened = venue.open_slots(
                connection,
                product,
                day=found.venue.day.of(node.clock.now_utc()),
                times=[(hour, minute)],
                minutes=minutes,
                capacity=capacity,
            )
        if not opened:
            raise BadRequest("there is a slot of this product at this time already")

    await run_in_threadpool(do)
    _ = who
    return RedirectResponse("/stock", status_code=303)


@router.get("/stock/{slot}")
async def slot_page(request: Request, slot: str, who: Office) -> Response:
    """One slot: its holders, and what may be done."""

    def render() -> str:
        view = view_of(request)
        with node_of(request).read() as connection:
            told = stock.story(connection, slot)
        return page("slot.html", view, told=told, chosen=None, who=who, here="stock")

    return HTMLResponse(await run_in_threadpool(render))


@router.get("/stock/{slot}/take-back/{device}")
async def take_back_page(request: Request, slot: str, device: str, who: Office) -> Response:
    """How many may be sold twice, before anybody decides it."""

    def render() -> str:
        view = view_of(request)
        with node_of(request).read() as connection:
            told = stock.story(connection, slot)
        chosen = next((one for one in told.holdings if one.device == _device(device)), None)
        if chosen is None or not chosen.account.leased:
            raise NotFound(view.word("nothing_to_take_back"))
        return page("slot.html", view, told=told, chosen=chosen, who=who, here="stock")

    return HTMLResponse(await run_in_threadpool(render))


@router.post("/stock/{slot}/take-back/{device}")
async def take_back(request: Request, slot: str, device: str, who: Office) -> Response:
    form = await form_of(request)

    def do() -> None:
        node = node_of(request)
        with node.write() as connection:
            stock.take_back(
                connection,
                slot,
                _device(device),
                by=who.account,
                reason=form.get("reason", ""),
                now=node.clock.now_utc(),
            )

    await run_in_threadpool(do)
    return RedirectResponse(f"/stock/{slot}", status_code=303)


@router.post("/stock/{slot}/capacity")
async def set_capacity(request: Request, slot: str, who: Office) -> Response:
    form = await form_of(request)

    def do() -> None:
        capacity = _number(form, "capacity", low=0, high=stock.CAPACITY_MAX)
        node = node_of(request)
        with node.write() as connection:
            stock.set_capacity(connection, slot, capacity, by=who.account, now=node.clock.now_utc())

    await run_in_threadpool(do)
    return RedirectResponse(f"/stock/{slot}", status_code=303)


@router.post("/stock/{slot}/cancel")
async def cancel_slot(request: Request, slot: str, who: Office) -> Response:
    def do() -> None:
        node = node_of(request)
        with node.write() as connection:
            stock.cancel_slot(connection, slot, by=who.account, now=node.clock.now_utc())

    await run_in_threadpool(do)
    return RedirectResponse(f"/stock/{slot}", status_code=303)


def _device(text: str) -> DeviceId:
    try:
        return parse_device_id(text)
    except ValueError as error:
        raise NotFound("no such device") from error


def _number(form: object, name: str, *, low: int, high: int) -> int:
    text = form.get(name, "") if isinstance(form, dict) else ""
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise BadRequest(f"'{name}' is a whole number from {low} to {high}")
    return int(text)


def _clock(text: str) -> tuple[int, int]:
    try:
        at = datetime.strptime(text, "%H:%M")  # noqa: DTZ007 a time of day; the venue's zone makes an instant of it
    except ValueError as error:
        raise BadRequest("a slot starts at a time such as 14:30") from error
    return at.hour, at.minute
