"""Boxes overlap by their areas, also where a file holds their sides the wrong way round."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.geometry.boxes import between, box_of, overlap, shared_area, sides
from understudy.records import Rect

ONE = Rect(0, 0, 10, 10)


@pytest.mark.parametrize(
    ("other", "expected"),
    [(ONE, 1.0), (Rect(5, 0, 15, 10), 1 / 3), (Rect(10, 10, 0, 0), 1.0), (Rect(20, 20, 30, 30), 0.0)],
)
def test_overlap_is_intersection_over_union(other: Rect, expected: float) -> None:
    assert overlap(ONE, other) == pytest.approx(expected)
    assert overlap(other, ONE) == pytest.approx(expected)
    assert overlap(Rect(3, 3, 3, 3), other) == 0


def test_boxes_around_points_and_between_boxes() -> None:
    assert box_of(np.array([[3.0, 8.0], [1.0, 9.0], [2.0, 4.0]])) == Rect(1, 4, 3, 9)
    assert between(ONE, Rect(30, 10, 10, 20), 0.5) == Rect(5, 5, 20, 15)
    assert sides(Rect(9, 8, 1, 2)) == (1, 2, 9, 8)
    assert shared_area(ONE, Rect(8, 9, 20, 20)) == 2
