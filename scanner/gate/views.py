"""From an answer to what the screen draws: finished texts, so that the screen decides nothing. Pure."""

from __future__ import annotations

from datetime import date, datetime
from typing import Final, assert_never

from scanner.gate.answer import Answer, Trouble
from scanner.view import TEXT_CHARS_MAX, Counted, GateView, Key, Recent, ViewKind
from scanner.words import label, wording
from tickets.admission import NoTicket, Passage, Reason, TicketFacts, Use, VerdictKind
from tickets.catalogue import Catalogue, ProductKind
from tickets.language import text_in

QUESTION_STAYS_MS: Final = 30_000
"""What staff must answer stays until they have, or until the guest has surely walked on."""

_TROUBLE: Final = {
    "ja": {
        Trouble.NOT_RECORDED: ("この機械に記録できません", "別のゲートへ案内し、責任者へ連絡"),
        Trouble.NO_CATALOGUE: ("ゲートの準備中です", "つながるまで別のゲートへ案内"),
    },
    "en": {
        Trouble.NOT_RECORDED: ("Cannot be recorded here", "Use another gate, call the supervisor"),
        Trouble.NO_CATALOGUE: ("This gate is getting ready", "Use another gate until it is connected"),
    },
}


def gate_name(gate: str, catalogue: Catalogue | None, *, language: str) -> str:
    """As people call it; the bare word for a gate that the catalogue does not have (any more)."""
    found = None if catalogue is None else catalogue.gates.get(gate)
    return (gate if found is None else text_in(found.name, language))[:TEXT_CHARS_MAX]


def verdict_view(answer: Answer, catalogue: Catalogue | None, *, language: str, stays_ms: int) -> GateView:
    """The whole screen of one answer, but for what the gate adds from elsewhere (data age, unsent, who came before)."""
    verdict = answer.verdict
    words = wording(verdict.kind, verdict.reason, language=language, direction=answer.direction)
    line, note = words.line, words.note
    if answer.trouble is not None:
        line, note = _TROUBLE[language][answer.trouble]
    when_label, when = _when(answer, catalogue, language=language)
    choosing = verdict.kind is VerdictKind.CHOOSE
    return GateView(
        kind=ViewKind.VERDICT,
        gate=gate_name(answer.gate, catalogue, language=language),
        direction=answer.direction,
        language=language,
        id=answer.op.hex(),
        verdict=verdict.kind,
        reason=verdict.reason,
        word=words.word,
        # A plain yes says whom it lets in; everything else says what is so.
        lines=() if _is_plain(answer) else _lines(answer, line, catalogue, language=language),
        note=note,
        who=who(answer, catalogue, language=language),
        count=people(answer, catalogue),
        counted=_counted(answer, catalogue),
        left=_left(answer),
        when_label=when_label,
        when=when,
        number=answer.number or "",
        choose_max=(verdict.left or 1) if choosing else 0,
        choose_preset=0,
        used=_used(answer) if choosing else None,
        stays_ms=QUESTION_STAYS_MS if _asks(verdict.kind) else stays_ms,
        keys=_keys(verdict.kind),
    )


def recent(answer: Answer, catalogue: Catalogue | None, *, language: str) -> Recent:
    """The answer as a line in the list of what happened last."""
    words = wording(answer.verdict.kind, answer.verdict.reason, language=language, direction=answer.direction)
    named = who(answer, catalogue, language=language)
    count = people(answer, catalogue)
    text = f"{named} {count}" if named and count is not None else named
    return Recent(
        verdict=answer.verdict.kind,
        text=f"{words.word} {text}".strip()[:TEXT_CHARS_MAX],
        gate=gate_name(answer.gate, catalogue, language=language),
        at=_time(answer.at, catalogue),
    )


def who(answer: Answer, catalogue: Catalogue | None, *, language: str) -> str:
    """Whom it admits: the person type, or the product where it is for nobody in particular."""
    if catalogue is None or isinstance(answer.facts, NoTicket):
        return ""
    variant = catalogue.variants.get(answer.facts.variant)
    if variant is None:
        return ""
    product = catalogue.products[variant.product]
    person = None if variant.person is None else catalogue.people.get(variant.person)
    if person is None or product.kind is ProductKind.BOOK:
        return text_in(product.name, language)[:TEXT_CHARS_MAX]
    return text_in(person.name, language)[:TEXT_CHARS_MAX]


def people(answer: Answer, catalogue: Catalogue | None) -> int | None:
    """How many go through on this answer; None where nobody does, or nobody has said yet."""
    if answer.claim is None or answer.verdict.kind in (VerdictKind.REFUSE, VerdictKind.CHOOSE):
        return None
    if answer.claim.passage is not Passage.ENTRY:
        return 1
    gate = None if catalogue is None else catalogue.gates.get(answer.gate)
    return max(1, answer.claim.units // (1 if gate is None else gate.units))


def _counted(answer: Answer, catalogue: Catalogue | None) -> Counted:
    """A ride book is for nobody in particular: its units are rides."""
    if catalogue is None or isinstance(answer.facts, NoTicket):
        return Counted.PEOPLE
    product = catalogue.product_of(answer.facts.variant)
    return Counted.TIMES if product is not None and product.kind is ProductKind.BOOK else Counted.PEOPLE


def _asks(kind: VerdictKind) -> bool:
    return kind in (VerdictKind.CHOOSE, VerdictKind.ATTENTION)


def _keys(kind: VerdictKind) -> tuple[Key, ...]:
    match kind:
        case VerdictKind.ADMIT | VerdictKind.ADMIT_AGAIN:
            return (Key.UNDO,)
        case VerdictKind.ATTENTION:
            return (Key.SEEN, Key.NOT_SEEN)
        case VerdictKind.CHOOSE:
            return (Key.CHOOSE, Key.DISMISS)
        case VerdictKind.REFUSE:
            return (Key.DISMISS,)
        case _ as never:
            assert_never(never)


def _lines(answer: Answer, line: str, catalogue: Catalogue | None, *, language: str) -> tuple[str, ...]:
    """What is so; for a proof what it is, for a wrong gate where to go."""
    second = ""
    if catalogue is not None and isinstance(answer.facts, TicketFacts):
        variant = catalogue.variants.get(answer.facts.variant)
        if variant is not None and answer.verdict.reason is Reason.PROOF and variant.proof:
            second = text_in(variant.proof, language)
        if variant is not None and answer.verdict.reason is Reason.WRONG_GATE:
            right = [
                text_in(gate.name, language) for gate in catalogue.gates.values() if variant.product in gate.products
            ]
            second = "→ " + " / ".join(right) if right else ""
    return tuple(text[:TEXT_CHARS_MAX] for text in (line, second) if text)


def _is_plain(answer: Answer) -> bool:
    return answer.verdict.kind in (VerdictKind.ADMIT, VerdictKind.ADMIT_AGAIN) and answer.trouble is None


def _left(answer: Answer) -> int | None:
    """Of interest only where there is more than one use to a ticket."""
    if not isinstance(answer.facts, TicketFacts) or answer.facts.uses == 1:
        return None
    return answer.verdict.left


def _used(answer: Answer) -> int | None:
    if not isinstance(answer.facts, TicketFacts):
        return None
    return sum(use.units for use in answer.facts.used)


def _when(answer: Answer, catalogue: Catalogue | None, *, language: str) -> tuple[str, str]:
    """(label, large): the first use, or the time for which the ticket is good."""
    first = answer.verdict.first
    if first is not None:
        return _first_use(first, answer, catalogue, language=language)
    if catalogue is None or isinstance(answer.facts, NoTicket):
        return "", ""
    day = catalogue.venue.day
    match answer.verdict.reason:
        case Reason.NOT_TODAY:
            return "", _month_day(day.of(answer.facts.not_before))
        case Reason.TOO_EARLY:
            return "", f"{_time(answer.facts.not_before, catalogue)}–"
        case Reason.TOO_LATE:
            return "", f"–{_time(answer.facts.expires, catalogue)}"
        case _:
            return "", ""


def _first_use(first: Use, answer: Answer, catalogue: Catalogue | None, *, language: str) -> tuple[str, str]:
    name = gate_name(first.gate, catalogue, language=language)
    if catalogue is None:
        return name, _time(first.at, None)
    day = catalogue.venue.day
    same_day = day.of(first.at) == day.of(answer.at)
    date = label("today", language=language) if same_day else _month_day(day.of(first.at))
    return f"{date} {name}"[:TEXT_CHARS_MAX], _time(first.at, catalogue)


def _time(at: datetime, catalogue: Catalogue | None) -> str:
    local = at if catalogue is None else catalogue.venue.day.local(at)
    return f"{local:%H:%M}"


def _month_day(day: date) -> str:
    return f"{day:%m/%d}"
