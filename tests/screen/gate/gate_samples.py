"""Views as a gate makes them, for every picture that is tested. Venue, numbers and times are invented."""

from __future__ import annotations

from scanner.screen.showing import Showing
from scanner.view import Counted, GateView, Key, Recent, ViewKind
from scanner.words import CATALOGUES, label, wording
from tickets.admission import Direction, Reason, VerdictKind

RECENT = {
    "ja": (
        Recent(VerdictKind.ADMIT, "大人 2", "A", "15:20"),
        Recent(VerdictKind.REFUSE, "使用済み", "B", "15:19"),
        Recent(VerdictKind.ADMIT_AGAIN, "再入場", "A", "15:18"),
        Recent(VerdictKind.ATTENTION, "要確認 シニア", "A", "15:16"),
        Recent(VerdictKind.ADMIT, "のりもの10回券", "A", "15:15"),
        Recent(VerdictKind.ADMIT, "小人 1", "A", "15:15"),
    ),
    "en": (
        Recent(VerdictKind.ADMIT, "Adult 2", "A", "15:20"),
        Recent(VerdictKind.REFUSE, "Used", "B", "15:19"),
        Recent(VerdictKind.ADMIT_AGAIN, "Again", "A", "15:18"),
        Recent(VerdictKind.ATTENTION, "Check Senior", "A", "15:16"),
        Recent(VerdictKind.ADMIT, "Ride book 10", "A", "15:15"),
        Recent(VerdictKind.ADMIT, "Child 1", "A", "15:15"),
    ),
}
GATE = {"ja": "ゲート A", "en": "Gate A"}


def ready(language: str = "ja", **changes: object) -> GateView:
    fields: dict[str, object] = {
        "kind": ViewKind.READY,
        "gate": GATE[language],
        "direction": Direction.ENTRY,
        "language": language,
        "data_age_s": 2.0,
        "time_of_day_s": 15 * 3600 + 20 * 60,
        "inside": 1284,
        "admitted_today": 1906,
        "expected_today": 2640,
        "recent": RECENT[language],
    }
    return GateView(**{**fields, **changes})  # type: ignore[arg-type]


def verdict(kind: VerdictKind, reason: Reason | None = None, language: str = "ja", **changes: object) -> GateView:
    direction = changes.pop("direction", Direction.ENTRY)
    words = wording(kind, reason, language=language, direction=direction)  # type: ignore[arg-type]
    fields: dict[str, object] = {
        "kind": ViewKind.VERDICT,
        "gate": GATE[language],
        "direction": direction,
        "language": language,
        "data_age_s": 2.0,
        "time_of_day_s": 15 * 3600 + 20 * 60,
        "verdict": kind,
        "reason": reason,
        "word": words.word,
        "id": "1",
    }
    if kind in (VerdictKind.REFUSE, VerdictKind.ATTENTION):
        fields |= {"lines": (words.line,), "note": words.note}
    if kind is VerdictKind.REFUSE:
        fields |= {"number": "B 317"}
    if kind is VerdictKind.CHOOSE:
        fields |= {"stays_ms": 0, "keys": (Key.CHOOSE, Key.DISMISS)}
    return GateView(**{**fields, **changes})  # type: ignore[arg-type]


def every_view() -> list[GateView]:
    """Each kind of view in each language, as packets would bring them."""
    return [view for view in _views().values() if view is not None]


def samples() -> dict[str, Showing]:
    """Name -> what is shown. Names tell what a picture must show."""
    shown = {}
    for name, view in _views().items():
        if view is None:
            shown[name] = Showing()
        elif view.kind is ViewKind.READY:
            shown[name] = Showing().received(view, now_s=0)
        else:
            shown[name] = Showing().received(ready(), now_s=0).received(view, now_s=0)
    return shown


def _views() -> dict[str, GateView | None]:
    views = _by_hand()
    for language, catalogue in CATALOGUES.items():
        for kind, reason in catalogue:
            if kind is VerdictKind.REFUSE or (kind is VerdictKind.ATTENTION and reason is not None):
                views[f"{kind}-{reason}.{language}"] = verdict(kind, reason, language)
    return views


def _by_hand() -> dict[str, GateView | None]:
    adult, people = {"who": "大人", "count": 2}, {"who": "団体券 6名", "used": 0}
    used = {"lines": (), "when_label": "きょう ゲート B", "when": "10:12"}
    keys = (Key.UNDO, Key.DISMISS)
    proof = {"lines": ("障がい者手帳", "またはミライロID"), "note": "本人と介助の方", "count": 2, "stays_ms": 0}
    admit, again, ask, choose, no = (
        VerdictKind.ADMIT,
        VerdictKind.ADMIT_AGAIN,
        VerdictKind.ATTENTION,
        VerdictKind.CHOOSE,
        VerdictKind.REFUSE,
    )
    return {
        "preparing.ja": None,
        "ready.ja": ready(),
        "ready-bare.ja": ready(inside=None, admitted_today=None, expected_today=None, recent=RECENT["ja"][:3]),
        "ready-old-unsent.ja": ready(data_age_s=6 * 60.0, unsent=12),
        "ready-long-name.ja": ready(gate="アスレチック受付ゲート北", data_age_s=23 * 3600.0, unsent=120, inside=12840),
        "ready-exit.ja": ready(direction=Direction.EXIT, data_age_s=None),
        "ready.en": ready("en"),
        "admit.ja": verdict(admit, **adult),
        "admit-keys.ja": verdict(admit, keys=keys, **adult),
        "admit-one.ja": verdict(admit, who="シニア", count=1),
        "admit-book.ja": verdict(admit, who="のりもの10回券", count=1, counted=Counted.TIMES, left=7),
        "admit-many.ja": verdict(admit, who="団体", count=28),
        "admit.en": verdict(admit, None, "en", who="Adult", count=2),
        "exit.ja": verdict(admit, direction=Direction.EXIT, who="大人", count=1),
        "again.ja": verdict(again, who="大人", count=1, note="前回 10:12 ゲートA"),
        "again.en": verdict(again, None, "en", who="Adult", count=1),
        "used.ja": verdict(no, Reason.ALREADY_USED, **used),
        "used-keys.ja": verdict(no, Reason.ALREADY_USED, keys=(Key.DISMISS,), **used),
        "used.en": verdict(no, Reason.ALREADY_USED, "en", lines=(), when_label="Today Gate B", when="10:12"),
        "not-today-date.ja": verdict(no, Reason.NOT_TODAY, lines=(), when_label="利用日", when="11/23（月）"),
        "proof.ja": verdict(ask, Reason.PROOF, keys=(Key.NOT_SEEN, Key.SEEN), **proof),
        "proof-stays.ja": verdict(ask, Reason.PROOF, **{**proof, "stays_ms": 3000}),
        "proof.en": verdict(ask, Reason.PROOF, "en", keys=(Key.NOT_SEEN, Key.SEEN), stays_ms=0, count=1),
        "choose-6.ja": verdict(choose, choose_max=6, choose_preset=4, left=6, **people),
        "choose-2.ja": verdict(choose, choose_max=2, left=2, who="団体券 8名", used=6),
        "choose-9.ja": verdict(choose, choose_max=9, choose_preset=9, left=9, **people),
        "choose-30.ja": verdict(choose, choose_max=30, choose_preset=30, left=30, who="団体券 30名", used=0),
        "choose-times.ja": verdict(
            choose,
            choose_max=7,
            choose_preset=1,
            left=7,
            used=3,
            who="のりもの10回券",
            counted=Counted.TIMES,
            word=label("how_many_times", language="ja"),
        ),
        "choose-6.en": verdict(choose, None, "en", choose_max=6, choose_preset=4, left=6, used=0, who="Group 6"),
        "forged-short.ja": verdict(no, Reason.FORGED, keys=(Key.DISMISS,)),
    }
