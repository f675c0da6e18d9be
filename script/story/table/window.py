"""The table's window: looks a few times a second at what has become, draws what changed, and turns touches into what hands do."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from kivy.app import App
from kivy.clock import Clock as KivyClock
from kivy.core.window import Window

from scanner.screen.pen import Fonts
from script.story.table.face import PIECE_GAP, PIECE_WIDTH, TableFace
from script.story.table.hands import Hands
from script.story.table.standing import Card, Standing

LOOK_EVERY_S: Final = 0.1
DRAG_PX: Final = 8
"""A finger that moves farther than this moves the strip instead of touching a piece."""
NOTO: Final = Path("/usr/share/fonts/opentype/noto")


class Table(App):  # type: ignore[misc]  # Kivy carries no types
    """`say_targets`: a file that names what can be touched and where, as the kiosk's."""

    title = "Kaisatsu table"

    def __init__(self, hands: Hands, *, say_targets: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._hands = hands
        self._say_to = say_targets
        self._said = ""
        self._standing = hands.standing
        self._scroll = 0.0
        self._large: Path | None = None
        self._touched: str | None = None
        self._dragged = False
        self._face = TableFace(fonts=Fonts(NOTO / "NotoSansCJK-Regular.ttc", NOTO / "NotoSansCJK-Bold.ttc"))

    def build(self) -> TableFace:
        self._face.bind(size=lambda *_: self._redraw())
        self._face.bind(on_touch_down=self._press, on_touch_move=self._drag, on_touch_up=self._release)
        KivyClock.schedule_interval(self._look, LOOK_EVERY_S)
        return self._face

    def open_settings(self, *_: object) -> bool:
        """F1 opens nothing here."""
        return False

    def _look(self, _dt: float) -> None:
        before, self._standing = self._standing, self._hands.look()
        if self._standing == before:
            return
        if len(self._standing.pieces) != len(before.pieces):
            self._scroll = 0.0  # what has just come out is what one wants to see
        self._redraw()

    def _redraw(self) -> None:
        self._scroll = min(self._scroll, self._face.scroll_max(self._standing))
        self._face.draw(self._standing, scroll=self._scroll, large=self._large)
        self._say_targets()

    def _scroll_to(self, units: float) -> None:
        self._scroll = max(0.0, min(units, self._face.scroll_max(self._standing)))
        self._face.draw_strip(self._standing, scroll=self._scroll)
        self._say_targets()

    # --- fingers

    def _press(self, _face: TableFace, touch: Any) -> bool:
        if touch.is_mouse_scrolling:
            if self._face.in_strip(touch.pos):
                step = PIECE_WIDTH + PIECE_GAP
                self._scroll_to(self._scroll + (step if touch.button in ("scrollup", "scrollleft") else -step))
            return True
        self._dragged = False
        self._touched = self._face.target_at(touch.pos)
        touch.ud["scroll"] = self._scroll if self._face.in_strip(touch.pos) else None
        return True

    def _drag(self, _face: TableFace, touch: Any) -> bool:
        start = touch.ud.get("scroll")
        moved_px = touch.x - touch.ox
        if start is not None and (self._dragged or abs(moved_px) > DRAG_PX):
            self._dragged = True
            self._scroll_to(start - moved_px / self._face.pen().px_per_mm)
        return True

    def _release(self, _face: TableFace, touch: Any) -> bool:
        """A key is pressed where the finger went down and came up on it."""
        if touch.is_mouse_scrolling:
            return True
        touched, self._touched = self._touched, None
        if touched is not None and not self._dragged and self._face.target_at(touch.pos) == touched:
            self._do(touched)
            self._standing = self._hands.standing
            self._redraw()
        return True

    def _do(self, name: str) -> None:
        what, _, which = name.partition(".")
        match what, which:
            case "piece", number:
                self._hands.hold_up(self._paper(number))
            case "larger", number:
                self._large = self._paper(number)
            case "hold", _:
                assert self._large is not None
                self._hands.hold_up(self._large)
                self._large = None
            case "close", _:
                self._large = None
            case "line", "cut":
                self._hands.cut_line()
            case "line", "mend":
                self._hands.mend_line()
            case "roll", "out":
                self._hands.take_roll_out()
            case "roll", "load":
                self._hands.load_roll()
            case "card", card:
                self._hands.choose_card(Card(card))
            case "office", "open":
                self._hands.open_office()

    def _paper(self, number: str) -> Path:
        return self._standing.pieces[len(self._standing.pieces) - int(number)].paper

    def _say_targets(self) -> None:
        face, pen = self._face, self._face.pen()
        if face.width <= 1:
            return
        found = {}
        for name, box in face.targets:
            x, y = pen.point(*box.middle)
            if 0 <= x < face.width:
                found[name] = [round(x), round(face.height - y)]
        said = json.dumps(
            {"screen": _state(self._standing, self._large), "targets": found, "enabled": dict.fromkeys(found, True)},
            sort_keys=True,
        )
        if said == self._said:
            return
        self._said = said
        fresh = self._say_to.with_name(self._say_to.name + ".new")
        fresh.write_text(said, encoding="utf-8")
        os.replace(fresh, self._say_to)  # noqa: PTH105 the atomic one


def _state(standing: Standing, large: Path | None) -> str:
    if large is not None:
        return "large"
    return "holding" if standing.held is not None else "table"


def open_window(hands: Hands, *, say_targets: Path) -> Table:
    """The table, not yet running. `prepare` has been called."""
    Window.minimum_width, Window.minimum_height = 320, 360
    return Table(hands, say_targets=say_targets)
