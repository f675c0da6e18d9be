"""The screen that invites: a ticket itself, torn at the perforation under the sea."""

from __future__ import annotations

from typing import Any

from kivy.graphics import Color, Rectangle
from kivy.properties import BooleanProperty, ListProperty, ObjectProperty

from kiosk.screens.frame import Screen, pool
from kiosk.screens.metric import panel, pick, px, rows
from kiosk.screens.patches import Press, disc_of
from kiosk.screens.pictures import Picture
from kiosk.screens.placed import Placed
from kiosk.visit.views import Key
from tickets.look import rgb

Box = tuple[float, float, float, float]
SEA_MM = (192.0, 101.0)
"""How far down, or to the right, the picture reaches."""


class Fact(Placed):
    fact = ListProperty(["", ""])


class LanguageKey(Press):
    data = ObjectProperty(Key("", "", "", None), rebind=True)
    first = BooleanProperty(defaultvalue=False)


class AttractScreen(Screen):
    """Languages, and what the guest wants to know before the first touch."""

    def __init__(self, **kwargs: object) -> None:
        self._keys: list[LanguageKey] = []
        self._rest: list[Any] = []
        self._picture = Picture(name="scene", corners="none")
        self._tear = Tear()
        super().__init__(**kwargs)
        # The picture lies under everything, head included.
        self.add_widget(self._picture, index=len(self.children))
        self.add_widget(self._tear, index=len(self.children) - 1)
        self.fbind("view", self._lay)
        self._lay()

    def _lay(self, *_: object) -> None:
        if panel().portrait:
            self._picture.at = [0, 0, panel().width_mm, SEA_MM[0]]
            self._tear.at = [0, SEA_MM[0] - 7, panel().width_mm, 14]
        else:
            self._picture.at = [0, 26, SEA_MM[1], 79]
            self._tear.at = [SEA_MM[1] - 7, 26, 14, 79]
        languages = self.view.languages
        lowered = self.view.frame.lowered and panel().portrait
        first: Box = pick((14, 262, 239.7, 54), (111, 55, 99.5, 25))
        if lowered:
            first = (14.0, 290.0, 239.7, 44.0)
        rest: Box = pick((14, 320.3, 239.7, 78), (111, 83, 99.5, 22))
        if lowered:
            rest = (14.0, 338.3, 239.7, 62.0)
        places = [
            list(first),
            *map(
                list,
                rows(
                    rest,
                    len(languages) - 1,
                    columns=1 if len(languages) == 2 else 2,
                    gap=pick(4.3, 3.0),
                    height_max=pick(36.0 if not lowered else 30.0, 22.0),
                ),
            ),
        ]
        for index, key in enumerate(pool(self, self._keys, len(languages), LanguageKey)):
            key.data, key.first, key.at = languages[index], index == 0, places[index]


class Tear(Placed):
    """Where the ticket tears: the ground bites into the picture, and the stand shows through the notches."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.fbind("pos", self._draw)
        self.fbind("size", self._draw)

    def _draw(self, *_: object) -> None:
        self.canvas.clear()
        if self.width <= 1:
            return
        dash, gap, notch = px(1.7), px(1.5), px(14.0)
        across = self.width > self.height
        with self.canvas:
            Color(*rgb("paper"))
            at, end = (self.x, self.right) if across else (self.y, self.top)
            while at < end:
                if across:
                    Rectangle(pos=(at, round(self.center_y)), size=(dash, px(1.3)))
                else:
                    Rectangle(pos=(round(self.center_x) - px(1.3), at), size=(px(1.3), dash))
                at += dash + gap
            Color(1, 1, 1, 1)
            for centre in (self.x, self.right) if across else (self.y, self.top):
                x, y = (centre, self.center_y) if across else (self.center_x, centre)
                token = "sumi" if across else "paper"
                Rectangle(
                    texture=disc_of(token, notch),
                    pos=(round(x) - notch // 2, round(y) - notch // 2),
                    size=(notch, notch),
                )
