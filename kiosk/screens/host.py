"""The window's one child: shows the screen of a view, and the notice over it. It follows the visit and never decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from kivy.graphics import Color, Rectangle
from kivy.lang import Builder

from kiosk.screens.attract import AttractScreen
from kiosk.screens.basket import BasketScreen
from kiosk.screens.blocked import BlockedScreen
from kiosk.screens.change import ChangeScreen
from kiosk.screens.claim import ClaimScreen
from kiosk.screens.frame import Screen
from kiosk.screens.method import MethodScreen
from kiosk.screens.overlay import OverlayScreen
from kiosk.screens.paying import PayingScreen
from kiosk.screens.people import PeopleScreen
from kiosk.screens.pictures import Picture
from kiosk.screens.placed import Placed, Tap
from kiosk.screens.printing import PrintingScreen
from kiosk.screens.products import ProductsScreen
from kiosk.screens.slots import SlotsScreen
from kiosk.screens.take import TakeScreen
from kiosk.screens.thanks import ThanksScreen
from kiosk.visit.views import (
    AttractView,
    BasketView,
    BlockedView,
    ChangeView,
    ClaimView,
    MethodView,
    PayingView,
    PeopleView,
    PrintingView,
    ProductsView,
    SlotsView,
    TakeView,
    ThanksView,
    View,
)
from tickets.look import rgb

SCREENS: Final[dict[type, tuple[str, type[Screen]]]] = {
    AttractView: ("attract", AttractScreen),
    ProductsView: ("products", ProductsScreen),
    SlotsView: ("slots", SlotsScreen),
    PeopleView: ("people", PeopleScreen),
    BasketView: ("basket", BasketScreen),
    ChangeView: ("change", ChangeScreen),
    MethodView: ("method", MethodScreen),
    PayingView: ("paying", PayingScreen),
    PrintingView: ("printing", PrintingScreen),
    TakeView: ("take", TakeScreen),
    ThanksView: ("thanks", ThanksScreen),
    ClaimView: ("claim", ClaimScreen),
    BlockedView: ("blocked", BlockedScreen),
}
RULES: Final = ("frame", *(name for name, _ in SCREENS.values()), "overlay")


def load_rules() -> None:
    """The .kv files, each once a process."""
    folder = Path(__file__).parent
    for name in RULES:
        path = str(folder / f"{name}.kv")
        if path not in Builder.files:
            Builder.load_file(path)


def _pictures(screen: Screen) -> list[Picture]:
    return [widget for widget in screen.walk(restrict=True) if isinstance(widget, Picture)]


def _put_away(screen: Screen) -> None:
    for picture in _pictures(screen):
        picture.put_away()


def _bring_back(screen: Screen) -> None:
    for picture in _pictures(screen):
        picture.bring_back()


class Host(Placed):
    """Fills the window. Screens are made when first shown and kept; the one shown is the only one in the tree, and the only one
    whose pictures are textures.
    """

    def __init__(self, **kwargs: object) -> None:
        load_rules()
        self._made: dict[str, Screen] = {}
        self._screen: Screen | None = None
        self._overlay: OverlayScreen | None = None
        self.screen_name = ""
        super().__init__(**kwargs)
        with self.canvas.before:
            Color(*rgb("paper"))
            self._ground = Rectangle()
        self.fbind("size", self._grounded)

    def _grounded(self, *_: object) -> None:
        self._ground.pos, self._ground.size = self.pos, self.size

    def show(self, view: View) -> None:
        """Show `view`; the same screen only takes what has changed."""
        name, kind = SCREENS[type(view)]
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = kind(view=view)
        elif made.view != view:
            made.view = view
        if made is not self._screen:
            if self._screen is not None:
                self.remove_widget(self._screen)
                _put_away(self._screen)
            _bring_back(made)
            self.add_widget(made, index=len(self.children))
            self._screen = made
        self.screen_name = name
        self._show_overlay(view)

    def rehearse(self, view: View) -> None:
        """Make a screen before a guest comes to it: its pictures and letters are drawn now, out of sight."""
        name, kind = SCREENS[type(view)]
        if name in self._made:
            return
        made = self._made[name] = kind(view=view)
        wings = Placed(size=self.size, pos=self.pos)
        wings.add_widget(made)
        wings.remove_widget(made)
        _put_away(made)

    def _show_overlay(self, view: View) -> None:
        wanted = view.frame.overlay
        if wanted is None:
            if self._overlay is not None and self._overlay.parent is not None:
                self.remove_widget(self._overlay)
            return
        if self._overlay is None:
            self._overlay = OverlayScreen(view=wanted)
        self._overlay.view = wanted
        if self._overlay.parent is None:
            self.add_widget(self._overlay)

    @property
    def overlay_shown(self) -> bool:
        return self._overlay is not None and self._overlay.parent is not None

    def targets(self) -> dict[str, tuple[float, float, bool]]:
        """What can be touched now: name -> centre in window pixels from the upper left, and whether it would act."""
        root: Placed | None = self._overlay if self.overlay_shown else self._screen
        found: dict[str, tuple[float, float, bool]] = {}
        if root is None:
            return found
        for widget in root.walk(restrict=True):
            if isinstance(widget, Tap) and widget.name and widget.visible:
                found[widget.name] = (
                    round(widget.center_x, 1),
                    round(self.height - widget.center_y, 1),
                    widget.touch is not None,
                )
        return found

    def on_touch_down(self, touch: Any) -> bool:
        return bool(super().on_touch_down(touch))
