"""Five sounds, made at start-up from sines with soft edges; there are no sound files to ship.

A gate without a loudspeaker is a gate: whatever fails here is told once and the screen goes on in silence.
"""

from __future__ import annotations

import array
import math
import wave
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, assert_never

import structlog

from tickets.admission import Reason, VerdictKind

RATE_HZ: Final = 22_050
EDGE_MS: Final = 10
LEVEL: Final = 0.6

_log = structlog.get_logger()


class Sound(StrEnum):
    GO = "go"
    LOOK = "look"
    CHOOSE = "choose"
    STOP = "stop"
    FORGED = "forged"


Tone = tuple[float, int]
"""(Hz, ms); 0 Hz is silence."""

TONES: Final[Mapping[Sound, Sequence[Tone]]] = {
    Sound.GO: ((880, 180),),
    Sound.LOOK: ((880, 180), *(((0, 60), (1800, 30)) * 4)),
    Sound.CHOOSE: ((659, 120), (0, 80), (659, 120)),
    Sound.STOP: ((220, 150), (0, 80), (220, 150), (0, 80), (220, 150)),
    Sound.FORGED: ((600, 250), (900, 250), (600, 250), (900, 250)),
}


def sound_of(verdict: VerdictKind, reason: Reason | None) -> Sound:
    match verdict:
        case VerdictKind.ADMIT | VerdictKind.ADMIT_AGAIN:
            return Sound.GO
        case VerdictKind.ATTENTION:
            return Sound.LOOK
        case VerdictKind.CHOOSE:
            return Sound.CHOOSE
        case VerdictKind.REFUSE:
            return Sound.FORGED if reason is Reason.FORGED else Sound.STOP
        case _ as never:
            assert_never(never)


def samples(tones: Sequence[Tone]) -> array.array[int]:
    """16-bit mono samples at RATE_HZ; each tone rises and falls over EDGE_MS, so that no loudspeaker clicks."""
    out = array.array("h")
    for hertz, length_ms in tones:
        count = RATE_HZ * length_ms // 1000
        edge = RATE_HZ * EDGE_MS // 1000
        for n in range(count):
            envelope = min(1.0, (n + 1) / edge, (count - n) / edge)
            out.append(int(32767 * LEVEL * envelope * math.sin(2 * math.pi * hertz * n / RATE_HZ)))
    return out


def write_sounds(folder: Path) -> dict[Sound, Path]:
    """WAV files of all five in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for sound, tones in TONES.items():
        paths[sound] = folder / f"{sound}.wav"
        with wave.open(str(paths[sound]), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE_HZ)
            file.writeframes(samples(tones).tobytes())
    return paths


class Speaker:
    """Plays through Kivy. Silent at volume 0 or where there is no audio."""

    def __init__(self, folder: Path, *, volume: float) -> None:
        self._sounds: dict[Sound, Any] = {}
        self._playing: Any = None
        if volume == 0:
            return
        try:
            from kivy.core.audio import SoundLoader

            for sound, path in write_sounds(folder).items():
                loaded = SoundLoader.load(str(path))
                if loaded is not None:
                    loaded.volume = volume
                    self._sounds[sound] = loaded
        except Exception as error:  # noqa: BLE001  (SDL's audio fails in many ways; none of them may stop a gate)
            _log.warning("no_sound", error=type(error).__name__)
        if not self._sounds:
            _log.warning("no_sound", error="no audio device")

    def play(self, sound: Sound) -> None:
        """At once; a sound still playing is cut off, because the newest verdict is the one that counts."""
        wanted = self._sounds.get(sound)
        try:
            if self._playing is not None:
                self._playing.stop()
            if wanted is not None:
                wanted.play()
        except Exception as error:  # noqa: BLE001  (as above)
            _log.warning("no_sound", error=type(error).__name__)
            self._sounds.clear()
        self._playing = wanted
