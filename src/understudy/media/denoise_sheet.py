"""A picture of what denoising did: before, after, and what was taken out, pixel for pixel."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np

Array = np.ndarray[Any, Any]

SIDE = 320
AMPLIFIED = 8
_BAR = 24


def draw_sheet(pairs: list[tuple[str, Array, Array]]) -> Array:
    """(H, W, 3) uint8 RGB, one row per (name, before, after) of (H, W, 3) RGB of any type, cut out at 100 %.

    The cut-out is where most was taken out without being clipped: there the effect can be judged.
    """
    rows = [_row(name, _seen(before), _seen(after)) for name, before, after in pairs]
    width = max((row.shape[1] for row in rows), default=3 * SIDE)
    sheet = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=32) for row in rows]
    return np.concatenate(sheet) if sheet else np.full((SIDE, width, 3), 32, np.uint8)


def _row(name: str, before: Array, after: Array) -> Array:
    top, left = _busiest(before, after)
    cut = (slice(top, top + SIDE), slice(left, left + SIDE))
    old, new = before[cut], after[cut]
    out = np.clip(128 + AMPLIFIED * (old.astype(np.int16) - new.astype(np.int16)), 0, 255).astype(np.uint8)
    cells = [_titled(old, f"{name}: before"), _titled(new, "after"), _titled(out, f"taken out, x{AMPLIFIED}")]
    gap = np.full((cells[0].shape[0], 6, 3), 32, np.uint8)
    return np.concatenate([cells[0], gap, cells[1], gap, cells[2]], axis=1)


def _titled(pixels: Array, title: str) -> Array:
    bar = np.full((_BAR, pixels.shape[1], 3), 32, np.uint8)
    cv2.putText(bar, title, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235,) * 3, 1, cv2.LINE_AA)
    return np.concatenate([bar, pixels])


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
    from understudy.imaging.transfer import srgb_from_linear

    return cast(Array, np.rint(srgb_from_linear(np.clip(rgb, 0, 1)) * 255).astype(np.uint8))
