"""DeepFaceLab's habits that a faithful merge keeps; docs/faithful.md says what each changes in the picture.

Two more live beside the functions they differ from: `imaging.colour_transfer.rct(…, faithful=True)` and
`imaging.warp.gather_on_32nds`.
"""

from __future__ import annotations

import numpy as np

from understudy.compositing.layers import Layer, over
from understudy.imaging.types import Box, Image, Mask
from understudy.imaging.warp import Border, gather_on_32nds

BORDER = Border.BLACK
"""The face is pasted with black around its square, so a mask that reaches the border gets a dark rim there."""


__all__ = [
    "BORDER",
    "added",
    "blended_twice",
    "gather_on_32nds",
    "positive_to_one",
    "through_ringing_square",
    "truncated",
]

BORDER = Border.BLACK
"""The face is pasted with black around its square, so a mask that reaches the border gets a dark rim there."""


def positive_to_one(mask: Mask) -> Mask:
    """Every positive value becomes 1; the small negative ones that cubic resizing leaves stay as they are."""
    return np.where(mask > 0, np.float32(1), mask)


def blended_twice(below: Image, plate: Image, layer: Layer) -> Image:
    """A second face of a frame is laid over the plate and that picture over the frame, so its edge fades twice."""
    through = layer.alpha[..., None]
    return below * (1 - through) + over(plate, layer) * through


def added(first: Mask, second: Mask) -> Mask:
    """The masks of several faces are added up, so that two soft edges make a hard one."""
    total: Mask = first + second
    return np.clip(total, 0, 1, out=total)


def through_ringing_square(plate: Image, face: Image, square: Mask, alpha: Mask, box: Box) -> Layer:
    """raw-rgb pastes face and square unclipped: ringing of the cubic filter draws a thin double edge around them."""
    picture = np.clip(plate * (1 - square[..., None]) + face * square[..., None], 0, 1)
    return Layer(picture, (square != 0).astype(np.float32), alpha, box)


def truncated(image: Image, highest: int = 255) -> Image:
    """Values cut down to the integer step below (of 0..highest) where rounding would be right: half a step darker."""
    steps: Image = np.floor(image * np.float32(highest))
    return steps / np.float32(highest)
