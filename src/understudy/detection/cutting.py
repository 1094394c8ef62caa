"""Cutting found faces out of a frame: the aligned picture, its matrix, and its landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.detection.found import FoundFace
from understudy.geometry import affine
from understudy.geometry.affine import Affine
from understudy.geometry.alignment import transform
from understudy.geometry.face_types import FACE_TYPE_CODES
from understudy.records import FaceType

LARGEST_CROP = 4.0
"""A half to full crop of more than this many times the area of the face's box comes from landmarks gone astray."""

Image8 = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class CutFace:
    """One aligned face. rgb8: (S, S, 3), or the whole frame for MARK_ONLY, which has no matrix.

    face_from_frame: (2, 3) float64 matrix from frame to aligned pixels. landmarks: (68, 2) float64 in aligned pixels.
    """

    found: FoundFace
    rgb8: Image8
    face_from_frame: Affine | None
    landmarks: NDArray[np.float64]


class Unusable(StrEnum):
    """Why a face is not cut out. shape: its landmarks span no crop; area: the crop is far larger than the face."""

    SHAPE = "shape"
    AREA = "area"


def cut_face(rgb8: Image8, face: FoundFace, *, size: int, face_type: FaceType, by_hand: bool = False) -> CutFace | None:
    """Cut one face out of the frame (H, W, 3) uint8; bilinear, black outside the frame.

    by_hand: a person has placed it, so its crop may be as large as it likes. None when its landmarks make no sensible
    crop, which `why_unusable` explains.
    """
    if face_type is FaceType.MARK_ONLY:
        return CutFace(face, rgb8, None, face.landmarks)
    try:
        matrix = transform(face.landmarks, size, face_type)
    except ValueError:
        return None
    if not by_hand and why_unusable(face, face_type) is not None:
        return None
    flags, border = cv2.INTER_LINEAR, cv2.BORDER_CONSTANT
    picture = np.asarray(cv2.warpAffine(rgb8, matrix, (size, size), flags=flags, borderMode=border), np.uint8)
    return CutFace(face, picture, matrix, affine.apply(matrix, face.landmarks))


def why_unusable(face: FoundFace, face_type: FaceType) -> Unusable | None:
    """Why an automatically found face makes no sensible crop of this type; None when it does (spec: extraction, 6)."""
    if face_type is FaceType.MARK_ONLY:
        return None
    area = crop_area(face.landmarks, face_type)
    if area is None:
        return Unusable.SHAPE
    closer = FACE_TYPE_CODES[face_type] <= FACE_TYPE_CODES[FaceType.FULL_NO_ALIGN]
    return Unusable.AREA if closer and area > LARGEST_CROP * face.rect.area else None


def crop_area(landmarks: NDArray[np.float64], face_type: FaceType) -> float | None:
    """Square pixels of the frame that the crop of a face covers; None where its landmarks span none."""
    try:
        determinant = abs(float(np.linalg.det(transform(landmarks, 1, face_type)[:, :2])))
    except ValueError:
        return None
    area = 1 / determinant if determinant > 0 else np.inf
    return area if np.isfinite(area) else None
