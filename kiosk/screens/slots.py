"""Which time: one card a slot, with its shape and its word."""

from __future__ import annotations

from kivy.properties import ListProperty, NumericProperty, ObjectProperty, StringProperty

from kiosk.screens.frame import MARK_TONES, Screen, WideKey, pool
from kiosk.screens.metric import panel, pick, rows
from kiosk.screens.patches import Press
from kiosk.visit.views import Left, Mark, SlotView


class SlotCard(Press):
    data = ObjectProperty(
        SlotView("", "", time_first=True, word="", left=Left(Mark.PLENTY, ""), touch=None), rebind=True
    )
    time_em = NumericProperty(18)
    time_w = NumericProperty(49)
    time_h = NumericProperty(47)
    mark_at = ListProperty([86, 11, 13, 13])
    left_at = ListProperty([72, 27, 42, 10])
    word_tone = StringProperty("ink")
    note_tone = StringProperty("ink2")
    mark_tone = StringProperty("matsu")

    def on_data(self, *_: object) -> None:
        closed = self.data.touch is None
        self.word_tone = "ash" if closed else "ink"
        self.note_tone = "ash" if closed else "ink2"
        self.mark_tone = MARK_TONES[self.data.left.mark]

    def on_at(self, *args: object) -> None:
        _, _, width, height = self.at
        if panel().portrait:
            self.time_em = (18 if self.data.time_first else 16) if height > 36 else 14
            self.time_w = self.time_em * 2.72
            middle = height / 2
            self.time_h = height
            self.mark_at = [width - 32.5, middle - 13.5, 13, 13]
            self.left_at = [width - 45, middle + 2, 38, 9.5]
        else:
            self.time_em, self.time_w, self.time_h = 11, 30, height - 10
            self.mark_at = [5, height - 10.5, 7, 7]
            self.left_at = [14, height - 11.5, width - 16, 9]
        super().on_at(*args)


class SlotsScreen(Screen):
    def __init__(self, **kwargs: object) -> None:
        self._cards: list[SlotCard] = []
        self._more: list[WideKey] = []
        super().__init__(**kwargs)
        self.fbind("view", self._lay)
        self._lay()

    def _lay(self, *_: object) -> None:
        slots, more = self.view.slots, self.view.more
        lowered = self.view.frame.lowered
        x, y, width, height = pick((14, 250, 239.7, 134) if lowered else (14, 191, 239.7, 192), (7, 27, 203.5, 78))
        key_h = pick(26.0 if lowered else 34.0, 20.0) if more else 0.0
        gap = pick(4.4, 3.0)
        area = (x, y, width, height - (key_h + gap if more else 0.0))
        places = rows(area, len(slots), columns=pick(2, 3), gap=gap, height_max=pick(47.0, 37.5))
        for index, card in enumerate(pool(self, self._cards, len(slots), SlotCard)):
            card.data, card.at = slots[index], list(places[index])
        end = max((place[1] + place[3] for place in places), default=y) + gap
        columns = 2
        key_w = (width - gap) / columns
        for index, key in enumerate(pool(self, self._more, len(more), WideKey)):
            column = index if len(more) == columns else columns - 1
            key.data, key.at, key.em = more[index], [x + column * (key_w + gap), end, key_w, key_h], pick(9, 7.2)
