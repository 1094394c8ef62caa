"""The detector's grids and how its answers are read."""

from __future__ import annotations

import numpy as np

from understudy.detection.blazeface import GRIDS, anchors, blend, decode
from understudy.detection.engines import FULL_RANGE, SHORT_RANGE


def test_there_is_an_anchor_for_every_answer_of_the_networks() -> None:
    assert len(anchors(128, GRIDS[SHORT_RANGE])) == 896
    assert len(anchors(192, GRIDS[FULL_RANGE])) == 2304


def test_anchors_lie_in_the_middle_of_their_cells_row_by_row() -> None:
    grid = anchors(8, ((4, 2),))
    expected = [(0.25, 0.25)] * 2 + [(0.75, 0.25)] * 2 + [(0.25, 0.75)] * 2 + [(0.75, 0.75)] * 2
    np.testing.assert_allclose(grid, expected)


def test_answers_are_relative_to_their_anchor_except_the_size() -> None:
    raw = np.zeros((1, 16))
    raw[0, :4] = 0.1, -0.1, 0.3, 0.4
    box = decode(raw, np.array([[0.5, 0.5]]))[0]
    np.testing.assert_allclose(box[0], (0.6, 0.4))
    np.testing.assert_allclose(box[1], (0.3, 0.4))
    np.testing.assert_allclose(box[2:], 0.5)


def test_overlapping_boxes_become_one_and_distant_ones_stay() -> None:
    boxes = np.zeros((3, 8, 2))
    boxes[:, 1] = 0.2
    boxes[:, 0] = (0.30, 0.3), (0.32, 0.3), (0.7, 0.7)
    merged = blend(boxes, np.array([0.6, 0.9, 0.8]))
    assert [score for _box, score in merged] == [0.9, 0.8]
    np.testing.assert_allclose(merged[0][0][0], (0.312, 0.3))
