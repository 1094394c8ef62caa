"""How far mouth and eyes are open, from landmarks in the 68-point layout.

Ratios of lengths are used, so size and roll do not matter, nor whether the picture is a frame or an aligned face.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_UPPER_INNER_LIP, _LOWER_INNER_LIP = [61, 62, 63], [67, 66, 65]
_NOSE_ROOT, _NOSE_BASE = 27, 33
_LIDS = (([37, 38], [41, 40], 36, 39), ([43, 44], [47, 46], 42, 45))


def mouth_opening(landmarks: npt.NDArray[np.float64]) -> float:
    """Mean gap between the inner lips in nose lengths, which a turn or nod shortens about as much as the gap."""
    gap = np.linalg.norm(landmarks[_UPPER_INNER_LIP] - landmarks[_LOWER_INNER_LIP], axis=1).mean()
    return float(gap / max(np.linalg.norm(landmarks[_NOSE_ROOT] - landmarks[_NOSE_BASE]), 1e-6))


def eye_opening(landmarks: npt.NDArray[np.float64]) -> float:
    """Mean gap between the lids over the width of the eye, mean of both eyes."""
    openings = [
        np.linalg.norm(landmarks[upper] - landmarks[lower], axis=1).mean()
        / max(np.linalg.norm(landmarks[inner] - landmarks[outer]), 1e-6)
        for upper, lower, outer, inner in _LIDS
    ]
    return float(np.mean(openings))
