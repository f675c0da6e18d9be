"""What every screen has around its own question, and the parts that several screens share."""

from __future__ import annotations

from typing import Any, Final

from kivy.graphics import Color, Rectangle
from kivy.properties import BooleanProperty, ListProperty, NumericProperty, ObjectProperty, StringProperty

from kiosk.screens.metric import panel, pick, px
from kiosk.screens.patches import Block, Box, Disc, Press, disc_of
from kiosk.screens.placed import Placed
from kiosk.screens.text import EM_MIN, Text, line_em
from kiosk.visit.views import Bar, Frame, Key, Left, Mark, StationState, Stub, StubKind, TicketView
from tickets.look import rgb

STUB_MM: Final = (84.0, 41.0)

NO_BAR: Final = Bar("", "", "", "", None, Stub(StubKind.NONE))
NO_FRAME: Final = Frame("", "", "", "", (), "", "", NO_BAR, (), lowered=False)
"""What stands before a rule has bound the real ones."""

MARK_TONES: Final = {Mark.PLENTY: "matsu", Mark.FEW: "kaki", Mark.SOLD_OUT: "ash", Mark.UNKNOWN: "ink2"}


class Screen(Placed):
    """A whole screen of one view. `view` is replaced as the visit goes on; what did not change is not drawn again."""

    view = ObjectProperty(None, rebind=True)
    question_top = NumericProperty(55)
    titled = BooleanProperty(defaultvalue=True)
    """Whether the question stands in the head where a panel has no line of its own for it."""


class Head(Placed):
    view = ObjectProperty(NO_FRAME, rebind=True)
    titled = BooleanProperty(defaultvalue=True)


class Logo(Placed):
    """The venue's mark: the sun over the sea."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.fbind("pos", self._draw)
        self.fbind("size", self._draw)

    def _draw(self, *_: object) -> None:
        from kiosk.screens.pictures.machines import logo_texture

        self.canvas.clear()
        if self.width > 1:
            with self.canvas:
                Color(1, 1, 1, 1)
                Rectangle(texture=logo_texture(int(self.width)), pos=self.pos, size=self.size)


class StationLine(Placed):
    """The railway line: passed stations are filled and ticked, the present one is larger and yellow, those ahead are hollow."""

    stations = ListProperty([])

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.fbind("stations", self._lay)
        self.fbind("size", self._lay)
        self._lay()

    def _lay(self, *_: object) -> None:
        self.clear_widgets()
        count = len(self.stations)
        if count < 2 or not panel().portrait:
            return
        first, last = 20.0, 219.7
        step = (last - first) / (count - 1)
        for index in range(count - 1):
            passed = self.stations[index].state is StationState.PASSED
            self.add_widget(Block(at=[first + index * step, 5.3, step, 1.4], tone="ai" if passed else "line"))
        for index, station in enumerate(self.stations):
            x = first + index * step
            here = station.state is StationState.HERE
            if station.state is StationState.PASSED:
                self.add_widget(Disc(at=[x - 3.5, 2.5, 7, 7], tone="ai"))
                self.add_widget(_icon([x - 2.2, 3.8, 4.4, 4.4], "tick", "surface", 3.4))
            elif here:
                self.add_widget(Disc(at=[x - 5, 1, 10, 10], tone="yama", edge="ai", edge_mm=1.8))
            else:
                self.add_widget(Disc(at=[x - 3.5, 2.5, 7, 7], tone="paper", edge="edge", edge_mm=0.9))
            self.add_widget(
                Text(
                    at=[x - 24, 12.5, 48, 8.5],
                    text=station.label,
                    em=6.6,
                    bold=here,
                    align="center",
                    tone="ink" if station.state is not StationState.AHEAD else "ink2",
                )
            )


def _icon(at: list[float], name: str, tone: str, stroke: float) -> Placed:
    from kiosk.screens.icons import Icon

    return Icon(at=at, name=name, tone=tone, stroke=stroke)


class Perforation(Placed):
    """The bar's own: dashes and two notches of the ground."""

    tone = StringProperty("surface")

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        for name in ("tone", "pos", "size"):
            self.fbind(name, self._draw)
        self._draw()

    def _draw(self, *_: object) -> None:
        self.canvas.clear()
        if self.height <= 1:
            return
        thick, dash, gap, notch = max(2, px(0.5)), px(1.1), px(0.9), px(pick(9.0, 6.0))
        x = round(self.center_x)
        with self.canvas:
            Color(*rgb(self.tone))
            y = self.y + notch // 2 + gap
            while y + dash <= self.top - notch // 2 - gap // 2:
                Rectangle(pos=(x - thick // 2, y), size=(thick, dash))
                y += dash + gap
            Color(1, 1, 1, 1)
            for centre in (self.y, self.top):
                Rectangle(
                    texture=disc_of("paper", notch),
                    pos=(x - notch // 2, round(centre) - notch // 2),
                    size=(notch, notch),
                )


class BarWidget(Placed):
    """The ticket at the bottom: what I have and what it costs, and the stub behind the perforation."""

    bar = ObjectProperty(NO_BAR, rebind=True)
    width_mm = NumericProperty(239.7)
    height_mm = NumericProperty(42)
    stub_x = NumericProperty(155.7)
    total_right = NumericProperty(148.4)
    icon_mm = NumericProperty(9)
    title_at = ListProperty([8, 10, 90, 12])
    text_at = ListProperty([8, 20.5, 90, 12])
    wide = BooleanProperty(defaultvalue=False)

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.fbind("bar", self._lay)
        self.fbind("at", self._lay)
        self._lay()

    def _lay(self, *_: object) -> None:
        bar: Bar = self.bar
        if self.at[2] <= 0:
            return
        self.width_mm, self.height_mm = self.at[2], self.at[3]
        stubbed = bar.stub.kind is not StubKind.NONE
        self.stub_x = self.width_mm - (pick(*STUB_MM) if stubbed else 0)
        self.total_right = self.stub_x - (pick(7.3, 5.0) if stubbed else 8.0)
        self.icon_mm = pick(9.0, 6.5)
        left = pick(8.0, 4.0)
        if bar.icon and (panel().portrait or not stubbed):
            left += pick(19.0, 13.0)
        self.wide = not panel().portrait and (bar.total is None or not bar.total_label) and self.width_mm > 100
        right = self.stub_x - 4 if bar.total is None else pick(84.0 if len(bar.total.figures) < 7 else 74.0, 60.0)
        if bar.total is not None and not stubbed:
            right = self.total_right - pick(58.0, 40.0)
        if panel().portrait:
            lines = 1 + bar.text.count("\n")
            both = bool(bar.title and bar.text)
            top = 21.0 - (5.2 * (lines + 1) if both else 0.0)
            self.title_at = [left, top, right - left, 10.4] if both else [left, 5, right - left, 32]
            self.text_at = [left, top + 10.4, right - left, 10.4 * lines] if both else [left, 5, right - left, 32]
        else:
            half = self.height_mm / 2
            both = bool(bar.title and bar.text) and self.wide
            self.title_at = [left, 2 if both else 0, self.stub_x - left - 3, half - 1 if both else self.height_mm]
            self.text_at = [left, half, self.stub_x - left - 3, half - 2]


class KeyButton(Press):
    """One of the keys that never move."""

    data = ObjectProperty(Key("", "", "", None), rebind=True)
    word_tone = StringProperty("ink")

    def on_data(self, *_: object) -> None:
        key: Key = self.data
        self.word_tone = "surface" if key.name == "staff" else "ash" if key.touch is None else "ink"


class KeysRow(Placed):
    """Back, Start over, lower-it, Language, Call staff: always in the same place, pale where they cannot act."""

    keys = ListProperty([])

    def __init__(self, **kwargs: object) -> None:
        self._buttons: dict[str, KeyButton] = {}
        super().__init__(**kwargs)
        self.fbind("keys", self._lay)
        self._lay()

    def _lay(self, *_: object) -> None:
        places = key_places(tuple(key.name for key in self.keys))
        for key in self.keys:
            button = self._buttons.get(key.name)
            if button is None:
                button = self._buttons[key.name] = KeyButton(data=key)
                button.on_data()
                self.add_widget(button)
            button.data = key
            button.at = places.get(key.name, [0, 0, 0, 0])
            button.shown = key.name in places
        names = {key.name for key in self.keys}
        for name, button in self._buttons.items():
            if name not in names:
                button.shown = False


def key_places(names: tuple[str, ...]) -> dict[str, list[float]]:
    """Where each key stands, in mm."""
    if panel().portrait:
        order = ("back", "start_over", "lower", "language", "staff")
        return {name: [14 + index * 48.725, 441, 44.8, 27] for index, name in enumerate(order) if name in names}
    places = {
        "back": [7, 109.5, 26, 22],
        "start_over": [36, 109.5, 26, 22],
        "language": [155.5, 109.5, 26, 22],
        "staff": [184.5, 109.5, 26, 22],
    }
    return {name: place for name, place in places.items() if name in names}


class Grouped(Placed):
    """A word and its icon side by side in the middle; `after` puts the icon behind the word."""

    text = StringProperty("")
    icon = StringProperty("")
    em = NumericProperty(9)
    icon_mm = NumericProperty(10)
    stroke = NumericProperty(2.2)
    tone = StringProperty("ink")
    after = BooleanProperty(defaultvalue=False)
    bold = BooleanProperty(defaultvalue=True)
    icon_at = ListProperty([0, 0, 0, 0])
    text_at = ListProperty([0, 0, 0, 0])

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        for name in ("text", "icon", "em", "icon_mm", "after", "at"):
            self.fbind(name, self._lay)
        self._lay()

    def _lay(self, *_: object) -> None:
        _, _, width, height = self.at
        icon, gap = (self.icon_mm, pick(4.0, 2.5)) if self.icon else (0.0, 0.0)
        room = width - icon - gap
        widest = max(line_em(line) for line in self.text.split("\n"))
        if icon and widest * EM_MIN > room:
            room, icon, gap = width, 0.0, 0.0
        text = min(room, widest * self.em + 0.8)
        left = (width - icon - gap - text) / 2
        icon_x, text_x = (left + text + gap, left) if self.after else (left, left + icon + gap)
        self.icon_at = [icon_x, (height - icon) / 2, icon, icon]
        self.text_at = [text_x, 0, text, height]


class WideKey(Press):
    """A secondary action."""

    data = ObjectProperty(Key("", "", "", None), rebind=True)
    em = NumericProperty(9)


class TicketRow(Placed):
    label = StringProperty("")
    value = StringProperty("")


class TicketCard(Box):
    """The ticket that grows."""

    view = ObjectProperty(TicketView("", "", (), ""), rebind=True)
    picture_w = NumericProperty(72)
    tear = NumericProperty(187.6)

    def __init__(self, **kwargs: object) -> None:
        self._rows: list[TicketRow] = []
        super().__init__(**kwargs)
        self.fbind("view", self._lay)
        self.fbind("at", self._lay)
        self._lay()

    def _lay(self, *_: object) -> None:
        rows = self.view.rows
        while len(self._rows) < len(rows):
            row = TicketRow()
            self._rows.append(row)
            self.add_widget(row)
        top = 25.5
        step = (self.at[3] - top - 3) / max(1, len(rows))
        for index, row in enumerate(self._rows):
            row.shown = index < len(rows)
            if row.shown:
                row.label, row.value = rows[index]
                row.at = [self.picture_w + 8, top + index * step, self.tear - self.picture_w - 14, step]


class LeftMark(Placed):
    """〇 余裕あり, △ 残り 6, × 売切: shape, word and colour."""

    left = ObjectProperty(Left(Mark.PLENTY, ""), rebind=True)
    em = NumericProperty(7)
    mark_tone = StringProperty("matsu")

    def on_left(self, *_: object) -> None:
        self.mark_tone = MARK_TONES[self.left.mark]


def pool(parent: Placed, made: list[Any], wanted: int, make: Any) -> list[Any]:
    """As many of `made` as wanted, the rest out of sight."""
    while len(made) < wanted:
        widget = make()
        made.append(widget)
        parent.add_widget(widget)
    for index, widget in enumerate(made):
        widget.shown = index < wanted
    return made[:wanted]
