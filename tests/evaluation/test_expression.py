"""Expression and pose of a swap, against the known truth of a drawn shot."""

from __future__ import annotations

import functools

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from shots import small_shot
from understudy.demo.footage import Performer
from understudy.evaluation.expression import expression_errors, pose_difference
from understudy.evaluation.landmarks import LandmarkReader
from understudy.geometry import affine, transform
from understudy.records import FaceType

SIZE = 192
Floats = NDArray[np.float64]


@functools.cache
def aligned(performer: Performer = Performer.ADMIRAL, frames: int = 16) -> tuple[NDArray[np.uint8], Floats]:
    """Aligned faces (N,S,S,3) and their true landmarks (N,68,2) px of them."""
    shot = small_shot(performer, frames=frames)
    pictures, landmarks = [], []
    for frame, truth in zip(shot.frames, shot.truth.landmarks, strict=True):
        matrix = transform(truth, SIZE, FaceType.WHOLE_FACE)
        pictures.append(cv2.warpAffine(frame, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC))
        landmarks.append(affine.apply(matrix, truth))
    return np.stack(pictures).astype(np.uint8), np.stack(landmarks)


def test_landmarks_are_read_close_to_the_truth() -> None:
    pictures, truth = aligned()
    reader = LandmarkReader()
    found, presence = reader.read(pictures, reader.places(pictures, truth.mean(0)))
    across = np.linalg.norm(truth[:, 45] - truth[:, 36], axis=1).mean()
    assert presence.min() > 0.5
    assert np.linalg.norm(found - truth, axis=2).mean() < 0.08 * across  # what the network makes of drawn faces


def test_a_swap_that_changed_nothing_has_no_error() -> None:
    _, truth = aligned()
    errors = expression_errors(truth, truth, size=SIZE)
    assert (errors.landmarks, errors.mouth, errors.eyes, errors.pose) == pytest.approx((0, 0, 0, 0), abs=1e-9)
    assert errors.mouth_r == pytest.approx(1)


def test_other_proportions_place_and_size_are_no_error() -> None:
    """A src with a longer chin and a wider mouth keeps dst's expression."""
    _, truth = aligned()
    shaped = truth.copy()
    shaped[:, 0:17, 1] += 6
    shaped[:, 48] -= (4, 0)
    moved = affine.apply(affine.compose(affine.rotation_about((96, 96), 4), affine.scaling(1.1)), shaped.reshape(-1, 2))
    errors = expression_errors(moved.reshape(shaped.shape), truth, size=SIZE)
    assert errors.landmarks < 0.6


def test_a_mouth_that_does_not_move_is_an_error() -> None:
    _, truth = aligned()
    frozen = truth.copy()
    frozen[:, 48:] += truth[0, 48:] - truth[:, 48:]
    errors = expression_errors(frozen, truth, size=SIZE)
    assert errors.landmarks > 0.2
    assert errors.mouth > 0.01
    assert errors.mouth_r is not None
    assert errors.mouth_r < 0.9


def test_pose_is_told_in_degrees() -> None:
    """Between two frames of known yaw."""
    shot, (_, truth) = small_shot(Performer.ADMIRAL, frames=16), aligned()
    yaw = np.degrees(shot.truth.yaw)
    one, other = int(yaw.argmin()), int(yaw.argmax())
    assert pose_difference(truth[one], truth[one], SIZE) == 0
    turned = pose_difference(truth[one], truth[other], SIZE)
    assert turned > (yaw[other] - yaw[one]) / 3 * 0.5


def test_few_frames_have_no_correlation() -> None:
    _, truth = aligned()
    assert expression_errors(truth[:5], truth[:5], size=SIZE).mouth_r is None
