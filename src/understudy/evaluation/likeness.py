"""How a face moves, measured from its landmarks, and how well one movement follows another.

Landmarks are (68,2) frame px in the iBUG layout. Ratios of lengths are used, so size and roll do not matter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.geometry import affine, alignment
from understudy.geometry.pose import pose
from understudy.records import FaceType

Floats = NDArray[np.float64]

_POSE_SIZE = 256


def correlation(measured: Floats, truth: Floats) -> float:
    """Pearson's r of two series of equal length; 0 when either does not vary. Pairs with a NaN are left out."""
    first, second = np.asarray(measured, np.float64), np.asarray(truth, np.float64)
    known = np.isfinite(first) & np.isfinite(second)
    first, second = first[known], second[known]
    if len(first) < 2 or first.std() < 1e-12 or second.std() < 1e-12:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def head_yaw(landmarks: Floats) -> float:
    """How far the head is turned, radians, positive to the left of the picture."""
    aligned = affine.apply(alignment.transform(landmarks, _POSE_SIZE, FaceType.FULL), landmarks)
    return float(pose(aligned, _POSE_SIZE).yaw)
