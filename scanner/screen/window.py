"""The window: looks at the socket between frames, draws when something changed, and ticks once a second.

The tick asks for an update even where nothing moved, because a still picture may otherwise never be presented on KMS/DRM.
"""

from __future__ import annotations

import gc
import time
from typing import Any

import structlog
from kivy.app import App
from kivy.clock import Clock as KivyClock
from kivy.core.window import Window
from kivy.utils import get_color_from_hex

from scanner.screen.face import GateFace
from scanner.screen.link import Link
from scanner.screen.pen import Fonts
from scanner.screen.settings import Settings
from scanner.screen.showing import Showing
from scanner.screen.sounds import Speaker, sound_of
from scanner.view import Key
from sync.service import notify
from tickets.clock import Clock
from tickets.look import COLOURS

BAR_FRAMES_PER_S = 10
"""Each frame of software GL takes time that the gate beside it may need; the bar is two millimetres shorter each time."""

_log = structlog.get_logger()


class GateScreen(App):  # type: ignore[misc]  # Kivy carries no types
    """`started_s` is the process's first breath on the monotonic clock, for the log line that says how long the first frame took."""

    title = "Kaisatsu gate"

    def __init__(self, settings: Settings, *, clock: Clock, started_s: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._settings = settings
        self._clock = clock
        self._started_s = started_s
        self._link = Link(settings.view_socket, clock=clock)
        self._showing = Showing()
        self._speaker: Speaker | None = None
        self._face = GateFace(fonts=Fonts(settings.font_regular, settings.font_bold), language=settings.language)
        self._bar_drawn_s = 0.0
        self._frames_shown = 0
        self._touched: tuple[Key, int | None] | None = None

    def build(self) -> GateFace:
        Window.clearcolor = get_color_from_hex(COLOURS["paper"])
        self._face.bind(size=lambda *_: self._redraw())
        self._face.bind(on_touch_down=self._press, on_touch_up=self._release)
        Window.bind(on_flip=self._frame_shown)
        KivyClock.schedule_interval(self._look, 0)
        KivyClock.schedule_interval(self._tick, 1)
        return self._face

    def open_settings(self, *_: object) -> bool:
        """F1 opens nothing at a gate."""
        return False

    def on_stop(self) -> None:
        notify.stopping()
        self._link.close()

    def _frame_shown(self, *_: object) -> None:
        """The first swap on KMS/DRM shows nothing (docs/decisions/0006): one more at once, and only then are we ready."""
        self._frames_shown += 1
        if self._frames_shown == 1:
            _log.info("first_frame", ms=round((self._clock.monotonic_s() - self._started_s) * 1000))
            KivyClock.schedule_once(lambda _dt: Window.canvas.ask_update(), 0)
            return
        Window.unbind(on_flip=self._frame_shown)
        notify.ready("drawing")
        # Audio opens a device and may take its time: the picture comes first.
        KivyClock.schedule_once(self._open_speaker, 0)

    def _open_speaker(self, _dt: float) -> None:
        """The last thing of the start. What is there now stays: later collections look at what each picture left alone."""
        self._speaker = Speaker(self._settings.runtime_dir / "sounds", volume=self._settings.volume)
        gc.collect()
        gc.freeze()

    def _look(self, _dt: float) -> None:
        """Each frame: what came, and what has run down."""
        now_s = self._clock.monotonic_s()
        before = self._showing
        newest = None
        for view in self._link.receive():
            self._showing = self._showing.received(view, now_s=now_s)
            newest = view if view.verdict is not None else newest
        if before.connected and not self._link.connected:
            self._showing = self._showing.disconnected()
        self._showing = self._showing.at(now_s)
        if self._showing is not before:
            drawn_s = time.perf_counter()
            self._redraw()
            if newest is not None and newest.verdict is not None:
                _log.info("verdict_drawn", verdict=newest.verdict, ms=round((time.perf_counter() - drawn_s) * 1000, 1))
                if self._speaker is not None:
                    self._speaker.play(sound_of(newest.verdict, newest.reason))
        elif self._showing.until_s is not None and now_s - self._bar_drawn_s >= 1 / BAR_FRAMES_PER_S:
            self._bar_drawn_s = now_s
            self._face.draw_bar(self._showing, now_s=now_s)

    def _tick(self, _dt: float) -> None:
        self._face.draw_head(self._showing, now_s=self._clock.monotonic_s())
        Window.canvas.ask_update()
        gc.collect()  # Kivy's smooth shapes are cycles that hold on to GL buffers; after the freeze this takes a millisecond
        notify.alive()  # the loop turns and has drawn

    def _redraw(self) -> None:
        self._face.draw(self._showing, now_s=self._clock.monotonic_s())

    def _press(self, _face: GateFace, touch: Any) -> bool:
        self._touched = self._face.target_at(touch.pos)
        self._face.draw_touch(self._touched)
        return True

    def _release(self, _face: GateFace, touch: Any) -> bool:
        """A key is pressed where the finger went down and came up on it."""
        touched, self._touched = self._touched, None
        target = self._face.target_at(touch.pos)
        self._face.draw_touch(None)
        if target is None or target != touched:
            return True
        key, count = target
        self._showing, press = self._showing.pressed(key, count)
        if press is not None:
            self._link.send(press)
        self._redraw()
        return True
