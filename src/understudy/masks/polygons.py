"""Masks from hand-drawn outlines.

Which pixels an outline covers is decided here and not by OpenCV, whose rule has changed over its versions (5.0 rounds
halves on the right-hand edge down, 4.x rounded them up): a label must mean the same pixels wherever it is opened.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from understudy.facesets import Polygon
from understudy.facesets.xseg import Mask

_ONE = 1 << 16  # positions along a row are fixed-point numbers with 16 fractional bits
_FAR = 1 << 20  # points farther out than this many pixels are taken as this far
_ROWS_AT_ONCE = 128


def rasterise(polygons: Sequence[Polygon], height: int, width: int, onto: Mask | None = None) -> Mask:
    """1 inside include outlines, then 0 inside exclude outlines, which therefore always win; (H, W) float32.

    onto: (H, W) mask to start from, left as it is; zeros when None. Points are cut to whole pixels; the boundary
    belongs to the outline; outlines that cross themselves fill even-odd. One point sets one pixel, two a line.
    """
    mask = np.zeros((height, width), np.float32) if onto is None else onto.astype(np.float32)
    for polygon in sorted(polygons, key=lambda item: not item.include):
        if len(polygon.points):
            mask[covered(polygon.points, height, width)] = 1.0 if polygon.include else 0.0
    return mask


def covered(points: npt.ArrayLike, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Which pixels (H, W) a closed outline (N, 2) covers, boundary included."""
    corners = np.clip(np.asarray(points, np.float64), -_FAR, _FAR).astype(np.int64)
    inside = _inside(corners, height, width)
    boundary = np.zeros((height, width), np.uint8)
    cv2.polylines(boundary, [corners.astype(np.int32)], True, (1,))
    return inside | (boundary > 0)


def _inside(corners: npt.NDArray[np.int64], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Even-odd fill without the boundary: along each row from every odd crossing to the next."""
    first, last, start, slope = _edges(corners, height, width)
    filled = np.zeros((height, width), np.bool_)
    for top in range(0, height, _ROWS_AT_ONCE):
        rows = np.arange(top, min(top + _ROWS_AT_ONCE, height))[:, None]
        nowhere = np.iinfo(np.int64).max
        crossings = np.where((first <= rows) & (rows < last), start + (rows - first) * slope, nowhere)
        crossings.sort(axis=1)
        even = crossings[:, : crossings.shape[1] // 2 * 2]
        left, right = even[:, ::2], even[:, 1::2]
        filled[top : top + len(rows)] = _spans(left, right, right != nowhere, width)
    return filled


def _edges(corners: npt.NDArray[np.int64], height: int, width: int) -> list[npt.NDArray[np.int64]]:
    """First row, last row (not included), fixed-point x at the first row, and its change per row, of each sloping side.

    Halves are rounded up for sides that lie inside the picture. A side that leaves it follows the straight line between
    the pixels where it enters and leaves, without rounding.
    """
    made = []
    for begin, end in zip(np.roll(corners, 1, axis=0).tolist(), corners.tolist(), strict=True):
        if begin[1] == end[1]:
            continue
        one, other, half = begin, end, _ONE // 2
        if not all(0 <= x < width and 0 <= y < height for x, y in (begin, end)):
            half = 0
            _, enters, leaves = cv2.clipLine((0, 0, width, height), begin, end)
            if enters[1] != leaves[1]:
                one, other = list(enters), list(leaves)
        rise = other[1] - one[1]
        run = (other[0] - one[0]) * _ONE
        slope = abs(run) // abs(rise) * (1 if (run >= 0) == (rise > 0) else -1)
        x, y = (one if begin[1] < end[1] else other)[:2]
        top = min(begin[1], end[1])
        made.append((top, max(begin[1], end[1]), x * _ONE + half + (top - y) * slope, slope))
    return list(np.array(made, np.int64).reshape(-1, 4).T)


def _spans(
    left: npt.NDArray[np.int64], right: npt.NDArray[np.int64], real: npt.NDArray[np.bool_], width: int
) -> npt.NDArray[np.bool_]:
    """Rows (R, width) that are true from `left` to `right`, fixed-point (R, K), wherever a pair is `real`."""
    begin = np.clip(left >> 16, 0, width)
    end = np.clip((right >> 16) + 1, begin, width)
    change = np.zeros((len(left), width + 1), np.int32)
    row, column = np.nonzero(real)
    np.add.at(change, (row, begin[row, column]), 1)
    np.add.at(change, (row, end[row, column]), -1)
    return np.asarray(change.cumsum(axis=1)[:, :width] > 0)
