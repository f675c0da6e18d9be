"""Guessing passwords: many at once, from one place, from many, and who is locked out by it."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from hub.node import HubNode
from hub.services import accounts
from hub.services.accounts import SignInLimit
from hub.web.app import create_app
from tickets.clock import FixedClock

PASSWORD = "correct horse battery"
BASE = "http://hub.test"


@pytest.fixture
def office(node: HubNode) -> HubNode:
    with node.write() as connection:
        accounts.add_account(connection, "office", PASSWORD, now=node.clock.now_utc())
    return node


async def post(app: object, *, address: str, password: str, name: str = "office") -> int:
    transport = httpx.ASGITransport(app=app, client=(address, 1))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        answer = await client.post("/sign-in", data={"name": name, "password": password})
        return answer.status_code


def test_tries_at_the_same_time_are_counted_each(office: HubNode) -> None:
    app = create_app(office)

    async def many() -> list[int]:
        return await asyncio.gather(*(post(app, address="192.0.2.1", password="wrong") for _ in range(12)))

    statuses = asyncio.run(many())
    assert statuses.count(401) == SignInLimit.TRIES
    assert statuses.count(429) == 12 - SignInLimit.TRIES


def test_who_guesses_elsewhere_locks_nobody_out(office: HubNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SignInLimit, "SLOWER_S", 0.001)
    app = create_app(office)

    async def guessed_then_right() -> int:
        for number in range(7):
            assert await post(app, address=f"192.0.2.{number}", password="wrong") == 401
        return await post(app, address="198.51.100.7", password=PASSWORD)

    assert asyncio.run(guessed_then_right()) == 303


def test_a_name_is_slowed_and_an_address_stopped(clock: FixedClock) -> None:
    limit = SignInLimit()
    waits = []
    for number in range(16):
        tried = limit.begin(address=f"192.0.2.{number}", name="office", monotonic_s=1.0)
        assert tried is not None
        waits.append(tried.wait_s)
    assert waits[: SignInLimit.TRIES] == [0.0] * SignInLimit.TRIES
    assert waits[SignInLimit.TRIES :] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.0, 4.0, 4.0]
    tries = [limit.begin(address=f"2001:db8::{number:x}", name=str(number), monotonic_s=1.0) for number in range(1, 9)]
    assert [tried is not None for tried in tries] == [True] * 5 + [False] * 3, "one line has many addresses"


def test_right_tries_do_not_add_up_and_forgive_no_wrong_ones() -> None:
    limit = SignInLimit()
    for number in range(4):
        assert limit.begin(address="192.0.2.1", name="office", monotonic_s=float(number))
    for number in range(20):
        tried = limit.begin(address="192.0.2.1", name="mine", monotonic_s=10.0 + number / 10)
        assert tried is not None
        limit.succeeded(tried)
    assert limit.begin(address="192.0.2.1", name="office", monotonic_s=12.0) is not None
    assert limit.begin(address="192.0.2.1", name="office", monotonic_s=12.0) is None
