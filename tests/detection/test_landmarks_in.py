"""Landmarks for a rectangle that somebody drew: fast, however the head is turned, and never without an answer."""

from __future__ import annotations

import functools
import math
import statistics
import time

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from understudy.detection import Engine, FoundFace, load_engine
from understudy.errors import UsageError
from understudy.imaging.threads import one_thread_per_call
from understudy.records import Rect

Image8 = NDArray[np.uint8]
ON_SCREEN = 0.050  # seconds; an aligner that follows the mouse calls this
PLACE = 900, 300


@functools.cache
def engine() -> Engine:
    return load_engine()


@functools.cache
def frame() -> Image8:
    """Full HD with one portrait in it."""
    picture = np.full((1080, 1920, 3), 60, np.uint8)
    x, y = PLACE
    picture[y : y + 512, x : x + 512] = data.astronaut()
    return picture


@functools.cache
def truth() -> FoundFace:
    (face,) = engine().find(frame())
    return face


def drift(landmarks: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Mean distance over the distance between the outer eye corners."""
    scale = float(np.linalg.norm(expected[36] - expected[45]))
    return float(np.linalg.norm(landmarks - expected, axis=1).mean()) / scale


def square_about(rect: Rect, *, grown: float = 1.0, x: float = 0.0, y: float = 0.0) -> Rect:
    """A square around the middle of `rect`, as hands draw it: larger or smaller, and moved by parts of its side."""
    half = max(rect.width, rect.height) / 2 * grown
    cx, cy = (rect.left + rect.right) / 2 + x * half * 2, (rect.top + rect.bottom) / 2 + y * half * 2
    return Rect(cx - half, cy - half, cx + half, cy + half)


@pytest.mark.parametrize(("grown", "x", "y"), [(1.0, 0, 0), (1.25, 0.1, 0), (0.8, 0, 0.1), (1.4, -0.1, -0.1)])
def test_a_rectangle_drawn_by_hand_gives_the_landmarks_that_searching_gives(grown: float, x: float, y: float) -> None:
    face = engine().landmarks_in(frame(), square_about(truth().rect, grown=grown, x=x, y=y))
    assert drift(face.landmarks, truth().landmarks) < 0.02
    assert face.confidence > 0.9
    assert face.mesh is not None


@pytest.mark.parametrize("degrees", range(0, 360, 45))
def test_heads_are_turned_any_way(degrees: int) -> None:
    middle = (PLACE[0] + 224, PLACE[1] + 110)
    matrix = cv2.getRotationMatrix2D(middle, degrees, 1.0)
    turned = np.asarray(cv2.warpAffine(frame(), matrix, (1920, 1080)), np.uint8)
    expected = truth().landmarks @ matrix[:, :2].T + matrix[:, 2]
    low, high = expected.min(axis=0), expected.max(axis=0)
    rect = square_about(Rect(*low, *high), grown=1.1)
    assert drift(engine().landmarks_in(turned, rect).landmarks, expected) < 0.06
    told = engine().landmarks_in(turned, rect, turn=math.radians(-degrees))
    assert drift(told.landmarks, expected) < 0.06


def test_it_answers_while_the_mouse_moves() -> None:
    rect = square_about(truth().rect)
    engine().landmarks_in(frame(), rect)
    times = []
    with one_thread_per_call():
        for _ in range(9):
            start = time.thread_time()
            engine().landmarks_in(frame(), rect)
            times.append(time.thread_time() - start)
    assert statistics.median(times) < ON_SCREEN


def test_where_there_is_no_face_the_answer_says_so() -> None:
    face = engine().landmarks_in(frame(), Rect(100, 100, 300, 300))
    assert face.landmarks.shape == (68, 2)
    assert np.isfinite(face.landmarks).all()
    assert face.confidence < 0.5


def test_sides_may_be_swapped_and_leave_the_frame() -> None:
    """The reference program stores such rectangles for turned frames."""
    rect = square_about(truth().rect)
    swapped = engine().landmarks_in(frame(), Rect(rect.left, rect.bottom, rect.right, rect.top))
    assert drift(swapped.landmarks, truth().landmarks) < 0.02
    cut = np.ascontiguousarray(frame()[:, int(rect.left) + 10 :])
    beyond = engine().landmarks_in(cut, Rect(-10, rect.top, rect.width - 10, rect.bottom))
    assert drift(beyond.landmarks, truth().landmarks - (int(rect.left) + 10, 0)) < 0.1


@pytest.mark.parametrize(
    "rect",
    [
        Rect(5, 5, 5, 90),
        Rect(0, 0, 1e6, 1e6),
        Rect(0, 0, 0.2, 0.2),
        Rect(2000, 0, 2100, 90),
        Rect(-90, 0, -5, 90),
        Rect(0, 0, math.nan, 5),
    ],
)
def test_a_rectangle_without_picture_is_refused(rect: Rect) -> None:
    with pytest.raises(UsageError, match="rectangle") as error:
        engine().landmarks_in(frame(), rect)
    assert "left, top, right, bottom" in error.value.hint
