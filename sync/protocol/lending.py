"""Stock and short ids in parts: what a kiosk holds, wants and gives back, and what it tells a hub that was restored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sync.protocol.addresses import VERSION
from sync.protocol.fields import count_of, instant_of, list_of, object_of, reading, text_of
from tickets.ids import DeviceId
from tickets.ids import device_id as parse_device_id

HUB = "hub"
"""The hub's name as a lender; a venue node that lends on is named by its device id in hex."""
LEASE_UNITS_MAX = 100_000
LENDERS_MAX = 64
MEMBERS_MAX = 500
BLOCK_LENGTHS = (6, 8)


@dataclass(frozen=True, slots=True)
class SlotWish:
    """What a kiosk says of one slot: how much it has been lent and has returned *in total*, by lender, and how many units it wants on
    top of what this lender lent it (`more`, for the one who is asked). Totals only grow, so a wish that was lost, doubled or comes late
    changes nothing. `urgent`: a guest stands there.
    """

    slot: str
    more: int = 0
    lent: Mapping[str, int] = field(default_factory=dict)
    returned: Mapping[str, int] = field(default_factory=dict)
    urgent: bool = False

    def to_row(self) -> dict[str, Any]:
        return {
            "slot": self.slot,
            "more": self.more,
            "lent": dict(self.lent),
            "returned": dict(self.returned),
            "urgent": self.urgent,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> SlotWish:
        """Raises what `reading` catches. A row of the previous release names a total (`quantity`) and never returns."""
        return cls(
            slot=text_of(row, "slot", chars_max=64),
            more=_more(row),
            lent=_totals(row, "lent"),
            returned=_totals(row, "returned"),
            urgent=bool(row.get("urgent", False)),
        )


def _more(row: Mapping[str, Any]) -> int:
    for name in ("quantity", "more"):
        if name in row:
            return count_of(row, name, limit=LEASE_UNITS_MAX)
    return 0


def _totals(row: Mapping[str, Any], name: str) -> dict[str, int]:
    value = row.get(name, {})
    if not isinstance(value, dict) or len(value) > LENDERS_MAX:
        raise ValueError(f"'{name}' is an object of totals by lender, {LENDERS_MAX} at most")
    return {str(lender)[:64]: count_of(value, lender, limit=LEASE_UNITS_MAX) for lender in value}


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """Leases belong to one incarnation of a journal: what an earlier one sold of them is not known here any more, so a new one starts
    with none. `blocks`: (length, how many blocks of short ids it holds in force when this is answered), lengths 6 and 8. `members`: the
    kiosks that a venue node lends on to.
    """

    incarnation: int
    slots: tuple[SlotWish, ...] = ()
    blocks: tuple[tuple[int, int], ...] = ()
    members: tuple[DeviceId, ...] = ()

    def to_row(self) -> dict[str, Any]:
        return {
            "protocol": VERSION,
            "incarnation": self.incarnation,
            "slots": [wish.to_row() for wish in self.slots],
            "blocks": [{"length": length, "count": count} for length, count in self.blocks],
            "members": [member.hex() for member in self.members],
        }

    @classmethod
    def from_json(cls, text: bytes | str) -> LeaseRequest:
        with reading("a request for a lease"):
            row = object_of(text)
            slots = tuple(SlotWish.from_row(item) for item in list_of(row, "slots", items_max=2_000))
            blocks = tuple(
                (count_of(item, "length"), count_of(item, "count", limit=1_000))
                for item in list_of(row, "blocks", items_max=2)
            )
            if any(length not in BLOCK_LENGTHS for length, _ in blocks):
                raise ValueError("short ids come in lengths 6 and 8")
            members = row.get("members", [])
            if not isinstance(members, list) or len(members) > MEMBERS_MAX:
                raise ValueError(f"'members' is a list of {MEMBERS_MAX} device ids at most")
            return cls(
                incarnation=count_of(row, "incarnation", limit=(1 << 32) - 1),
                slots=slots,
                blocks=blocks,
                members=tuple(parse_device_id(member) for member in members),
            )


@dataclass(frozen=True, slots=True)
class SlotGrant:
    """`quantity` and `returned` are this lender's totals; `free` is what it could still lend, to anyone. `back`: a person took so many
    units back: they are to be returned now, as far as they are not sold.
    """

    slot: str
    quantity: int
    free: int
    returned: int = 0
    back: int = 0

    def to_row(self) -> dict[str, Any]:
        return {
            "slot": self.slot,
            "quantity": self.quantity,
            "free": self.free,
            "returned": self.returned,
            "back": self.back,
        }


@dataclass(frozen=True, slots=True)
class BlockGrant:
    """Short ids `first` to `last` of `length` digits (8: before the check digit), to be printed until `until`; None: for ever."""

    length: int
    first: int
    last: int
    until: datetime | None = None

    def to_row(self) -> dict[str, Any]:
        until = None if self.until is None else self.until.isoformat()
        return {"length": self.length, "first": self.first, "last": self.last, "until": until}


def block_of(row: Mapping[str, Any]) -> BlockGrant:
    length, first, last = count_of(row, "length"), count_of(row, "first"), count_of(row, "last")
    if length not in BLOCK_LENGTHS or not first <= last < 10**length:
        raise ValueError("a block is a range of numbers of length 6 or 8")
    return BlockGrant(length, first, last, None if row.get("until") is None else instant_of(row, "until"))


@dataclass(frozen=True, slots=True)
class LeaseAnswer:
    """All that this kiosk holds of what it asked about."""

    slots: tuple[SlotGrant, ...]
    blocks: tuple[BlockGrant, ...]
    at: datetime
    lender: str = HUB

    def to_row(self) -> dict[str, Any]:
        return {
            "protocol": VERSION,
            "at": self.at.isoformat(),
            "lender": self.lender,
            "slots": [item.to_row() for item in self.slots],
            "blocks": [item.to_row() for item in self.blocks],
        }

    @classmethod
    def from_json(cls, text: bytes | str) -> LeaseAnswer:
        with reading("an answer about leases"):
            row = object_of(text)
            return cls(
                slots=tuple(
                    SlotGrant(
                        text_of(item, "slot"),
                        count_of(item, "quantity"),
                        count_of(item, "free"),
                        count_of(item, "returned") if "returned" in item else 0,
                        count_of(item, "back") if "back" in item else 0,
                    )
                    for item in list_of(row, "slots")
                ),
                blocks=tuple(block_of(item) for item in list_of(row, "blocks")),
                at=instant_of(row, "at"),
                lender=text_of(row, "lender", chars_max=64) if "lender" in row else HUB,
            )


STATEMENT_CHARS_MAX = 8_000


@dataclass(frozen=True, slots=True)
class Rejoin:
    """What a device holds, said to a hub that was restored: an incarnation of its journal, the last of its operations that was ever
    acknowledged, and all that it was lent and has returned in that incarnation, the totals that its wishes name. `arbiter`: the
    newest statement of who rules that it has, as the hub signed it, empty for none. `whole` False: more of this device is still to come, other incarnations or operations.
    """

    incarnation: int
    acknowledged: int
    slots: tuple[SlotWish, ...] = ()
    blocks: tuple[BlockGrant, ...] = ()
    arbiter: str = ""
    whole: bool = True

    def to_row(self) -> dict[str, Any]:
        return {
            "protocol": VERSION,
            "incarnation": self.incarnation,
            "acknowledged": self.acknowledged,
            "slots": [said.to_row() for said in self.slots],
            "blocks": [block.to_row() for block in self.blocks],
            "arbiter": self.arbiter,
            "whole": self.whole,
        }

    @classmethod
    def from_json(cls, text: bytes | str) -> Rejoin:
        with reading("what a device holds"):
            row = object_of(text)
            return cls(
                incarnation=count_of(row, "incarnation", limit=(1 << 32) - 1),
                acknowledged=count_of(row, "acknowledged"),
                slots=tuple(SlotWish.from_row(item) for item in list_of(row, "slots", items_max=5_000)),
                blocks=tuple(block_of(item) for item in list_of(row, "blocks", items_max=2_000)),
                arbiter=text_of(row, "arbiter", chars_max=STATEMENT_CHARS_MAX) if row.get("arbiter") else "",
                whole=row.get("whole", True) is not False,
            )


def known_from_json(text: bytes | str) -> int:
    """The answer to a Rejoin: the last of this incarnation's operations that the hub has."""
    with reading("an answer to a rejoin"):
        return count_of(object_of(text), "known_seq")
