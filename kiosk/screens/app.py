"""The kiosk's window: hands touches to the visit, effects to the engine, and shows what the visit has become.

This thread draws. It never waits for the engine: effects go into its inbox, its word is fetched by the clock.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog
from kivy.app import App
from kivy.clock import Clock as KivyClock
from kivy.core.window import Window

from kiosk.locale import languages, words
from kiosk.screens import metric
from kiosk.screens.host import Host
from kiosk.screens.placed import Tap
from kiosk.screens.text import close_fonts
from kiosk.screens.window import give_back, trim_heap
from kiosk.settings import Settings
from kiosk.visit.effect import Effect, Sound
from kiosk.visit.event import Event, Tick, Touch
from kiosk.visit.port import Engine, EngineStopped
from kiosk.visit.present import present
from kiosk.visit.rehearsal import rehearsal
from kiosk.visit.situation import BlockReason, Context, Situation
from kiosk.visit.state import start
from kiosk.visit.step import step
from kiosk.visit.views import View
from sync.service import notify
from tickets.clock import Clock

FETCH_S: Final = 1 / 30
"""How often the engine's outbox is looked at."""
TICK_S: Final = 0.5
REHEARSE_S: Final = 0.1
FAILED_SHOWN_S: Final = 8
"""How long a guest can read that the kiosk has stopped before the process ends."""
FETCHED_MAX: Final = 64
"""Words of the engine taken in one go, so that a flood cannot stop the drawing."""

log = structlog.get_logger()


class KioskApp(App):  # type: ignore[misc]  # Kivy carries no types
    """`play` sounds a tone; it must not block."""

    def __init__(
        self, settings: Settings, engine: Engine, clock: Clock, *, play: Callable[[Sound], None] | None = None
    ) -> None:
        super().__init__()
        self._settings = settings
        self._engine = engine
        self._clock = clock
        self._play = play
        self._situation = Situation()
        self._languages = languages()
        self._view: View | None = None
        self._changes = 0
        self._said_changes = 0
        self._last_second = -1
        self.has_failed = False
        self._rehearsal: Iterator[View] | None = None
        self.rehearsed = False
        self._tidied = ""
        self.visit = replace(start(), touched_s=clock.monotonic_s())
        self.host = Host()

    # --- Kivy

    def build(self) -> Host:
        Tap.sink = self.touched
        Window.clearcolor = (0.969, 0.961, 0.937, 1)
        Window.bind(size=self._sized, on_flip=self._say_targets)
        self._sized(Window, Window.size)
        self._show()
        return self.host

    def on_start(self) -> None:
        """After the first frame: then the engine may begin."""
        KivyClock.schedule_once(self._begin, 0)

    def on_stop(self) -> None:
        notify.stopping()
        self._engine.stop()

    def open_settings(self, *_: object) -> None:
        """Kivy's own settings panel has no place on a kiosk."""

    def _begin(self, _dt: float) -> None:
        self._engine.start()
        KivyClock.schedule_interval(self._fetch, FETCH_S)
        KivyClock.schedule_interval(self._tick, TICK_S)
        KivyClock.schedule_interval(self._rehearse, REHEARSE_S)
        notify.ready()
        log.info("first_frame", width_px=Window.width, height_px=Window.height)

    def _sized(self, _window: object, size: tuple[int, int]) -> None:
        self.host.pos, self.host.size = (0, 0), size
        self._changes += 1

    def _rehearse(self, _dt: float) -> None:
        """One screen a beat while nobody is here, so that no guest waits for a picture to be drawn the first time."""
        if self.rehearsed or self.visit.catalogue is not None or self._situation.block_reason is not None:
            return
        if self._rehearsal is None:
            self._rehearsal = rehearsal(self._context())
        view = next(self._rehearsal, None)
        if view is None:
            self.rehearsed = True
            close_fonts()
            give_back()
            gc.freeze()  # what stands now stays: later collections look only at what came after, and take a few milliseconds
        else:
            self.host.rehearse(view)

    # --- the visit

    def touched(self, touch: Touch) -> None:
        """A finger has left something it may touch."""
        self._follow(touch)

    def _context(self) -> Context:
        return Context(self._situation, self._clock.now_utc(), self._clock.monotonic_s(), self._languages)

    def _follow(self, event: Event) -> None:
        self.visit, effects = step(self.visit, event, self._context())
        for effect in effects:
            self._perform(effect)
        self._show()

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Sound):
            if self._play is not None:
                self._play(effect)
            return
        try:
            self._engine.perform(effect)
        except EngineStopped:
            self._stop_selling()

    def _stop_selling(self) -> None:
        """The engine is gone: nothing can be put on record, so nothing is sold. The screen says so, then the process ends with an
        error, so that it is started again and clears up whatever was open.
        """
        if self.has_failed:
            return
        self.has_failed = True
        log.error("engine_stopped")
        self._situation = replace(self._situation, blocked=BlockReason.JOURNAL)
        KivyClock.schedule_once(lambda _dt: self.stop(), FAILED_SHOWN_S)

    def _fetch(self, _dt: float) -> None:
        try:
            for _ in range(FETCHED_MAX):
                said = self._engine.take()
                if said is None:
                    return
                if isinstance(said, Situation):
                    self._situation = said
                    self._follow(Tick())
                else:
                    self._follow(said)
        except EngineStopped:
            self._stop_selling()
            self._follow(Tick())

    def _tick(self, _dt: float) -> None:
        second = int(self._clock.monotonic_s())
        if second == self._last_second:
            return
        self._last_second = second
        self._follow(Tick())
        self._tidy()
        # A picture that never changes may never reach the glass on a bare display: ask once a second.
        Window.canvas.ask_update()
        if not self.has_failed:
            notify.alive()

    def _tidy(self) -> None:
        """Kivy's widgets are cycles that hold on to textures, and what they leave lies between what stays: a second after a screen
        has changed both are given back, when its picture has long been drawn. So are the fonts, whenever something was written.
        """
        if not self.rehearsed:
            return
        had_fonts = close_fonts()
        if self.host.screen_name != self._tidied:
            self._tidied = self.host.screen_name
            give_back()
        elif had_fonts:
            trim_heap()

    def _show(self) -> None:
        view = present(self.visit, self._context(), words(self.visit.language))
        if view != self._view:
            self._view = view
            self._changes += 1
        self.host.show(view)

    def _say_targets(self, *_: object) -> None:
        """Tell where the keys are, once the frame that shows them is drawn."""
        if not self._settings.say_targets:
            return
        if self._said_changes == self._changes:
            return
        self._said_changes = self._changes
        found = self.host.targets()
        said = json.dumps(
            {
                "change": self._changes,
                "screen": self.host.screen_name,
                "overlay": self.host.overlay_shown,
                "language": str(self.visit.language),
                "targets": {name: [x, y] for name, (x, y, _) in found.items()},
                "enabled": {name: acts for name, (_, _, acts) in found.items()},
            },
            ensure_ascii=False,
            sort_keys=True,
        )
        path = Path(self._settings.say_targets)
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(said, encoding="utf-8")
        os.replace(fresh, path)  # noqa: PTH105 the atomic one


def run(settings: Settings, engine: Engine, clock: Clock) -> int:
    """Open the window and serve guests until SIGTERM (0) or until the sale engine fails (1). `window.prepare` has been called."""
    metric.use(metric.panel_of(Window.width, Window.height, settings.px_per_mm or None))
    app = KioskApp(settings, engine, clock)
    app.run()
    return 1 if app.has_failed else 0
