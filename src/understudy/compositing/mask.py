"""The mask that limits the new face: chosen from what the model learned, shaped on the 4P grid, placed in the frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from understudy.compositing.options import MaskMode
from understudy.imaging import morphology
from understudy.imaging.types import Mask
from understudy.imaging.warp import resize

FAINTEST = np.float32(1 / 255)
"""Mask values below the smallest 8-bit step count as nothing."""


@dataclass(frozen=True, eq=False)
class FaceMasks:
    """The masks at hand for one face, each (P, P) 0..1. hull is a function: only the dst mask needs it drawn."""

    prd: Mask
    dst: Mask
    hull: Callable[[], Mask]


MASKS: Mapping[MaskMode, Callable[[FaceMasks], Mask]] = {
    MaskMode.FULL: lambda masks: np.ones_like(masks.prd),
    MaskMode.DST: lambda masks: masks.hull(),
    MaskMode.LEARNED_PRD: lambda masks: masks.prd,
    MaskMode.LEARNED_DST: lambda masks: masks.dst,
    MaskMode.LEARNED_PRD_TIMES_DST: lambda masks: masks.prd * masks.dst,
    MaskMode.LEARNED_PRD_PLUS_DST: lambda masks: np.clip(masks.prd + masks.dst, 0, 1),
}


def without_faint(mask: Mask) -> Mask:
    """The mask with everything below one 8-bit step set to 0."""
    return np.where(mask < FAINTEST, np.float32(0), mask)


def on_grid(mask: Mask, grid_size: int) -> Mask:
    """The (P, P) mask on the grid, (4P, 4P), cubic; not clipped."""
    return resize(without_faint(mask), grid_size)


def shaped(grid: Mask, *, erode: int, blur: int, coarsely: bool = True) -> Mask:
    """Shrink (or grow, if erode < 0) and feather the mask; both in pixels of the grid. Clipped to 0..1.

    The mask is cut to the square less half the feather, so that it reaches exactly 0 at the border of the square.
    coarsely: give a widely feathered mask on a coarser grid (see `feather_coarsely`), which is as good and much faster.
    """
    changed = morphology.erode(grid, erode) if erode > 0 else morphology.dilate(grid, -erode)
    feather = morphology.feather_coarsely if coarsely else morphology.feather
    return np.clip(feather(_framed(changed, blur // 2), blur), 0, 1)


def _framed(grid: Mask, border: int) -> Mask:
    """The mask with its outer `border` rows and columns set to 0."""
    if border == 0:
        return grid
    result = np.zeros_like(grid)
    inner = slice(border, max(grid.shape[0] - border, border))
    result[inner, inner] = grid[inner, inner]
    return result
