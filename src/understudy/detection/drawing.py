"""Pictures for people: boxes, landmarks and alignment squares drawn on a frame."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.geometry import affine
from understudy.geometry.affine import Affine
from understudy.records import Rect

GREEN, BLUE, RED = (0, 255, 0), (0, 0, 255), (255, 0, 0)
LINES = ((*range(17),), (*range(17, 22),), (*range(22, 27),), (*range(27, 36), 30))
RINGS = ((*range(36, 42),), (*range(42, 48),), (*range(48, 68),))

Image8 = NDArray[np.uint8]


def draw_landmarks(rgb8: Image8, landmarks: NDArray[np.float64], colour: tuple[int, int, int] = GREEN) -> None:
    """Draw 68 landmarks (68, 2) into the picture, in place: lines along the features, a dot at each point."""
    points = landmarks.astype(np.int32)
    for line in LINES:
        cv2.polylines(rgb8, [points[list(line)]], False, colour, 1, cv2.LINE_AA)
    for ring in RINGS:
        cv2.polylines(rgb8, [points[list(ring)]], True, colour, 1, cv2.LINE_AA)
    for index, point in enumerate(points):
        large = index < 17
        cv2.circle(rgb8, (int(point[0]), int(point[1])), 2 if large else 1, colour, 2 if large else 1, cv2.LINE_AA)


def darken(rgb8: Image8, hull: NDArray[np.float32]) -> None:
    """Halve the picture where the hull mask (H, W) float32 0 or 1 covers it, in place."""
    inside = hull > 0
    rgb8[inside] //= 2


def draw_square(rgb8: Image8, face_from_frame: Affine, size: int) -> None:
    """Draw the border of an aligned square into its frame, in place, with a mark in the corner that is its top left."""
    frame_from_face = affine.invert(face_from_frame)
    last = size - 1
    corners = np.array([(0, 0), (0, last), (last, last), (last, 0)], np.float64)
    mark = np.array([(int(0.05 * size), 0), (int(0.1 * size), int(0.1 * size)), (0, int(0.1 * size))], np.float64)
    for outline in (corners, mark):
        points = np.rint(affine.apply(frame_from_face, outline)).astype(np.int32)
        cv2.polylines(rgb8, [points], True, RED, 2, cv2.LINE_AA)


def draw_rect(rgb8: Image8, rect: Rect) -> None:
    """Draw the box of a face, in place."""
    cv2.rectangle(rgb8, (int(rect.left), int(rect.top)), (int(rect.right), int(rect.bottom)), BLUE, 2, cv2.LINE_AA)
