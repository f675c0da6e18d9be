"""Is this right: a slip with the lines above the tear and the tax of each rate below it."""

from __future__ import annotations

from kivy.properties import BooleanProperty, ListProperty, NumericProperty, ObjectProperty, StringProperty

from kiosk.screens.frame import Screen, WideKey, pool
from kiosk.screens.metric import panel, pick
from kiosk.screens.patches import Box
from kiosk.screens.placed import Placed
from kiosk.visit.views import Amount, LineView, TaxView

NOTHING = Amount("", "", unit_first=False)
LIST_TOP = 84.0
ROW_MAX = 33.5


class BasketRow(Placed):
    data = ObjectProperty(LineView("", "", "", "", NOTHING), rebind=True)
    lined = BooleanProperty(defaultvalue=True)
    noted = BooleanProperty(defaultvalue=True)
    picture = ListProperty([32, 25])
    title_at = ListProperty([46, 4, 120, 14])
    note_at = ListProperty([46, 17, 120, 12])
    count_x = NumericProperty(172)

    def on_at(self, *args: object) -> None:
        _, _, width, height = self.at
        if panel().portrait:
            tall = height - 8
            self.picture = [min(32.0, tall * 1.28), min(25.0, tall)]
            left = 14 + self.picture[0]
            self.count_x = width - 68
            self.noted = height >= 20
        else:
            self.picture = [0, 0]
            left = 4
            self.count_x = width - 48
            self.noted = height >= 18
        room = self.count_x - left - 1
        middle = height / 2
        self.title_at = [left, middle - 10.5, room, 10.5] if self.noted else [left, 0, room, height]
        self.note_at = [left, middle + 0.4, self.count_x - left + (14 if not panel().portrait else -1), 9]
        super().on_at(*args)


class TaxRow(Placed):
    data = ObjectProperty(TaxView("", NOTHING, "", NOTHING), rebind=True)


class Note(Box):
    bold_text = StringProperty("")
    text = StringProperty("")
    icon = StringProperty("clock")


class BasketScreen(Screen):
    card_at = ListProperty([14, 84, 239.7, 187])
    tear = NumericProperty(0)
    note_at = ListProperty([14, 315, 239.7, 33])
    notes_y = NumericProperty(360)

    def __init__(self, **kwargs: object) -> None:
        self._rows: list[BasketRow] = []
        self._taxes: list[TaxRow] = []
        self._keys: list[WideKey] = []
        super().__init__(**kwargs)
        self.fbind("view", self._lay)
        self._lay()

    def _lay(self, *_: object) -> None:
        (self._upright if panel().portrait else self._across)()

    def _upright(self) -> None:
        view = self.view
        notice = bool(view.notice_bold or view.held)
        room = 186.0 - 17 * len(view.taxes)
        row = min(ROW_MAX, room / len(view.lines))
        listed = 3 + row * len(view.lines)
        tear = listed + 8
        height = tear + 5 + 17 * len(view.taxes)
        self.card_at = [14, LIST_TOP, 239.7, height]
        self.tear = tear
        for index, line in enumerate(pool(self, self._rows, len(view.lines), BasketRow)):
            line.data = view.lines[index]
            line.at = [14, LIST_TOP + 3 + index * row, 239.7, row]
            line.lined = index < len(view.lines) - 1
        for index, tax in enumerate(pool(self, self._taxes, len(view.taxes), TaxRow)):
            tax.data = view.taxes[index]
            tax.at = [14, LIST_TOP + tear + 4 + index * 17, 239.7, 15]
        y = max(198.0, LIST_TOP + height + 6)
        if view.frame.lowered:
            y = 344.0
        self._place_keys([14, y, 239.7, 32], em=9)
        self.notes_y = 366 if not view.frame.lowered else 318
        below = y + 32 + 6
        if view.frame.lowered:
            below = max(LIST_TOP + height + 6, 276.0)
        self.note_at = [14, below, 239.7, 36 if view.notice.count("\n") else 30 if view.notice else 22]
        assert not notice or self.note_at[1] + self.note_at[3] <= 394

    def _across(self) -> None:
        view = self.view
        noted = bool(view.notice_bold or view.held)
        top = 49.5 if noted else 27.0
        self.note_at = [7, 27, 134, 20.5]
        self.card_at = [7, top, 134, 105 - top]
        self.tear = 0
        row = min(19.5, (103 - top) / len(view.lines))
        for index, line in enumerate(pool(self, self._rows, len(view.lines), BasketRow)):
            line.data = view.lines[index]
            line.at = [7, top + 1 + index * row, 134, row]
            line.lined = index < len(view.lines) - 1
        for index, tax in enumerate(pool(self, self._taxes, min(2, len(view.taxes)), TaxRow)):
            tax.data = view.taxes[index]
            tax.at = [143, 26 + index * 17.5, 67.5, 17]
        self._place_keys([144, 62, 66.5, 43], em=7.2)

    def _place_keys(self, area: list[float], *, em: float) -> None:
        x, y, width, height = area
        gap = pick(4.4, 3.0)
        for index, key in enumerate(pool(self, self._keys, len(self.view.keys), WideKey)):
            key.data, key.em = self.view.keys[index], em
            if panel().portrait:
                key.at = [x + index * ((width - gap) / 2 + gap), y, (width - gap) / 2, height]
            else:
                key.at = [x, y + index * ((height - gap) / 2 + gap), width, (height - gap) / 2]
