"""Cutting found faces out of a frame: the aligned picture, its matrix, and its landmarks."""

from __future__ import annotations

from dataclasses import dataclass

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


def cut_face(rgb8: Image8, face: FoundFace, *, size: int, face_type: FaceType) -> CutFace | None:
    """Cut one face out of the frame (H, W, 3) uint8; bilinear, black outside the frame.

    None when its landmarks make no sensible crop.
    """
    if face_type is FaceType.MARK_ONLY:
        return CutFace(face, rgb8, None, face.landmarks)
    try:
        matrix = transform(face.landmarks, size, face_type)
    except ValueError:
        return None
    if not _is_sensible(matrix, size, face, face_type):
        return None
    flags, border = cv2.INTER_LINEAR, cv2.BORDER_CONSTANT
    picture = np.asarray(cv2.warpAffine(rgb8, matrix, (size, size), flags=flags, borderMode=border), np.uint8)
    return CutFace(face, picture, matrix, affine.apply(matrix, face.landmarks))


def _is_sensible(matrix: Affine, size: int, face: FoundFace, face_type: FaceType) -> bool:
    area = size * size / abs(float(np.linalg.det(matrix[:, :2])))
    if not np.isfinite(area):
        return False
    closer = FACE_TYPE_CODES[face_type] <= FACE_TYPE_CODES[FaceType.FULL_NO_ALIGN]
    return not closer or area <= LARGEST_CROP * face.rect.area
