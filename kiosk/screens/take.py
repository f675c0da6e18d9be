"""Take your tickets; and a receipt, if one is wanted."""

from __future__ import annotations

from kivy.properties import ListProperty

from kiosk.screens.frame import Screen
from kiosk.screens.metric import pick


class TakeScreen(Screen):
    ask_at = ListProperty([14, 236, 239.7, 90])

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.fbind("view", self._lay)
        self._lay()

    def _lay(self, *_: object) -> None:
        noted = bool(self.view.note) and self.view.receipt is not None
        if self.view.receipt is None:
            self.ask_at = pick([14, 272, 239.7, 34], [110, 62, 100.5, 16])
            return
        height = 118 if noted else 92
        top = 386 - height if self.view.frame.lowered or noted else 272
        self.ask_at = pick([14, top, 239.7, height], [110, 62, 100.5, 43])
