"""Which pixels of an aligned face are face: masks from landmarks, outlines and stored XSeg masks."""

from understudy.masks.hull import eyes_mask, eyes_mouth_mask, face_hull, face_mask, mouth_mask, resize_mask
from understudy.masks.labels import label_mask
from understudy.masks.polygons import rasterise

__all__ = [
    "eyes_mask",
    "eyes_mouth_mask",
    "face_hull",
    "face_mask",
    "label_mask",
    "mouth_mask",
    "rasterise",
    "resize_mask",
]
