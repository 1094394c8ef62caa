"""The square crop of a face: which matrix takes the frame to the aligned image, for every face type.

The unit face square, (0, 0) to (1, 1), holds brows, eyes, nose and mouth; every face type pads it by its own amount.
Corner points are rounded to float32 on the way, as the program that made today's facesets does: so the matrices here
and in existing files agree to about 1e-4 px.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from understudy.geometry import affine
from understudy.geometry.affine import Affine, Points
from understudy.geometry.face_types import AXIS_ALIGNED, PADDING
from understudy.geometry.landmarks import polygon_area
from understudy.records import FaceType, Rect

TEMPLATE_51 = np.array(
    [
        (0.000213256, 0.106454),
        (0.0752622, 0.038915),
        (0.18113, 0.0187482),
        (0.29077, 0.0344891),
        (0.393397, 0.0773906),
        (0.586856, 0.0773906),
        (0.689483, 0.0344891),
        (0.799124, 0.0187482),
        (0.904991, 0.038915),
        (0.98004, 0.106454),
        (0.490127, 0.203352),
        (0.490127, 0.307009),
        (0.490127, 0.409805),
        (0.490127, 0.515625),
        (0.36688, 0.587326),
        (0.426036, 0.609345),
        (0.490127, 0.628106),
        (0.554217, 0.609345),
        (0.613373, 0.587326),
        (0.121737, 0.216423),
        (0.187122, 0.178758),
        (0.265825, 0.179852),
        (0.334606, 0.231733),
        (0.260918, 0.245099),
        (0.182743, 0.244077),
        (0.645647, 0.231733),
        (0.714428, 0.179852),
        (0.793132, 0.178758),
        (0.858516, 0.216423),
        (0.79751, 0.244077),
        (0.719335, 0.245099),
        (0.254149, 0.780233),
        (0.340985, 0.745405),
        (0.428858, 0.727388),
        (0.490127, 0.742578),
        (0.551395, 0.727388),
        (0.639268, 0.745405),
        (0.726104, 0.780233),
        (0.642159, 0.864805),
        (0.556721, 0.902192),
        (0.490127, 0.909281),
        (0.423532, 0.902192),
        (0.338094, 0.864805),
        (0.290379, 0.784792),
        (0.428096, 0.778746),
        (0.490127, 0.785343),
        (0.552157, 0.778746),
        (0.689874, 0.784792),
        (0.553364, 0.824182),
        (0.490127, 0.831803),
        (0.42689, 0.824182),
    ],
    np.float32,
)
"""Landmarks 17 to 67 of the mean face in the unit face square, (51, 2)."""

ALIGNED_BY = np.array([*range(17, 49), 54])
"""The 33 landmarks that alignment looks at: brows, nose, eyes and the corners of the mouth."""

TEMPLATE_33 = TEMPLATE_51[ALIGNED_BY - 17]

_UNIT_CORNERS = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0.5, 0.5)], np.float64)
_WHOLE_FACE_RISE = 0.07  # of the unit square's height, toward the top of the face
_HEAD_RISE = 0.5

Points32 = npt.NDArray[np.float32]


def transform(landmarks: npt.ArrayLike, size: int, face_type: FaceType, scale: float = 1.0) -> Affine:
    """The matrix (2, 3) float64 that takes image pixels to the size x size aligned image.

    landmarks: (68, 2) in image pixels. scale above 1 zooms in: the crop covers 1/scale of the usual side.
    Raises ValueError for MARK_ONLY, which has no alignment, and for landmarks that lie in one point or are not finite.
    """
    if face_type not in PADDING:
        raise ValueError(f"{face_type} faces are not aligned: the picture is the frame itself")
    points = np.asarray(landmarks, np.float64)
    unit_from_image = similarity(points)
    if not np.isfinite(unit_from_image).all() or not _is_invertible(unit_from_image):
        raise ValueError("these landmarks do not span a face: they lie in one point or are not finite")
    square = _unit_square_in_image(affine.invert(unit_from_image))
    centre = square[4] + _shift_of(face_type, square, affine.apply(unit_from_image, points))
    corners = _corners(square, centre, face_type, scale)
    return affine.from_three_points(corners, [(0, 0), (size, 0), (size, size)])


def similarity(landmarks: npt.ArrayLike) -> Affine:
    """The matrix (2, 3) of uniform scale, turn and shift that lays landmarks on the unit face square, least squares.

    landmarks: (68, 2). The result is NaN where the landmarks used lie in one point.
    """
    return fit_similarity(np.asarray(landmarks, np.float64)[ALIGNED_BY], TEMPLATE_33)


def fit_similarity(source: npt.ArrayLike, target: npt.ArrayLike) -> Affine:
    """The similarity (2, 3) that takes points (N, 2) closest to others in the sense of least squares.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991, equations 40-43.
    """
    s, d = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if not np.isfinite(s).all():
        return np.full((2, 3), np.nan)
    s_mean, d_mean = s.mean(axis=0), d.mean(axis=0)
    covariance = (d - d_mean).T @ (s - s_mean) / len(s)
    rank = np.linalg.matrix_rank(covariance)
    if rank == 0:
        return np.full((2, 3), np.nan)
    u, weights, vt = np.linalg.svd(covariance)
    signs = np.array([1.0, -1.0 if np.linalg.det(covariance) < 0 else 1.0])
    turn_signs = signs
    if rank == 1:
        turn_signs = np.array([1.0, 1.0 if np.linalg.det(u) * np.linalg.det(vt) > 0 else -1.0])
    turn = u @ np.diag(turn_signs) @ vt
    scale = weights @ signs / s.var(axis=0).sum()
    return np.column_stack([scale * turn, d_mean - scale * turn @ s_mean])


def conversion(landmarks_aligned: npt.ArrayLike, size_to: int, face_type_to: FaceType) -> Affine:
    """The matrix that takes an aligned image of any face type to a size_to x size_to image of another.

    landmarks_aligned: (68, 2) in pixels of the image at hand. The alignment is found anew from them.
    """
    return transform(landmarks_aligned, size_to, face_type_to)


def conversion_through_frame(
    source_landmarks: npt.ArrayLike, width: int, face_type_from: FaceType, face_type_to: FaceType
) -> Affine:
    """The matrix from a width x width aligned image of one face type to one of another, by way of the frame.

    source_landmarks: (68, 2) in frame pixels. Unlike `conversion` it does not depend on how landmarks were rounded in
    the aligned image.
    """
    to_from_frame = transform(source_landmarks, width, face_type_to)
    from_from_frame = transform(source_landmarks, width, face_type_from)
    corners = np.array([(0, 0), (width, 0), (0, width)], np.float32)
    in_frame = affine.apply(affine.invert(to_from_frame), corners).astype(np.float32)
    in_old = affine.apply(from_from_frame, in_frame).astype(np.float32)
    return affine.from_three_points(in_old, corners)


def rect_of(landmarks: npt.ArrayLike) -> Rect:
    """A rectangle in image pixels around a face whose detector box is not known, from its landmarks (68, 2)."""
    image_from_face = affine.invert(transform(landmarks, 256, FaceType.FULL_NO_ALIGN))
    (left, top), (right, bottom) = affine.apply(image_from_face, [(0, 0), (255, 255)]).astype(np.float32).tolist()
    return Rect(left, top, right, bottom)


def jaw_yaw(landmarks_in_unit_square: npt.ArrayLike) -> float:
    """How far the head is turned, from the widths of the two cheeks: 0 is frontal, positive is a wider left cheek.

    In units of the coordinates given: the unit face square for HEAD alignment.
    """
    x = np.asarray(landmarks_in_unit_square, np.float64)[:, 0]
    image_left = (x[27:30] - x[0:3]).mean()
    image_right = (x[[16, 15, 14]] - x[27:30]).mean()
    return float(image_right - image_left)


def _unit_square_in_image(image_from_unit: Affine) -> Points32:
    """The corners and the centre of the unit square in image pixels, (5, 2), matrix and sums in float32.

    A last bit here moves the crop by 1e-5 px, which shows where an old OpenCV rounds coordinates (golden merges).
    """
    matrix, corners = image_from_unit.astype(np.float32), _UNIT_CORNERS.astype(np.float32)
    points: Points32 = corners[:, :1] * matrix[:, 0] + corners[:, 1:] * matrix[:, 1] + matrix[:, 2]
    return points


def _shift_of(face_type: FaceType, square: Points32, landmarks_in_unit_square: Points) -> Points32:
    """How far the crop's centre lies from the unit square's centre, in image pixels, (2,) float32."""
    up = square[0] - square[3]
    if face_type is FaceType.WHOLE_FACE:
        return np.asarray(up * np.float32(_WHOLE_FACE_RISE), np.float32)
    if face_type is FaceType.HEAD:
        yaw = jaw_yaw(landmarks_in_unit_square)
        damped = yaw * abs(np.tanh(2 * yaw))
        return np.asarray(up * np.float32(_HEAD_RISE) - (square[0] - square[1]) * np.float32(damped / 2), np.float32)
    return np.zeros(2, np.float32)


def _corners(square: Points32, centre: Points32, face_type: FaceType, scale: float) -> Points32:
    """Top-left, top-right and bottom-right of the crop in image pixels, (3, 2) float32."""
    down = _unit(square[2] - square[0])
    rise = _unit(square[1] - square[3])
    diagonal = float(np.linalg.norm(square[0] - square[2]))
    reach = np.float32(diagonal / scale * (PADDING[face_type] * 2.0**0.5 + 0.5))
    quad = np.array([centre - down * reach, centre + rise * reach, centre + down * reach, centre - rise * reach])
    if face_type not in AXIS_ALIGNED:
        return quad[:3]
    half_side = np.float32(polygon_area(quad) ** 0.5 / 2)
    return np.asarray(centre + half_side * np.array([(-1, -1), (1, -1), (1, 1)], np.float32), np.float32)


def _unit(vector: Points32) -> Points32:
    return np.asarray(vector / np.linalg.norm(vector).astype(np.float32), np.float32)


def _is_invertible(matrix: Affine) -> bool:
    return bool(abs(np.linalg.det(matrix[:, :2])) > 1e-18)
