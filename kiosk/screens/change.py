"""Which of the basket's products to change."""

from __future__ import annotations

from kivy.properties import ObjectProperty

from kiosk.screens.basket import NOTHING
from kiosk.screens.frame import Screen, pool
from kiosk.screens.metric import pick, rows
from kiosk.screens.patches import Press
from kiosk.visit.views import Key, LineView


class ChangeRow(Press):
    data = ObjectProperty((LineView("", "", "", "", NOTHING), Key("", "", "", None)), rebind=True)


class ChangeScreen(Screen):
    def __init__(self, **kwargs: object) -> None:
        self._rows: list[ChangeRow] = []
        super().__init__(**kwargs)
        self.fbind("view", self._lay)
        self._lay()

    def _lay(self, *_: object) -> None:
        lines = self.view.lines
        lowered = self.view.frame.lowered
        area = pick((14, 236, 239.7, 150) if lowered else (14, 191, 239.7, 194), (7, 27, 203.5, 78))
        columns = pick(1, 2 if len(lines) > 3 else 1)
        places = rows(area, len(lines), columns=columns, gap=pick(4.0, 3.0), height_max=pick(44.0, 24.0))
        for index, row in enumerate(pool(self, self._rows, len(lines), ChangeRow)):
            row.data, row.at = lines[index], list(places[index])
