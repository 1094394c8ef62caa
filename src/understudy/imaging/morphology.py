"""Shrinking, growing and feathering of masks."""

from __future__ import annotations

from functools import lru_cache, reduce
from typing import NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.imaging.types import Mask

DIRECT_UP_TO_PX = 12
"""Elements up to this size go to OpenCV whole; larger ones are cheaper as rectangles."""


def erode(mask: Mask, size_px: int) -> Mask:
    """The minimum under an ellipse of size_px × size_px; beyond the edge lie zeros. size_px 0: unchanged.

    An even ellipse is anchored at size_px // 2, as in OpenCV. Exact: the ellipse is taken apart into rectangles whose
    minima are combined, which changes no value.
    """
    return _under_ellipse(mask, size_px, darkest=True)


def dilate(mask: Mask, size_px: int) -> Mask:
    """The maximum under an ellipse of size_px × size_px; beyond the edge lie zeros. size_px 0: unchanged."""
    return _under_ellipse(mask, size_px, darkest=False)


def feather(mask: Mask, size_px: int) -> Mask:
    """Gaussian blur, kernel of the next odd size, sigma by OpenCV's rule; beyond the edge lie zeros. 0: unchanged."""
    if size_px <= 0:
        return mask
    kernel = size_px + (1 - size_px % 2)
    return cast(Mask, cv2.GaussianBlur(mask, (kernel, kernel), 0, borderType=cv2.BORDER_CONSTANT))


class _Rectangle(NamedTuple):
    """A rectangle of a structuring element: its size and where the element's anchor lies in it."""

    width: int
    height: int
    anchor: tuple[int, int]


def _under_ellipse(mask: Mask, size_px: int, *, darkest: bool) -> Mask:
    if size_px <= 0:
        return mask
    operate, combine = (cv2.erode, cv2.min) if darkest else (cv2.dilate, cv2.max)
    if size_px <= DIRECT_UP_TO_PX:
        return cast(Mask, operate(mask, _ellipse(size_px), borderType=cv2.BORDER_CONSTANT, borderValue=0))
    parts = (
        operate(mask, np.ones((height, width), np.uint8), anchor=anchor, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        for width, height, anchor in _rectangles(size_px)
    )
    return cast(Mask, reduce(combine, parts))


def _ellipse(size_px: int) -> NDArray[np.uint8]:
    return cast("NDArray[np.uint8]", cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size_px, size_px)))


@lru_cache(maxsize=64)
def _rectangles(size_px: int) -> tuple[_Rectangle, ...]:
    """Rectangles whose union is the ellipse: for each distinct row, all rows that contain it."""
    runs = []
    for row in _ellipse(size_px):
        filled = np.flatnonzero(row)
        runs.append((int(filled[0]), int(filled[-1])))
    centre = size_px // 2
    found = []
    for first, last in sorted(set(runs)):
        rows = [index for index, (low, high) in enumerate(runs) if low <= first and high >= last]
        anchor = (centre - first, centre - rows[0])
        found.append(_Rectangle(last - first + 1, rows[-1] - rows[0] + 1, anchor))
    return tuple(found)
