"""How to pay: what it costs, and one row a way of paying; what cannot be used says why and since when."""

from __future__ import annotations

from kivy.properties import BooleanProperty, NumericProperty, ObjectProperty

from kiosk.screens.frame import Screen, pool
from kiosk.screens.metric import pick, rows
from kiosk.screens.patches import Press
from kiosk.visit.views import TenderView


class TenderRow(Press):
    data = ObjectProperty(TenderView("", "", "", "", "", "", None), rebind=True)
    icon = NumericProperty(30)
    text_w = NumericProperty(150)
    low = BooleanProperty(defaultvalue=False)

    def on_at(self, *args: object) -> None:
        _, _, width, height = self.at
        self.low = height < 36
        self.icon = min(pick(30.0, 14.0 if width < 150 else 22.0), height - 8)
        self.text_w = width - self.icon - pick(76 if self.data.touch is None else 40, 20)
        super().on_at(*args)


class MethodScreen(Screen):
    def __init__(self, **kwargs: object) -> None:
        self._rows: list[TenderRow] = []
        super().__init__(**kwargs)
        self.fbind("view", self._lay)
        self._lay()

    def _lay(self, *_: object) -> None:
        tenders = self.view.tenders
        area = pick((14, 262, 239.7, 122) if self.view.frame.lowered else (14, 191, 239.7, 194), (7, 27, 203.5, 78))
        columns = pick(1, 1 if len(tenders) == 1 else 2)
        places = rows(area, len(tenders), columns=columns, gap=pick(4.2, 3.0), height_max=pick(45.6, 37.5))
        for index, row in enumerate(pool(self, self._rows, len(tenders), TenderRow)):
            row.data, row.at = tenders[index], list(places[index])
