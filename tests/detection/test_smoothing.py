"""Smoothed landmarks: they stop trembling, and neither lag nor lose a blink."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from shots import SmallShot, small_shot
from understudy.demo.footage import Performer
from understudy.detection import load_engine
from understudy.detection.smoothing import REACH, smooth
from understudy.geometry.alignment import TEMPLATE_51, similarity

Points = NDArray[np.float64]

FACE = np.concatenate([np.stack([np.linspace(-0.1, 1.1, 17), 0.5 + 0.5 * np.sin(np.linspace(0, 3.1, 17))], 1),
                       TEMPLATE_51.astype(np.float64)])  # fmt: skip


def smoothed(landmarks: Points, *, strength: float = 1.0) -> Points:
    """Every frame of landmarks (n, 68, 2)."""
    made = []
    for index in range(len(landmarks)):
        first, last = max(0, index - REACH), min(len(landmarks), index + REACH + 1)
        around = range(first, last)
        offsets = [frame - index for frame in around]
        made.append(smooth(list(landmarks[first:last]), index - first, offsets, strength=strength))
    return np.stack(made)


def trembling(landmarks: Points) -> float:
    """Mean length of the second difference over time."""
    return float(np.linalg.norm(np.diff(landmarks, 2, axis=0), axis=-1).mean())


def error(landmarks: Points, truth: Points) -> float:
    return float(np.linalg.norm(landmarks - truth, axis=-1).mean())


def eye_opening(landmarks: Points) -> NDArray[np.float64]:
    """Mean gap between the lids, by frame."""
    pairs = ((37, 41), (38, 40), (43, 47), (44, 46))
    gaps: NDArray[np.float64] = np.mean(
        [np.linalg.norm(landmarks[:, a] - landmarks[:, b], axis=1) for a, b in pairs], axis=0
    )
    return gaps


def mouth_opening(landmarks: Points) -> NDArray[np.float64]:
    gaps: NDArray[np.float64] = np.linalg.norm(landmarks[:, 62] - landmarks[:, 66], axis=1)
    return gaps


@functools.cache
def shot_of(performer: Performer) -> SmallShot:
    return small_shot(performer, frames=48, fps=25, size=(480, 360), seed=5)


@functools.cache
def found_in(performer: Performer) -> Points:
    """Landmarks of every frame as extraction finds them."""
    engine, previous, found = load_engine(), None, []
    for index, frame in enumerate(shot_of(performer).frames):
        previous = engine.find(frame, previous=None if index % 12 == 0 else previous)
        found.append(previous[0].landmarks)
    return np.stack(found)


performers = pytest.mark.parametrize("performer", list(Performer))


@performers
def test_on_rendered_shots_trembling_falls_by_40_percent_and_the_truth_is_no_further_away(performer: Performer) -> None:
    """The shots turn, nod, speak and blink; what of the second difference is left is mostly theirs."""
    found, truth = found_in(performer), shot_of(performer).truth.landmarks
    steady = smoothed(found)
    assert trembling(steady) <= 0.6 * trembling(found)
    assert error(steady, truth) <= 1.01 * error(found, truth)


@performers
def test_the_aligned_square_stops_trembling_too(performer: Performer) -> None:
    """Where the corners of the unit face square come to lie in the frame, without what the face itself does."""

    def corners(landmarks: Points) -> Points:
        made = []
        for points in landmarks:
            matrix = similarity(points)
            inverse = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))
            made.append((np.array([(0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1)]) @ inverse.T)[:, :2])
        return np.stack(made)

    found, truth = corners(found_in(performer)), corners(shot_of(performer).truth.landmarks)
    steady = corners(smoothed(found_in(performer)))
    assert trembling(steady - truth) <= 0.7 * trembling(found - truth)


@performers
def test_blinks_and_speech_keep_their_depth(performer: Performer) -> None:
    found, blink = found_in(performer), shot_of(performer).truth.blink
    steady = smoothed(found)
    shut, open_ = blink > 0.8, blink < 0.1
    assert shut.sum() >= 2, "the shot has a blink"
    depth = [
        float(np.mean(eye_opening(points)[open_]) - np.mean(eye_opening(points)[shut])) for points in (found, steady)
    ]
    assert depth[1] >= 0.9 * depth[0]
    assert np.std(mouth_opening(steady)) >= 0.95 * np.std(mouth_opening(found))


def still_face(frames: int, *, noise: float = 0.0, seed: int = 1) -> Points:
    made: Points = 100 + 80 * FACE + np.random.default_rng(seed).normal(0, noise, (frames, 68, 2))
    return made


def test_noise_on_a_still_face_falls_to_half() -> None:
    found = still_face(60, noise=0.4)
    steady = smoothed(found)
    assert np.std(steady[10:-10] - still_face(1)) < 0.55 * 0.4


@pytest.mark.parametrize("speed", [0.0, 3.0, 20.0])
def test_a_steady_or_accelerated_motion_is_followed_without_lag(speed: float) -> None:
    time = np.arange(30.0)
    path = np.stack([speed * time, 0.2 * speed * (time - 15) ** 2 / 15], axis=1)
    found = still_face(30) + path[:, None]
    np.testing.assert_allclose(smoothed(found)[REACH:-REACH], found[REACH:-REACH], atol=0.1)


def test_a_turning_head_in_the_plane_is_followed_without_lag() -> None:
    angles = np.radians(np.arange(30) * 2.0)
    turns = np.stack([np.stack([np.cos(angles), -np.sin(angles)], 1), np.stack([np.sin(angles), np.cos(angles)], 1)], 1)
    found = np.einsum("nij,kj->nki", turns, still_face(1)[0] - 140) + 140
    np.testing.assert_allclose(smoothed(found)[REACH:-REACH], found[REACH:-REACH], atol=0.02)


@pytest.mark.parametrize("closed_frames", [1, 2, 3, 5])
def test_a_blink_of_even_one_frame_is_kept(closed_frames: int) -> None:
    """Lids that close fully for so many frames, in a face that trembles as found ones do."""
    found = still_face(40, noise=0.25)
    lids, corners = np.array([37, 38, 43, 44]), np.array([41, 40, 47, 46])
    shut = range(20, 20 + closed_frames)
    for frame in shut:
        found[frame, lids] = found[frame, corners]
    steady = smoothed(found)
    open_before = eye_opening(found)[:15].mean()
    for frame in shut:
        assert eye_opening(steady)[frame] < 0.15 * open_before
    assert eye_opening(steady)[17] > 0.9 * open_before
    assert eye_opening(steady)[22 + closed_frames] > 0.9 * open_before


def test_a_mouth_that_shuts_for_one_frame_is_kept() -> None:
    found = still_face(40, noise=0.25)
    found[:, 66:68] += (0, 12)
    found[20, 66:68] -= (0, 12)
    gaps = mouth_opening(smoothed(found))
    assert gaps[20] < mouth_opening(found)[20] + 0.1 * 12


def test_zero_gives_back_what_was_found_and_more_smooths_more() -> None:
    found = found_in(Performer.ASTRONAUT)
    np.testing.assert_array_equal(smoothed(found, strength=0), found)
    strengths = [trembling(smoothed(found, strength=strength)) for strength in (0, 0.5, 1, 2)]
    assert strengths == sorted(strengths, reverse=True)


@pytest.mark.parametrize("offsets", [[0], [-1, 0], [0, 3], [-40, 0, 40]])
def test_few_or_far_frames_leave_a_face_alone(offsets: Sequence[int]) -> None:
    faces = list(still_face(len(offsets), noise=2))
    at = list(offsets).index(0)
    np.testing.assert_allclose(smooth(faces, at, offsets), faces[at], atol=1e-9)


def test_frames_may_be_missing_and_the_ends_of_a_track_do_not_lag() -> None:
    time = np.array([-4, -3, -1, 0, 2, 3])
    found = still_face(6) + np.stack([5.0 * time, -2.0 * time], axis=1)[:, None]
    np.testing.assert_allclose(smooth(list(found), 3, time.tolist()), found[3], atol=0.02)
    np.testing.assert_allclose(smooth(list(found), 0, (time + 4).tolist()), found[0], atol=0.02)


def test_landmarks_in_one_point_do_no_harm() -> None:
    found = [np.zeros((68, 2))] * 9
    assert np.isfinite(smooth(found, 4, range(-4, 5))).all()
