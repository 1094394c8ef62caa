"""How much of the head each face type covers, and the numbers by which old files name them."""

from __future__ import annotations

import math

from understudy.records import FaceType

PADDING: dict[FaceType, float] = {
    FaceType.HALF: 0.0,
    FaceType.MID_FULL: 0.0675,
    FaceType.FULL: 0.2109375,
    FaceType.FULL_NO_ALIGN: 0.2109375,
    FaceType.WHOLE_FACE: 0.40,
    FaceType.HEAD: 0.70,
    FaceType.HEAD_NO_ALIGN: 0.70,
}
"""What is added around the unit face square, in unit squares times sqrt(2). MARK_ONLY has none: it is not aligned."""

AXIS_ALIGNED = frozenset({FaceType.FULL_NO_ALIGN, FaceType.HEAD_NO_ALIGN})
"""Face types whose square stays parallel to the frame."""

FACE_TYPE_CODES: dict[FaceType, int] = {
    FaceType.HALF: 0,
    FaceType.MID_FULL: 1,
    FaceType.FULL: 2,
    FaceType.FULL_NO_ALIGN: 3,
    FaceType.WHOLE_FACE: 4,
    FaceType.HEAD: 10,
    FaceType.HEAD_NO_ALIGN: 20,
    FaceType.MARK_ONLY: 100,
}
"""The number of each type in faceset.pak. Of two types the one with the larger number contains the other."""

SHORT_NAMES: dict[str, FaceType] = {
    "h": FaceType.HALF,
    "mf": FaceType.MID_FULL,
    "f": FaceType.FULL,
    "wf": FaceType.WHOLE_FACE,
    "head": FaceType.HEAD,
}
"""What people type."""


def side_in_unit_squares(face_type: FaceType) -> float:
    """The side of the crop as a multiple of the unit face square's side, 1.0 for HALF and 2.98 for HEAD."""
    return 1.0 + 2.0 * math.sqrt(2.0) * PADDING[face_type]
