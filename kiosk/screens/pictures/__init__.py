"""The pictures: flat shapes, one outline colour, one horizon, one subject, and a bleed around it, so that one drawing serves
every crop. A product names its picture; one that is not known here gets a plain ticket.

Drawing one takes a tenth of a second and its texture megabytes. So what was drawn is kept packed, in some ten kilobytes, and only
what stands on the glass is a texture; unpacking takes two or three milliseconds.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from weakref import WeakValueDictionary

from kivy.graphics import Color, Rectangle
from kivy.graphics.texture import Texture
from kivy.properties import NumericProperty, StringProperty
from PIL import Image, ImageDraw

from kiosk.screens.metric import px
from kiosk.screens.patches import Corners
from kiosk.screens.pen import SCALE, Pen, texture_from
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


PACKED_KEPT: Final = 32
"""More than a visit shows: of all screens, in both heights."""
PACK_LEVEL: Final = 1
"""Flat shapes are a hundredth of their size already at zlib's fastest."""

Look = tuple[str, int, int, str, int, str]
"""What a picture depends on: name, width and height in pixels, corners, radius in pixels, note."""


@dataclass(frozen=True, slots=True)
class Packed:
    """RGBA, packed by zlib, and where its lower left corner lies in the box it was drawn for."""

    pixels: bytes
    size: tuple[int, int]
    left_bottom: tuple[int, int]


_on_glass: WeakValueDictionary[Look, Texture] = WeakValueDictionary()
"""Textures that some widget still draws. Nothing here keeps one."""


@lru_cache(maxsize=PACKED_KEPT)
def _drawn(look: Look) -> Packed:
    """Of a picture that lets its ground show only the subject is kept."""
    name, width, height, corners, radius_px, note = look
    image = PICTURES.get(name, attractions.ticket)(width, height, note).finished()
    if image.mode == "RGBA":
        left, top, right, bottom = image.getchannel("A").getbbox() or (0, 0, 1, 1)
        return _packed(image.crop((left, top, right, bottom)), (left, height - bottom))
    image = image.convert("RGBA")
    if radius_px and corners != "none":
        mask = Image.new("L", (width * SCALE, height * SCALE), 0)
        ImageDraw.Draw(mask).rounded_rectangle(
            (0, 0, width * SCALE - 1, height * SCALE - 1), radius_px * SCALE, fill=255, corners=ROUND[corners]
        )
        image.putalpha(mask.reduce(SCALE))
    return _packed(image, (0, 0))


def _packed(image: Image.Image, left_bottom: tuple[int, int]) -> Packed:
    return Packed(zlib.compress(image.tobytes(), PACK_LEVEL), image.size, left_bottom)


def _texture(look: Look) -> tuple[Texture, tuple[int, int]]:
    """The texture, and where its lower left corner lies."""
    packed = _drawn(look)
    texture = _on_glass.get(look)
    if texture is None:
        width, height = packed.size
        texture = texture_from(zlib.decompress(packed.pixels, bufsize=width * height * 4), packed.size)
        _on_glass[look] = texture
    return texture, packed.left_bottom


class Picture(Placed):
    """A picture, cut to its box. `faded`: of what cannot be chosen. `note` is a text in the picture (an amount on a terminal)."""

    name = StringProperty("")
    corners = StringProperty("none")
    radius = NumericProperty(5.0)
    faded = NumericProperty(0.0)
    note = StringProperty("")

    def __init__(self, **kwargs: object) -> None:
        self._put_away = False
        super().__init__(**kwargs)
        for name in ("name", "corners", "radius", "faded", "note", "pos", "size"):
            self.fbind(name, self._draw)
        self._draw()

    def put_away(self) -> None:
        """Its screen has left the glass: let the texture go. Nothing is drawn until `bring_back`."""
        self._put_away = True
        self.canvas.clear()

    def bring_back(self) -> None:
        """Its screen comes to the glass: draw what it has become meanwhile."""
        if self._put_away:
            self._put_away = False
            self._draw()

    def _draw(self, *_: object) -> None:
        if self._put_away:
            return
        if not self.name or self.width <= 2 or self.height <= 2:
            self.canvas.clear()
            return
        look = (self.name, int(self.width), int(self.height), self.corners, px(self.radius), self.note)
        texture, (left, bottom) = _texture(look)
        self.canvas.clear()  # only now: a picture that has but moved finds its texture still there
        with self.canvas:
            Color(1, 1, 1, 1.0 - 0.5 * self.faded)
            Rectangle(texture=texture, pos=(self.x + left, self.y + bottom), size=texture.size)
