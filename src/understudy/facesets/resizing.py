"""One face at another size, or as another face type, with everything that is known of it taken along."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from understudy.errors import UnreadableFace
from understudy.facesets.faces import Face
from understudy.facesets.metadata import FaceMeta, Polygon
from understudy.facesets.xseg import Mask, decode_mask, encode_mask
from understudy.geometry import affine
from understudy.geometry.affine import Affine
from understudy.geometry.alignment import transform
from understudy.geometry.face_types import PADDING
from understudy.records import FaceType

MASK_SIZE = 256
"""Masks of a changed face type have this side, as the mask network makes them, or their own where that is larger."""


def resized(face: Face, size: int, face_type: FaceType | None = None) -> Face:
    """The face as a picture of size x size pixels; face_type None: what it covers stays.

    Pictures are resampled with Lanczos over 8 x 8 pixels. A face type that covers more than the picture leaves black
    borders: the crop is taken from the aligned picture, not from the frame. Landmarks, outlines and, where the face
    type changes, the mask go through the same matrix; the one from the frame is made anew from the source landmarks.
    Raises UnreadableFace for pictures that are not square, and for landmarks that span no face.
    """
    if face.width != face.height:
        raise UnreadableFace(f"This picture is {face.width} x {face.height} pixels; only square ones can be resized.")
    if face_type is None or face_type is face.meta.face_type:
        return _rescaled(face, size)
    return _retyped(face, size, face_type)


def _rescaled(face: Face, size: int) -> Face:
    factor = size / face.width
    picture = cv2.resize(face.rgb8, (size, size), interpolation=cv2.INTER_LANCZOS4)
    return Face(np.asarray(picture, np.uint8), _moved(face.meta, affine.scaling(factor), size, face.meta.face_type))


def _retyped(face: Face, size: int, face_type: FaceType) -> Face:
    new_from_old = _transform(face.meta.landmarks, size, face_type)
    picture = cv2.warpAffine(
        face.rgb8, new_from_old, (size, size), flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_CONSTANT
    )
    meta = _moved(face.meta, new_from_old, size, face_type).but(face_type=face_type)
    if meta.xseg_mask is not None:
        meta = meta.but(xseg_mask=encode_mask(_retyped_mask(face, decode_mask(meta.xseg_mask), face_type)))
    return Face(np.asarray(picture, np.uint8), meta)


def _retyped_mask(face: Face, mask: Mask, face_type: FaceType) -> Mask:
    """The mask of the new crop, 0 or 1. A stored mask may have any size; it is brought to a square one first."""
    side = max(MASK_SIZE, *mask.shape)
    if mask.shape != (side, side):
        mask = np.asarray(cv2.resize(mask, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)
    new_from_old = _transform(face.meta.landmarks * (side / face.width), side, face_type)
    flags, border = cv2.INTER_LANCZOS4, cv2.BORDER_CONSTANT
    warped = np.asarray(cv2.warpAffine(mask, new_from_old, (side, side), flags=flags, borderMode=border))
    return (warped >= 0.5).astype(np.float32)


def _moved(meta: FaceMeta, new_from_old: Affine, size: int, face_type: FaceType) -> FaceMeta:
    """Points through the matrix; the matrix from the frame as it would be for a fresh crop."""
    matrix = meta.image_to_face_mat
    if matrix is not None and meta.source_landmarks is not None and face_type in PADDING:
        matrix = _transform(meta.source_landmarks, size, face_type)
    elif matrix is not None:
        matrix = affine.compose(new_from_old, matrix)
    polygons = tuple(
        Polygon(affine.apply(new_from_old, polygon.points).astype(np.float32), polygon.include)
        for polygon in meta.polygons
    )
    return meta.but(landmarks=affine.apply(new_from_old, meta.landmarks), image_to_face_mat=matrix, polygons=polygons)


def _transform(landmarks: npt.NDArray[np.float64], size: int, face_type: FaceType) -> Affine:
    try:
        return transform(landmarks, size, face_type)
    except ValueError as error:
        raise UnreadableFace(f"This face cannot be aligned: {error}.") from None
