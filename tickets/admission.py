"""May this ticket enter? Pure: facts and time in, a decision out.

    decide(facts, scan, moment) -> Refuse | Choose | Claim
    settle(claim, answer or silence, policy) -> Verdict

Between the two lies the world: the claim is made durable, then the arbiter is asked. There is one set of rules for tickets that
a server has seen and for those that none has: what is not known is a value (`Issuer.UNKNOWN`, `NoTicket`), not another path.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import assert_never

from tickets.business_day import BusinessDay
from tickets.catalogue import Catalogue, Gate, OfflinePolicy, Product, Reentry, Variant
from tickets.ids import OpId, TicketId
from tickets.life_cycle import TicketState


class Reason(StrEnum):
    """Why a verdict is not a plain "admit". Final words: they stand on screens, in operations and in the output of commands."""

    ALREADY_USED = "already_used"
    NOT_TODAY = "not_today"
    TOO_EARLY = "too_early"
    TOO_LATE = "too_late"
    WRONG_GATE = "wrong_gate"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"
    BLOCKED = "blocked"
    TRANSFERRED = "transferred"
    TRANSFER_PENDING = "transfer_pending"
    UNPAID = "unpaid"
    PAYMENT_UNKNOWN = "payment_unknown"
    EXHAUSTED = "exhausted"
    UNKNOWN = "unknown"
    FORGED = "forged"
    ISSUER_UNKNOWN = "issuer_unknown"
    CLOCK_UNSURE = "clock_unsure"
    PROOF = "proof"
    NO_ANSWER = "no_answer"
    """Nobody answered the claim and the product's policy is to refuse."""
    NOT_INSIDE = "not_inside"
    """An exit by somebody who has not entered."""
    DATA_OLD = "data_old"
    """Nobody answered the claim, and what the gate last heard of other gates is too old to let in on it."""


class VerdictKind(StrEnum):
    ADMIT = "admit"
    ADMIT_AGAIN = "admit_again"
    ATTENTION = "attention"
    CHOOSE = "choose"
    REFUSE = "refuse"


class Passage(StrEnum):
    """What a use is. Re-entry and exit cost no units and are checked against the last direction."""

    ENTRY = "entry"
    REENTRY = "reentry"
    EXIT = "exit"


class Direction(StrEnum):
    ENTRY = "entry"
    EXIT = "exit"


class ClockConfidence(StrEnum):
    SURE = "sure"
    UNSURE = "unsure"


class Issuer(StrEnum):
    KNOWN = "known"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Use:
    """One unreleased use of a ticket, wherever it was recorded. `window` is empty or a business day."""

    op: OpId
    passage: Passage
    units: int
    window: str
    at: datetime
    gate: str


@dataclass(frozen=True, slots=True)
class TicketFacts:
    """What is known of a ticket here and now: its code, overridden by cache and journal. `uses` is the cap (0: none), `withdrawn` how
    much of it was cancelled, refunded or transferred; `used` every use not released, in any order.
    """

    ticket: TicketId
    variant: int
    uses: int
    state: TicketState
    issuer: Issuer
    not_before: datetime
    expires: datetime
    language: str
    used: tuple[Use, ...] = ()
    withdrawn: int = 0


@dataclass(frozen=True, slots=True)
class NoTicket:
    """A scan that names no ticket: unknown (nothing fits), forged (signature wrong under a known key), issuer unknown."""

    reason: Reason


COUNT_MAX = 65535
"""The most people or units one scan can be for: the largest cap a ticket code can carry."""


@dataclass(frozen=True, slots=True)
class Scan:
    """`count` is what staff or the command line chose for a group (1 to COUNT_MAX), None while nobody was asked."""

    gate: str
    direction: Direction = Direction.ENTRY
    count: int | None = None

    def __post_init__(self) -> None:
        if self.count is not None and not 1 <= self.count <= COUNT_MAX:
            raise ValueError(f"a count of {self.count}; 1 to {COUNT_MAX} is allowed")


@dataclass(frozen=True, slots=True)
class Moment:
    at: datetime
    confidence: ClockConfidence = ClockConfidence.SURE


@dataclass(frozen=True, slots=True)
class Refuse:
    """`first` is the use that stands in the way, where one does; `left` what the ticket still has, where that is the reason."""

    reason: Reason
    first: Use | None = None
    left: int | None = None


@dataclass(frozen=True, slots=True)
class Choose:
    """Ask how many; from 1 to `left` people."""

    left: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A wish to take `units` of a ticket within `window`. `attentions` are what staff shall look at when it is granted, the one
    that matters most first; `left` what remains after it, None without a limit.
    """

    ticket: TicketId
    passage: Passage
    units: int
    window: str
    left: int | None
    attentions: tuple[Reason, ...] = ()

    @property
    def attention(self) -> Reason | None:
        return self.attentions[0] if self.attentions else None


@dataclass(frozen=True, slots=True)
class Granted:
    """The arbiter's yes. `epoch` is its reign; `left` by its ledger."""

    epoch: int
    left: int | None


@dataclass(frozen=True, slots=True)
class Denied:
    reason: Reason
    first: Use | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What gate and screen say. `left` is None without a limit or where it means nothing."""

    kind: VerdictKind
    reason: Reason | None
    left: int | None = None
    units: int = 0
    first: Use | None = None
    epoch: int | None = None


_STATE_REASONS = {
    TicketState.CANCELLED: Reason.CANCELLED,
    TicketState.REFUNDED: Reason.REFUNDED,
    TicketState.BLOCKED: Reason.BLOCKED,
    TicketState.TRANSFERRED: Reason.TRANSFERRED,
    TicketState.TRANSFER_PENDING: Reason.TRANSFER_PENDING,
    TicketState.UNPAID: Reason.UNPAID,
    TicketState.PAYMENT_UNKNOWN: Reason.PAYMENT_UNKNOWN,
}


def decide(facts: TicketFacts | NoTicket, scan: Scan, moment: Moment, catalogue: Catalogue) -> Refuse | Choose | Claim:
    """What this scan asks for. The order of the checks is the order of what a guest needs to hear first."""
    if isinstance(facts, NoTicket):
        return Refuse(facts.reason)
    if facts.state is not TicketState.VALID:
        return Refuse(_STATE_REASONS[facts.state])
    variant, gate = catalogue.variants.get(facts.variant), catalogue.gates.get(scan.gate)
    if variant is None or gate is None or variant.product not in gate.products:
        return Refuse(Reason.WRONG_GATE)
    product, day = catalogue.products[variant.product], catalogue.venue.day
    if scan.direction is Direction.EXIT:
        return _leave(facts, product)
    window = _window(product, moment, day)
    clock, refusal = _time(facts, moment, day)
    if refusal is not None:
        return Refuse(refusal)
    if _returns(facts, product, window, moment, day):
        return Claim(
            ticket=facts.ticket,
            passage=Passage.REENTRY,
            units=0,
            window=window,
            left=_left(facts, product, window),
            attentions=_attentions(facts, variant, clock),
        )
    return _enter(facts, scan, variant, gate, product, window, clock)


def settle(claim: Claim, answer: Granted | Denied | None, policy: OfflinePolicy, *, data_old: bool = False) -> Verdict:
    """What the arbiter's answer, or its silence under the product's policy, makes of a claim that is durable here. `data_old`: what is
    known here of other gates is older than the office lets anybody in on.
    """
    match answer:
        case Denied(reason=reason, first=first):
            return refused(Refuse(reason, first))
        case None if policy is OfflinePolicy.REFUSE:
            return Verdict(VerdictKind.REFUSE, Reason.NO_ANSWER)
        case None if data_old:
            return Verdict(VerdictKind.REFUSE, Reason.DATA_OLD)
        case None:
            return _admit(claim, claim.attention, left=claim.left, epoch=None)
        case Granted(epoch=epoch, left=left):
            return _admit(claim, _attention_once_granted(claim), left=left, epoch=epoch)
        case _ as never:
            assert_never(never)


def refused(refusal: Refuse) -> Verdict:
    """`left` is 0 where a use stands in the way, what the refusal says where it says it, else without meaning."""
    left = 0 if refusal.left is None and refusal.first is not None else refusal.left
    return Verdict(VerdictKind.REFUSE, refusal.reason, left=left, first=refusal.first)


def _attention_once_granted(claim: Claim) -> Reason | None:
    """The arbiter grants only what it knows or has verified: its yes answers who issued the ticket, not what else there is to see."""
    return next((reason for reason in claim.attentions if reason is not Reason.ISSUER_UNKNOWN), None)


def _admit(claim: Claim, attention: Reason | None, *, left: int | None, epoch: int | None) -> Verdict:
    if attention is not None:
        kind = VerdictKind.ATTENTION
    else:
        kind = VerdictKind.ADMIT_AGAIN if claim.passage is Passage.REENTRY else VerdictKind.ADMIT
    return Verdict(kind, attention, left=left, units=claim.units, epoch=epoch)


def _window(product: Product, moment: Moment, day: BusinessDay) -> str:
    return day.of(moment.at).isoformat() if product.uses_a_day else ""


def _cap(facts: TicketFacts, product: Product) -> int:
    """The cap within one window: `uses_a_day` where the product limits the day, else the ticket's own."""
    return product.uses_a_day or facts.uses


def _spent(facts: TicketFacts, window: str) -> int:
    used = sum(use.units for use in facts.used if use.window == window)
    return used if window else used + facts.withdrawn


def _left(facts: TicketFacts, product: Product, window: str) -> int | None:
    cap = _cap(facts, product)
    return None if cap == 0 else max(0, cap - _spent(facts, window))


def _last(uses: Iterable[Use]) -> Use | None:
    return max(uses, key=lambda use: (use.at, use.op), default=None)


def _returns(facts: TicketFacts, product: Product, window: str, moment: Moment, day: BusinessDay) -> bool:
    """Whether this is a re-entry, which costs nothing: the holder left, within this window, and has not come back since.

    Each exit is good for one re-entry: counted, so that gates whose clocks disagree about the order cannot give two. A ticket
    of several visits without a daily window returns on the business day of the exit only; the next day is the next visit.
    """
    if product.reentry is not Reentry.AFTER_EXIT:
        return False
    here = [use for use in facts.used if use.window == window]
    last = _last(here)
    if last is None or last.passage is not Passage.EXIT:
        return False
    exits = sum(use.passage is Passage.EXIT for use in here)
    returned = sum(use.passage is Passage.REENTRY for use in here)
    return exits > returned and (_cap(facts, product) == 1 or day.of(last.at) == day.of(moment.at))


def _leave(facts: TicketFacts, product: Product) -> Refuse | Claim:
    """Who is inside may leave at any time. The exit belongs to the window of the entry it ends, also after midnight."""
    last = _last(facts.used)
    if last is None or last.passage is Passage.EXIT:
        return Refuse(Reason.NOT_INSIDE)
    return Claim(facts.ticket, Passage.EXIT, 0, last.window, _left(facts, product, last.window))


def _time(facts: TicketFacts, moment: Moment, day: BusinessDay) -> tuple[Reason | None, Reason | None]:
    """(attention, refusal) from the window of validity. A clock nobody vouches for gives attention, never a refusal."""
    if facts.not_before <= moment.at < facts.expires:
        return (None, None) if moment.confidence is ClockConfidence.SURE else (Reason.CLOCK_UNSURE, None)
    if moment.confidence is ClockConfidence.UNSURE:
        return Reason.CLOCK_UNSURE, None
    today = day.of(moment.at)
    if moment.at < facts.not_before:
        return None, Reason.TOO_EARLY if today == day.of(facts.not_before) else Reason.NOT_TODAY
    return None, Reason.TOO_LATE if today == _last_day(facts, day) else Reason.NOT_TODAY


def _last_day(facts: TicketFacts, day: BusinessDay) -> date:
    return max(day.of(facts.not_before), day.of(_just_before(facts.expires)))


def _just_before(at: datetime) -> datetime:
    return datetime.fromtimestamp(at.timestamp() - 1, tz=at.tzinfo)


def _attentions(facts: TicketFacts, variant: Variant, clock: Reason | None) -> tuple[Reason, ...]:
    """A code that nobody vouches for comes before a clock that nobody vouches for."""
    issuer = Reason.ISSUER_UNKNOWN if facts.issuer is Issuer.UNKNOWN else None
    proof = Reason.PROOF if variant.proof else None
    return tuple(reason for reason in (issuer, clock, proof) if reason is not None)


def _enter(
    facts: TicketFacts, scan: Scan, variant: Variant, gate: Gate, product: Product, window: str, clock: Reason | None
) -> Refuse | Choose | Claim:
    cap = _cap(facts, product)
    left = None if cap == 0 else cap - _spent(facts, window)
    if left is not None and left <= 0:
        first = min(_entries(facts, window), key=lambda use: (use.at, use.op), default=None)
        return Refuse(Reason.ALREADY_USED if cap == 1 else Reason.EXHAUSTED, first, left=0)
    people = None if left is None else left // gate.units
    if product.group and scan.count is None and people is not None and people > 1:
        return Choose(people)
    units = (scan.count or 1) * gate.units
    if left is not None and units > left:
        return Refuse(Reason.EXHAUSTED, left=left)
    return Claim(
        ticket=facts.ticket,
        passage=Passage.ENTRY,
        units=units,
        window=window,
        left=None if left is None else left - units,
        attentions=_attentions(facts, variant, clock),
    )


def _entries(facts: TicketFacts, window: str) -> list[Use]:
    return [use for use in facts.used if use.window == window and use.units > 0]
