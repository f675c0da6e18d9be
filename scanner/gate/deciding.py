"""Around `tickets.admission.decide`: what a gate adds to the rules that all share. Pure.

Kept apart from the lane so that a dry run decides with the very same words and writes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeAlias, assert_never

from scanner.gate.store import Seen
from tickets.admission import (
    Choose,
    Claim,
    ClockConfidence,
    Moment,
    NoTicket,
    Passage,
    Reason,
    Refuse,
    Scan,
    TicketFacts,
    Verdict,
    VerdictKind,
    decide,
    refused,
)
from tickets.catalogue import Catalogue, OfflinePolicy

Wish: TypeAlias = Refuse | Choose | Claim

CLOCK_BEHIND_MAX = timedelta(seconds=120)
"""A clock that is further behind what the hub has already said is not to be believed."""


def moment_of(at: datetime, *, heard_at: datetime | None) -> Moment:
    """`heard_at` is the newest time the hub is known to have said; None where a person vouches for `at`."""
    behind = heard_at is not None and at < heard_at - CLOCK_BEHIND_MAX
    return Moment(at, ClockConfidence.UNSURE if behind else ClockConfidence.SURE)


def wish_of(facts: TicketFacts | NoTicket, seen: Seen, scan: Scan, moment: Moment, catalogue: Catalogue) -> Wish:
    """What the scan asks for. Digits find a ticket but do not prove that the guest has it: staff must see the paper."""
    wish = decide(facts, scan, moment, catalogue)
    if not seen.typed or not isinstance(wish, Claim) or Reason.PROOF in wish.attentions:
        return wish
    return replace(wish, attentions=(*wish.attentions, Reason.PROOF))


def policy_of(claim: Claim, facts: TicketFacts | NoTicket, catalogue: Catalogue) -> OfflinePolicy:
    """The product's policy for silence; nobody is kept inside by a silent arbiter."""
    if claim.passage is Passage.EXIT or isinstance(facts, NoTicket):
        return OfflinePolicy.ADMIT_AND_REPORT
    product = catalogue.product_of(facts.variant)
    assert product is not None  # decide() has found it
    return product.offline


def data_old(offline_minutes: int, *, heard_at: datetime | None, at: datetime) -> bool:
    """Whether what was last heard of other gates is too old to let anybody in on. `offline_minutes` 0: it never is. What was never heard is
    too old, and so is what was heard in a future that this clock knows nothing of.
    """
    if not offline_minutes:
        return False
    if heard_at is None:
        return True
    return not -CLOCK_BEHIND_MAX <= at - heard_at <= timedelta(minutes=offline_minutes)


def offline_minutes(claim: Claim, facts: TicketFacts | NoTicket, catalogue: Catalogue, *, most: int) -> int:
    """How old the data may be on which this claim is let in without an answer: the stricter of product and gate (`most`), 0 for no limit.
    Nobody is kept inside by old data.
    """
    if claim.passage is Passage.EXIT or isinstance(facts, NoTicket):
        return 0
    product = catalogue.product_of(facts.variant)
    limits = [limit for limit in (most, 0 if product is None else product.offline_minutes) if limit]
    return min(limits, default=0)


def before_settling(wish: Wish) -> Verdict:
    """The verdict of a wish that needs no arbiter; for a claim, what it is until it is settled: not green."""
    match wish:
        case Refuse():
            return refused(wish)
        case Choose(left=left):
            return Verdict(VerdictKind.CHOOSE, None, left=left)
        case Claim():
            return Verdict(VerdictKind.REFUSE, Reason.NO_ANSWER)
        case _ as never:
            assert_never(never)
