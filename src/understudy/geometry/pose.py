"""Which way a head faces, from landmarks in an aligned image.

A rigid mean face of 33 points is laid on the landmarks as a pinhole camera would see it; its rotation is the pose.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from understudy.geometry.affine import Points
from understudy.geometry.mean_face import MEAN_FACE, POSED_BY


@dataclass(frozen=True)
class Pose:
    """Angles in radians, each within ±π/2.

    pitch: positive looks up. yaw: positive turns the nose toward the left side of the image. roll: positive turns the
    head clockwise in the image; near 0 in an aligned image.
    """

    pitch: float
    yaw: float
    roll: float


def pose(aligned_landmarks: npt.ArrayLike, size: int = 256) -> Pose:
    """The pose of a face from its landmarks (68, 2) in pixels of a size x size aligned image.

    The camera has a focal length of `size` pixels and looks at the middle of the image. Landmarks that are no face give
    some angles, never an error.
    """
    return pose_against(aligned_landmarks, size, MEAN_FACE)


def pose_against(aligned_landmarks: npt.ArrayLike, size: int, face_3d: npt.ArrayLike) -> Pose:
    """As `pose`, with another rigid face: (68, 3), x to the right, y down, z away from the camera, any unit."""
    points = np.asarray(aligned_landmarks, np.float64)[POSED_BY]
    face = np.asarray(face_3d, np.float64)[POSED_BY]
    camera = np.array([[size, 0, size / 2], [0, size, size / 2], [0, 0, 1]], np.float64)
    start = _upright_in_front(points, face, size)
    if start is None:
        return Pose(0.0, 0.0, 0.0)
    try:
        found, turn, _ = cv2.solvePnP(
            face, points, camera, np.zeros(4), np.zeros(3), start, useExtrinsicGuess=True, flags=cv2.SOLVEPNP_ITERATIVE
        )
    except cv2.error:
        found, turn = False, np.zeros(3)
    if not found or not np.isfinite(turn).all():
        return Pose(0.0, 0.0, 0.0)
    return _angles(np.asarray(cv2.Rodrigues(turn)[0], np.float64))


def _upright_in_front(points: Points, face: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64] | None:
    """Where the face stands if it looks straight ahead: the search's start, (3,) in the face's unit.

    Aligned faces are upright, so the search ends at the right one of the two solutions that mirror each other; without
    a start the solver's own guess sometimes lands on the one behind the camera. None for landmarks without extent.
    """
    spread = points.var(axis=0).sum()
    if not np.isfinite(spread) or spread < 1e-6:
        return None
    distance = size * np.sqrt(face[:, :2].var(axis=0).sum() / spread)
    across = (points.mean(axis=0) - size / 2) * distance / size
    return np.asarray(np.array([*across, distance]) - face.mean(axis=0))


def _angles(rotation: npt.NDArray[np.float64]) -> Pose:
    """Euler angles of a rotation matrix (3, 3), about x, then y, then z, clipped to ±π/2."""
    r = rotation
    across = float(np.hypot(r[0, 0], r[1, 0]))
    y = np.arctan2(-r[2, 0], across)
    if across >= 1e-6:
        x, z = np.arctan2(r[2, 1], r[2, 2]), np.arctan2(r[1, 0], r[0, 0])
    else:
        x, z = np.arctan2(-r[1, 2], r[1, 1]), 0.0
    pitch, yaw, roll = (float(np.clip(angle, -np.pi / 2, np.pi / 2)) for angle in (-x, y, z))
    return Pose(pitch, yaw, roll)
