"""Boxes: fill, border, round corners and the one shadow, drawn once a kind into a nine-part texture and stretched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from kivy.graphics import BorderImage, Color, Rectangle
from kivy.graphics.texture import Texture
from kivy.properties import BooleanProperty, ListProperty, NumericProperty, StringProperty
from PIL import Image, ImageDraw, ImageFilter

from kiosk.screens.metric import panel, px
from kiosk.screens.pen import SCALE, colour, texture_of
from kiosk.screens.placed import Placed, Tap
from tickets.look import BORDER_MM, RADIUS_MM, rgb

Corners = tuple[bool, bool, bool, bool]
"""Which corners are round: upper left, upper right, lower right, lower left."""
ALL: Final[Corners] = (True, True, True, True)
RIGHT: Final[Corners] = (False, True, True, False)


@dataclass(frozen=True, slots=True)
class Shadow:
    share: float
    down_mm: float
    soft_mm: float


SHADOW: Final = Shadow(0.13, 0.6, 2.4)
TICKET_SHADOW: Final = Shadow(0.16, 0.8, 3.6)


@dataclass(frozen=True, slots=True)
class Patch:
    """How a kind of box looks, in mm and colour tokens; `fill` empty for a border alone."""

    fill: str
    edge: str = ""
    edge_mm: float = BORDER_MM["key"]
    radius_mm: float = RADIUS_MM["card"]
    shadow: Shadow | None = None
    corners: Corners = ALL
    dashed: bool = False


PATCHES: Final[dict[str, Patch]] = {
    "card": Patch("surface", shadow=SHADOW),
    "ticket": Patch("surface", shadow=TICKET_SHADOW),
    "key": Patch("surface", "edge", radius_mm=RADIUS_MM["key"]),
    "key_off": Patch("paper", "line", radius_mm=RADIUS_MM["key"]),
    "choice": Patch("surface", "edge"),
    "chosen": Patch("ai_tint", "ai", BORDER_MM["chosen"], RADIUS_MM["key"]),
    "staff": Patch("ai", radius_mm=RADIUS_MM["key"]),
    "sunken": Patch("sunken", "line"),
    "primary": Patch("yama", radius_mm=RADIUS_MM["primary"], shadow=SHADOW),
    "bar": Patch("deep", radius_mm=RADIUS_MM["card"]),
    "stub": Patch("yama", radius_mm=RADIUS_MM["card"], corners=RIGHT),
    "stub_plain": Patch("surface", "deep", 0.7, RADIUS_MM["card"], corners=RIGHT),
    "minus": Patch("surface", "ai", BORDER_MM["key"], RADIUS_MM["key"]),
    "minus_off": Patch("surface", "line", BORDER_MM["key"], RADIUS_MM["key"]),
    "plus": Patch("ai", radius_mm=RADIUS_MM["key"]),
    "plus_off": Patch("sunken", radius_mm=RADIUS_MM["key"]),
    "note": Patch("yama_tint", radius_mm=RADIUS_MM["key"]),
    "icon": Patch("ai_tint", radius_mm=RADIUS_MM["key"]),
    "icon_off": Patch("sunken", "edge", 0.4, RADIUS_MM["key"]),
    "tag": Patch("sunken", "edge", 0.4, RADIUS_MM["small"]),
    "stage": Patch("ai_tint", shadow=SHADOW),
    "status": Patch("surface", "line", BORDER_MM["key"]),
    "mark": Patch("yama", radius_mm=15.0),
    "done": Patch("ai", radius_mm=1.5),
    "doing": Patch("yama", "ai", 0.9, 1.5),
    "to_do": Patch("surface", "edge", 0.4, 1.5),
    "rail": Patch("line", radius_mm=2.9),
    "rail_done": Patch("ai", radius_mm=2.9),
    "hole": Patch("", "edge", 0.4, RADIUS_MM["small"], dashed=True),
}


@lru_cache(maxsize=64)
def _drawn(kind: str, _density: float) -> tuple[Texture, int, int]:
    """The texture, how far it reaches beyond the box, and its border, in pixels."""
    patch = PATCHES[kind]
    density = panel().px_per_mm
    reach = 0
    if patch.shadow is not None:
        reach = round((patch.shadow.soft_mm + patch.shadow.down_mm) * density) + 1
    radius = max(1, round(patch.radius_mm * density))
    side = 2 * radius + 6
    big = ((side + 2 * reach) * SCALE, (side + 2 * reach) * SCALE)
    box = (reach * SCALE, reach * SCALE, (reach + side) * SCALE - 1, (reach + side) * SCALE - 1)
    image = Image.new("RGBA", big, (*_rgb(patch.edge or patch.fill), 0))
    if patch.shadow is not None:
        image = Image.new("RGBA", big, (*_rgb("ink"), 0))
        shade = Image.new("L", big, 0)
        down = round(patch.shadow.down_mm * density * SCALE)
        ImageDraw.Draw(shade).rounded_rectangle(
            (box[0], box[1] + down, box[2], box[3] + down), radius * SCALE, fill=round(255 * patch.shadow.share)
        )
        image.putalpha(shade.filter(ImageFilter.GaussianBlur(patch.shadow.soft_mm * density * SCALE / 2.2)))
    draw = ImageDraw.Draw(image)
    if patch.edge:
        draw.rounded_rectangle(box, radius * SCALE, fill=colour(patch.edge), corners=patch.corners)
    inset = max(1, round(patch.edge_mm * density)) * SCALE if patch.edge else 0
    if patch.fill:
        inner = (box[0] + inset, box[1] + inset, box[2] - inset, box[3] - inset)
        draw.rounded_rectangle(inner, max(0, radius * SCALE - inset), fill=colour(patch.fill), corners=patch.corners)
    return texture_of(image.reduce(SCALE)), reach, reach + radius + 2


def _rgb(token: str) -> tuple[int, int, int]:
    red, green, blue = rgb(token)
    return round(red * 255), round(green * 255), round(blue * 255)


def _panel_density() -> float:
    return panel().px_per_mm


def draw_patch(kind: str, x: float, y: float, width: float, height: float) -> None:
    """Into the open canvas, at pixels."""
    texture, reach, border = _drawn(kind, _panel_density())
    BorderImage(
        texture=texture,
        pos=(x - reach, y - reach),
        size=(width + 2 * reach, height + 2 * reach),
        border=(border, border, border, border),
    )


class Box(Placed):
    """A box of a kind; `notch` mm from the left stands a perforation with its two notches, 0 for none."""

    kind = StringProperty("card")
    notch = NumericProperty(0)
    across = NumericProperty(0)
    """A perforation from left to right so many mm from the top, 0 for none."""
    dash_tone = StringProperty("edge")
    shade = NumericProperty(1.0)

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        for name in ("kind", "notch", "across", "dash_tone", "shade", "pos", "size"):
            self.fbind(name, self._draw)
        self._draw()

    def _draw(self, *_: object) -> None:
        self.canvas.before.clear()
        if self.width <= 1 or self.height <= 1:
            return
        with self.canvas.before:
            Color(self.shade, self.shade, self.shade, 1)
            if PATCHES[self.kind].dashed:
                self._dashes()
                return
            draw_patch(self.kind, self.x, self.y, self.width, self.height)
            if self.notch:
                self._perforate(self.x + px(self.notch))
            if self.across:
                self._perforate_across(self.top - px(self.across))

    def _perforate(self, x: int) -> None:
        thick, dash, gap = max(2, px(0.6)), px(2.0), px(1.4)
        notch = px(9.0)
        Color(*rgb(self.dash_tone))
        y = self.y + notch // 2 + gap
        while y + dash <= self.top - notch // 2 - gap // 2:
            Rectangle(pos=(x - thick // 2, round(y)), size=(thick, dash))
            y += dash + gap
        Color(1, 1, 1, 1)
        for centre in (self.y, self.top):
            disc = disc_of("paper", notch)
            Rectangle(texture=disc, pos=(x - notch // 2, round(centre) - notch // 2), size=(notch, notch))

    def _perforate_across(self, y: int) -> None:
        thick, dash, gap = max(2, px(0.6)), px(2.0), px(1.4)
        notch = px(9.0)
        Color(*rgb(self.dash_tone))
        x = self.x + notch // 2 + gap
        while x + dash <= self.right - notch // 2 - gap // 2:
            Rectangle(pos=(round(x), y - thick // 2), size=(dash, thick))
            x += dash + gap
        Color(1, 1, 1, 1)
        for centre in (self.x, self.right):
            disc = disc_of("paper", notch)
            Rectangle(texture=disc, pos=(round(centre) - notch // 2, y - notch // 2), size=(notch, notch))

    def _dashes(self) -> None:
        """A dashed border: a field that is still empty."""
        thick, dash, gap = max(2, px(0.5)), px(1.7), px(1.2)
        Color(*rgb(self.dash_tone))
        x = self.x
        while x < self.right:
            width = min(dash, self.right - x)
            Rectangle(pos=(round(x), self.y), size=(width, thick))
            Rectangle(pos=(round(x), self.top - thick), size=(width, thick))
            x += dash + gap
        y = self.y
        while y < self.top:
            height = min(dash, self.top - y)
            Rectangle(pos=(self.x, round(y)), size=(thick, height))
            Rectangle(pos=(self.right - thick, round(y)), size=(thick, height))
            y += dash + gap


@lru_cache(maxsize=32)
def disc_of(token: str, diameter_px: int, edge: str = "", edge_px: int = 0) -> Texture:
    """A round disc, with a ring of another colour around it."""
    size = diameter_px * SCALE
    image = Image.new("RGBA", (size, size), (*_rgb(edge or token), 0))
    draw = ImageDraw.Draw(image)
    draw.ellipse((0, 0, size - 1, size - 1), fill=colour(edge or token))
    if edge and edge_px:
        inset = edge_px * SCALE
        draw.ellipse((inset, inset, size - 1 - inset, size - 1 - inset), fill=colour(token))
    return texture_of(image.reduce(SCALE))


class Disc(Placed):
    """A round mark."""

    tone = StringProperty("ai")
    edge = StringProperty("")
    edge_mm = NumericProperty(0.9)
    shade = NumericProperty(1.0)

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        for name in ("tone", "edge", "edge_mm", "pos", "size"):
            self.fbind(name, self._draw)
        self._draw()

    def _draw(self, *_: object) -> None:
        self.canvas.before.clear()
        if self.width <= 1:
            return
        with self.canvas.before:
            Color(1, 1, 1, 1)
            texture = disc_of(self.tone, int(self.width), self.edge, px(self.edge_mm) if self.edge else 0)
            Rectangle(texture=texture, pos=self.pos, size=self.size)


class Block(Placed):
    """A plain rectangle: hairlines, rails."""

    tone = StringProperty("line")
    colour = ListProperty([])

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        for name in ("tone", "pos", "size"):
            self.fbind(name, self._draw)
        self._draw()

    def _draw(self, *_: object) -> None:
        self.canvas.before.clear()
        with self.canvas.before:
            Color(*rgb(self.tone))
            Rectangle(pos=self.pos, size=(max(1, self.width), max(1, self.height)))


class Press(Box, Tap):
    """A box to touch: it darkens while a finger is on it."""

    firm = BooleanProperty(defaultvalue=False)

    def on_pressed(self, *_: object) -> None:
        self.shade = 0.88 if self.pressed else 1.0
