"""The frame of every screen: head, stations, bar, keys, and what lies over it. Always in the same place, so built in one."""

from __future__ import annotations

from typing import Final

from kiosk.locale import Words
from kiosk.visit.event import (
    Back,
    CallStaff,
    ChooseLanguage,
    Continue,
    Lower,
    StartOver,
)
from kiosk.visit.idle import seconds_left
from kiosk.visit.route import (
    Attract,
    Basket,
    Change,
    Choosing,
    Method,
    Paying,
    People,
    Printing,
    Products,
    Slots,
    Take,
)
from kiosk.visit.situation import Context
from kiosk.visit.state import Line, Overlay, Visit, lines_now, order_of_lines, pieces
from kiosk.visit.step import may_leave
from kiosk.visit.views import (
    Amount,
    Bar,
    Frame,
    Key,
    OverlayView,
    Station,
    StationState,
    Stub,
    StubKind,
)
from kiosk.visit.wording import amount_of, clock_text, date_text, heads
from tickets.catalogue import Catalogue
from tickets.language import Language, text_in
from tickets.money import Money

STATIONS: Final = ("ticket", "time", "people", "check", "pay")

OWN_NAMES: Final = {
    Language.JA: "日本語",
    Language.EN: "English",
    Language.ZH_HANS: "简体中文",
    Language.ZH_HANT: "繁體中文",
    Language.KO: "한국어",
}
"""Languages by their own names; a flag is no language."""


def stub_hint(words: Words, key: str, *, short: str = "hint.choose") -> Stub:
    """A stub that leads nowhere yet, and says what to do first."""
    return Stub(StubKind.HINT, words(key), short=words(short))


NO_STUB: Final = Stub(StubKind.NONE)


def frame_of(
    visit: Visit,
    context: Context,
    words: Words,
    *,
    question: str = "",
    help_line: str = "",
    bar: Bar,
) -> Frame:
    """The frame around a question, in the guest's language. `question` and `help_line` are texts, not keys."""
    catalogue = visit.catalogue or context.catalogue
    today = catalogue.venue.day.of(context.now)
    return Frame(
        venue=text_in(catalogue.venue.name, words.language),
        date=date_text(today, words),
        date_short=f"{today.month}/{today.day}",
        clock=clock_text(context.now, catalogue),
        stations=_stations(visit, words),
        question=question,
        help=help_line,
        bar=bar,
        keys=_keys(visit, context, words),
        lowered=visit.lowered,
        overlay=overlay_of(visit, context, words),
    )


def _stations(visit: Visit, words: Words) -> tuple[Station, ...]:
    match visit.here:
        case Products():
            at = 0
        case Slots():
            at = 1
        case People():
            at = 2
        case Basket() | Change():
            at = 3
        case Method() | Paying():
            at = 4
        case Printing() | Take():
            at = 5
        case _:
            return ()
    return tuple(
        Station(
            words(f"station.{name}"),
            StationState.PASSED if index < at else StationState.HERE if index == at else StationState.AHEAD,
        )
        for index, name in enumerate(STATIONS)
    )


def _keys(visit: Visit, context: Context, words: Words) -> tuple[Key, ...]:
    here = visit.here
    staff = Key("staff", words("key.staff"), "bell", CallStaff(), short=words("key.staff.short"))
    lower = Key(
        "lower", words("key.raise" if visit.lowered else "key.lower"), "raise" if visit.lowered else "lower", Lower()
    )
    following = _next_language(visit.language, context.languages)
    language = Key("language", OWN_NAMES[following], "globe", ChooseLanguage(following))
    if isinstance(here, Attract):
        return (lower, staff) if context.situation.block_reason is None else (language, staff)
    back = Key("back", words("key.back"), "back", Back() if isinstance(here, Choosing) else None)
    again = Key(
        "start_over",
        words("key.start_over"),
        "start_over",
        StartOver() if may_leave(here) else None,
        short=words("key.start_over.short"),
    )
    return (back, again, lower, language, staff)


def _next_language(language: Language, languages: tuple[Language, ...]) -> Language:
    if language not in languages:
        return languages[0]
    return languages[(languages.index(language) + 1) % len(languages)]


def overlay_of(visit: Visit, context: Context, words: Words) -> OverlayView | None:
    """The notice over the screen, if any."""
    match visit.overlay:
        case None:
            return None
        case Overlay.IDLE:
            return OverlayView(
                kind=Overlay.IDLE,
                title=words("idle.title"),
                text=words("idle.text"),
                figure=str(seconds_left(visit, context)),
                unit=words("idle.seconds"),
                go_on=Key("continue", words("idle.continue"), "next", Continue()),
                leave=Key("leave", words("key.start_over"), "start_over", StartOver())
                if may_leave(visit.here)
                else None,
            )
        case Overlay.STAFF:
            return OverlayView(
                kind=Overlay.STAFF,
                title=words("staff.title"),
                text=words("staff.text"),
                figure="",
                unit="",
                go_on=Key("continue", words("staff.continue"), "tick", Continue()),
                leave=None,
            )


def total_of(visit: Visit) -> Money:
    """The running total: that of the order as it stands, 0 where there is none."""
    order = order_of_lines(visit.sold, lines_now(visit))
    return Money(0, visit.sold.venue.currency) if order is None else order.total


def choosing_bar(visit: Visit, words: Words, stub: Stub, *, title: str = "", text: str = "") -> Bar:
    """The bar while choosing: what the guest has on the left, the total, the way on."""
    lines = lines_now(visit)
    if lines and not title and not text:
        title, text = mine(visit.sold, lines, words)
    return Bar(
        title=title,
        text=text,
        icon="",
        total_label=words("bar.total"),
        total=amount_of(total_of(visit), words.language),
        stub=stub,
    )


def mine(catalogue: Catalogue, lines: tuple[Line, ...], words: Words) -> tuple[str, str]:
    """(3名, きっぷ 13枚)."""
    people = heads(catalogue, lines)
    paper = words.count("bar.tickets", pieces(catalogue, lines))
    return (words.count("bar.people", people), paper) if people else ("", paper)


def paid_amount(visit: Visit, words: Words) -> Amount:
    return amount_of(total_of(visit), words.language)
