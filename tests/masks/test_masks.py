"""Masks drawn from landmarks, outlines and stored masks."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.facesets import Face, FaceMeta, Polygon
from understudy.facesets.xseg import encode_mask
from understudy.geometry import affine, transform
from understudy.geometry.mean_face import MEAN_FACE
from understudy.masks import eyes_mask, eyes_mouth_mask, face_hull, face_mask, mouth_mask, rasterise
from understudy.records import FaceType

SIZE = 256


@pytest.fixture
def landmarks() -> np.ndarray:
    source = MEAN_FACE[:, :2] * 20 + 400
    return affine.apply(transform(source, SIZE, FaceType.WHOLE_FACE), source)


def face(landmarks: np.ndarray, **changes: object) -> Face:
    return Face(np.zeros((SIZE, SIZE, 3), np.uint8), FaceMeta(FaceType.WHOLE_FACE, landmarks).but(**changes))


def outline(*points: tuple[float, float], include: bool = True) -> Polygon:
    return Polygon(np.array(points, np.float32).reshape(-1, 2), include)


def test_hull_holds_the_face_and_is_binary(landmarks: np.ndarray) -> None:
    mask = face_hull(landmarks, SIZE, SIZE)
    assert mask.dtype == np.float32
    assert set(np.unique(mask)) == {0.0, 1.0}
    inner = landmarks[27:].astype(int)
    assert (mask[inner[:, 1], inner[:, 0]] == 1).all()
    assert mask[:20].sum() == 0


def test_higher_eyebrows_only_add(landmarks: np.ndarray) -> None:
    low, high = face_hull(landmarks, SIZE, SIZE, 0.0), face_hull(landmarks, SIZE, SIZE, 1.0)
    assert (high >= low).all()
    assert high.sum() > low.sum() * 1.05


def test_landmarks_outside_of_the_picture(landmarks: np.ndarray) -> None:
    assert face_hull(landmarks + 10_000, SIZE, SIZE).sum() == 0
    assert face_hull(landmarks - 100, SIZE, SIZE).sum() > 0


def test_eyes_and_mouth_are_soft_and_where_they_should_be(landmarks: np.ndarray) -> None:
    eyes, mouth = eyes_mask(landmarks, SIZE, SIZE), mouth_mask(landmarks, SIZE, SIZE)
    assert 0.9 < eyes.max() <= 1
    rows = np.average(np.arange(SIZE), weights=eyes.sum(axis=1)), np.average(np.arange(SIZE), weights=mouth.sum(axis=1))
    assert rows[0] == pytest.approx(landmarks[36:48, 1].mean(), abs=2)
    assert rows[1] == pytest.approx(landmarks[60:68, 1].mean(), abs=2)
    with pytest.raises(ValueError, match="too small"):
        eyes_mask(landmarks, 31, 31)


def test_eyes_and_mouth_stay_inside_the_full_mask(landmarks: np.ndarray) -> None:
    full = face_hull(landmarks, SIZE, SIZE)
    full[:, : SIZE // 2] = 0
    both = eyes_mouth_mask(landmarks, full)
    assert both[:, : SIZE // 2].sum() == 0
    assert both.max() <= 1
    assert both.sum() > 100


def test_a_stored_mask_wins_and_is_resized(landmarks: np.ndarray) -> None:
    stored = np.zeros((64, 64), np.float32)
    stored[16:48, 16:48] = 1
    masked = face(landmarks, xseg_mask=encode_mask(stored))
    mask = face_mask(masked)
    assert mask.shape == (SIZE, SIZE)
    assert 0 <= mask.min() <= mask.max() <= 1
    assert mask.mean() == pytest.approx(0.25, abs=0.01)
    np.testing.assert_array_equal(face_mask(masked, 64), stored)


def test_without_a_stored_mask_the_hull_with_the_faces_own_eyebrows(landmarks: np.ndarray) -> None:
    made = face_mask(face(landmarks, eyebrows_expand_mod=0.5))
    np.testing.assert_array_equal(made, face_hull(landmarks, SIZE, SIZE, 0.5))
    assert face_mask(face(landmarks), 128).shape == (128, 128)


def test_outlines_include_their_boundary_and_cut_to_whole_pixels() -> None:
    square = outline((2.9, 2.9), (7.9, 2.1), (7.9, 7.9), (2.1, 7.9))
    expected = np.zeros((12, 12), np.float32)
    expected[2:8, 2:8] = 1
    np.testing.assert_array_equal(rasterise([square], 12, 12), expected)
    hole = outline((4, 4), (5, 4), (5, 5), include=False)
    for x, y in ((4, 4), (5, 4), (5, 5)):
        expected[y, x] = 0
    np.testing.assert_array_equal(rasterise([hole, square], 12, 12), expected, "excludes win in any order")


def test_one_point_is_a_pixel_and_two_are_a_line() -> None:
    assert np.argwhere(rasterise([outline((3, 5))], 9, 9)).tolist() == [[5, 3]]
    assert rasterise([outline((1, 1), (6, 1))], 9, 9).sum() == 6
    assert rasterise([outline()], 9, 9).sum() == 0


def test_halves_on_the_right_edge_round_up() -> None:
    """The rule under which existing labels were drawn; some OpenCV versions round them down."""
    mask = rasterise([outline((0, 0), (4, 0), (7, 4), (0, 4))], 8, 12)
    assert [int(row.sum()) for row in mask[:5]] == [5, 6, 7, 7, 8]


def test_crossing_outlines_fill_even_odd() -> None:
    turns = np.radians(np.arange(5) * 144 - 90)
    pentagram = outline(*(20 + 19 * np.column_stack([np.cos(turns), np.sin(turns)])).tolist())
    mask = rasterise([pentagram], 41, 41)
    assert mask[20, 20] == 0
    assert mask[5, 20] == 1


def test_outlines_far_outside_are_cut() -> None:
    mask = rasterise([outline((-1e30, -1e30), (1e30, -1e30), (1e30, 1e30), (-1e30, 1e30))], 10, 10)
    assert mask.sum() == 100


def test_only_excludes_leave_nothing() -> None:
    assert rasterise([outline((0, 0), (5, 0), (5, 5), include=False)], 8, 8).sum() == 0
    start = np.ones((8, 8), np.float32)
    assert rasterise([outline((0, 0), (5, 0), (5, 5), include=False)], 8, 8, onto=start).sum() < 64
    assert start.sum() == 64
