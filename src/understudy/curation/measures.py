"""What one aligned face is like, as single numbers: pose, sharpness, light, expression.

All are quick (a few milliseconds at 512 px) and comparable between faces of different sizes. The orders of the classic
sorts have their own, slower measures in `curation.sharpness` and `curation.histograms`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from understudy.facesets import Face, FaceMeta
from understudy.geometry.expression import eye_opening, mouth_opening
from understudy.geometry.landmarks import LEFT_EYE, RIGHT_EYE
from understudy.geometry.pose import pose
from understudy.masks.hull import face_hull

__all__ = [
    "Light",
    "brightness",
    "eye_opening",
    "eyes_sharpness",
    "light_direction",
    "mouth_opening",
    "sharpness",
    "yaw_pitch",
]

Luma = npt.NDArray[np.float32]

JUDGED_AT = 256
"""Sharpness is judged at this size, so that a large picture of a blurred face is not taken for a detailed one."""


class Light(NamedTuple):
    """Where the light comes from. right, down: how much brighter that half of the face is than the other, -1..1."""

    right: float
    down: float


def yaw_pitch(meta: FaceMeta, width: int) -> tuple[float, float]:
    """(yaw, pitch) in radians within ±π/2. yaw: positive turns the nose to the picture's left; pitch: positive is up.

    width: of the aligned picture that the landmarks belong to.
    """
    found = pose(meta.landmarks, width)
    return found.yaw, found.pitch


def sharpness(face: Face) -> float:
    """Detail inside the face: the standard deviation of the Laplacian of its brightness at 256 px; 0 is featureless.

    In units of 0..255 brightness; about 2 for a blurred face, 10 and more for a crisp one. Grain counts as detail.
    """
    luma, landmarks = _at_judged_size(face)
    return _detail(luma, _inside(face, landmarks, luma))


def eyes_sharpness(face: Face) -> float:
    """As `sharpness`, in a box around each eye: the mean of both. A turned face's far eye counts by its size."""
    luma, landmarks = _at_judged_size(face)
    boxes = np.zeros(luma.shape, bool)
    for eye in (RIGHT_EYE, LEFT_EYE):
        points = landmarks[eye]
        centre, reach = points.mean(axis=0), np.ptp(points[:, 0]) * np.array([0.75, 0.5])
        left, top = np.floor(centre - reach).astype(int).clip(0)
        right, bottom = np.ceil(centre + reach).astype(int).clip(0)
        boxes[top : bottom + 1, left : right + 1] = True
    return _detail(luma, boxes)


def brightness(face: Face) -> float:
    """Mean brightness inside the face, 0..1, as encoded (not linear)."""
    luma = _luma(face)
    inside = _inside(face, face.meta.landmarks, luma)
    return float(luma[inside].mean() / 255) if inside.any() else float(luma.mean() / 255)


def light_direction(face: Face) -> Light:
    """Where the light on a face comes from, by a plane laid through the brightness inside its hull.

    Turned faces show less of one half, which the plane does not mind. (0, 0) for even light and for a black picture.
    """
    luma, landmarks = _at_judged_size(face, size=64)
    inside = _inside(face, landmarks, luma)
    rows, columns = np.nonzero(inside)
    values = luma[inside].astype(np.float64)
    if len(values) < 16 or values.mean() < 1:
        return Light(0.0, 0.0)
    across, along = _centred(columns), _centred(rows)
    plane = np.column_stack([across, along, np.ones(len(values))])
    slope = np.linalg.lstsq(plane, values, rcond=None)[0]
    right, down = (float(np.clip(part / max(slope[2], 1.0), -1, 1)) for part in slope[:2])
    return Light(right, down)


def _luma(face: Face) -> Luma:
    return cv2.cvtColor(face.rgb8, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _inside(face: Face, landmarks: npt.NDArray[np.float64], luma: Luma) -> npt.NDArray[np.bool_]:
    height, width = luma.shape[:2]
    return face_hull(landmarks, height, width, face.meta.eyebrows_expand_mod) > 0


def _at_judged_size(face: Face, size: int = JUDGED_AT) -> tuple[Luma, npt.NDArray[np.float64]]:
    """Brightness and landmarks with the picture no larger than `size`; a smaller one stays."""
    grey = cv2.cvtColor(face.rgb8, cv2.COLOR_RGB2GRAY)
    shrink = min(1.0, size / max(grey.shape))
    if shrink < 1:
        wanted = (max(1, round(grey.shape[1] * shrink)), max(1, round(grey.shape[0] * shrink)))
        grey = cv2.resize(grey, wanted, interpolation=cv2.INTER_AREA)
    return grey.astype(np.float32), face.meta.landmarks * shrink


def _detail(luma: Luma, inside: npt.NDArray[np.bool_]) -> float:
    values = cv2.Laplacian(luma, cv2.CV_32F)[inside]
    return math.sqrt(float(values.var())) if len(values) else 0.0


def _centred(positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Positions as -1..1 over their extent."""
    low, high = int(positions.min()), int(positions.max())
    return np.asarray((positions - low) / max(high - low, 1) * 2.0 - 1.0, np.float64)
