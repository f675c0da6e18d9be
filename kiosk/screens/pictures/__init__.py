"""The pictures: flat shapes, one outline colour, one horizon, one subject, and a bleed around it, so that one drawing serves
every crop. A product names its picture; one that is not known here gets a plain ticket.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from kivy.graphics import Color, Rectangle
from kivy.graphics.texture import Texture
from kivy.properties import NumericProperty, StringProperty
from PIL import Image, ImageDraw

from kiosk.screens.metric import px
from kiosk.screens.patches import Corners
from kiosk.screens.pen import SCALE, Pen, texture_of
from kiosk.screens.pictures import attractions, machines, scene
from kiosk.screens.placed import Placed

PICTURES: Final[dict[str, Callable[[int, int, str], Pen]]] = {
    "scene": scene.scene,
    "castle": attractions.castle,
    "wheel": attractions.wheel,
    "zipline": attractions.zipline,
    "ramune": attractions.ramune,
    "ticket": attractions.ticket,
    "present_card": machines.present_card,
    "processing": machines.processing,
    "enter_pin": machines.enter_pin,
    "remove_card": machines.remove_card,
    "printer": machines.printer,
    "printer_empty": machines.printer_empty,
    "gate": machines.gate,
}
ROUND: Final[dict[str, Corners]] = {
    "all": (True, True, True, True),
    "left": (True, False, False, True),
    "top": (True, True, False, False),
    "none": (False, False, False, False),
}


@lru_cache(maxsize=8)
def _drawn(
    name: str, width: int, height: int, corners: str, radius_px: int, note: str
) -> tuple[Texture, tuple[int, int]]:
    """The texture, and where its lower left corner lies: of a picture that lets its ground show only the subject is kept."""
    image = PICTURES.get(name, attractions.ticket)(width, height, note).finished()
    if image.mode == "RGBA":
        left, top, right, bottom = image.getchannel("A").getbbox() or (0, 0, 1, 1)
        return texture_of(image.crop((left, top, right, bottom))), (left, height - bottom)
    image = image.convert("RGBA")
    if radius_px and corners != "none":
        mask = Image.new("L", (width * SCALE, height * SCALE), 0)
        ImageDraw.Draw(mask).rounded_rectangle(
            (0, 0, width * SCALE - 1, height * SCALE - 1), radius_px * SCALE, fill=255, corners=ROUND[corners]
        )
        image.putalpha(mask.reduce(SCALE))
    return texture_of(image), (0, 0)


class Picture(Placed):
    """A picture, cut to its box. `faded`: of what cannot be chosen. `note` is a text in the picture (an amount on a terminal)."""

    name = StringProperty("")
    corners = StringProperty("none")
    radius = NumericProperty(5.0)
    faded = NumericProperty(0.0)
    note = StringProperty("")

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        for name in ("name", "corners", "radius", "faded", "note", "pos", "size"):
            self.fbind(name, self._draw)
        self._draw()

    def _draw(self, *_: object) -> None:
        self.canvas.clear()
        if not self.name or self.width <= 2 or self.height <= 2:
            return
        texture, (left, bottom) = _drawn(
            self.name, int(self.width), int(self.height), self.corners, px(self.radius), self.note
        )
        with self.canvas:
            Color(1, 1, 1, 1.0 - 0.5 * self.faded)
            Rectangle(texture=texture, pos=(self.x + left, self.y + bottom), size=texture.size)
