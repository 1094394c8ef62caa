"""What is known of a face, carried over into another alignment of it."""

from __future__ import annotations

import cv2
import numpy as np

from understudy.errors import UnderstudyError
from understudy.facesets.metadata import FaceMeta, Polygon
from understudy.facesets.xseg import decode_mask, encode_mask
from understudy.geometry import affine
from understudy.geometry.affine import Affine


def taking_over(new: FaceMeta, old: FaceMeta, *, old_size: int, size: int) -> FaceMeta:
    """What is known of a face, for its new alignment: outlines and mask are mapped into it.

    old_size, size: sides of the old and the new aligned picture in pixels.

    The rest that does not depend on the alignment (track, group, eyebrows, unknown keys) is taken as it is.
    """
    matrix = _new_from_old(new, old)
    polygons, mask = old.polygons, old.xseg_mask
    if matrix is not None:
        polygons = tuple(
            Polygon(affine.apply(matrix, polygon.points).astype(np.float32), polygon.include) for polygon in polygons
        )
        mask = None if mask is None else _mapped_mask(mask, matrix, old_size, size)
    return new.but(
        polygons=polygons,
        xseg_mask=mask,
        track=old.track,
        group=old.group,
        eyebrows_expand_mod=old.eyebrows_expand_mod,
        extra={**old.extra, **new.extra},
    )


def _new_from_old(new: FaceMeta, old: FaceMeta) -> Affine | None:
    """The matrix from pixels of the old aligned picture to those of the new; by way of the frame they share."""
    if new.image_to_face_mat is None or old.image_to_face_mat is None:
        return None
    try:
        return affine.compose(new.image_to_face_mat, affine.invert(old.image_to_face_mat))
    except np.linalg.LinAlgError:
        return None


def _mapped_mask(stored: bytes, matrix: Affine, old_size: int, size: int) -> bytes | None:
    """The stored mask in the new alignment, at its own resolution; None where it cannot be read."""
    try:
        mask = decode_mask(stored)
    except UnderstudyError:
        return None
    height, width = mask.shape
    if height != width:
        return stored
    there = affine.scaling(width / size)
    back = affine.scaling(old_size / width)
    whole = affine.compose(there, affine.compose(matrix, back))
    moved = cv2.warpAffine(mask, whole, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    hard = bool(np.isin(mask, (0.0, 1.0)).all())
    return encode_mask((np.asarray(moved) > 0.5).astype(np.float32) if hard else np.asarray(moved, np.float32))
