"""Where a face is: landmarks, alignment transforms, face types and head pose. Numbers only, no pictures."""

from understudy.geometry.affine import Affine, Points
from understudy.geometry.alignment import conversion, similarity, transform
from understudy.geometry.face_types import FACE_TYPE_CODES, PADDING

__all__ = ["FACE_TYPE_CODES", "PADDING", "Affine", "Points", "conversion", "similarity", "transform"]
