"""Cutting faces out of frames."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.detection import FoundFace
from understudy.detection.cutting import cut_face
from understudy.detection.mesh import landmarks_68
from understudy.geometry import affine, canonical, transform
from understudy.records import FaceType, Rect

LANDMARKS = landmarks_68(canonical.vertices()) * 12 + (320, 240)
FACE = FoundFace(Rect(240, 150, 400, 330), LANDMARKS, None, 1.0)
FRAME = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)


@pytest.mark.parametrize("face_type", [FaceType.HALF, FaceType.FULL, FaceType.WHOLE_FACE, FaceType.HEAD])
def test_the_matrix_takes_the_frame_to_the_aligned_picture(face_type: FaceType) -> None:
    cut = cut_face(FRAME, FACE, size=256, face_type=face_type)
    assert cut is not None
    assert cut.rgb8.shape == (256, 256, 3)
    assert cut.face_from_frame is not None
    np.testing.assert_allclose(cut.face_from_frame, transform(LANDMARKS, 256, face_type))
    np.testing.assert_allclose(cut.landmarks, affine.apply(cut.face_from_frame, LANDMARKS))


def test_mark_only_keeps_the_frame_as_it_is() -> None:
    cut = cut_face(FRAME, FACE, size=256, face_type=FaceType.MARK_ONLY)
    assert cut is not None
    assert cut.face_from_frame is None
    np.testing.assert_array_equal(cut.rgb8, FRAME)
    np.testing.assert_array_equal(cut.landmarks, LANDMARKS)


def test_landmarks_that_make_no_crop_make_no_face() -> None:
    for landmarks in (np.full((68, 2), 5.0), np.full((68, 2), np.nan)):
        assert cut_face(FRAME, FoundFace(FACE.rect, landmarks, None, 1.0), size=256, face_type=FaceType.FULL) is None


def test_a_crop_far_larger_than_its_box_is_left_out_for_close_face_types() -> None:
    """Landmarks gone astray make huge crops; the wide types are allowed theirs."""
    face = FoundFace(Rect(310, 230, 330, 250), LANDMARKS, None, 1.0)
    assert cut_face(FRAME, face, size=256, face_type=FaceType.FULL) is None
    assert cut_face(FRAME, face, size=256, face_type=FaceType.WHOLE_FACE) is not None
