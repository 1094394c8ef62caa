"""What a sheet of enhancing shows of a face: its middle, before and after."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.imaging.sheet import BeforeAfter

Pixels = NDArray[np.uint8]

AMPLIFIED = 4
_CELL_PX = 384
_LOOKED_AT = 0.62


def middle_of_face(name: str, before: Pixels, after: Pixels) -> BeforeAfter:
    """before, after: (S,S,3) uint8 RGB of the same size."""
    return BeforeAfter(name, _cell(before), _cell(after))


def _cell(picture: Pixels) -> Pixels:
    side = picture.shape[0]
    edge = round(side * (1 - _LOOKED_AT) / 2)
    middle = picture[edge : side - edge, edge : side - edge]
    how = cv2.INTER_AREA if middle.shape[0] > _CELL_PX else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(middle, (_CELL_PX, _CELL_PX), interpolation=how), np.uint8)
