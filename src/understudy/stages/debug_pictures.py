"""Debug images: a frame with what was found in it drawn on, for a person to look through."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from understudy.detection.drawing import darken, draw_landmarks, draw_rect, draw_square
from understudy.facesets import FaceMeta, encode_jpeg
from understudy.files import write_bytes
from understudy.masks.hull import face_hull

QUALITY = 50

Image8 = npt.NDArray[np.uint8]


def write_debug_picture(folder: Path, stem: str, rgb8: Image8, faces: Sequence[tuple[FaceMeta, int]]) -> None:
    """Write `<stem>.jpg` into the folder. rgb8: the frame (H, W, 3); faces: data and aligned size of each.

    Raises DiskFull and ReadOnlyWorkspace.
    """
    write_bytes(folder / f"{stem}.jpg", encode_jpeg(debug_picture(rgb8, faces), QUALITY), durable=False)


def debug_picture(rgb8: Image8, faces: Sequence[tuple[FaceMeta, int]]) -> Image8:
    """The frame with landmarks, boxes and alignment squares drawn on a copy. faces: data and aligned size of each."""
    picture = rgb8.copy()
    for meta, size in faces:
        if meta.source_landmarks is None:
            continue
        draw_landmarks(picture, meta.source_landmarks)
        darken(picture, face_hull(meta.source_landmarks, *picture.shape[:2]))
        if meta.source_rect is not None:
            draw_rect(picture, meta.source_rect)
        if meta.image_to_face_mat is not None:
            draw_square(picture, meta.image_to_face_mat, size)
    return picture
