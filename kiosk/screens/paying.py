"""At the terminal: one picture of what to do, and five dots that say it is at work."""

from __future__ import annotations

from typing import Final

from kivy.clock import Clock
from kivy.graphics import Color, Rectangle
from kivy.properties import NumericProperty, StringProperty

from kiosk.screens.frame import Screen
from kiosk.screens.metric import pick, px
from kiosk.screens.patches import disc_of
from kiosk.screens.placed import Placed
from kiosk.visit.event import PaymentStage
from tickets.look import rgb

PICTURES: Final = {
    PaymentStage.CONNECTING: "processing",
    PaymentStage.PRESENT_CARD: "present_card",
    PaymentStage.ENTER_PIN: "enter_pin",
    PaymentStage.PROCESSING: "processing",
    PaymentStage.REMOVE_CARD: "remove_card",
    PaymentStage.CONFIRMING: "processing",
}
CYCLE_S: Final = 1.2
DOTS: Final = 5


class Dots(Placed):
    """Five dots, one cycle in 1.2 s; drawn five times a cycle, which is enough to be seen and little to draw."""

    at_dot = NumericProperty(0)

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self._colours: list[Color] = []
        self._beat: object | None = None
        self.fbind("pos", self._draw)
        self.fbind("size", self._draw)
        self.fbind("parent", self._run)
        self.fbind("at_dot", self._tint)

    def _run(self, *_: object) -> None:
        """Only while it can be seen."""
        if self._beat is not None:
            self._beat.cancel()  # type: ignore[attr-defined]
            self._beat = None
        if self.parent is not None:
            self._beat = Clock.schedule_interval(self._step, CYCLE_S / DOTS)

    def _step(self, _dt: float) -> None:
        if self.get_root_window() is not None:
            self.at_dot = (self.at_dot + 1) % DOTS

    def _draw(self, *_: object) -> None:
        self.canvas.clear()
        self._colours = []
        if self.width <= 1:
            return
        side = px(pick(8.0, 3.6))
        step = (self.width - side) / (DOTS - 1)
        with self.canvas:
            for index in range(DOTS):
                self._colours.append(Color(1, 1, 1, 1))
                Rectangle(
                    texture=disc_of("#FFFFFF", side),
                    pos=(round(self.x + index * step), round(self.center_y - side / 2)),
                    size=(side, side),
                )
        self._tint()

    def _tint(self, *_: object) -> None:
        red, green, blue = rgb("ai")
        for index, colour in enumerate(self._colours):
            behind = (self.at_dot - index) % DOTS
            share = (1.0, 0.72, 0.46, 0.24, 0.24)[behind]
            colour.rgb = tuple(1 - (1 - part) * share for part in (red, green, blue))


class PayingScreen(Screen):
    picture = StringProperty("present_card")

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.fbind("view", self._lay)
        self._lay()

    def _lay(self, *_: object) -> None:
        self.picture = PICTURES[self.view.stage]
