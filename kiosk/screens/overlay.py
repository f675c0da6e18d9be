"""What lies over a screen until it is answered: still there? and: staff have been called."""

from __future__ import annotations

from typing import Any

from kivy.graphics import Color, Rectangle
from kivy.properties import ListProperty, ObjectProperty

from kiosk.screens.metric import pick
from kiosk.screens.placed import Placed
from tickets.look import rgb


class Veil(Placed):
    """The screen below, dimmed."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.fbind("pos", self._draw)
        self.fbind("size", self._draw)

    def _draw(self, *_: object) -> None:
        self.canvas.clear()
        with self.canvas:
            Color(*rgb("deep"), 0.55)
            Rectangle(pos=self.pos, size=self.size)


class OverlayScreen(Placed):
    view = ObjectProperty(None, rebind=True)
    card_at = ListProperty([24, 210, 219.7, 200])
    go_at = ListProperty([34, 320, 199.7, 48])
    leave_at = ListProperty([34, 372, 199.7, 30])

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.fbind("view", self._lay)
        self._lay()

    def _lay(self, *_: object) -> None:
        view = self.view
        counted, leaves = bool(view.figure), view.leave is not None
        if pick(portrait=True, landscape=False):
            height = 80 + (30 if counted else 0) + 52 + (36 if leaves else 0)
            top = 388 - height
            self.card_at = [24, top, 219.7, height]
            y = top + 76 + (30 if counted else 0)
            self.go_at = [34, y, 199.7, 46]
            self.leave_at = [34, y + 51, 199.7, 30]
        else:
            height = 108 if leaves else 80
            top = (136 - height) // 2
            self.card_at = [24, top, 169.5, height]
            y = top + (55 if counted else 44)
            self.go_at = [34, y, 149.5, 25]
            self.leave_at = [34, y + 28, 149.5, 20]

    def on_touch_down(self, touch: Any) -> bool:
        super().on_touch_down(touch)
        return True
