"""How many: one row a person type, a minus, the count, a plus."""

from __future__ import annotations

from kivy.properties import BooleanProperty, ListProperty, NumericProperty, ObjectProperty

from kiosk.screens.frame import Screen, pool
from kiosk.screens.metric import panel, pick, rows
from kiosk.screens.patches import Box
from kiosk.visit.views import Amount, CounterView, Key


class CounterRow(Box):
    data = ObjectProperty(
        CounterView("", "", Amount("", "", unit_first=False), 0, Key("", "", "minus", None), Key("", "", "plus", None)),
        rebind=True,
    )
    key = NumericProperty(29)
    key_y = NumericProperty(4.5)
    minus_x = NumericProperty(145.5)
    plus_x = NumericProperty(205.7)
    title_at = ListProperty([8, 4, 80, 16])
    note_at = ListProperty([8, 20, 90, 12])
    price_at = ListProperty([80, 0, 60, 38])
    noted = BooleanProperty(defaultvalue=True)

    def on_at(self, *args: object) -> None:
        _, _, width, height = self.at
        if panel().portrait:
            self.key = min(36.0 if height > 50 else 29.0, height - 4)
            middle = height / 2
            self.plus_x = width - self.key - 5
            self.minus_x = self.plus_x - self.key - 31
            self.noted = height >= 28
            self.title_at = [8, middle - 13, 74, 15] if self.noted else [8, 0, 74, height]
            self.note_at = [8, middle + 2.5, 88, 9.5]
            self.price_at = [84, 0, self.minus_x - 90, height]
        else:
            self.key = min(21.0, height - 4) if width < 150 else min(24.0, height - 4)
            self.plus_x = width - self.key - 3
            self.minus_x = self.plus_x - self.key - (12 if width < 150 else 22)
            self.noted = height >= 32
            share = height / (3 if self.noted else 2)
            pad = 2.0
            self.title_at = [3, pad, self.minus_x - 4, share - pad]
            self.note_at = [3, share, self.minus_x - 4, share]
            self.price_at = [4, height - share, self.minus_x - 7, share - pad]
        self.key_y = (height - self.key) / 2
        super().on_at(*args)


class PeopleScreen(Screen):
    def __init__(self, **kwargs: object) -> None:
        self._rows: list[CounterRow] = []
        super().__init__(**kwargs)
        self.fbind("view", self._lay)
        self._lay()

    def _lay(self, *_: object) -> None:
        counters = self.view.counters
        count = len(counters)
        area = pick((14, 258, 239.7, 126) if self.view.frame.lowered else (14, 191, 239.7, 194), (7, 27, 203.5, 78))
        columns = pick(1, 1 if count == 1 else 2)
        places = rows(
            area, count, columns=columns, gap=pick(3.4, 3.0), height_max=pick(58.0 if count <= 2 else 42.0, 37.5)
        )
        for index, row in enumerate(pool(self, self._rows, count, CounterRow)):
            row.data, row.at = counters[index], list(places[index])
