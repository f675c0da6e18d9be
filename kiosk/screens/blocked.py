"""The kiosk does not sell, says why, and names another way."""

from __future__ import annotations

from kiosk.screens.frame import Screen


class BlockedScreen(Screen):
    pass
