"""Faces made for tests: small, valid, all different: `from made_faces import make_meta`."""

from __future__ import annotations

import numpy as np

from understudy.facesets import FaceMeta, Polygon, encode_jpeg
from understudy.facesets.xseg import encode_mask
from understudy.geometry import affine, transform
from understudy.geometry.mean_face import MEAN_FACE
from understudy.records import FaceType, Rect

SIZE = 96


def make_meta(index: int = 0, face_type: FaceType = FaceType.WHOLE_FACE) -> FaceMeta:
    """Full data of one face of frame `index`."""
    source = MEAN_FACE[:, :2] * 20 + 400 + np.random.default_rng(index).normal(0, 1, (68, 2))
    matrix = transform(source, SIZE, face_type)
    return FaceMeta(
        face_type=face_type,
        landmarks=affine.apply(matrix, source),
        source_filename=f"{index + 1:05d}.png",
        source_rect=Rect(250, 260, 560, 580),
        source_landmarks=source,
        image_to_face_mat=matrix,
    )


def make_labelled_meta(index: int = 0) -> FaceMeta:
    """Data with everything in it: mask, outlines, eyebrow factor, keys of old and unknown programs."""
    mask = np.zeros((64, 64), np.float32)
    mask[10:50, 12:52] = 1
    return make_meta(index).but(
        xseg_mask=encode_mask(mask),
        polygons=(
            Polygon(np.array([(10.5, 10), (80, 12), (50, 80.25)], np.float32)),
            Polygon(np.array([(20, 20), (30, 20), (30, 30)], np.float32), include=False),
        ),
        eyebrows_expand_mod=0.75,
        extra={
            "ie_polys": [(1, [[1, 2], [3, 4], [5, 6]])],
            "relighted": True,
            "pitch_yaw_roll": (0.1, -0.2, 0.3),
            "fanseg_mask": np.arange(40, dtype=np.uint8),
            "from the future": {"a": [1, None, b"x"], "b": np.eye(2, dtype=np.float32)},
        },
    )


def make_jpeg(index: int = 0) -> bytes:
    return encode_jpeg(np.random.default_rng(index).integers(0, 255, (SIZE, SIZE, 3), np.uint8), 90)
