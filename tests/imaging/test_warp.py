"""Resampling: a part of a picture gives the same pixels as the whole."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.imaging.types import Box
from understudy.imaging.warp import Border, box_around, box_of, gather, gather_on_32nds

TURNED = np.array([[0.83, -0.31, 12.4], [0.27, 0.91, -7.8]])
SAMPLERS = [gather, gather_on_32nds]


@pytest.fixture(scope="module")
def picture() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rng = np.random.default_rng(1)
    return np.asarray(cv2.resize(rng.random((30, 40, 3)).astype(np.float32), (160, 120)), np.float32)


@pytest.mark.parametrize("sample", SAMPLERS)
def test_a_box_of_the_target_is_cut_from_the_whole(picture: np.ndarray, sample: object) -> None:
    whole = sample(picture, TURNED, Box(0, 0, 200, 150))  # type: ignore[operator]
    box = Box(31, 17, 120, 99)
    np.testing.assert_allclose(sample(picture, TURNED, box), whole[box.slices], atol=2e-4)  # type: ignore[operator]


@pytest.mark.parametrize("sample", SAMPLERS)
def test_a_part_of_the_source_is_enough(picture: np.ndarray, sample: object) -> None:
    box = Box(40, 40, 60, 55)
    part = picture[20:110, 10:150]
    expected = sample(picture, TURNED, box)  # type: ignore[operator]
    np.testing.assert_allclose(sample(part, TURNED, box, corner=(10, 20)), expected, atol=2e-4)  # type: ignore[operator]


def test_rounding_to_32nds_changes_little_and_something(picture: np.ndarray) -> None:
    box = Box(10, 10, 120, 90)
    difference = np.abs(gather(picture, TURNED, box) - gather_on_32nds(picture, TURNED, box)).max()
    assert 1e-5 < difference < 0.05


def test_border_repeats_the_outermost_pixels() -> None:
    white = np.ones((20, 20), np.float32)
    same = np.array([[1.0, 0, 0], [0, 1, 0]])
    box = Box(-5, -5, 25, 25)
    assert gather(white, same, box, border=Border.REPEAT).min() == 1
    assert gather(white, same, box)[0, 0] == 0


def test_an_identity_gives_the_picture_back(picture: np.ndarray) -> None:
    same = np.array([[1.0, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(gather(picture, same, Box(0, 0, 160, 120)), picture, atol=1e-6)


boxes = st.builds(
    lambda left, top, width, height: Box(left, top, left + width, top + height),
    st.integers(-50, 150),
    st.integers(-50, 150),
    st.integers(0, 120),
    st.integers(0, 120),
)


@given(boxes, st.integers(1, 100), st.integers(1, 100))
@settings(max_examples=60, deadline=None)
def test_a_box_within_a_picture_can_index_it(box: Box, height: int, width: int) -> None:
    part = np.zeros((height, width))[box.within(height, width).slices]
    assert part.shape == (box.within(height, width).height, box.within(height, width).width)


@given(boxes, boxes)
@settings(max_examples=60, deadline=None)
def test_joining_boxes_keeps_both(first: Box, second: Box) -> None:
    joined = first.joined(second)
    for box in (first, second):
        inside = box.inside(joined)
        assert box.empty or inside.within(joined.height, joined.width) == inside


def test_box_of_finds_what_is_not_zero() -> None:
    mask = np.zeros((30, 40), np.float32)
    assert box_of(mask).empty
    mask[7:9, 11:30] = 0.5
    assert box_of(mask) == Box(11, 7, 30, 9)


def test_box_around_points_has_a_margin() -> None:
    assert box_around(np.array([[3.2, 4.7], [9.0, 5.0]]), margin=2) == Box(1, 2, 12, 8)
