"""Measures of movement follow what moves and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from shots import small_shot
from understudy.demo.drawing import Camera
from understudy.demo.footage import Performer, draw_shot
from understudy.demo.rig import Gesture
from understudy.detection.mesh import landmarks_68
from understudy.evaluation.likeness import correlation, head_yaw
from understudy.geometry.expression import eye_opening, mouth_opening


def landmarks(**gesture: float) -> np.ndarray:
    """The truth of one pose of the astronaut, (68,2)."""
    rig = draw_shot(Performer.ASTRONAUT, frames=1).rig
    posed = rig.pose(Gesture(**{"mouth": 0.2, **gesture}))
    return landmarks_68(Camera(1.0, (0, 0)).frame_from_canvas(posed.points[:468]).astype(np.float32))


def test_mouth_opening_grows_with_the_gap_and_hardly_with_the_pose() -> None:
    openings = [mouth_opening(landmarks(mouth=gap)) for gap in (0.02, 0.1, 0.2, 0.4)]
    assert openings == sorted(openings)
    assert openings[-1] > 4 * openings[0]
    straight = mouth_opening(landmarks())
    for pose in ({"yaw": 0.6}, {"yaw": -0.6}, {"roll": 0.3}, {"pitch": 0.2}, {"pitch": -0.2}):
        assert mouth_opening(landmarks(**pose)) == pytest.approx(straight, rel=0.2)


def test_eye_opening_falls_when_the_eyes_shut() -> None:
    assert eye_opening(landmarks(blink=1.0)) < 0.5 * eye_opening(landmarks())


def test_head_yaw_has_the_sign_and_nearly_the_size_of_the_turn() -> None:
    straight = head_yaw(landmarks())
    for yaw in (-0.5, -0.25, 0.25, 0.5):
        assert head_yaw(landmarks(yaw=yaw)) - straight == pytest.approx(yaw, abs=0.2 * abs(yaw) + 0.01)


def test_yaw_of_a_performance_correlates_with_its_truth() -> None:
    truth = small_shot(frames=30, fps=8).truth
    measured = np.array([head_yaw(points) for points in truth.landmarks])
    assert correlation(measured, truth.yaw) > 0.98


def test_correlation_of_a_constant_is_nothing_and_gaps_are_left_out() -> None:
    assert correlation(np.ones(5), np.arange(5.0)) == 0.0
    assert correlation(np.array([1.0, np.nan, 3.0, 4.0]), np.array([2.0, 99.0, 6.0, 8.0])) == pytest.approx(1.0)
    assert correlation(np.array([1.0]), np.array([2.0])) == 0.0
