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
_UPPER_INNER_LIP, _LOWER_INNER_LIP = [61, 62, 63], [67, 66, 65]
_NOSE_ROOT, _NOSE_BASE = 27, 33
_LIDS = (([37, 38], [41, 40], 36, 39), ([43, 44], [47, 46], 42, 45))


def mouth_opening(landmarks: Floats) -> float:
    """Mean gap between the inner lips in nose lengths, which a turn or nod shortens about as much as the gap."""
    gap = np.linalg.norm(landmarks[_UPPER_INNER_LIP] - landmarks[_LOWER_INNER_LIP], axis=1).mean()
    return float(gap / max(np.linalg.norm(landmarks[_NOSE_ROOT] - landmarks[_NOSE_BASE]), 1e-6))


def eye_opening(landmarks: Floats) -> float:
    """Mean gap between the lids over the width of the eye, mean of both eyes."""
    openings = [
        np.linalg.norm(landmarks[upper] - landmarks[lower], axis=1).mean()
        / max(np.linalg.norm(landmarks[inner] - landmarks[outer]), 1e-6)
        for upper, lower, outer, inner in _LIDS
    ]
    return float(np.mean(openings))


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
