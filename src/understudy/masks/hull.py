"""Masks drawn from landmarks: the whole face, the eyes, the mouth. All are (H, W) float32 in 0..1."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from understudy.facesets import Face
from understudy.facesets.xseg import Mask, decode_mask
from understudy.geometry.landmarks import INNER_MOUTH, LEFT_EYE, RIGHT_EYE, expand_eyebrows

_HULL_PARTS: tuple[tuple[int, ...], ...] = (
    (*range(9), 17),
    (*range(8, 17), 26),
    (17, 18, 19, 8),
    (24, 25, 26, 8),
    (*range(19, 25), 8),
    (*range(17, 22), 27, *range(31, 36), 8),
    (*range(22, 27), 27, *range(31, 36), 8),
    (*range(27, 31), *range(31, 36)),
)
"""The face as eight convex patches; their union follows the outline of a turned face better than one hull."""


def face_hull(landmarks: npt.ArrayLike, height: int, width: int, eyebrows_expand: float = 1.0) -> Mask:
    """1 inside the face from chin to just above the brows, 0 outside, on a height x width picture.

    landmarks: (68, 2) in pixels of that picture, cut to whole pixels. eyebrows_expand: how far above the brows.
    """
    points = expand_eyebrows(landmarks, eyebrows_expand)
    mask = np.zeros((height, width), np.float32)
    for part in _HULL_PARTS:
        _fill_hull(mask, points[list(part)])
    return mask


def eyes_mask(landmarks: npt.ArrayLike, height: int, width: int) -> Mask:
    """Both eyes with a soft edge whose width follows the picture's height, which must be 32 or more."""
    return _soft_parts(landmarks, height, width, (RIGHT_EYE, LEFT_EYE))


def mouth_mask(landmarks: npt.ArrayLike, height: int, width: int) -> Mask:
    """The inside of the lips' inner edge with a soft edge, as `eyes_mask`."""
    return _soft_parts(landmarks, height, width, (INNER_MOUTH,))


def eyes_mouth_mask(landmarks: npt.ArrayLike, full: Mask) -> Mask:
    """Eyes and mouth together where the full-face mask is not zero; `full` gives the size."""
    height, width = full.shape
    both = eyes_mask(landmarks, height, width) + mouth_mask(landmarks, height, width)
    return np.asarray(np.clip(both, 0, 1) * (full != 0), np.float32)


def face_mask(face: Face, size: int | None = None) -> Mask:
    """The mask that training and merging use: the stored XSeg mask where there is one, else the landmark hull.

    Of the picture's own size, or size x size. A stored mask is resized bicubically and clipped to 0..1.
    """
    height, width = (face.height, face.width) if size is None else (size, size)
    if face.meta.xseg_mask is not None:
        return resize_mask(decode_mask(face.meta.xseg_mask), height, width)
    landmarks = face.meta.landmarks * (width / face.width, height / face.height)
    return face_hull(landmarks, height, width, face.meta.eyebrows_expand_mod)


def resize_mask(mask: Mask, height: int, width: int) -> Mask:
    """The mask at another size, bicubic, clipped to 0..1; the same array when the size is already right."""
    if mask.shape == (height, width):
        return mask
    resized = cv2.resize(mask, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(resized, 0, 1), np.float32)


def _soft_parts(landmarks: npt.ArrayLike, height: int, width: int, parts: tuple[slice, ...]) -> Mask:
    if height < 32:
        raise ValueError(f"a picture {height} pixels high is too small for eyes and mouth masks; 32 are needed")
    points = np.asarray(landmarks, np.float64).astype(np.int64)
    mask = np.zeros((height, width), np.float32)
    for part in parts:
        _fill_hull(mask, points[part])
    grown = height // 32
    blur = (height // 16) | 1
    dilated = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (grown, grown)), iterations=1)
    return np.asarray(cv2.GaussianBlur(dilated, (blur, blur), 0), np.float32)


def _fill_hull(mask: Mask, points: npt.NDArray[np.int64]) -> None:
    cv2.fillConvexPoly(mask, cv2.convexHull(points.astype(np.int32)), (1,))
