"""Uploading: the journal's segments, oldest first, each until it is answered. A rejected operation stays in the journal with its
answer and never holds up the next one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sync.chain import SEGMENT_OPERATIONS_MAX, Segment
from sync.client import Hub
from sync.errors import HubRefused, HubUnreachable
from sync.journal import Journal
from sync.protocol import Answer, Answers, Status
from sync.pruning import note_given_back, note_lost
from sync.state import StateDir
from tickets.clock import Clock
from tickets.ids import OpId

BATCH_STEP, BATCH_MIN = 50, 8


@dataclass(frozen=True, slots=True)
class Sent:
    """What one step did: how many operations were answered (0: nothing was waiting), how many of them were not plainly accepted."""

    operations: int = 0
    rejected: int = 0
    conflicts: int = 0


@dataclass(slots=True)
class BatchSize:
    """How many operations the next segment may have: half as many when the hub or the line had too much of the last one, a few more
    after each that went well, so that a venue's devices find the rate that their hub can bear.
    """

    operations: int = SEGMENT_OPERATIONS_MAX

    def went_well(self) -> None:
        self.operations = min(self.operations + BATCH_STEP, SEGMENT_OPERATIONS_MAX)

    def too_much(self) -> None:
        self.operations = max(self.operations // 2, BATCH_MIN)


class Uploader:
    """One step sends one segment. What is unsent is in the journal; here is only how much to send at once."""

    def __init__(self, journal: Journal, state: StateDir, hub: Hub, *, clock: Clock, at_hub: bool = True) -> None:
        self._journal, self._state, self._hub, self._clock = journal, state, hub, clock
        self._at_hub, self._shown_again = at_hub, False
        self.batch = BatchSize()

    def use(self, hub: Hub, *, at_hub: bool) -> None:
        """From now on send there. What a venue node took and the hub is not known to have is sent again, before anything new."""
        self._hub, self._at_hub, self._shown_again = hub, at_hub, False

    def step(self) -> Sent:
        """Raises HubUnreachable (try again later) and HubRefused (revoked, or a chain that the hub contradicts)."""
        if not self._shown_again:
            self._show_again()
            self._shown_again = True
        segment = self._journal.next_segment(self._state, operations_max=self.batch.operations)
        if segment is None:
            return Sent()
        try:
            answers = self._hub.operations(segment)
        except HubUnreachable as silent:
            if silent.slow:
                self.batch.too_much()
            raise
        except HubRefused as refused:
            if refused.status in (408, 413):
                self.batch.too_much()
            if refused.error != "chain_gap" or refused.known_seq is None:
                raise
            self._send_again(segment, known_seq=refused.known_seq)
            answers = self._hub.operations(segment)
        self.batch.went_well()
        return self._acknowledge(segment, answers)

    def _send_again(self, until: Segment, *, known_seq: int) -> None:
        """The hub has lost operations that it had acknowledged (it was restored): give them back from where its copy ends."""
        note_lost(self._journal, known_seq)
        while known_seq + 1 < until.first:
            earlier = self._journal.sent_segment(known_seq + 1)
            if earlier is None:
                self._journal.mark_hole(self._journal.incarnation, known_seq)
                raise HubRefused(
                    f"the hub misses operations from {known_seq + 1} on, and no segment starts there",
                    status=409,
                    error="chain_gap",
                    known_seq=known_seq,
                )
            note_given_back(self._journal, earlier, self._hub.operations(earlier).cursor)
            known_seq = earlier.last

    def _show_again(self) -> None:
        """Give whoever serves this device now what only a venue node has answered: that node may be another one, and dead for good.
        Whatever is known there is a duplicate.
        """
        seq, end = self._journal.hub_seq(), self._journal.acknowledged_seq()
        while seq < end and (segment := self._journal.sent_segment(seq + 1)) is not None:
            try:
                answers = self._hub.operations(segment)
            except HubRefused as refused:
                if refused.error != "chain_gap" or refused.known_seq is None:
                    raise
                self._send_again(segment, known_seq=refused.known_seq)
                answers = self._hub.operations(segment)
            note_given_back(self._journal, segment, answers.cursor)
            if self._at_hub:
                self._journal.settle(segment.last, _final(segment, answers), at=self._clock.now_utc().isoformat())
            seq = segment.last

    def _acknowledge(self, segment: Segment, answers: Answers) -> Sent:
        if len(answers) != len(segment.bodies):
            raise HubUnreachable(f"{len(answers)} answers to {len(segment.bodies)} operations")
        rows = [
            # The journal's own op id: the hub answers in order, and cannot name an operation that it could not read.
            (_op_of(body, answer), answer.status.value, answer.reason)
            for body, answer in zip(segment.bodies, answers, strict=True)
        ]
        at = self._clock.now_utc().isoformat()
        self._journal.acknowledge(segment, rows, at=at, cursor=answers.cursor, by_hub=self._at_hub)
        return Sent(
            operations=len(answers),
            rejected=sum(answer.status is Status.REJECTED for answer in answers),
            conflicts=sum(answer.status is Status.CONFLICT for answer in answers),
        )


def _final(segment: Segment, answers: tuple[Answer, ...]) -> list[tuple[OpId, str, str]]:
    """The hub's words on what it did not plainly accept: they count before a venue node's."""
    return [
        (_op_of(body, item), item.status.value, item.reason)
        for body, item in zip(segment.bodies, answers, strict=False)
        if item.status in (Status.CONFLICT, Status.REJECTED)
    ]


def _op_of(body: str, answer: Answer) -> OpId:
    try:
        return OpId(bytes.fromhex(json.loads(body)["op"]))
    except (ValueError, KeyError, TypeError):
        return answer.op
