"""The two bad days, calmly: an unknown payment, and tickets that are owed. A number to photograph, and what happens next."""

from __future__ import annotations

from kivy.properties import ListProperty, StringProperty

from kiosk.screens.frame import Screen
from kiosk.screens.icons import Icon
from kiosk.screens.metric import pick
from kiosk.screens.patches import Block, Disc
from kiosk.screens.placed import Placed
from kiosk.screens.text import Text
from kiosk.visit.views import StationState


class Steps(Placed):
    """What has been done, what is being done, what comes: stations again, downwards."""

    steps = ListProperty([])

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.fbind("steps", self._lay)
        self.fbind("at", self._lay)
        self._lay()

    def _lay(self, *_: object) -> None:
        self.clear_widgets()
        count = len(self.steps)
        if not count or self.at[3] <= 0:
            return
        step = self.at[3] / count
        x, side = pick(15.5, 9.0), pick(13.0, 8.0)
        self.add_widget(Block(at=[x - 0.7, step / 2, 1.4, step * (count - 1)], tone="line"))
        for index, (title, note, state) in enumerate(self.steps):
            middle = step * (index + 0.5)
            box = [x - side / 2, middle - side / 2, side, side]
            if state is StationState.PASSED:
                self.add_widget(Disc(at=box, tone="ai"))
                self.add_widget(
                    Icon(
                        at=[x - side * 0.3, middle - side * 0.3, side * 0.6, side * 0.6],
                        name="tick",
                        tone="surface",
                        stroke=3.2,
                    )
                )
            elif state is StationState.HERE:
                self.add_widget(Disc(at=box, tone="ai_tint", edge="ai", edge_mm=1.8))
            else:
                self.add_widget(Disc(at=box, tone="surface", edge="edge", edge_mm=0.9))
            left = pick(29.0, 17.0)
            width = self.at[2] - left - 3
            upper = pick([left, middle - 12.5, width, 13], [left, middle - 9.2, width, 9.4])
            lower = pick([left, middle + 1.5, width, 10], [left, middle + 0.2, width, 9])
            self.add_widget(Text(at=upper, text=title, em=pick(9, 6.8), bold=True, fit=True))
            self.add_widget(Text(at=lower, text=note, em=pick(7, 6.6), tone="ink2", fit=True))


class ClaimScreen(Screen):
    flat = StringProperty("")

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.fbind("view", self._lay)
        self._lay()

    def _lay(self, *_: object) -> None:
        latin = self.view.title.isascii()
        self.flat = self.view.title.replace("\n", " " if latin else "")
