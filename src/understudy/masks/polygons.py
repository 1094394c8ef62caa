"""Masks from hand-drawn outlines."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from understudy.facesets import Polygon
from understudy.facesets.xseg import Mask


def rasterise(polygons: Sequence[Polygon], height: int, width: int, onto: Mask | None = None) -> Mask:
    """1 inside include outlines, then 0 inside exclude outlines, which therefore always win; (H, W) float32.

    onto: (H, W) mask to start from, left as it is; zeros when None. Points are cut to whole pixels; the boundary
    belongs to the outline; outlines that cross themselves fill even-odd. One point sets one pixel, two a line.
    """
    mask = np.zeros((height, width), np.float32) if onto is None else onto.astype(np.float32)
    for polygon in sorted(polygons, key=lambda item: not item.include):
        if len(polygon.points):
            cv2.fillPoly(mask, [polygon.points.astype(np.int32)], (1.0 if polygon.include else 0.0,))
    return mask
