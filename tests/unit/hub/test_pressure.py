"""What happens when more is asked of the hub than it can do: who goes first, who is sent away, and with which word."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from hub.errors import Busy, TooMany
from hub.services.devices import KnownDevice
from hub.web import lanes as module
from hub.web.allowance import BURST_CALLS, CALLS_PER_S, VENUE_FACTOR, Allowance
from hub.web.lanes import Lanes, Rank
from hub.web.wakeup import Wakeup
from sync.state import Role
from tests.hubkit import NOON
from tickets.clock import FixedClock

GATE = KnownDevice(b"d" * 16, Role.GATE, "A", "A", b"k" * 32, revoked=False)  # type: ignore[arg-type]


def test_claims_go_before_uploads_and_uploads_before_the_rest() -> None:
    async def scene() -> list[str]:
        lanes, order, gate, began = Lanes(writers=1), [], threading.Event(), threading.Event()

        def first() -> None:
            began.set()
            gate.wait(5)

        def named(name: str) -> Callable[[], None]:
            return lambda: order.append(name)

        running = asyncio.create_task(lanes.run(Rank.REST, first))
        await asyncio.to_thread(began.wait, 5)
        tasks = [
            asyncio.create_task(lanes.run(rank, named(name)))
            for name, rank in (
                ("r1", Rank.REST),
                ("u1", Rank.UPLOAD),
                ("c1", Rank.CLAIM),
                ("u2", Rank.UPLOAD),
                ("c2", Rank.CLAIM),
            )
        ]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(running, *tasks)
        await asyncio.to_thread(lanes.stop)
        return order

    assert asyncio.run(scene()) == ["c1", "c2", "u1", "u2", "r1"]


def test_too_many_waiting_are_sent_away_by_rank_and_the_others_still_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", {Rank.CLAIM: 3, Rank.UPLOAD: 2, Rank.REST: 1})

    async def scene() -> None:
        lanes, gate, began = Lanes(writers=1), threading.Event(), threading.Event()

        def first() -> None:
            began.set()
            gate.wait(5)

        running = asyncio.create_task(lanes.run(Rank.REST, first))
        await asyncio.to_thread(began.wait, 5)
        waiting = [asyncio.create_task(lanes.run(Rank.UPLOAD, lambda: 1)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy) as told:
            await lanes.run(Rank.UPLOAD, lambda: 1)
        assert (told.value.status, told.value.error) == (503, "busy")
        assert 1 <= told.value.retry_after_s <= module.RETRY_AFTER_S_MAX
        claim = asyncio.create_task(lanes.run(Rank.CLAIM, lambda: 7))
        await asyncio.sleep(0)
        gate.set()
        assert await claim == 7
        assert await asyncio.gather(*waiting) == [1, 1]
        await running
        await asyncio.to_thread(lanes.stop)
        with pytest.raises(Busy):
            await lanes.run(Rank.CLAIM, lambda: 1)

    asyncio.run(scene())


def test_a_rush_of_claims_does_not_stop_uploads_for_good() -> None:
    async def scene() -> int:
        lanes, order, gate, began = Lanes(writers=1), [], threading.Event(), threading.Event()

        def first() -> None:
            began.set()
            gate.wait(5)

        running = asyncio.create_task(lanes.run(Rank.CLAIM, first))
        await asyncio.to_thread(began.wait, 5)
        upload = asyncio.create_task(lanes.run(Rank.UPLOAD, lambda: order.append("u")))
        claims = [asyncio.create_task(lanes.run(Rank.CLAIM, lambda: order.append("c"))) for _ in range(100)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(running, upload, *claims)
        await asyncio.to_thread(lanes.stop)
        return order.index("u")

    assert 20 < asyncio.run(scene()) <= module.OTHERS_EVERY + 1


def test_what_fails_belongs_to_its_caller_and_the_next_is_served() -> None:
    async def scene() -> None:
        lanes = Lanes(writers=1)
        with pytest.raises(ZeroDivisionError):
            await lanes.run(Rank.CLAIM, lambda: 1 // 0)
        left = asyncio.create_task(lanes.run(Rank.CLAIM, lambda: 1))
        await asyncio.sleep(0)
        left.cancel()  # the gate has hung up
        assert await lanes.run(Rank.CLAIM, lambda: 2) == 2
        await asyncio.to_thread(lanes.stop)

    asyncio.run(scene())


def test_a_device_that_calls_without_end_is_slowed_alone() -> None:
    clock = FixedClock(NOON)
    allowance = Allowance(clock)
    other = replace(GATE, device=b"e" * 16)  # type: ignore[arg-type]
    for _ in range(int(BURST_CALLS)):
        allowance.take(GATE)
    with pytest.raises(TooMany) as told:
        allowance.take(GATE)
    assert (told.value.status, told.value.retry_after_s) == (429, 1)
    allowance.take(other)
    clock.elapsed_s += 10 / CALLS_PER_S
    for _ in range(10):
        allowance.take(GATE)
    with pytest.raises(TooMany):
        allowance.take(GATE)
    venue = replace(other, device=b"v" * 16, role=Role.VENUE)  # type: ignore[arg-type]
    for _ in range(int(BURST_CALLS * VENUE_FACTOR)):
        allowance.take(venue)


def test_who_waits_is_woken_by_what_another_process_wrote_and_by_what_came_between_look_and_wait() -> None:
    async def scene() -> None:
        wakeup = Wakeup()
        wakeup.attach()
        numbers = iter([1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2])

        async def look() -> int | None:
            return next(numbers)

        watching = asyncio.create_task(wakeup.watch(look))
        with wakeup.listening() as listener:
            listener.looking()
            wakeup.ring()
            await asyncio.sleep(0)
            async with asyncio.timeout(0.2):
                await listener.wait(timeout_s=60)
            listener.looking()
            async with asyncio.timeout(1.9):  # before it would look by itself
                await listener.wait(timeout_s=60)
        watching.cancel()

    asyncio.run(scene())
