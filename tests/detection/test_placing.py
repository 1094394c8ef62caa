"""Landmarks where a person says there is a face."""

from __future__ import annotations

import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from shots import small_shot
from understudy.detection.placing import average_face, landmarks_for, read_landmarks
from understudy.errors import UsageError
from understudy.geometry.alignment import TEMPLATE_51, similarity, transform
from understudy.geometry.boxes import box_of
from understudy.records import FaceType, Rect


def test_landmarks_for_a_rectangle_at_1080p_take_less_than_50_ms_of_one_core() -> None:
    """An aligner on screen asks at every move of the mouse. Time of the processor, since it may have other work."""
    shot = small_shot()
    frame = cv2.resize(shot.frames[0], (1920, 1080))
    truth = shot.truth.landmarks[0] * (1920 / 320, 1080 / 240)
    rect = box_of(truth)
    found = landmarks_for(frame, rect)
    size = np.linalg.norm(truth[36] - truth[45])
    assert np.linalg.norm(found.landmarks - truth, axis=1).mean() < 0.15 * size
    times = []
    for _ in range(4):
        started = time.process_time()
        for _ in range(5):
            landmarks_for(frame, rect)
        times.append((time.process_time() - started) / 5)
    assert min(times) < 0.05


@pytest.mark.parametrize("rect", [Rect(5, 5, 5, 5), Rect(900, 900, 990, 990), Rect(0, 0, float("nan"), 9)])
def test_rectangles_that_hold_nothing_are_refused(rect: Rect) -> None:
    with pytest.raises(UsageError):
        landmarks_for(small_shot().frames[0], rect)


def test_the_average_face_is_the_template_laid_from_anchor_to_tip() -> None:
    """Shift the template so that the nose's tip is the origin, scale by the arrow, turn with it, move to the anchor."""
    found = average_face((100, 60), (100, 140))  # an arrow straight down: the face lies on its left side
    template = (TEMPLATE_51.astype(np.float64) - TEMPLATE_51[13]) * 80
    expected = np.column_stack([-template[:, 1], template[:, 0]]) + np.array((100, 60))
    np.testing.assert_allclose(found.landmarks[17:], expected, atol=1e-9)
    np.testing.assert_allclose(found.landmarks[30], (100, 60))
    assert found.rect == Rect(20, -20, 180, 140)


def test_the_average_face_gives_the_crop_that_was_drawn() -> None:
    found = average_face((200, 150), (280, 150))
    fit = similarity(found.landmarks)
    assert np.hypot(fit[0, 0], fit[1, 0]) == pytest.approx(1 / 80, rel=1e-6)
    assert np.isfinite(transform(found.landmarks, 256, FaceType.HEAD)).all()
    jaw = found.landmarks[:17]
    assert jaw[8, 1] == jaw[:, 1].max()
    assert jaw[0, 0] < found.landmarks[36, 0] < found.landmarks[45, 0] < jaw[16, 0]


def test_anchor_and_tip_in_one_point_are_refused() -> None:
    with pytest.raises(UsageError):
        average_face((5, 5), (5, 5))


POINTS = (np.random.default_rng(0).random((68, 2)) * 100).round(3)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps(POINTS.tolist())),
        ("b.json", json.dumps({"landmarks": POINTS.tolist(), "note": "x"})),
        ("c.pts", "version: 1\nn_points: 68\n{\n" + "\n".join(f"{x} {y}" for x, y in POINTS) + "\n}\n"),
        ("d.PTS", "\n".join(f"{x}, {y}" for x, y in POINTS)),
    ],
)
def test_landmark_files_of_both_kinds_are_read(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    np.testing.assert_allclose(read_landmarks(path), POINTS)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("few.json", json.dumps(POINTS[:51].tolist()).encode()),
        ("flat.json", json.dumps(POINTS.ravel().tolist()).encode()),
        ("three.json", json.dumps(np.zeros((68, 3)).tolist()).encode()),
        ("nan.json", json.dumps([[float("nan"), 1.0]] * 68).encode()),
        ("inf.pts", b"\n".join([b"inf 2"] * 68)),
        ("one.json", json.dumps([[5, 5]] * 68).encode()),
        ("far.json", json.dumps((POINTS * 1e9).tolist()).encode()),
        ("words.pts", b"{\nleft eye\n}"),
        ("broken.json", b'{"landmarks": [['),
        ("other.json", b'{"points": []}'),
        ("number.json", b"12"),
        ("deep.json", b"[" * 100_000),
        ("bytes.json", bytes(range(256))),
        ("empty.pts", b""),
        ("huge.pts", b"1 2\n" * 400_000),
    ],
)
def test_files_that_are_no_landmarks_are_refused(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(UsageError):
        read_landmarks(path)


def test_a_landmarks_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_landmarks(tmp_path / "none.json")
