"""What a sheet of denoising shows of a frame: the part in which most was taken out, pixel for pixel."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np

from understudy.imaging.sheet import BeforeAfter
from understudy.imaging.transfer import srgb_from_linear

Array = np.ndarray[Any, Any]

SIDE = 320
AMPLIFIED = 8


def busiest_part(name: str, before: Array, after: Array) -> BeforeAfter:
    """At most SIDE px square of (H, W, 3) RGB of any type, where the effect can be judged."""
    old, new = _seen(before), _seen(after)
    top, left = _busiest(old, new)
    part = (slice(top, top + SIDE), slice(left, left + SIDE))
    return BeforeAfter(name, old[part], new[part])


def _busiest(before: Array, after: Array) -> tuple[int, int]:
    """Top and left of the square in which most was taken out."""
    height, width = before.shape[:2]
    change = cv2.absdiff(before, after).astype(np.float32).mean(axis=2)
    size = (min(SIDE, width), min(SIDE, height))
    sums = cv2.boxFilter(change, -1, size, anchor=(0, 0), normalize=False, borderType=cv2.BORDER_CONSTANT)
    inside = sums[: height - size[1] + 1, : width - size[0] + 1]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(top), int(left)


def _seen(rgb: Array) -> Array:
    """uint8 as it is shown."""
    if rgb.dtype == np.uint8:
        return rgb
    if rgb.dtype == np.uint16:
        return cast(Array, (rgb >> 8).astype(np.uint8))
    return cast(Array, np.rint(srgb_from_linear(np.clip(rgb, 0, 1)) * 255).astype(np.uint8))
