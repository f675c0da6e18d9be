"""What happens when more is asked of the hub than it can do: who goes first, who is sent away, and with which word."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import orjson
import pytest

from hub.errors import Busy, TooMany
from hub.node import HubNode
from hub.services.devices import KnownDevice
from hub.web import lanes as module
from hub.web import wakeup as wakeup_module
from hub.web.allowance import BURST_CALLS, CALLS_PER_S, VENUE_FACTOR, Allowance
from hub.web.lanes import Lanes, Rank
from hub.web.pages import Pages, Shared
from hub.web.wakeup import Wakeup
from sync.hop import HopError
from sync.protocol import CURSOR_SCHEMA, SCOPE
from sync.state import Role
from tests.hubkit import NOON, Device
from tickets.clock import FixedClock
from tickets.ids import DeviceId

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


def test_a_thousand_polls_stand_in_no_claim_s_way() -> None:
    """A claim asks first who its gate is; the pages of everyone who was woken wait elsewhere."""

    async def scene() -> tuple[str, int]:
        lanes, hold, order = Lanes(writers=1), threading.Event(), []
        polls = [asyncio.create_task(lanes.read(lambda: hold.wait(5))) for _ in range(1000)]
        await asyncio.sleep(0)
        async with asyncio.timeout(2):
            order.append(await lanes.look(Rank.CLAIM, lambda: "claim"))
        waited = sum(not poll.done() for poll in polls)
        hold.set()
        await asyncio.gather(*polls)
        await asyncio.to_thread(lanes.stop)
        return order[0], waited

    assert asyncio.run(scene()) == ("claim", 1000)


def test_readers_and_lookers_have_a_bound_and_claims_go_before_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKERS", 1)
    monkeypatch.setattr(module, "LOOKING_MAX", {Rank.CLAIM: 2, Rank.UPLOAD: 1, Rank.REST: 1})
    monkeypatch.setattr(module, "READERS", 1)
    monkeypatch.setattr(module, "READING_MAX", {Rank.CLAIM: 1, Rank.UPLOAD: 1, Rank.REST: 1})

    async def scene() -> list[str]:
        lanes, hold, began, order = Lanes(writers=1), threading.Event(), threading.Semaphore(0), []

        def first() -> None:
            began.release()
            hold.wait(5)

        def named(name: str) -> Callable[[], None]:
            return lambda: order.append(name)

        running = [asyncio.create_task(lanes.look(Rank.REST, first)), asyncio.create_task(lanes.read(first))]
        for _ in running:
            await asyncio.to_thread(began.acquire, timeout=5)
        waiting = [
            asyncio.create_task(lanes.look(Rank.REST, named("poll"))),
            asyncio.create_task(lanes.look(Rank.CLAIM, named("claim"))),
            asyncio.create_task(lanes.read(lambda: None)),
        ]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await lanes.look(Rank.REST, lambda: None)
        with pytest.raises(Busy):
            await lanes.read(lambda: None)
        hold.set()
        await asyncio.gather(*running, *waiting)
        await asyncio.to_thread(lanes.stop)
        return order

    assert asyncio.run(scene()) == ["claim", "poll"]


def test_commits_that_follow_closely_wake_everyone_once() -> None:
    async def scene() -> int:
        wakeup = Wakeup()
        wakeup.attach()
        woken, over = 0, asyncio.get_running_loop().time() + 0.5
        with wakeup.listening() as listener:

            async def waits() -> None:
                nonlocal woken
                while True:
                    listener.looking()
                    await listener.wait(timeout_s=60)
                    woken += 1

            task = asyncio.create_task(waits())
            while asyncio.get_running_loop().time() < over:
                wakeup.ring()
                await asyncio.sleep(0.002)
            task.cancel()
        return woken

    assert 2 <= asyncio.run(scene()) <= 0.5 / wakeup_module.APART_S + 1


def test_the_more_wait_the_fewer_wake_ups_and_never_later_than_their_own_look() -> None:
    wakeup = Wakeup()
    wakeup._waiting = 300
    assert wakeup._apart_s() > 1
    wakeup._waiting = 100_000
    assert wakeup._apart_s() == wakeup_module.LOOK_AGAIN_S


def test_who_asks_the_same_gets_one_page_and_never_one_from_before_the_question(node: HubNode, gate: Device) -> None:
    """Real pages of a real node; who was shut out meanwhile is told so, alone."""
    me, other = gate.identity.device, DeviceId(b"x" * 16)  # the other is not known, as if it was revoked

    async def scene() -> None:
        lanes = Lanes(writers=1)
        pages, hold, reads = Pages(lanes), threading.Event(), []
        begun, loop = asyncio.Event(), asyncio.get_running_loop()

        def read(asking: Sequence[DeviceId]) -> Shared:
            reads.append(tuple(asking))
            loop.call_soon_threadsafe(begun.set)
            page, shut_out = node.changes_for(asking, None, rows_max=1000, scope=SCOPE, schema=CURSOR_SCHEMA)
            hold.wait(5)
            return Shared(orjson.dumps(page.to_row()), is_news=bool(page.tables), shut_out=shut_out)

        busy = [asyncio.create_task(lanes.read(lambda: hold.wait(5))) for _ in range(module.READERS)]
        await asyncio.sleep(0)
        same = [asyncio.create_task(pages.get("k", me, read)) for _ in range(300)]
        out = asyncio.create_task(pages.get("k", other, read))
        gone = asyncio.create_task(pages.get("k", me, read))
        apart = asyncio.create_task(pages.get("another", me, read))
        await asyncio.sleep(0)
        gone.cancel()  # a device hangs up: the page is the others' still
        hold.set()
        got = await asyncio.gather(*same)
        assert len({id(page) for page in got}) == 1
        assert got[0].is_news
        with pytest.raises(HopError, match="shut out"):
            await out
        await asyncio.gather(apart, *busy)
        assert sorted(reads) == sorted([tuple(sorted((me, other))), (me,)])

        hold.clear()
        begun.clear()
        early = asyncio.create_task(pages.get("k", me, read))
        await begun.wait()
        late = asyncio.create_task(pages.get("k", me, read))  # this one asks after the read has begun
        await asyncio.sleep(0)
        hold.set()
        assert await early is not await late
        await asyncio.to_thread(lanes.stop)

    asyncio.run(scene())
