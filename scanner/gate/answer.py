"""What a scan came to: the verdict, and what screen, command and lane need to know around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from scanner.gate.store import Seen
from tickets.admission import Claim, Direction, NoTicket, Passage, Reason, TicketFacts, Verdict
from tickets.catalogue import OfflinePolicy
from tickets.ids import OpId
from tickets.ids import op_id as parse_op_id
from tickets.ids import ticket_id as parse_ticket_id


class Trouble(StrEnum):
    """Why a verdict is not what the ticket alone deserved."""

    NOT_RECORDED = "not_recorded"
    """The journal could not be written, so nobody is let in on it."""
    NO_CATALOGUE = "no_catalogue"
    """This gate has never heard from its hub."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`op` names the scan everywhere, also where nothing was recorded. `number` is the short one for the desk, refusals only."""

    op: OpId
    text: str
    source: str
    at: datetime
    gate: str
    direction: Direction
    facts: TicketFacts | NoTicket
    seen: Seen
    verdict: Verdict
    claim: Claim | None = None
    number: str | None = None
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A claim whose PENDING row is durable: what has to be settled, and chained once it is."""

    op: OpId
    at: datetime
    gate: str
    claim: Claim
    policy: OfflinePolicy
    code: str | None
    row_known: bool


def taken_of_row(row: Mapping[str, Any]) -> Taken:
    """What a PENDING row says was taken. Raises ValueError or TypeError for a row that no gate wrote."""
    claim = Claim(
        ticket=parse_ticket_id(row["ticket"].hex()),
        passage=Passage(row["passage"]),
        units=row["units"],
        window=row["window"],
        left=None,
        attentions=() if row["attention"] is None else (Reason(row["attention"]),),
    )
    return Taken(
        op=parse_op_id(row["op"].hex()),
        at=datetime.fromisoformat(row["at"]),
        gate=row["gate"],
        claim=claim,
        policy=OfflinePolicy(row["policy"]),
        code=row["code"],
        row_known=bool(row["row_known"]),
    )
