"""Affine resampling between a frame and the square of a face, restricted to the pixels that matter."""

from __future__ import annotations

from enum import IntEnum
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.imaging.types import Box, Image, Matrix

CUBIC_REACH_PX = 3
"""Pixels around a region that a cubic kernel may read or leave a trace in."""


class Border(IntEnum):
    """What lies beyond the edge of an image: black, or its outermost pixels repeated."""

    BLACK = cv2.BORDER_CONSTANT
    REPEAT = cv2.BORDER_REPLICATE


def gather(
    image: Image,
    source_from_target: Matrix,
    box: Box,
    *,
    corner: tuple[int, int] = (0, 0),
    border: Border = Border.BLACK,
    smooth: bool = False,
) -> Image:
    """Resample the pixels of the target that lie in `box`: pixel p becomes source[source_from_target · p].

    image: (H, W) or (H, W, C) float32, the part of the source whose top-left pixel is pixel `corner` (x, y) of it.
    The result has the size of the box. Cubic, not clipped; linear for a source that is `smooth` anyway.
    """
    if box.empty:
        return _nothing(image, box)
    matrix = source_from_target.copy()
    matrix[:, 2] += matrix[:, 0] * box.left + matrix[:, 1] * box.top - corner
    flags = (cv2.INTER_LINEAR if smooth else cv2.INTER_CUBIC) | cv2.WARP_INVERSE_MAP
    return cast(Image, cv2.warpAffine(image, matrix, (box.width, box.height), flags=flags, borderMode=int(border)))


def gather_on_32nds(
    image: Image,
    source_from_target: Matrix,
    box: Box,
    *,
    corner: tuple[int, int] = (0, 0),
    border: Border = Border.BLACK,
    smooth: bool = False,
) -> Image:
    """`gather` with coordinates rounded to 1/32 px the way OpenCV 4's warpAffine rounds them; newer ones do not."""
    if box.empty:
        return _nothing(image, box)
    places = _in_32nds(source_from_target, box, corner)
    whole = np.dstack([place >> 5 for place in places]).astype(np.int16)
    part = (((places[1] & 31) << 5) | (places[0] & 31)).astype(np.uint16)
    how = cv2.INTER_LINEAR if smooth else cv2.INTER_CUBIC
    return cast(Image, cv2.remap(image, whole, part, how, borderMode=int(border)))


def _in_32nds(source_from_target: Matrix, box: Box, corner: tuple[int, int]) -> list[NDArray[np.int32]]:
    """Where each pixel of the box lies in the source, x and y, in 32nds of a pixel; each (h, w)."""
    x, y = np.arange(box.left, box.right), np.arange(box.top, box.bottom)
    steps = 1024  # fixed-point steps per pixel; half a 32nd is added before the bits below a 32nd are dropped
    places = []
    for row, offset in zip(source_from_target, corner, strict=True):
        along = np.rint(row[0] * x * steps).astype(np.int32)
        down = np.rint((row[1] * y + row[2]) * steps).astype(np.int32) + steps // 64 - offset * steps
        places.append((down[:, None] + along[None, :]) >> 5)
    return places


def _nothing(image: Image, box: Box) -> Image:
    """An empty picture; OpenCV takes an empty size for "as large as the source"."""
    return np.zeros((box.height, box.width, *image.shape[2:]), np.float32)


def resize(image: Image, side: int, *, smooth: bool = False) -> Image:
    """A square image at another size, not clipped; unchanged when it has that size already. Filters as in `gather`."""
    if image.shape[0] == side and image.shape[1] == side:
        return image
    how = cv2.INTER_LINEAR if smooth else cv2.INTER_CUBIC
    return cast(Image, cv2.resize(image, (side, side), interpolation=how))


def box_around(points: NDArray[np.float64], *, margin: int = CUBIC_REACH_PX) -> Box:
    """The whole-pixel box around (N, 2) points and a margin."""
    low, high = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    return Box(int(low[0]) - margin, int(low[1]) - margin, int(high[0]) + 1 + margin, int(high[1]) + 1 + margin)


def box_of(mask: NDArray[np.float32] | NDArray[np.bool_]) -> Box:
    """The smallest box around everything that is not zero; empty when nothing is."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return Box(0, 0, 0, 0)
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
