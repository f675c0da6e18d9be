"""The words of the gate: one large word a verdict, what is so, and what staff do about it; Japanese and English.

Pure. A word is short enough for 16 mm on a 5.5" screen (four kanji); a test measures it. Tone: what is so, then what comes next; no
blame, no exclamation marks, never "error".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tickets.admission import Direction, Reason, VerdictKind

LANGUAGES: Final = ("ja", "en")


@dataclass(frozen=True, slots=True)
class Wording:
    """`word` large; `line` what is so; `note` what staff do (may be empty)."""

    word: str
    line: str
    note: str = ""


_JA: Final[Mapping[tuple[VerdictKind, Reason | None], Wording]] = {
    (VerdictKind.ADMIT, None): Wording("入場OK", "入場できます"),
    (VerdictKind.ADMIT_AGAIN, None): Wording("再入場", "もう一度入場できます"),
    (VerdictKind.CHOOSE, None): Wording("何名？", "入場する人数を選びます"),
    (VerdictKind.ATTENTION, Reason.PROOF): Wording("要確認", "証明書を見せてもらう", "券の種類と同じか見ます"),
    (VerdictKind.ATTENTION, Reason.CLOCK_UNSURE): Wording(
        "日付確認", "券の日付を見てください", "この機械の時計が未確認です"
    ),
    (VerdictKind.ATTENTION, Reason.ISSUER_UNKNOWN): Wording(
        "券面確認", "新しい発券機の券です", "日付と種類を見てください"
    ),
    (VerdictKind.REFUSE, Reason.ALREADY_USED): Wording("使用済み", "この券は使われています", "番号を控えて窓口へ"),
    (VerdictKind.REFUSE, Reason.NOT_TODAY): Wording("日付違い", "別の日の券です", "券の日付を見せて案内"),
    (VerdictKind.REFUSE, Reason.TOO_EARLY): Wording("時間前", "入場時間より前です", "時間になったらもう一度"),
    (VerdictKind.REFUSE, Reason.TOO_LATE): Wording("時間切れ", "入場時間を過ぎました", "窓口へ案内"),
    (VerdictKind.REFUSE, Reason.WRONG_GATE): Wording("入口違い", "別のゲートの券です", "券の行き先へ案内"),
    (VerdictKind.REFUSE, Reason.CANCELLED): Wording("取消済み", "取り消された券です", "番号を控えて窓口へ"),
    (VerdictKind.REFUSE, Reason.REFUNDED): Wording("返金済み", "代金が返された券です", "番号を控えて窓口へ"),
    (VerdictKind.REFUSE, Reason.BLOCKED): Wording("利用停止", "止められている券です", "責任者を呼ぶ"),
    (VerdictKind.REFUSE, Reason.TRANSFERRED): Wording("譲渡済み", "別の券に替わっています", "新しい券を見せてもらう"),
    (VerdictKind.REFUSE, Reason.TRANSFER_PENDING): Wording(
        "分配中", "分配の手続き中です", "受け取る方が手続きを終える"
    ),
    (VerdictKind.REFUSE, Reason.UNPAID): Wording("未払い", "お支払いがまだの券です", "券売機か窓口へ案内"),
    (VerdictKind.REFUSE, Reason.PAYMENT_UNKNOWN): Wording("支払未了", "支払いの結果待ちです", "番号を控えて窓口へ"),
    (VerdictKind.REFUSE, Reason.EXHAUSTED): Wording("使い切り", "残りの回数がたりません", "窓口へ案内"),
    (VerdictKind.REFUSE, Reason.UNKNOWN): Wording("該当なし", "この券が見つかりません", "券の番号を見て窓口へ"),
    (VerdictKind.REFUSE, Reason.FORGED): Wording("不正券", "電子署名が一致しません", "券を返さず責任者を呼ぶ"),
    (VerdictKind.REFUSE, Reason.NO_ANSWER): Wording("照会待ち", "いま照会できません", "もう一度かざすか窓口へ"),
    (VerdictKind.REFUSE, Reason.NOT_INSIDE): Wording("入場なし", "入場の記録がありません", "番号を控えて窓口へ"),
    (VerdictKind.REFUSE, Reason.DATA_OLD): Wording("照会待ち", "通信が長く途絶えています", "窓口で確認してもらう"),
}

_EN: Final[Mapping[tuple[VerdictKind, Reason | None], Wording]] = {
    (VerdictKind.ADMIT, None): Wording("Enter", "May enter"),
    (VerdictKind.ADMIT_AGAIN, None): Wording("Again", "May enter again"),
    (VerdictKind.CHOOSE, None): Wording("Count?", "Choose how many enter"),
    (VerdictKind.ATTENTION, Reason.PROOF): Wording("Check", "Ask for the proof", "Same as the ticket?"),
    (VerdictKind.ATTENTION, Reason.CLOCK_UNSURE): Wording("Date", "Look at the date", "This clock is not confirmed"),
    (VerdictKind.ATTENTION, Reason.ISSUER_UNKNOWN): Wording("Look", "From a new kiosk", "Check date and type"),
    (VerdictKind.REFUSE, Reason.ALREADY_USED): Wording("Used", "Already used", "Note the number, desk"),
    (VerdictKind.REFUSE, Reason.NOT_TODAY): Wording("Date", "Not for today", "Show the printed date"),
    (VerdictKind.REFUSE, Reason.TOO_EARLY): Wording("Early", "Not yet its time", "Come again at that time"),
    (VerdictKind.REFUSE, Reason.TOO_LATE): Wording("Late", "Its time is over", "Send to the desk"),
    (VerdictKind.REFUSE, Reason.WRONG_GATE): Wording("Gate", "Not for this gate", "Point to the right one"),
    (VerdictKind.REFUSE, Reason.CANCELLED): Wording("Void", "This ticket was cancelled", "Note the number, desk"),
    (VerdictKind.REFUSE, Reason.REFUNDED): Wording("Refund", "The money was returned", "Note the number, desk"),
    (VerdictKind.REFUSE, Reason.BLOCKED): Wording("Blocked", "This ticket is stopped", "Call the supervisor"),
    (VerdictKind.REFUSE, Reason.TRANSFERRED): Wording("Moved", "Replaced by another", "Ask for the new ticket"),
    (VerdictKind.REFUSE, Reason.TRANSFER_PENDING): Wording(
        "Moving", "Transfer not finished", "The receiver finishes it"
    ),
    (VerdictKind.REFUSE, Reason.UNPAID): Wording("Unpaid", "Not paid yet", "Send to kiosk or desk"),
    (VerdictKind.REFUSE, Reason.PAYMENT_UNKNOWN): Wording("Pay?", "Payment not settled", "Note the number, desk"),
    (VerdictKind.REFUSE, Reason.EXHAUSTED): Wording("Empty", "Not enough uses left", "Send to the desk"),
    (VerdictKind.REFUSE, Reason.UNKNOWN): Wording("Invalid", "Ticket not found", "Check the ticket, desk"),
    (VerdictKind.REFUSE, Reason.FORGED): Wording("Forged", "Signature is wrong", "Keep it, call supervisor"),
    (VerdictKind.REFUSE, Reason.NO_ANSWER): Wording("Wait", "Cannot be checked now", "Scan again, or desk"),
    (VerdictKind.REFUSE, Reason.NOT_INSIDE): Wording("Not in", "No entry is recorded", "Note the number, desk"),
    (VerdictKind.REFUSE, Reason.DATA_OLD): Wording("Wait", "Out of touch too long", "Have the desk check it"),
}

_EXIT: Final[Mapping[str, Wording]] = {
    "ja": Wording("退場OK", "退場できます"),
    "en": Wording("Exit", "May leave"),
}

_LABELS: Final[Mapping[str, Mapping[str, str]]] = {
    "ja": {
        "entry": "入場",
        "exit": "退場",
        "scan": "QRをかざす",
        "inside": "園内",
        "admitted": "入場",
        "expected": "予定",
        "people": "名",
        "times": "回",
        "left": "残り",
        "used": "使用",
        "number": "照会番号",
        "choose_people": "{count}名 入場",
        "choose_times": "{count}回 利用",
        "choose_first": "数を選ぶ",
        "how_many_times": "何回？",
        "dismiss": "閉じる",
        "cancel": "やめる",
        "seen": "見ました",
        "not_seen": "証明なし",
        "undo": "取り消し",
        "data": "データ",
        "data_none": "データなし",
        "seconds_ago": "{n}秒前",
        "minutes_ago": "{n}分前",
        "hours_ago": "{n}時間前",
        "days_ago": "{n}日前",
        "preparing": "ゲートの準備を\nしています",
        "preparing_other": "Getting the gate ready",
        "today": "きょう",
    },
    "en": {
        "entry": "Entry",
        "exit": "Exit",
        "scan": "Scan the QR",
        "inside": "Inside",
        "admitted": "In",
        "expected": "Due",
        "people": "",
        "times": "",
        "left": "Left",
        "used": "Used",
        "number": "Reference",
        "choose_people": "Admit {count}",
        "choose_times": "Use {count}",
        "choose_first": "Choose",
        "how_many_times": "Count?",
        "dismiss": "Close",
        "cancel": "Cancel",
        "seen": "Seen",
        "not_seen": "No proof",
        "undo": "Undo",
        "data": "Data",
        "data_none": "No data",
        "seconds_ago": "{n}s ago",
        "minutes_ago": "{n}m ago",
        "hours_ago": "{n}h ago",
        "days_ago": "{n}d ago",
        "preparing": "Getting the\ngate ready",
        "preparing_other": "ゲートの準備をしています",
        "today": "Today",
    },
}

CATALOGUES: Final[Mapping[str, Mapping[tuple[VerdictKind, Reason | None], Wording]]] = MappingProxyType(
    {"ja": _JA, "en": _EN}
)
LABELS: Final = MappingProxyType(_LABELS)


def wording(
    verdict: VerdictKind, reason: Reason | None, *, language: str, direction: Direction = Direction.ENTRY
) -> Wording:
    """The words of a verdict. A language that has none here gets English; a pair of verdict and reason that the rules do not
    make gets the words of the verdict alone, because a gate must always say something.
    """
    language = language if language in CATALOGUES else "en"
    if direction is Direction.EXIT and verdict in (VerdictKind.ADMIT, VerdictKind.ADMIT_AGAIN):
        return _EXIT[language]
    catalogue = CATALOGUES[language]
    return catalogue.get((verdict, reason)) or catalogue[_plain(verdict)]


def label(key: str, *, language: str) -> str:
    """A fixed text of the screen. KeyError for a key that does not exist: that is a bug."""
    return _LABELS[language if language in _LABELS else "en"][key]


def data_age(age_s: float | None, *, language: str, short: bool = False) -> str:
    """How old the data is, as staff read it: "データ 6分前"; `short` leaves out the first word where there is no room."""
    if age_s is None:
        return label("data_none", language=language)
    if age_s < 60:
        key, n = "seconds_ago", age_s
    elif age_s < 3600:
        key, n = "minutes_ago", age_s / 60
    elif age_s < 48 * 3600:
        key, n = "hours_ago", age_s / 3600
    else:
        key, n = "days_ago", age_s / 86400
    ago = label(key, language=language).format(n=int(n))
    return ago if short else f"{label('data', language=language)} {ago}"


def _plain(verdict: VerdictKind) -> tuple[VerdictKind, Reason | None]:
    match verdict:
        case VerdictKind.ATTENTION:
            return verdict, Reason.PROOF
        case VerdictKind.REFUSE:
            return verdict, Reason.UNKNOWN
        case _:
            return verdict, None
