"""Widgets that stand where a table in millimetres says: `at` is (x, y, width, height) from the parent's upper left corner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kivy.properties import BooleanProperty, ListProperty, ObjectProperty, StringProperty
from kivy.uix.widget import Widget

from kiosk.screens.metric import px
from kiosk.visit.event import Touch

EDGE_MM: Final = 0.05


class Placed(Widget):  # type: ignore[misc]  # Kivy carries no types
    """A widget in millimetres. `shown` False takes it out of sight and out of reach."""

    at = ListProperty([0, 0, 0, 0])
    shown = BooleanProperty(True)

    def on_at(self, *_: object) -> None:
        self.place()

    def on_parent(self, *_: object) -> None:
        self.place()

    def on_shown(self, *_: object) -> None:
        self.opacity = 1.0 if self.shown else 0.0

    def on_pos(self, *_: object) -> None:
        self.place_children()

    def on_size(self, *_: object) -> None:
        self.place_children()

    def place(self) -> None:
        parent = self.parent
        if not isinstance(parent, Placed):
            return
        x, y, width, height = self.at
        left, top = px(x), px(y)
        right, bottom = px(x + width), px(y + height)
        # What ends where its parent ends does so to the pixel.
        if abs(x + width - parent.at[2]) < EDGE_MM:
            right = int(parent.width)
        if abs(y + height - parent.at[3]) < EDGE_MM:
            bottom = int(parent.height)
        self.size = (right - left, bottom - top)
        self.pos = (parent.x + left, parent.top - top - self.height)

    def place_children(self) -> None:
        for child in self.children:
            if isinstance(child, Placed):
                child.place()

    @property
    def visible(self) -> bool:
        """Whether it and all it stands on are shown."""
        widget: Any = self
        while isinstance(widget, Placed):
            if not widget.shown:
                return False
            widget = widget.parent
        return widget is not None


class Tap(Placed):
    """Something to touch. Acts when the finger leaves it inside; `pressed` darkens it at once.

    `touch` is the visit's event, None where it cannot be touched; `name` finds it from outside.
    """

    name = StringProperty("")
    touch = ObjectProperty(None, allownone=True)
    pressed = BooleanProperty(defaultvalue=False)

    sink: Callable[[Touch], None] | None = None
    """Where every touch goes: set once by the app."""

    def on_touch_down(self, touch: Any) -> bool:
        if not self.collide_point(*touch.pos) or not self.visible:
            return False
        if self.touch is None:
            return True
        touch.grab(self)
        self.pressed = True
        return True

    def on_touch_move(self, touch: Any) -> bool:
        if touch.grab_current is self:
            self.pressed = self.collide_point(*touch.pos)
        return touch.grab_current is self

    def on_touch_up(self, touch: Any) -> bool:
        if touch.grab_current is not self:
            return False
        touch.ungrab(self)
        self.pressed = False
        if self.collide_point(*touch.pos) and self.touch is not None and Tap.sink is not None:
            Tap.sink(self.touch)
        return True
