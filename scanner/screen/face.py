"""The one widget: four layers of canvas, drawn anew when what they show has changed."""

from __future__ import annotations

from typing import Any

from kivy.graphics import Canvas
from kivy.uix.widget import Widget

from scanner.screen import faces
from scanner.screen.box import Box
from scanner.screen.marks import RADIUS, draw_head
from scanner.screen.pen import Fonts, Pen, Placed
from scanner.screen.plan import plan_of
from scanner.screen.showing import Showing
from scanner.screen.verdicts import bar_box
from scanner.view import Key


class GateFace(Widget):  # type: ignore[misc]  # Kivy carries no types
    """Draws a Showing: the face, its head (ticks once a second), its bar (runs down), and the key under a finger."""

    def __init__(self, *, fonts: Fonts, language: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._fonts = fonts
        self._language = language
        self._face, self._head, self._bar, self._touch = (Canvas() for _ in range(4))
        for layer in (self._face, self._head, self._bar, self._touch):
            self.canvas.add(layer)
        self._pen = self._head_pen = self._new_pen()

    @property
    def placed(self) -> list[Placed]:
        """Every text on the screen, with its box."""
        return [*self._head_pen.placed, *self._pen.placed]

    @property
    def pen(self) -> Pen:
        """The pen of the face as it stands."""
        return self._pen

    def draw(self, showing: Showing, *, now_s: float) -> None:
        """Everything anew."""
        self._pen = self._new_pen()
        self._face.clear()
        with self._face:
            faces.draw(self._pen, plan_of(self.width, self.height), showing, language=self._language)
        self.draw_head(showing, now_s=now_s)
        self.draw_bar(showing, now_s=now_s)

    def draw_head(self, showing: Showing, *, now_s: float) -> None:
        self._head.clear()
        self._head_pen = self._new_pen()
        view = showing.view
        if view is None:
            return
        plan = plan_of(self.width, self.height)
        passed_s = max(0.0, now_s - showing.view_since_s)
        age_s = None if view.data_age_s is None else view.data_age_s + passed_s
        clock = ""
        if view.time_of_day_s is not None and not plan.panel.portrait:
            minutes = int(view.time_of_day_s + passed_s) // 60 % 1440
            clock = f"{minutes // 60:02}:{minutes % 60:02}"
        with self._head:
            draw_head(self._head_pen, plan, view, age_s=age_s, clock=clock, colour=faces.head_colour(view))

    def draw_bar(self, showing: Showing, *, now_s: float) -> None:
        self._bar.clear()
        view, left = showing.verdict, showing.remaining(now_s)
        if view is None or not left:
            return
        box, colour = bar_box(plan_of(self.width, self.height), view), faces.head_colour(view)
        with self._bar:
            self._pen.fill(box, colour, radius=0.5, alpha=0.38)
            self._pen.fill(Box(box.x, box.y, max(1.0, box.width * left), box.height), colour, radius=0.5)

    def draw_touch(self, touched: tuple[Key, int | None] | None) -> None:
        """The key under the finger is darker at once."""
        self._touch.clear()
        with self._touch:
            for target in self._pen.targets:
                if (target.key, target.count) == touched:
                    self._pen.fill(target.box, "ink", radius=RADIUS, alpha=0.22)

    def target_at(self, pos: tuple[float, float]) -> tuple[Key, int | None] | None:
        """What lies under a finger, in window pixels."""
        x, y = self._pen.mm_of(pos)
        for target in reversed(self._pen.targets):
            if target.box.x <= x <= target.box.right and target.box.y <= y <= target.box.bottom:
                return target.key, target.count
        return None

    def _new_pen(self) -> Pen:
        plan = plan_of(self.width, self.height)
        return Pen(plan.panel, plan.steps, self._fonts, float(self.width), float(self.height))
