"""A crop follows the face: wherever it is, however large or turned, the aligned picture is the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.geometry import PADDING, affine, conversion, similarity, transform
from understudy.geometry import landmarks as lm
from understudy.geometry.alignment import TEMPLATE_33, TEMPLATE_51, conversion_through_frame, fit_similarity, rect_of
from understudy.geometry.face_types import AXIS_ALIGNED, side_in_unit_squares
from understudy.geometry.mean_face import MEAN_FACE
from understudy.records import FaceType

ALIGNED_TYPES = [kind for kind in PADDING if kind not in AXIS_ALIGNED]

angles = st.floats(-180, 180)
scales = st.floats(0.2, 20)
shifts = st.floats(-2000, 2000)


def face(scale: float = 20.0, at: tuple[float, float] = (400.0, 380.0)) -> np.ndarray:
    """A frontal face (68, 2); scale in pixels per centimetre."""
    return MEAN_FACE[:, :2] * scale + at


def moved(points: np.ndarray, degrees: float, scale: float, x: float, y: float) -> np.ndarray:
    return affine.apply(affine.rotation_about((x, y), degrees), points * scale + (x, y))


@pytest.mark.parametrize("face_type", ALIGNED_TYPES)
@given(degrees=angles, scale=scales, x=shifts, y=shifts)
def test_a_moved_face_gives_the_same_crop(
    face_type: FaceType, degrees: float, scale: float, x: float, y: float
) -> None:
    here, there = face(), moved(face(), degrees, scale, x, y)
    one = affine.apply(transform(here, 256, face_type), here)
    other = affine.apply(transform(there, 256, face_type), there)
    np.testing.assert_allclose(one, other, atol=0.05)


@pytest.mark.parametrize("face_type", list(PADDING))
def test_the_inverse_brings_points_back(face_type: FaceType) -> None:
    matrix = transform(face(), 512, face_type)
    points = np.random.default_rng(0).uniform(0, 512, (50, 2))
    np.testing.assert_allclose(affine.apply(matrix, affine.apply(affine.invert(matrix), points)), points, atol=1e-8)
    both = affine.compose(matrix, affine.invert(matrix))
    np.testing.assert_allclose(both, [[1, 0, 0], [0, 1, 0]], atol=1e-9)


@pytest.mark.parametrize("face_type", list(PADDING))
def test_axis_aligned_types_do_not_turn(face_type: FaceType) -> None:
    matrix = transform(moved(face(), 30, 1, 0, 0), 256, face_type)
    turned = abs(matrix[0, 1]) > 1e-3 * abs(matrix[0, 0])
    assert turned == (face_type not in AXIS_ALIGNED)


@pytest.mark.parametrize("face_type", ALIGNED_TYPES)
def test_the_side_of_each_crop(face_type: FaceType) -> None:
    unit = 1 / np.hypot(*similarity(face())[0, :2])
    side = 256 / np.hypot(*transform(face(), 256, face_type)[0, :2])
    assert side / unit == pytest.approx(side_in_unit_squares(face_type), rel=1e-5)


def test_scale_zooms_in() -> None:
    usual, close = (transform(face(), 256, FaceType.FULL, scale) for scale in (1.0, 1.25))
    np.testing.assert_allclose(close[:, :2], usual[:, :2] * 1.25, atol=1e-6)


def test_head_crops_lean_toward_the_side_a_turned_face_looks_from() -> None:
    """A head turned away shows more hair on one side; the crop moves to hold it."""
    straight = face()
    turned = straight.copy()
    turned[27:36, 0] -= 60  # the nose toward the image's left: the image's right cheek is wide
    assert similarity(turned).shape == (2, 3)
    shift = affine.apply(affine.invert(transform(turned, 256, FaceType.HEAD)), [(128, 128)])[0]
    without = affine.apply(affine.invert(transform(turned, 256, FaceType.HEAD_NO_ALIGN)), [(128, 128)])[0]
    assert shift[0] > without[0] + 5


@pytest.mark.parametrize("face_type", ALIGNED_TYPES)
def test_both_ways_of_conversion_agree(face_type: FaceType) -> None:
    source = moved(face(), 17, 1.3, 90, -20)
    aligned = affine.apply(transform(source, 256, face_type), source)
    direct = conversion(aligned, 256, FaceType.WHOLE_FACE)
    by_frame = conversion_through_frame(source, 256, face_type, FaceType.WHOLE_FACE)
    corners = [(0, 0), (256, 0), (256, 256)]
    np.testing.assert_allclose(affine.apply(direct, corners), affine.apply(by_frame, corners), atol=0.02)


def test_mark_only_and_degenerate_landmarks_are_refused() -> None:
    with pytest.raises(ValueError, match="not aligned"):
        transform(face(), 256, FaceType.MARK_ONLY)
    for landmarks in (np.full((68, 2), 7.0), np.full((68, 2), np.nan)):
        with pytest.raises(ValueError, match="do not span a face"):
            transform(landmarks, 256, FaceType.FULL)


def test_a_mirrored_target_is_met_by_a_turn_not_a_reflection() -> None:
    points = np.random.default_rng(1).normal(size=(20, 2))
    assert np.linalg.det(fit_similarity(points, points * (-1, 1))[:, :2]) > 0


def test_points_on_a_line_still_fit() -> None:
    line = np.column_stack([np.arange(5.0), np.zeros(5)])
    np.testing.assert_allclose(affine.apply(fit_similarity(line, line * 2), line), line * 2, atol=1e-9)


def test_template_is_its_own_alignment() -> None:
    landmarks = np.vstack([np.zeros((17, 2)), TEMPLATE_51])
    np.testing.assert_allclose(similarity(landmarks), [[1, 0, 0], [0, 1, 0]], atol=1e-6)
    assert TEMPLATE_33.shape == (33, 2)


def test_mirror_twice_is_nothing_and_keeps_sides() -> None:
    landmarks = face()
    np.testing.assert_allclose(lm.mirror(lm.mirror(landmarks, 800), 800), landmarks)
    mirrored = lm.mirror(landmarks, 800)
    assert mirrored[lm.RIGHT_EYE, 0].mean() < mirrored[lm.LEFT_EYE, 0].mean()


def test_eyebrows_go_up_and_nothing_else_moves() -> None:
    landmarks = face()
    raised = lm.expand_eyebrows(landmarks, 1.0)
    assert (raised[17:27, 1] < landmarks[17:27, 1] - 2).all()
    np.testing.assert_array_equal(raised[27:], landmarks[27:].astype(int))
    np.testing.assert_array_equal(lm.expand_eyebrows(landmarks, 0.0), landmarks.astype(int))


def test_rectangle_lies_around_the_face() -> None:
    rect = rect_of(face())
    assert rect.left < face()[:, 0].min() + 20
    assert rect.right > face()[:, 0].max() - 20
    assert rect.width == pytest.approx(rect.height, rel=1e-4)


def test_perturbing_by_nothing_changes_nothing() -> None:
    matrix = transform(face(), 256, FaceType.FULL)
    np.testing.assert_allclose(affine.perturb(matrix, 256), matrix, atol=1e-4)


def test_perturbing_zooms_turns_and_shifts() -> None:
    matrix = transform(face(), 256, FaceType.FULL)
    wider = affine.perturb(matrix, 256, scale=2.0)
    np.testing.assert_allclose(wider[:, :2], matrix[:, :2] / 2, atol=1e-6)
    turned = affine.perturb(matrix, 256, degrees=90)
    np.testing.assert_allclose(
        affine.apply(turned, affine.apply(affine.invert(matrix), [(256, 0)])), [(0, 0)], atol=1e-3
    )


def test_polygon_area() -> None:
    assert lm.polygon_area([(0, 0), (4, 0), (4, 3), (0, 3)]) == 12
