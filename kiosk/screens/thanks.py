"""Thanks, and what to do with the ticket."""

from __future__ import annotations

from kiosk.screens.frame import Screen


class ThanksScreen(Screen):
    pass
