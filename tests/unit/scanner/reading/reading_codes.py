"""Real QR codes as pictures, made with another library than the ones that read them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import segno

Picture = npt.NDArray[np.uint8]

TICKET = "T1:6BF+70790T9WJWG.FKY*4GO0.O1CV2 O5 N2FBBRW1*70HS8WY04AC*WIFN0AHCD8KD97TK0F90KECTHGWJC0FDC:5AIA%G7X+AQB9746HS80:54IBQF60R6$A80X6S1BTYACG6M+9XG8KIAWNA91AY%67092L4WJCT3EHS8XJC "


def qr(content: str | bytes, *, scale: int = 4, error: str = "M") -> Picture:
    """A grey picture of one code with its white margin."""
    matrix = segno.make(content, error=error, boost_error=False, micro=False).matrix_iter(scale=scale, border=4)
    return np.array([[0 if dark else 255 for dark in row] for row in matrix], np.uint8)


def scene(*codes: Picture, width: int = 1280, height: int = 720) -> Picture:
    """Codes side by side on a grey desk, BGR as a camera gives it."""
    desk = np.full((height, width, 3), 190, np.uint8)
    step = width // max(1, len(codes))
    for n, code in enumerate(codes):
        top, left = (height - code.shape[0]) // 2, n * step + (step - code.shape[1]) // 2
        desk[top : top + code.shape[0], left : left + code.shape[1]] = cv2.cvtColor(code, cv2.COLOR_GRAY2BGR)
    return desk
