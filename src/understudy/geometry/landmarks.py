"""The 68-point layout: groups, mirror pairs, the template faces are aligned to, and moves of whole landmark sets.

"right" is the subject's own right, which is the image's left. Landmarks are (68, 2) float64, (x, y) in pixels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from understudy.geometry.affine import Points

JAW = slice(0, 17)
RIGHT_EYEBROW = slice(17, 22)
LEFT_EYEBROW = slice(22, 27)
NOSE = slice(27, 36)
RIGHT_EYE = slice(36, 42)
LEFT_EYE = slice(42, 48)
MOUTH = slice(48, 68)
INNER_MOUTH = slice(60, 68)

GROUPS: dict[str, slice] = {
    "jaw": JAW,
    "right_eyebrow": RIGHT_EYEBROW,
    "left_eyebrow": LEFT_EYEBROW,
    "nose": NOSE,
    "right_eye": RIGHT_EYE,
    "left_eye": LEFT_EYE,
    "mouth": MOUTH,
    "inner_mouth": INNER_MOUTH,
}

MIRROR = np.array(
    [
        *(*range(16, -1, -1), *range(26, 16, -1)),
        *(27, 28, 29, 30, 35, 34, 33, 32, 31),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65),
    ]
)
"""MIRROR[i] is the landmark that lies where i lies on the other half of the face."""


def mirror(landmarks: npt.ArrayLike, width: int) -> Points:
    """The landmarks of the same picture flipped left to right; `width` of the picture in pixels."""
    swapped: Points = np.array(landmarks, np.float64)[MIRROR]
    swapped[:, 0] = width - 1 - swapped[:, 0]
    return swapped


def expand_eyebrows(landmarks: npt.ArrayLike, factor: float = 1.0) -> npt.NDArray[np.int64]:
    """Raise the eyebrows away from the eyes, so that a hull covers the forehead's lower edge.

    landmarks: (68, 2). factor 1 raises by half of the distance between brow and eye, 0 not at all. The result is int64,
    truncated toward zero before and after, as faces have been masked ever since this format exists.
    """
    points = np.asarray(landmarks, np.float64).astype(np.int64)
    right_end, left_end = points[36], points[45]
    right_quarter = (right_end + (right_end + points[0]) // 2) // 2
    left_quarter = (left_end + (points[16] + left_end) // 2) // 2
    under_right = np.vstack([right_quarter[None], points[36:40]])
    under_left = np.vstack([points[42:46], left_quarter[None]])
    raised = points.copy()
    for brow, under in ((RIGHT_EYEBROW, under_right), (LEFT_EYEBROW, under_left)):
        raised[brow] = (points[brow] + factor * 0.5 * (points[brow] - under)).astype(np.int64)
    return raised


def polygon_area(points: npt.ArrayLike) -> float:
    """The area inside a closed polygon (N, 2), without sign (shoelace formula)."""
    p = np.asarray(points, np.float64)
    x, y = p[:, 0], p[:, 1]
    return float(0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))
