"""What stands outside of the devices, played by the rules of its contract: the line, a payment terminal, paper.

A terminal and a printer have a memory of their own that no crash of the kiosk touches; what they remember is the witness against which
the kiosk's books are held (tests.simulation.invariants). They never look into a device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from kiosk.payment.contract import (
    Baseline,
    Caps,
    Evidence,
    Health,
    Method,
    Outcome,
    PayRequest,
    Progress,
    Stage,
    Totals,
    Watcher,
)
from kiosk.payment.errors import TerminalAbsentError
from sync.errors import HubRefused, HubUnreachable
from tests.simulation.world import World
from tickets.money import Money


class Server(Protocol):
    """Whoever answers the protocol: the hub, or a venue node."""

    name: str
    node_id: str | None
    """A venue node's device id in hex; None for the hub."""

    def serve(self, device: bytes, call: str, args: tuple[Any, ...], more: Mapping[str, Any]) -> Any:
        """Raises HubUnreachable while it is down or dies on the way, HubRefused."""
        ...


class Line:
    """What is between one process and the servers it may ask, in their order: the first that can be reached answers. `sync.client.Hub`.

    A request is lost, or late (it arrives when nobody waits any more), or doubled; an answer is lost.
    """

    def __init__(self, world: World, device: bytes, servers: list[Server], cut: set[tuple[bytes, str]]) -> None:
        self._world, self._device, self._servers, self._cut = world, device, servers, cut

    def __getattr__(self, call: str) -> Callable[..., Any]:
        def over_the_line(*args: Any, **more: Any) -> Any:
            self._world.point()
            try:
                return self._ask(call, args, more)
            finally:
                self._world.point()

        return over_the_line

    def _ask(self, call: str, args: tuple[Any, ...], more: Mapping[str, Any]) -> Any:
        world = self._world
        reached = [server for server in self._servers if world.perfect or (self._device, server.name) not in self._cut]
        if not reached:
            raise HubUnreachable("cut")
        server = reached[0]

        def deliver() -> Any:
            return server.serve(self._device, call, args, more)

        if world.perfect:
            return deliver()
        fate = world.chance.random()
        if fate < 0.06:
            raise HubUnreachable("the request was lost")
        if fate < (0.20 if call == "claim" else 0.12):
            world.late.append((f"{call} of {self._device.hex()[:4]}", deliver))
            raise HubUnreachable("the request is late")
        answer = deliver()
        if fate < 0.27:
            raise HubUnreachable("the answer was lost")
        if fate < 0.33:
            world.late.append((f"{call} of {self._device.hex()[:4]} again", deliver))
        return answer


def deliver_late(world: World) -> None:
    """One request that nobody waits for arrives, in any order."""
    if not world.late:
        return
    name, call = world.late.pop(world.chance.randrange(len(world.late)))
    world.seen["late"] += 1
    try:
        call()
    except (HubRefused, HubUnreachable) as error:
        world.note(f"late: {name}: {error}")
    else:
        world.note(f"late: {name}")


@dataclass(slots=True)
class Charged:
    """One line of the terminal's own book."""

    attempt: str
    amount: Money
    state: str
    """held, final, refused, reversed"""
    receipt_no: int


@dataclass
class TerminalBook:
    """A terminal, which goes on when the kiosk does not. What is `held` falls back when its kiosk is gone."""

    world: World
    charges: list[Charged] = field(default_factory=list)
    away: bool = False
    meanwhile: Callable[[], None] = lambda: None
    """What the kiosk's other processes do while its engine waits for the terminal."""

    def of(self, attempt: str) -> Charged | None:
        return next((charge for charge in self.charges if charge.attempt == attempt), None)

    def captured(self) -> dict[str, int]:
        """By attempt, what the cardholder's bank has paid."""
        return {charge.attempt: charge.amount.minor for charge in self.charges if charge.state == "final"}

    def drop_holds(self) -> None:
        for charge in self.charges:
            if charge.state == "held":
                charge.state = "refused"


class SimulatedTerminal:
    """`kiosk.payment.contract.Terminal` at a book. One object a run of the kiosk."""

    def __init__(self, book: TerminalBook) -> None:
        self._book, self._world = book, book.world
        book.drop_holds()

    @property
    def caps(self) -> Caps:
        return Caps(
            holds=True,
            voids_after_confirm=True,
            refunds_partly=False,
            queries_by_attempt=True,
            ends_day=False,
            tells_balance=False,
            methods=frozenset({Method.CARD}),
            currencies=frozenset({"JPY"}),
        )

    def open(self) -> Health:
        return Health.OFFLINE if self._absent() else Health.READY

    def health(self) -> Health:
        return self.open()

    def close(self) -> None:
        self._book.drop_holds()

    def _works(self) -> None:
        """A terminal takes its seconds, and the venue goes on meanwhile."""
        for _ in range(2):
            self._world.point(interleave=0.3)
            if self._world.happens(0.5):
                self._world.aside(self._book.meanwhile)

    def baseline(self) -> Baseline:
        self._world.point()
        if self._absent():
            raise TerminalAbsentError("no answer")
        return {"receipt_no": len(self._book.charges)}

    def authorise(self, request: PayRequest, watch: Watcher) -> Evidence:
        self._world.point()
        watch(Progress(Stage.INSERT_CARD, may_cancel=True))
        self._world.wait(self._world.chance.uniform(2, 20))
        answer = self._authorised(request)
        self._works()
        return answer

    def _authorised(self, request: PayRequest) -> Evidence:
        book, attempt = self._book, request.attempt_id
        known = book.of(attempt)
        assert known is None, "a financial command is never repeated blindly"
        fate = 1.0 if self._world.perfect else self._world.chance.random()
        if fate < 0.07:
            return Evidence(Outcome.DECLINED, "declined", attempt)
        if fate < 0.12:
            return Evidence(Outcome.CANCELLED, "cancelled", attempt)
        if fate < 0.15:
            return Evidence(Outcome.UNKNOWN, "terminal_silent", attempt)  # it never got there
        charge = Charged(attempt, request.amount, "held", len(book.charges) + 1)
        book.charges.append(charge)
        if fate < 0.18:
            charge.state = "refused"  # nobody confirms in time
            return Evidence(Outcome.UNKNOWN, "terminal_silent", attempt)
        return self._named(charge, Outcome.APPROVED_HELD, "approved")

    def confirm(self, held: Evidence) -> Evidence:
        self._world.point()
        charge = self._book.of(held.attempt_id or "")
        assert charge is not None
        fate = 1.0 if self._world.perfect else self._world.chance.random()
        if charge.state != "held" or fate < 0.03:
            charge.state = "refused"
            answer = self._named(charge, Outcome.NOT_CHARGED, "hold_ended")
        elif fate < 0.06:
            charge.state = "refused"  # the word never reached it
            answer = replace(held, outcome=Outcome.UNKNOWN, code="terminal_silent")
        else:
            charge.state = "final"
            self._world.note(f"charged {charge.amount.minor}")
            lost = fate < 0.12
            answer = self._named(charge, Outcome.UNKNOWN, "terminal_silent") if lost else self._proof(charge)
        self._world.point()
        return answer

    def void(self, held: Evidence) -> Evidence:
        self._world.point()
        charge = self._book.of(held.attempt_id or "")
        assert charge is not None
        charge.state = "refused"
        lost = self._world.happens(0.2)
        self._world.point()
        return replace(held, outcome=Outcome.UNKNOWN if lost else Outcome.NOT_CHARGED, code="voided")

    def reverse(self, charged: Evidence, *, key: str) -> Evidence:
        self._world.point()
        charge = next((row for row in self._book.charges if row.receipt_no == charged.receipt_no), None)
        assert key
        assert charge is not None, "a reversal names a charge"
        if self._absent():
            return replace(charged, outcome=Outcome.APPROVED_FINAL, code="terminal_absent")
        fate = 1.0 if self._world.perfect else self._world.chance.random()
        if charge.state == "final" and fate < 0.06:
            return replace(charged, outcome=Outcome.APPROVED_FINAL, code="terminal_refused")
        self._works()
        self._world.note(f"reversed {charge.amount.minor}")
        charge.state = "reversed"
        self._world.point()
        return replace(charged, outcome=Outcome.UNKNOWN if fate < 0.2 else Outcome.NOT_CHARGED, code="reversed")

    def refund(self, charged: Evidence, *, amount: Money, key: str) -> Evidence:
        return replace(charged, outcome=Outcome.APPROVED_FINAL, code="not_supported")

    def query(self, request: PayRequest, *, seen: Evidence | None) -> Evidence:
        self._world.point()
        if self._absent():
            return Evidence(Outcome.UNKNOWN, "terminal_absent", request.attempt_id)
        if self._world.happens(0.02):
            return Evidence(Outcome.UNKNOWN, "no_record", request.attempt_id)  # for a person
        charge = self._book.of(request.attempt_id)
        if charge is not None and charge.state == "held":
            charge.state = "refused"
        self._world.point()
        if charge is not None and charge.state == "final":
            return self._proof(charge)
        return Evidence(Outcome.NOT_CHARGED, "not_found", request.attempt_id)

    def cancel(self) -> None:
        return

    def totals(self) -> Totals:
        return Totals(Money(sum(self._book.captured().values()), "JPY"))

    def end_of_day(self) -> Totals:
        return self.totals()

    def _absent(self) -> bool:
        return self._book.away and not self._world.perfect

    def _proof(self, charge: Charged) -> Evidence:
        return self._named(charge, Outcome.APPROVED_FINAL, "approved")

    def _named(self, charge: Charged, outcome: Outcome, code: str) -> Evidence:
        return Evidence(
            outcome,
            code,
            attempt_id=charge.attempt,  # type: ignore[arg-type]
            amount=charge.amount,
            masked_id="541333******0013",
            terminal_id="52500041",
            receipt_no=charge.receipt_no,
        )
