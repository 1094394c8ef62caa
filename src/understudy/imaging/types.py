"""The array types that images and masks travel in."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
"""(H, W, 3) RGB float32, 0..1."""

Mask = NDArray[np.float32]
"""(H, W) float32, 0..1."""

Matrix = NDArray[np.float64]
"""(2, 3) float64 affine transform of pixel coordinates; pixel centres lie at integers."""

AnyPlate = NDArray[Any]
"""(H, W, 3) RGB: uint8, uint16 (full range) or float32 0..1."""


class Box(NamedTuple):
    """A rectangle of whole pixels: left and top inside, right and bottom outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return max(self.right - self.left, 0)

    @property
    def height(self) -> int:
        return max(self.bottom - self.top, 0)

    @property
    def empty(self) -> bool:
        return self.width == 0 or self.height == 0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of this box in a (H, W, …) array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def within(self, height: int, width: int) -> Box:
        """The part of the box that lies in a picture of that size; an empty box stays at its nearest corner."""
        left, top = min(max(self.left, 0), width), min(max(self.top, 0), height)
        return Box(left, top, max(min(self.right, width), left), max(min(self.bottom, height), top))

    def joined(self, other: Box) -> Box:
        """The smallest box around both; an empty box adds nothing."""
        if self.empty or other.empty:
            return other if self.empty else self
        return Box(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def moved(self, right: int, down: int) -> Box:
        """The same box elsewhere."""
        return Box(self.left + right, self.top + down, self.right + right, self.bottom + down)

    def inside(self, outer: Box) -> Box:
        """The same pixels counted from the corner of `outer`."""
        return self.moved(-outer.left, -outer.top)


def as_float(plate: AnyPlate) -> Image:
    """Any plate as float32 0..1, by the range of its dtype; float plates pass through."""
    if plate.dtype == np.float32:
        return plate
    image = plate.astype(np.float32)
    if np.issubdtype(plate.dtype, np.integer):
        image *= np.float32(1 / np.iinfo(plate.dtype).max)
    return image
