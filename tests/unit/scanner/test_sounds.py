"""Five sounds that cannot be mistaken for each other, and that no loudspeaker clicks at."""

from __future__ import annotations

import wave
from itertools import pairwise
from pathlib import Path

from scanner.screen.sounds import LEVEL, RATE_HZ, TONES, Sound, samples, sound_of, write_sounds
from tickets.admission import Reason, VerdictKind


def test_each_sound_has_its_length(tmp_path: Path) -> None:
    for sound, path in write_sounds(tmp_path).items():
        with wave.open(str(path)) as file:
            assert file.getframerate() == RATE_HZ
            length_ms = file.getnframes() / RATE_HZ * 1000
        assert abs(length_ms - sum(ms for _, ms in TONES[sound])) < 1


def test_edges_are_soft() -> None:
    for tones in TONES.values():
        for hertz, length_ms in tones:
            wave_form = samples([(hertz, length_ms)])
            assert abs(wave_form[0]) < 700
            assert abs(wave_form[-1]) < 700
            assert max(map(abs, wave_form)) <= 32767 * LEVEL


def test_pitch_is_what_it_says() -> None:
    wave_form = samples([(880, 180)])
    crossings = sum(a < 0 <= b for a, b in pairwise(wave_form))
    assert abs(crossings / 0.18 - 880) < 10


def test_every_verdict_has_its_sound() -> None:
    assert sound_of(VerdictKind.ADMIT, None) == sound_of(VerdictKind.ADMIT_AGAIN, None) == Sound.GO
    assert sound_of(VerdictKind.ATTENTION, Reason.PROOF) == Sound.LOOK
    assert sound_of(VerdictKind.CHOOSE, None) == Sound.CHOOSE
    assert sound_of(VerdictKind.REFUSE, Reason.UNKNOWN) == Sound.STOP
    assert sound_of(VerdictKind.REFUSE, Reason.FORGED) == Sound.FORGED
    assert len({tuple(tones) for tones in TONES.values()}) == len(Sound)
