"""The demo's footage shows what its truth says."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from shots import small_shot
from understudy.demo.footage import Performer, Truth, draw_shot, footage_paths, make_demo_footage
from understudy.detection import load_engine
from understudy.evaluation.likeness import correlation
from understudy.geometry.expression import mouth_opening
from understudy.records import Side


@pytest.mark.parametrize("performer", list(Performer))
def test_the_detector_sees_the_landmarks_where_the_truth_has_them(performer: Performer) -> None:
    shot = small_shot(performer, frames=16, fps=5, size=(640, 480))
    engine = load_engine()
    errors, openings = [], []
    for frame, truth in zip(shot.frames, shot.truth.landmarks, strict=True):
        found = engine.find(frame, max_faces=1)[0].landmarks
        eye_distance = np.linalg.norm(truth[36:42].mean(0) - truth[42:48].mean(0))
        errors.append(np.linalg.norm(found[17:] - truth[17:], axis=1).mean() / eye_distance)
        openings.append(mouth_opening(found))
    assert np.median(errors) < 0.06
    assert correlation(np.array(openings), shot.truth.mouth_opening) > 0.87


def test_a_performance_covers_turns_speech_and_blinks() -> None:
    truth = draw_shot(Performer.ASTRONAUT, frames=200).truth
    assert np.degrees(truth.yaw).min() < -33
    assert np.degrees(truth.yaw).max() > 33
    assert truth.mouth_opening.min() < 0.03
    assert truth.mouth_opening.max() > 0.35
    assert 0.05 < (truth.blink > 0.3).mean() < 0.3


def test_equal_seeds_give_equal_frames() -> None:
    first = draw_shot(Performer.ADMIRAL, frames=3, size=(320, 240), seed=5).frame(2)
    again = draw_shot(Performer.ADMIRAL, frames=3, size=(320, 240), seed=5).frame(2)
    other = draw_shot(Performer.ADMIRAL, frames=3, size=(320, 240), seed=6).frame(2)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 1


def test_the_videos_have_every_frame_and_sound_and_are_kept(tmp_path: Path) -> None:
    truths = make_demo_footage(tmp_path, seconds=0.4, size=(320, 240))
    video, stored = footage_paths(tmp_path, Side.DST)
    with av.open(str(video)) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(truths[Side.DST]) == 10
    with av.open(str(video)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) >= 0.4 * 44100
    np.testing.assert_array_equal(Truth.load(stored).yaw, truths[Side.DST].yaw)
    written = video.stat().st_mtime_ns
    make_demo_footage(tmp_path, seconds=0.4, size=(320, 240))
    assert video.stat().st_mtime_ns == written
