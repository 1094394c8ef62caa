"""Engines of a detector and a landmarker: what they ask of the two networks and how the answers come together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.detection.options import Accuracy
from understudy.detection.two_step import (
    SAMPLES,
    Box,
    Image8,
    Landmarks,
    Look,
    TwoStepEngine,
    cut_window,
    look_square,
    peaks,
    rect_turned_back,
    turned_back,
    turned_by,
)
from understudy.geometry.alignment import TEMPLATE_51
from understudy.records import Rect

MARK = 250  # brightness of the drawn face


class SquareDetector:
    """Sees one bright square, if its dark corner is at the top left: an upright face."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def detect(self, pictures: Sequence[Image8]) -> list[list[Box]]:
        self.asked.append(len(pictures))
        return [self._detect(picture) for picture in pictures]

    def _detect(self, picture: Image8) -> list[Box]:
        rows, columns = np.nonzero(picture[..., 0] > MARK // 2)
        if not len(rows):
            return []
        left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        corner = picture[top : top + (bottom - top) // 3, left : left + (right - left) // 3, 0]
        return [Box(Rect(left, top, right, bottom), 0.9)] if corner.mean() < MARK / 4 else []


class GridLandmarker:
    """68 points on a line across the box, and a record of every look."""

    def __init__(self) -> None:
        self.looks: list[Look] = []

    def landmarks(self, looks: Sequence[Look]) -> list[tuple[Landmarks, float]]:
        self.looks += looks
        return [(self._across(look), 0.8) for look in looks]

    def _across(self, look: Look) -> Landmarks:
        along = np.linspace(0, 1, 68)
        rect = look.rect
        return np.stack([rect.left + along * rect.width, rect.top + along * rect.height], axis=1)


def picture(height: int = 200, width: int = 300) -> Image8:
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[40:100, 60:120] = MARK
    canvas[40:60, 60:80] = 0
    canvas[40, 60:120] = canvas[40:100, 60] = MARK  # a thin edge, so that the box is whole
    return canvas


@pytest.mark.parametrize("quarters", range(4))
def test_turned_pictures_give_faces_in_the_pictures_own_places(quarters: int) -> None:
    """A quarter turn is undone for box and landmarks alike, whichever way the camera was held."""
    engine = TwoStepEngine(SquareDetector(), GridLandmarker(), accuracy=Accuracy.FAST)
    upright = picture()
    (expected,) = engine.find(upright)
    (face,) = engine.find(turned_by(upright, quarters))
    np.testing.assert_allclose(turned_back(face.landmarks, upright, quarters), expected.landmarks)
    assert rect_turned_back(face.rect, upright, quarters) == expected.rect
    assert face.confidence == 0.9


def test_other_turns_are_tried_only_for_pictures_without_a_face() -> None:
    detector = SquareDetector()
    engine = TwoStepEngine(detector, GridLandmarker(), accuracy=Accuracy.FAST)
    found = engine.find_batch([picture(), turned_by(picture(), 1), np.zeros((200, 300, 3), np.uint8)])
    assert [len(faces) for faces in found] == [1, 1, 0]
    assert detector.asked == [3, 2, 2, 1]


def test_small_pictures_have_no_faces_and_are_not_looked_at() -> None:
    detector = SquareDetector()
    assert TwoStepEngine(detector, GridLandmarker()).find(picture()[:127]) == []
    assert detector.asked == []


def test_the_landmarks_of_all_faces_are_asked_for_at_once() -> None:
    landmarker = GridLandmarker()
    TwoStepEngine(SquareDetector(), landmarker, accuracy=Accuracy.FAST).find_batch([picture()] * 5)
    assert len(landmarker.looks) == 5


class OneBox:
    """Sees the same box in every picture of the second pass, `count` times."""

    def __init__(self, count: int) -> None:
        self.count = count

    def detect(self, pictures: Sequence[Image8]) -> list[list[Box]]:
        found = []
        for shown in pictures:
            is_second = shown.shape[:2] == (256, 256)
            found.append([Box(Rect(50, 50, 200, 200), 0.9)] * (self.count if is_second else 1))
        return found


class Template:
    """The mean face, laid into the box that is asked about."""

    def __init__(self) -> None:
        self.looks: list[Look] = []

    def landmarks(self, looks: Sequence[Look]) -> list[tuple[Landmarks, float]]:
        self.looks += looks
        points = np.concatenate([np.full((17, 2), 0.5), TEMPLATE_51])
        return [
            (points * (look.rect.width, look.rect.height) + (look.rect.left, look.rect.top) + look.shift, 1.0)
            for look in looks
        ]


@pytest.mark.parametrize(("count", "looks"), [(0, 1), (1, 1 + len(SAMPLES)), (2, 1)])
def test_the_second_pass_asks_five_times_if_exactly_one_face_is_seen(count: int, looks: int) -> None:
    landmarker = Template()
    engine = TwoStepEngine(OneBox(count), landmarker, accuracy=Accuracy.HIGH)
    engine.find(np.zeros((300, 400, 3), np.uint8))
    assert len(landmarker.looks) == looks
    assert {look.shift for look in landmarker.looks[1:]} == (set(SAMPLES) if count == 1 else set())


def test_peaks_are_the_closed_form_of_the_heat_maps() -> None:
    """Against a plain loop over the same definition, on random maps with peaks at the edges too."""
    random = np.random.default_rng(3)
    heat = random.random((2, 68, 64, 64)).astype(np.float32)
    heat[0, 0, 0, 5] = heat[0, 1, 63, 63] = heat[1, 2, 30, 0] = 2
    points, heights = peaks(heat)
    for batch, number in np.ndindex(2, 68):
        page = heat[batch, number]
        y, x = divmod(int(page.argmax()), 64)
        px, py = float(x), float(y)
        if 0 < x < 63 and 0 < y < 63:
            px += 0.25 * np.sign(page[y, x + 1] - page[y, x - 1])
            py += 0.25 * np.sign(page[y + 1, x] - page[y - 1, x])
        np.testing.assert_allclose(points[batch, number], ((px + 0.5) / 64, (py + 0.5) / 64))
        assert heights[batch, number] == page.max()


@pytest.mark.parametrize("rect", [(100, 60, 180, 150), (-30, -20, 60, 70), (250, 150, 380, 290), (10.5, 20.25, 70, 90)])
def test_the_window_of_a_box_is_the_references(rect: tuple[float, ...]) -> None:
    """Corners truncated to whole pixels, black outside, then one bilinear resize."""
    random = np.random.default_rng(5)
    shown = random.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    left, top, right, bottom = rect
    side = 200 * ((right - left) + (bottom - top)) / 195
    cx, cy = (left + right) / 2, (top + bottom) / 2
    low = [math.trunc(c + side * (1 / 256 - 0.5)) for c in (cx, cy)]
    high = [math.trunc(c + side * 0.5) for c in (cx, cy)]
    padded = np.zeros((1200, 1300, 3), np.uint8)
    padded[500:700, 500:800] = shown
    piece = padded[500 + low[1] : 500 + high[1], 500 + low[0] : 500 + high[0]]
    expected = cv2.resize(piece, (256, 256), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(cut_window(shown, look_square(Rect(*rect)), 256), expected)


def test_a_turned_window_shows_what_an_upright_one_shows_of_the_turned_picture() -> None:
    shown: NDArray[np.uint8] = np.zeros((201, 201, 3), np.uint8)
    shown[60:140, 80:120] = 200
    window = look_square(Rect(60, 60, 140, 140))
    upright = cut_window(shown, window, 64)
    quarter = cut_window(turned_by(shown, 1), replace(window, x=201 - window.y, y=window.x, angle=math.pi / 2), 64)
    assert np.abs(upright.astype(int) - quarter).mean() < 4


def test_a_tilted_head_in_a_rectangle_is_looked_at_again_upright() -> None:
    class Tilted(Template):
        def landmarks(self, looks: Sequence[Look]) -> list[tuple[Landmarks, float]]:
            turn = np.array([[0, -1], [1, 0]])  # a quarter clockwise on screen
            plain = super().landmarks(looks)
            return [((points - points.mean(0)) @ turn.T + points.mean(0), 1.0) for points, _ in plain]

    landmarker = Tilted()
    TwoStepEngine(OneBox(0), landmarker).landmarks_in(np.zeros((300, 300, 3), np.uint8), Rect(50, 50, 150, 150))
    assert [round(math.degrees(look.turn)) for look in landmarker.looks] == [0, 90]
