"""What the table says, in Japanese and English, one above the other: a visitor may know either."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from script.story.table.standing import Card, Hint, Step

Both = tuple[str, str]

STATIONS: Final[Mapping[Step, Both]] = MappingProxyType(
    {
        Step.BUY: ("左のキオスクで買う", "Buy at the kiosk on the left"),
        Step.SHOW: ("出てきた券にさわる", "Touch a ticket below"),
        Step.ENTER: ("右のゲートが緑になる", "The gate turns green"),
    }
)

HINTS: Final[Mapping[Hint, Both]] = MappingProxyType(
    {
        Hint.BUY: ("まず左の画面で「日本語」にさわり、券を買ってみてください", "First touch “English” on the left and buy a ticket"),
        Hint.SHOW: ("券にさわると、右のゲートのカメラにかざします", "Touch a ticket to hold it before the gate's camera"),
        Hint.TWICE: ("同じ券をもう一度かざすと、どうなるでしょう", "Now hold the same ticket up a second time"),
        Hint.CUT_LINE: ("つぎは下で回線を抜いて、もう一度買ってみてください", "Next, cut the line to the hub below, then buy again"),
        Hint.BUY_UNSEEN: ("回線がなくても買えます。左で買ってみてください", "Selling goes on without the line: buy on the left"),
        Hint.SHOW_UNSEEN: ("ハブがまだ知らない券です。かざしてみてください", "The hub has never seen this ticket: hold it up"),
        Hint.MEND_LINE: ("回線をつなぐと、売上と入場がオフィスに届きます", "Mend the line: sales and admissions reach the office"),
        Hint.NEW_ROLL: ("紙がありません。新しい紙を入れると、続きから出てきます", "No paper. With a new roll, printing goes on where it stopped"),
        Hint.FREE: ("紙を抜く、カードを断る、オフィスで取り消す。ご自由に", "Take the paper out, decline the card, cancel in the office"),
    }
)  # fmt: skip

PAPER: Final[Both] = ("出てきた紙（新しい順）", "Paper, newest first")
EMPTY: Final[Both] = ("発券された紙が、ここに出てきます", "What the printer prints comes out here")
HELD: Final[Both] = ("かざしています", "held up")
SILENT: Final[Both] = ("コードなし", "no code")
LARGER: Final[Both] = ("拡大", "Look closer")
HOLD: Final[Both] = ("ゲートにかざす", "Hold to the gate")
CLOSE: Final[Both] = ("とじる", "Close")

LINE: Final[Both] = ("ハブへの回線", "Line to the hub")
LINE_UP: Final[Both] = ("接続中", "connected")
LINE_DOWN: Final[Both] = ("切断中", "cut")
CUT: Final[Both] = ("抜く", "Cut")
MEND: Final[Both] = ("つなぐ", "Mend")

ROLL: Final[Both] = ("プリンターの紙", "Paper roll")
ROLL_IN: Final[Both] = ("入っています", "in")
ROLL_OUT: Final[Both] = ("ありません", "out")
TAKE_OUT: Final[Both] = ("抜く", "Take out")
LOAD: Final[Both] = ("新しい紙", "New roll")

CARD: Final[Both] = ("次のお客さまのカード", "The next guest's card")
CARDS: Final[Mapping[Card, Both]] = MappingProxyType(
    {
        Card.GOOD: ("使える", "Accepted"),
        Card.DECLINED: ("断られる", "Declined"),
        Card.CANCELLED: ("やめる", "Cancelled"),
    }
)

OFFICE: Final[Both] = ("オフィス（ハブ）", "The office")
OPEN: Final[Both] = ("開く", "Open")
