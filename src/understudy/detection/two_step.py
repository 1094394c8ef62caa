"""Engines of two networks: one finds boxes, the other finds 68 landmarks in each; batched, on any device.

    pictures ─ Detector ─ boxes ─ Landmarker ─ landmarks ─ again, on the face turned upright (--accuracy high) ─ faces

A picture without a face is looked at turned by 90, 270 and 180 degrees too, until one turn shows any, as the
reference program does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.detection.found import FoundFace, checked_rect
from understudy.detection.options import Accuracy
from understudy.detection.pictures import Picture, Square
from understudy.geometry import affine
from understudy.geometry.alignment import transform
from understudy.records import FaceType, Rect

TURNS = (0, 1, 3, 2)
"""Quarter turns clockwise, in the order in which they are tried."""

SMALLEST_PICTURE = 128
"""Pictures with a shorter side have no faces for these networks."""

SECOND_LOOK = 256
"""Side of the upright crop of the second pass, in pixels."""

SAMPLES = ((0.0, 0.0), (-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))
"""Shifts in pixels of the crop, whose landmarks the second pass averages."""

TURNED = math.radians(30)
"""From this roll on, landmarks for a rectangle are looked for again with the head upright."""

Image8 = NDArray[np.uint8]
Landmarks = NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """Where a detector sees a face, in pixels of its picture, and how sure it is (0..1)."""

    rect: Rect
    score: float


@dataclass(frozen=True, eq=False)
class Look:
    """One place where a landmarker looks: `turn` is the head's roll in radians clockwise on screen."""

    picture: Image8
    rect: Rect
    turn: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)


class Detector(Protocol):
    """Finds boxes in several pictures at once."""

    def detect(self, pictures: Sequence[Image8]) -> list[list[Box]]:
        """Boxes of each picture (H, W, 3) RGB, largest first."""
        ...


class Landmarker(Protocol):
    """Finds landmarks in several places at once."""

    def landmarks(self, looks: Sequence[Look]) -> list[tuple[Landmarks, float]]:
        """For each look (68, 2) float64 in pixels of its picture, and how sure the network is (0..1)."""
        ...


class TwoStepEngine:
    """See `found.Engine`. Belongs to one thread; the networks inside may be shared."""

    def __init__(self, detector: Detector, landmarker: Landmarker, *, accuracy: Accuracy = Accuracy.HIGH) -> None:
        self._detector, self._landmarker = detector, landmarker
        self._is_finer = accuracy == Accuracy.HIGH

    def find(self, rgb8: Image8, *, previous: Sequence[FoundFace] | None = None, max_faces: int = 0) -> list[FoundFace]:
        """See `found.Engine.find`; these networks see the whole frame each time and need no hint."""
        return self.find_batch([rgb8], max_faces=max_faces)[0]

    def find_batch(self, pictures: Sequence[Image8], *, max_faces: int = 0) -> list[list[FoundFace]]:
        """See `found.Engine.find_batch`."""
        turns, boxes = self._boxes(pictures, max_faces)
        turned = [turned_by(picture, turn) for picture, turn in zip(pictures, turns, strict=True)]
        looks = [Look(turned[index], box.rect) for index, found in enumerate(boxes) for box in found]
        landmarks = iter(self._landmarks(looks))
        return [
            [_face(box, next(landmarks), picture, turn) for box in found]
            for picture, turn, found in zip(pictures, turns, boxes, strict=True)
        ]

    def landmarks_in(self, rgb8: Image8, rect: Rect, *, turn: float | None = None) -> FoundFace:
        """See `found.Engine.landmarks_in`."""
        rect = checked_rect(rect, rgb8.shape[1], rgb8.shape[0])
        look = Look(rgb8, rect, turn or 0.0)
        ((landmarks, score),) = self._landmarker.landmarks([look])
        roll = roll_of(landmarks)
        if turn is None and abs(roll) > TURNED:
            look = replace(look, turn=roll)
            ((again, second),) = self._landmarker.landmarks([look])
            landmarks, score = (again, second) if second >= score else (landmarks, score)
        if self._is_finer and turn is None:
            (landmarks,) = self._refined([(look, landmarks)])
        return FoundFace(rect, landmarks, None, score)

    def _boxes(self, pictures: Sequence[Image8], max_faces: int) -> tuple[list[int], list[list[Box]]]:
        """For each picture the quarter turns at which it shows faces, and their boxes there."""
        turns, boxes = [0] * len(pictures), [list[Box]() for _ in pictures]
        for turn in TURNS:
            left = [i for i, found in enumerate(boxes) if not found and min(pictures[i].shape[:2]) >= SMALLEST_PICTURE]
            if not left:
                break
            answers = self._detector.detect([turned_by(pictures[index], turn) for index in left])
            for index, found in zip(left, answers, strict=True):
                boxes[index] = found[:max_faces] if max_faces else found
                turns[index] = turn if found else 0
        return turns, boxes

    def _landmarks(self, looks: Sequence[Look]) -> list[Landmarks]:
        if not looks:
            return []
        landmarks = [points for points, _ in self._landmarker.landmarks(looks)]
        return self._refined(list(zip(looks, landmarks, strict=True))) if self._is_finer else landmarks

    def _refined(self, found: Sequence[tuple[Look, Landmarks]]) -> list[Landmarks]:
        """The second pass: on the face turned upright, if exactly one is seen there, the mean of five looks."""
        refined = [landmarks for _, landmarks in found]
        crops: dict[int, tuple[Image8, affine.Affine]] = {}
        for index, (look, landmarks) in enumerate(found):
            crop = upright(look.picture, landmarks)
            if crop is not None:
                crops[index] = crop
        seen = self._detector.detect([picture for picture, _ in crops.values()]) if crops else []
        sure = {index: boxes[0].rect for index, boxes in zip(crops, seen, strict=True) if len(boxes) == 1}
        looks = [Look(crops[index][0], rect, shift=shift) for index, rect in sure.items() for shift in SAMPLES]
        answers = self._landmarker.landmarks(looks) if looks else []
        for number, index in enumerate(sure):
            mine = answers[number * len(SAMPLES) : (number + 1) * len(SAMPLES)]
            mean = np.mean([landmarks for landmarks, _ in mine], axis=0)
            refined[index] = affine.apply(affine.invert(crops[index][1]), mean)
        return refined


def _face(box: Box, landmarks: Landmarks, picture: Image8, quarters: int) -> FoundFace:
    """A face of the turned picture as one of the picture itself."""
    rect = rect_turned_back(box.rect, picture, quarters)
    return FoundFace(rect, turned_back(landmarks, picture, quarters), None, box.score)


def upright(picture: Image8, landmarks: Landmarks) -> tuple[Image8, affine.Affine] | None:
    """The face turned upright in a square of SECOND_LOOK px, and the matrix that leads there; None if there is none."""
    try:
        matrix = transform(landmarks, SECOND_LOOK, FaceType.FULL)
    except ValueError:
        return None
    size = (SECOND_LOOK, SECOND_LOOK)
    return np.asarray(cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR), np.uint8), matrix


def look_square(rect: Rect, *, up: float = 0.0) -> Square:
    """The window in which FAN looks for the landmarks of a box: 200/195 of its mean side.

    up: how far the window's centre lies above the box's, over the height of the box.
    """
    side = 200 * (rect.width + rect.height) / 195
    return Square((rect.left + rect.right) / 2, (rect.top + rect.bottom) / 2 - up * rect.height, side)


def cut_window(picture: Image8, window: Square, size: int) -> Image8:
    """The window as (size, size, 3), black outside the picture.

    An upright one has its corners cut to whole pixels, as the networks of the reference had in training.
    """
    if window.angle:
        return Picture(picture).cut(Square(window.x - 0.5, window.y - 0.5, window.side, window.angle), size)
    centre = np.array([window.x, window.y])
    left, top = (int(v) for v in np.trunc(centre + window.side * (1 / 256 - 0.5)))
    right, bottom = (int(v) for v in np.trunc(centre + window.side * 0.5))
    canvas = np.zeros((max(1, bottom - top), max(1, right - left), 3), np.uint8)
    there = picture[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    y, x = max(0, -top), max(0, -left)
    if there.size:
        canvas[y : y + there.shape[0], x : x + there.shape[1]] = there
    return np.asarray(cv2.resize(canvas, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)


def peaks(heat: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Where heat maps (B, N, h, w) are highest, (B, N, 2) in 0..1 of their side, x first, and how high, (B, N).

    A peak moves a quarter of a cell towards its higher neighbour, except at the map's edge.
    """
    batch, count, height, width = heat.shape
    flat = heat.reshape(batch, count, -1)
    best = flat.argmax(axis=2)
    y, x = np.divmod(best, width)
    padded = np.pad(heat, ((0, 0), (0, 0), (1, 1), (1, 1)))
    b, n = np.ogrid[:batch, :count]
    inside = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)
    right = np.sign(padded[b, n, y + 1, x + 2] - padded[b, n, y + 1, x])
    down = np.sign(padded[b, n, y + 2, x + 1] - padded[b, n, y, x + 1])
    points = np.stack([x + 0.25 * right * inside + 0.5, y + 0.25 * down * inside + 0.5], axis=2).astype(np.float64)
    return points / (width, height), np.take_along_axis(flat, best[..., None], axis=2)[..., 0]


def roll_of(landmarks: Landmarks) -> float:
    """How far a head is turned in the picture, in radians clockwise on screen, from the middles of its eyes."""
    across = landmarks[42:48].mean(axis=0) - landmarks[36:42].mean(axis=0)
    return float(np.arctan2(across[1], across[0]))


def turned_by(picture: Image8, quarters: int) -> Image8:
    """The picture turned by quarters clockwise."""
    return np.ascontiguousarray(np.rot90(picture, -quarters)) if quarters else picture


def turned_back(landmarks: Landmarks, picture: Image8, quarters: int) -> Landmarks:
    """Landmarks of the turned picture as places of the picture itself, whose pixels' corners are whole numbers."""
    height, width = picture.shape[:2]
    x, y = landmarks[:, 0], landmarks[:, 1]
    places = ((x, y), (y, height - x), (width - x, height - y), (width - y, x))
    return np.stack(places[quarters], axis=1)


def rect_turned_back(rect: Rect, picture: Image8, quarters: int) -> Rect:
    """A box of the turned picture as a box of the picture itself."""
    corners = turned_back(np.array([[rect.left, rect.top], [rect.right, rect.bottom]]), picture, quarters)
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    return Rect(float(left), float(top), float(right), float(bottom))
