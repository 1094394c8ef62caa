"""Flicker: what a swap adds to the plate's own changes, in levels that can be worked out by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from shots import small_shot
from understudy.evaluation.flicker import flicker

Picture = NDArray[np.float32]


def still(count: int = 6) -> list[Picture]:
    frame = cv2.resize(small_shot().frames[0], (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return [frame] * count


def moving(count: int = 6) -> list[Picture]:
    frames = small_shot().frames[:count]
    return [cv2.resize(frame, (96, 96), interpolation=cv2.INTER_AREA).astype(np.float32) / 255 for frame in frames]


def whole(frames: list[Picture]) -> list[Picture]:
    return [np.ones(frame.shape[:2], np.float32) for frame in frames]


def test_a_swap_that_changed_nothing_does_not_flicker() -> None:
    for plates in (still(), moving()):
        assert flicker(plates, plates, whole(plates)) == 0


def test_brightness_that_jumps_counts_by_its_jumps() -> None:
    """10 levels up and down on a plate that stands still: 10 levels from each frame to the next."""
    plates = still()
    swapped = [0.5 * frame + np.float32(10 / 255 if index % 2 else 0) for index, frame in enumerate(plates)]
    assert flicker(swapped, plates, whole(plates)) == pytest.approx(10, abs=0.05)


def test_what_moves_with_the_plate_does_not_count() -> None:
    """Another contrast moves as the plate does; a pattern that stays on the screen while the face moves is counted."""
    plates = moving()
    rng = np.random.default_rng(0)
    follows = [0.7 * frame + np.float32(0.1) for frame in plates]
    boiling = [np.clip(frame + rng.normal(0, 0.06, frame.shape), 0, 1).astype(np.float32) for frame in plates]
    assert abs(flicker(follows, plates, whole(plates))) < 0.6
    assert flicker(boiling, plates, whole(plates)) > 2


def test_only_the_face_counts() -> None:
    plates = still()
    mask = np.zeros((64, 64), np.float32)
    mask[20:40, 20:40] = 1
    swapped = []
    for index, frame in enumerate(plates):
        changed = frame.copy()
        changed[:10] = index % 2
        swapped.append(changed)
    assert flicker(swapped, plates, [mask] * len(plates)) == pytest.approx(0, abs=1e-4)


def test_a_single_frame_has_no_flicker() -> None:
    with pytest.raises(ValueError, match="two frames"):
        flicker(still(1), still(1), whole(still(1)))
