"""How much a swap changes from frame to frame where the plate does not: shimmer, boiling, jumps.

    flicker = mean over neighbouring frames of  R(swap) − R(plate)
    R(x)    = mean over the face of | x[t+1] − x[t] carried along the plate's motion |      in 8-bit levels

The motion is the optical flow of the plate, for both alike, so that a face that turns or speaks moves both and only
what the swap adds is counted; grain and the errors of the flow are in both terms. 0 is as calm as the plate; below 0
the swap is calmer, because it is softer and has no grain.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.imaging.types import Image, Mask

CALM_PX = 1.0
"""Sigma of a blur before differences are taken: single pixels of grain are no flicker."""


def flicker(swapped: Sequence[Image], plates: Sequence[Image], masks: Sequence[Mask]) -> float:
    """Flicker of consecutive frames, 8-bit levels.

    swapped, plates: (H,W,3) RGB float32 in 0..1 of the same squares of the same consecutive frames; masks: (H,W), the
    face in each. Raises ValueError for fewer than two frames.
    """
    if len(plates) < 2:
        raise ValueError("flicker needs two frames")
    pairs = [
        _pair((swapped[at], swapped[at + 1]), (plates[at], plates[at + 1]), np.minimum(masks[at], masks[at + 1]))
        for at in range(len(plates) - 1)
    ]
    return float(np.mean(pairs))


def _pair(swapped: tuple[Image, Image], plates: tuple[Image, Image], mask: Mask) -> float:
    flow = _flow(plates[1], plates[0])
    return _residual(*swapped, flow, mask) - _residual(*plates, flow, mask)


def _residual(before: Image, after: Image, flow: NDArray[np.float32], mask: Mask) -> float:
    """Mean absolute difference inside the mask after `before` was moved to where `after` is, 8-bit levels."""
    height, width = mask.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(
        _calm(before), x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    change = np.abs(_calm(after) - moved).mean(2)
    return 255 * float((change * mask).sum() / max(float(mask.sum()), 1e-6))


def _flow(here: Image, there: Image) -> NDArray[np.float32]:
    """Where each pixel of `here` lies in `there`, (H,W,2) px (Kroeger et al., "Fast optical flow using dense inverse
    search", 2016)."""
    engine = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    nothing = np.zeros((*here.shape[:2], 2), np.float32)
    return np.asarray(engine.calc(_grey(here), _grey(there), nothing), np.float32)


def _grey(image: Image) -> NDArray[np.uint8]:
    levels = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY), np.uint8)


def _calm(image: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), CALM_PX), np.float32)
