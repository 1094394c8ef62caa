"""What was said about a face by hand, or by a mask network that was applied: its label."""

from __future__ import annotations

import numpy as np

from understudy.facesets import Face
from understudy.facesets.xseg import Mask, decode_mask
from understudy.masks.hull import resize_mask
from understudy.masks.polygons import rasterise


def label_mask(face: Face) -> Mask | None:
    """What a mask network learns of a face: its outlines filled, else its applied mask cut at a half; 0 or 1, (H, W)
    float32 of the picture's size. None for a face with neither. Raises UnreadableFace for a damaged mask.
    """
    if any(len(polygon.points) for polygon in face.meta.polygons):
        return rasterise(face.meta.polygons, face.height, face.width)
    if face.meta.xseg_mask is None:
        return None
    applied = resize_mask(decode_mask(face.meta.xseg_mask), face.height, face.width)
    return np.asarray(applied >= 0.5, np.float32)
