"""What the gate sends to its screen, and what the screen sends back: frozen values, one JSON packet each.

The gate constructs these without knowing Kivy; the screen draws them without knowing rules. Both ends of a Unix SOCK_SEQPACKET
socket: the gate listens, the screen connects. All texts are the gate's (see `scanner.words`), so that a screen decides nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from tickets.admission import Direction, Reason, VerdictKind

E = TypeVar("E", bound=StrEnum)

PACKET_BYTES_MAX: Final = 65536
TEXT_CHARS_MAX: Final = 200
"""No text of a view is longer: a screen has room for less."""
RECENT_MAX: Final = 8
LINES_MAX: Final = 3


class ViewError(ValueError):
    """A packet that is no view or no key press. The message names the field."""

    code = "view.packet"


class ViewKind(StrEnum):
    READY = "ready"
    VERDICT = "verdict"


class Key(StrEnum):
    """What staff can press. A screen shows only those that a view names: a key that does nothing is not drawn."""

    CHOOSE = "choose"
    """How many; carries a count."""
    DISMISS = "dismiss"
    """Done with this verdict; for a choice or a question: nobody enters."""
    SEEN = "seen"
    """The proof was shown; the admission stands."""
    NOT_SEEN = "not_seen"
    """The proof was not shown; the admission is taken back."""
    UNDO = "undo"
    """They did not go in."""


class Counted(StrEnum):
    """What `count` and the numbers of a choice count."""

    PEOPLE = "people"
    TIMES = "times"


@dataclass(frozen=True, slots=True)
class Recent:
    """A line in the list of what happened last. `at` is local, HH:MM."""

    verdict: VerdictKind
    text: str
    gate: str
    at: str


@dataclass(frozen=True, slots=True)
class GateView:
    """Everything on the gate's screen at a moment.

    A READY view says how things stand. A VERDICT stays `stays_ms`, then the screen goes back to the last READY view by itself (a
    gate that hangs must not leave a green light); 0 stays until the gate sends the next view. The next verdict replaces at once;
    a READY view that comes while a verdict stays is kept until then.
    """

    kind: ViewKind
    gate: str
    direction: Direction
    language: str = "ja"
    id: str = ""
    """Comes back with a key press, so that a late finger never answers another guest's question."""

    data_age_s: float | None = None
    """How old the hub's data was when this was sent (the screen counts on); None: none yet."""
    unsent: int = 0
    time_of_day_s: int | None = None
    """Local seconds since midnight when this was sent."""

    inside: int | None = None
    admitted_today: int | None = None
    expected_today: int | None = None
    recent: tuple[Recent, ...] = ()
    """Newest first."""

    verdict: VerdictKind | None = None
    reason: Reason | None = None
    word: str = ""
    """One word, large: `scanner.words.wording`."""
    lines: tuple[str, ...] = ()
    """What is so, bold: one or two short lines."""
    note: str = ""
    """What staff do about it."""
    who: str = ""
    """Whom it admits: "大人", or the product for a book."""
    count: int | None = None
    counted: Counted = Counted.PEOPLE
    left: int | None = None
    """Uses that remain; None: no limit, or of no interest."""
    when_label: str = ""
    """First use: the day and the gate ("きょう ゲート B")."""
    when: str = ""
    """First use, valid day, opening: large ("10:12", "11/23")."""
    number: str = ""
    """The number by which the desk finds this scan ("B 317")."""
    choose_max: int = 0
    """For CHOOSE: from 1 to this. Up to nine have a key each; of a larger group 1 to 8 and all of them."""
    choose_preset: int = 0
    """For CHOOSE: what is chosen at first; 0: nothing."""
    used: int | None = None
    """For CHOOSE: uses so far."""
    stays_ms: int = 3000
    keys: tuple[Key, ...] = ()

    def __post_init__(self) -> None:
        if (self.kind is ViewKind.VERDICT) != (self.verdict is not None):
            raise ViewError("'verdict' belongs to a view of kind verdict, and to no other")
        if self.verdict is VerdictKind.CHOOSE and not 1 <= self.choose_max <= 65535:
            raise ViewError("'choose_max' must be 1 to 65535 where the verdict is choose")
        if self.verdict is VerdictKind.CHOOSE and Key.CHOOSE not in self.keys:
            raise ViewError("'keys' must hold choose where the verdict is choose")
        if not 0 <= self.choose_preset <= max(self.choose_max, 0):
            raise ViewError("'choose_preset' must be 0 to choose_max")
        if not 0 <= self.stays_ms <= 600_000:
            raise ViewError("'stays_ms' must be 0 to 600000")
        if len(self.recent) > RECENT_MAX or len(self.lines) > LINES_MAX:
            raise ViewError(f"at most {RECENT_MAX} recent scans and {LINES_MAX} lines")

    def to_packet(self) -> bytes:
        packet = json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode()
        assert len(packet) <= PACKET_BYTES_MAX  # every text is bounded by whoever made it
        return packet

    @classmethod
    def from_packet(cls, packet: bytes) -> GateView:
        """Raises ViewError for anything that `to_packet` did not make."""
        fields = _object(packet)
        return cls(
            kind=_enum(fields, "kind", ViewKind),
            gate=_text(fields, "gate"),
            direction=_enum(fields, "direction", Direction),
            language=_text(fields, "language", "ja"),
            id=_text(fields, "id", ""),
            data_age_s=_number(fields, "data_age_s"),
            unsent=_integer(fields, "unsent") or 0,
            time_of_day_s=_integer(fields, "time_of_day_s"),
            inside=_integer(fields, "inside"),
            admitted_today=_integer(fields, "admitted_today"),
            expected_today=_integer(fields, "expected_today"),
            recent=tuple(_recent(item) for item in _list(fields, "recent")),
            verdict=_enum(fields, "verdict", VerdictKind) if fields.get("verdict") is not None else None,
            reason=_enum(fields, "reason", Reason) if fields.get("reason") is not None else None,
            word=_text(fields, "word", ""),
            lines=tuple(_as_text(item, "lines") for item in _list(fields, "lines")),
            note=_text(fields, "note", ""),
            who=_text(fields, "who", ""),
            count=_integer(fields, "count"),
            counted=_as_enum(fields.get("counted", Counted.PEOPLE), "counted", Counted),
            left=_integer(fields, "left"),
            when_label=_text(fields, "when_label", ""),
            when=_text(fields, "when", ""),
            number=_text(fields, "number", ""),
            choose_max=_integer(fields, "choose_max") or 0,
            choose_preset=_integer(fields, "choose_preset") or 0,
            used=_integer(fields, "used"),
            stays_ms=_integer(fields, "stays_ms") or 0,
            keys=tuple(_as_enum(item, "keys", Key) for item in _list(fields, "keys")),
        )


@dataclass(frozen=True, slots=True)
class KeyPress:
    """A finger on the screen. `view` is the `id` of the view it answered; `count` only with CHOOSE."""

    key: Key
    view: str
    count: int | None = None

    def __post_init__(self) -> None:
        if (self.key is Key.CHOOSE) != (self.count is not None):
            raise ViewError("'count' belongs to choose, and to no other key")
        if self.count is not None and self.count < 1:
            raise ViewError("'count' must be 1 or more")

    def to_packet(self) -> bytes:
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_packet(cls, packet: bytes) -> KeyPress:
        """Raises ViewError for anything that `to_packet` did not make."""
        fields = _object(packet)
        return cls(key=_enum(fields, "key", Key), view=_text(fields, "view"), count=_integer(fields, "count"))


def _object(packet: bytes) -> dict[str, Any]:
    if len(packet) > PACKET_BYTES_MAX:
        raise ViewError(f"a packet of {len(packet)} bytes; {PACKET_BYTES_MAX} are allowed")
    try:
        value = json.loads(packet)
    except (ValueError, RecursionError) as error:
        raise ViewError(f"a packet of {len(packet)} bytes that is not JSON") from error
    if not isinstance(value, dict):
        raise ViewError("a packet that is no JSON object")
    return value


def _as_text(value: Any, name: str) -> str:
    if not isinstance(value, str) or len(value) > TEXT_CHARS_MAX:
        raise ViewError(f"'{name}': a text of at most {TEXT_CHARS_MAX} characters is expected")
    return value


def _text(fields: dict[str, Any], name: str, default: str | None = None) -> str:
    return _as_text(fields.get(name, default), name)


def _integer(fields: dict[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is not None and type(value) is not int:
        raise ViewError(f"'{name}': a whole number is expected")
    return value


def _number(fields: dict[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise ViewError(f"'{name}': a number of 0 or more is expected")
    return float(value)


def _list(fields: dict[str, Any], name: str) -> list[Any]:
    value = fields.get(name, [])
    if not isinstance(value, list):
        raise ViewError(f"'{name}': a list is expected")
    return value


def _as_enum(value: Any, name: str, kind: type[E]) -> E:
    try:
        return kind(value)
    except ValueError as error:
        raise ViewError(f"'{name}': one of {', '.join(kind)} is expected") from error


def _enum(fields: dict[str, Any], name: str, kind: type[E]) -> E:
    return _as_enum(fields.get(name), name, kind)


def _recent(value: Any) -> Recent:
    if not isinstance(value, dict):
        raise ViewError("'recent': a list of objects is expected")
    return Recent(
        verdict=_enum(value, "verdict", VerdictKind),
        text=_text(value, "text"),
        gate=_text(value, "gate"),
        at=_text(value, "at"),
    )
