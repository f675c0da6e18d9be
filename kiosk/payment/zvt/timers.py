"""How long each side may take (PA00P016, chapters 3.4 and 5.2; PA00P015, 2.2.6). All adjustable: networks differ."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timers:
    """Seconds. T1 to T4 carry the specification's names and defaults.

    `after_confirm_s` is how long the terminal may be silent between our consent and 06 0F: a guest stands waiting.

    `rest_s` is how long a terminal may be deaf after an end of day that it ended with E0 or FC (an update, a restart).

    A hold is answered or extended after `hold_extend_after_s`, which stays below T3, in case a terminal measures its wait for
    the goods by that; it lasts at most (`hold_extend_after_s` + 2) x (`hold_extends_max` + 1) seconds, then the driver refuses.
    """

    connect_s: float = 3.0
    t1_s: float = 0.2
    t2_s: float = 5.0
    t3_s: float = 5.0
    t4_s: float = 180.0
    after_confirm_s: float = 60.0
    poll_s: float = 0.1
    hold_answer_s: int = 30
    hold_extend_after_s: float = 4.0
    hold_extends_max: int = 9
    hold_repeat_s: float = 10.0
    rest_s: float = 90.0

    def __post_init__(self) -> None:
        if not 0 < self.hold_extends_max <= 0xFF or not 0 < self.hold_answer_s <= 0xFF:
            raise ValueError("hold_extends_max and hold_answer_s travel in one byte each: 1 to 255")
