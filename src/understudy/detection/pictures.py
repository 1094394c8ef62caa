"""Pieces of a frame in the size a network wants, cut without aliasing and without copying the frame.

Bilinear sampling is clean down to half size, so larger pieces are cut from halved copies of the frame, which are made
only when first needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image8 = NDArray[np.uint8]
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Square:
    """A square piece of a frame: centre and side in frame pixels, turned by `angle` radians clockwise on screen."""

    x: float
    y: float
    side: float
    angle: float = 0.0

    def to_frame(self, points: NDArray[np.floating[Any]]) -> Points:
        """Map (n, 2) points in units of the square (0..1 from its own top left) to frame pixels."""
        centred = (np.asarray(points, dtype=np.float64) - 0.5) * self.side
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return np.stack(
            [self.x + centred[:, 0] * cos - centred[:, 1] * sin, self.y + centred[:, 0] * sin + centred[:, 1] * cos],
            axis=1,
        )

    def from_frame(self, points: NDArray[np.floating[Any]]) -> Points:
        """The inverse of `to_frame`."""
        moved = np.asarray(points, dtype=np.float64) - (self.x, self.y)
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        turned = np.stack([moved[:, 0] * cos + moved[:, 1] * sin, -moved[:, 0] * sin + moved[:, 1] * cos], axis=1)
        return turned / self.side + 0.5

    def moved(self, x: float, y: float) -> Square:
        """Shifted along the frame's axes by parts of its side."""
        return Square(self.x + x * self.side, self.y + y * self.side, self.side, self.angle)

    def scaled(self, factor: float) -> Square:
        return Square(self.x, self.y, self.side * factor, self.angle)


class Picture:
    """One frame with its halved copies. `rgb8` is (H, W, 3) uint8 and is never changed."""

    def __init__(self, rgb8: Image8) -> None:
        self.height, self.width = rgb8.shape[:2]
        self._levels = [rgb8]

    @property
    def whole(self) -> Square:
        """The smallest centred square that holds the whole frame."""
        return Square(self.width / 2 - 0.5, self.height / 2 - 0.5, float(max(self.width, self.height)))

    def cut(self, square: Square, size: int) -> Image8:
        """The piece `square` as (size, size, 3) uint8, black where it leaves the frame."""
        level, factor = 0, 1.0
        while square.side * factor > 2 * size:
            level, factor = level + 1, factor / 2
        picture = self._level(level)
        step = square.side / size
        cos, sin = math.cos(square.angle) * step, math.sin(square.angle) * step
        half = (size - 1) / 2
        # frame = centre + R * step * (pixel - half); then frame → level, where pixel centres move by a half.
        left = square.x - half * (cos - sin)
        top = square.y - half * (sin + cos)
        shift = (factor - 1) / 2
        matrix = np.array(
            [
                [cos * factor, -sin * factor, left * factor + shift],
                [sin * factor, cos * factor, top * factor + shift],
            ]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        border = cv2.BORDER_CONSTANT
        return np.asarray(cv2.warpAffine(picture, matrix, (size, size), flags=flags, borderMode=border), np.uint8)

    def _level(self, index: int) -> Image8:
        while len(self._levels) <= index:
            last = self._levels[-1]
            height, width = last.shape[:2]
            even = last[: max(2, height - height % 2), : max(2, width - width % 2)]
            half = (max(1, width // 2), max(1, height // 2))
            self._levels.append(np.asarray(cv2.resize(even, half, interpolation=cv2.INTER_AREA), np.uint8))
        return self._levels[index]
