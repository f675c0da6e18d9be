"""A guest's visit: what the kiosk asks, shows and wants done, decided in one pure place.

`step` takes a state, an event and a context and returns the next state and the effects; `present` turns a state into what a screen
shows. Neither reads a clock, touches a wire or draws. The sale engine behind `port.Engine` does what the effects say.
"""

from kiosk.visit.port import Engine
from kiosk.visit.present import present
from kiosk.visit.state import Visit, start
from kiosk.visit.step import step

__all__ = ["Engine", "Visit", "present", "start", "step"]
