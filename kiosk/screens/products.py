"""Which ticket: one card a product, its picture on the left or, where there is room, on top."""

from __future__ import annotations

from kivy.properties import BooleanProperty, ListProperty, NumericProperty, ObjectProperty, StringProperty

from kiosk.screens.frame import Screen, pool
from kiosk.screens.metric import panel, pick, rows
from kiosk.screens.patches import Press
from kiosk.visit.views import Amount, Left, Mark, ProductView

TALL_MM = 80.0
"""From this height a card has its picture on top."""


class ProductCard(Press):
    data = ObjectProperty(
        ProductView("", "", "", "", Amount("", "", unit_first=False), Left(Mark.PLENTY, ""), None), rebind=True
    )
    tall = BooleanProperty(defaultvalue=False)
    picture_mm = NumericProperty(50)
    box = ListProperty([54, 4, 60, 53])
    title_h = NumericProperty(12)
    title_em = NumericProperty(9)
    noted = BooleanProperty(defaultvalue=True)
    price_top = NumericProperty(34)
    price_h = NumericProperty(14)
    price_em = NumericProperty(11.5)
    left_at = ListProperty([54, 48, 60, 9])
    word_tone = StringProperty("ink")

    def on_data(self, *_: object) -> None:
        self.word_tone = "ink" if self.data.touch is not None else "ash"

    def on_at(self, *args: object) -> None:
        """The inner measures follow from the card's own."""
        _, _, width, height = self.at
        self.tall = height >= TALL_MM
        if self.tall:
            self.picture_mm = height - 44
            self.box = [7, self.picture_mm + 3, width - 14, 41]
            self.title_h, self.title_em = 13, 10
            self.noted, self.price_top, self.price_h, self.price_em = True, height - 17.5, 14, 12
            self.left_at = [width - 63, height - 15.5, 59, 9]
        elif panel().portrait:
            low = height < 50
            self.picture_mm = 38.0 if low else 46.0
            x = self.picture_mm + 5
            self.box = [x, 3.5, width - x - 4, height - 7]
            self.title_h, self.title_em = 11.5, 9
            self.noted = not low
            self.price_em, self.price_h = (9.5, 11) if low else (11.5, 13)
            self.price_top = height - 14.5 if low else height - 27
            self.left_at = [width - 41, height - 13.5, 38, 9] if low else [x, height - 13, width - x - 4, 9]
        else:
            self.picture_mm = 30.0 if width > 80 else 20.0
            x = self.picture_mm + 3
            self.box = [x, 1, width - x - 2, height - 2]
            self.title_h, self.title_em = 17.0, 8.0 if width > 80 else 7.2
            self.noted, self.price_top, self.price_h, self.price_em = False, height - 19.5, 10.5, 9.2
            self.left_at = [x, height - 9.7, width - x - 2, 8.5]
        super().on_at(*args)


class ProductsScreen(Screen):
    def __init__(self, **kwargs: object) -> None:
        self._cards: list[ProductCard] = []
        super().__init__(**kwargs)
        self.fbind("view", self._lay)
        self._lay()

    def _lay(self, *_: object) -> None:
        products = self.view.products
        count = len(products)
        lowered = self.view.frame.lowered
        area = pick((14, 264, 239.7, 118) if lowered else (14, 191, 239.7, 194), (7, 27, 203.5, 78))
        places = rows(
            area,
            count,
            columns=pick(2, 2 if count <= 4 else 3),
            gap=pick(4.5, 3.0),
            height_max=pick(36.3 if lowered and count > 4 else 95.0 if count <= 4 else 61.7, 37.5),
        )
        for index, card in enumerate(pool(self, self._cards, count, ProductCard)):
            card.data, card.at = products[index], list(places[index])
