"""What the gate's camera sees: a piece of printed paper held up, a little crooked, in the light of a doorway.

Frames go into the folder that the gate's reader watches as its camera. Nothing about the code is known here: the picture of the
paper is all there is.
"""

from __future__ import annotations

import random
from pathlib import Path

import cv2
import numpy as np

WIDTH_PX, HEIGHT_PX = 1280, 720
CODE_SHARE = 0.62
"""The paper's width in the frame, as a share of the frame's height, once the guest holds it to the window."""


class Camera:
    """Writes frames as numbered pictures; each is complete before it gets its name."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        self._noise = np.random.default_rng(seed)
        self._count = 0
        folder.mkdir(parents=True, exist_ok=True)

    def show(self, paper: Path, *, frames: int = 1) -> None:
        """Hold a picture of paper before the camera. The reader takes each picture in its folder as one presentation."""
        picture = cv2.imread(str(paper))
        assert picture is not None, f"{paper} is a picture"
        angle = self._random.uniform(-9, 9)
        for _ in range(frames):
            self._write(self._frame(picture, angle + self._random.uniform(-0.7, 0.7)))

    def take_away(self, *, frames: int = 2) -> None:
        """Frames of the empty doorway."""
        for _ in range(frames):
            self._write(self._grain(self._doorway()))

    def _frame(self, paper: np.ndarray, angle: float) -> np.ndarray:
        around = self._code(paper)
        side = max(around.shape[:2])
        scale = HEIGHT_PX * 0.9 / side
        matrix = cv2.getRotationMatrix2D((around.shape[1] / 2, around.shape[0] / 2), angle, scale)
        matrix[:, 2] += (WIDTH_PX / 2 - around.shape[1] / 2, HEIGHT_PX / 2 - around.shape[0] / 2)
        scene = self._doorway()
        light = self._random.uniform(0.82, 1.0)
        cv2.warpAffine(
            (around * light).astype(np.uint8),
            matrix,
            (WIDTH_PX, HEIGHT_PX),
            dst=scene,
            flags=cv2.INTER_AREA,
            borderMode=cv2.BORDER_TRANSPARENT,
        )
        return self._grain(cv2.GaussianBlur(scene, (3, 3), 0.7))

    @staticmethod
    def _code(paper: np.ndarray) -> np.ndarray:
        """The part of a long paper that a guest would hold to the window: a piece as high as it is wide, where most ink stands."""
        height, width = paper.shape[:2]
        if height <= width * 1.2:
            return paper
        window = int(width * 1.15)
        dark = (255 - cv2.cvtColor(paper, cv2.COLOR_BGR2GRAY).astype(np.int64)).sum(axis=1)
        sums = np.convolve(dark, np.ones(window, dtype=np.int64), mode="valid")
        top = int(sums.argmax())
        return paper[top : top + window]

    def _doorway(self) -> np.ndarray:
        across = np.linspace(70, 120, WIDTH_PX, dtype=np.float32)
        scene = np.repeat(across[None, :], HEIGHT_PX, axis=0)
        return np.dstack([scene * 0.95, scene, scene * 1.02]).astype(np.uint8)

    def _grain(self, scene: np.ndarray) -> np.ndarray:
        noise = self._noise.normal(0, 6, scene.shape)
        return np.clip(scene + noise, 0, 255).astype(np.uint8)

    def _write(self, frame: np.ndarray) -> None:
        self._count += 1
        fresh = self._folder / f".frame-{self._count:06d}.png"
        cv2.imwrite(str(fresh), frame, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        fresh.rename(self._folder / f"frame-{self._count:06d}.png")
