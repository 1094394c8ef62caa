"""Where a face's square lies in the frame: the transforms between frame, crop, paste and mask grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from understudy.geometry import affine, alignment
from understudy.imaging.types import Box, Matrix
from understudy.imaging.warp import box_around
from understudy.records import FaceType

GRID_FACTOR = 4
"""The mask is shaped on a square this many times the predictor's, so that erode and blur have fine steps."""


@dataclass(frozen=True, eq=False)
class Placement:
    """The transforms of one face. Matrices are named to-from; the frame is in pixels of the plate.

    crop: the P × P square that the network sees. paste: the same square at the output scale. grid: the mask's square,
    4P × 4P, at the output scale too.
    """

    size: int
    crop_from_frame: Matrix
    paste_from_frame: Matrix
    grid_from_frame: Matrix

    @classmethod
    def of(cls, landmarks: npt.ArrayLike, size: int, face_type: FaceType, output_face_scale: int = 0) -> Placement:
        """The placement of landmarks (68, 2) in frame pixels. output_face_scale: percent, see MergeOptions."""
        scale = 1 + output_face_scale / 100
        return cls(
            size,
            crop_from_frame=alignment.transform(landmarks, size, face_type),
            paste_from_frame=alignment.transform(landmarks, size, face_type, scale),
            grid_from_frame=alignment.transform(landmarks, GRID_FACTOR * size, face_type, scale),
        )

    @property
    def grid_size(self) -> int:
        return GRID_FACTOR * self.size

    @property
    def square(self) -> Box:
        """All pixels of the crop and of the pasted square."""
        return Box(0, 0, self.size, self.size)

    def crop_box(self, height: int, width: int) -> Box:
        """The part of the frame that the crop is made from."""
        return _box_in_frame(self.crop_from_frame, self.square).within(height, width)

    def paste_box(self, height: int, width: int) -> Box:
        """The part of the frame that the pasted square can reach."""
        return _box_in_frame(self.paste_from_frame, self.square).within(height, width)

    def mask_from_frame(self, side: int) -> Matrix:
        """The transform to a mask of side × side pixels that covers the grid: the grid itself, or a coarser one."""
        ratio = side / self.grid_size
        shift = (ratio - 1) / 2  # pixel centres, not corners, lie at integers
        return affine.compose([[ratio, 0, shift], [0, ratio, shift]], self.grid_from_frame)

    def frame_box_of_mask(self, box: Box, side: int, height: int, width: int) -> Box:
        """The part of the frame that a box of such a mask can reach."""
        if box.empty:
            return Box(0, 0, 0, 0)
        return _box_in_frame(self.mask_from_frame(side), box).within(height, width)


def _box_in_frame(face_from_frame: Matrix, box: Box) -> Box:
    # the cubic kernel reaches 2 px of the square beyond its edge
    left, top, right, bottom = box.left - 2, box.top - 2, box.right + 2, box.bottom + 2
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)
    return box_around(affine.apply(affine.invert(face_from_frame), corners))
