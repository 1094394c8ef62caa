"""What a face engine gives back, and what every face engine can do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from understudy.errors import UsageError
from understudy.records import Rect


@dataclass(frozen=True, eq=False)
class FoundFace:
    """One face in one frame, in frame pixels (x right, y down, pixel centres at integers).

    rect: the box around the face, upright whatever the head's roll. landmarks: (68, 2) float64, the iBUG layout.
    mesh: (468, 3) float32 with z in the same pixels, smaller nearer to the camera; None when the engine has no mesh.
    confidence: 0..1.
    """

    rect: Rect
    landmarks: NDArray[np.float64]
    mesh: NDArray[np.float32] | None
    confidence: float


class Engine(Protocol):
    """Finds faces and their landmarks in one picture. An instance belongs to one thread."""

    def find(
        self, rgb8: NDArray[np.uint8], *, previous: Sequence[FoundFace] | None = None, max_faces: int = 0
    ) -> list[FoundFace]:
        """Faces in `rgb8` (H, W, 3), largest first; at most `max_faces` of them, 0: all.

        previous: the faces of the frame before, a hint where to look again; the search is then quick, and small
        newcomers may be noticed a few frames late. None: nothing is known, search thoroughly. Either way a face is
        reported only on this picture's evidence.
        """
        ...

    def find_batch(self, pictures: Sequence[NDArray[np.uint8]], *, max_faces: int = 0) -> list[list[FoundFace]]:
        """`find` without a hint for several pictures at once, which networks on a GPU do faster than one by one."""
        ...

    def landmarks_in(self, rgb8: NDArray[np.uint8], rect: Rect, *, turn: float | None = None) -> FoundFace:
        """Landmarks of the face that someone says is in `rect`: about forehead to chin, in frame pixels.

        turn: how far the head is turned in the picture, in radians clockwise on screen; None: found out. There is
        always an answer; its confidence is low where the networks see no face. Raises UsageError for a rectangle
        without area or outside the picture.
        """
        ...


def checked_rect(rect: Rect, width: int, height: int) -> Rect:
    """`rect` with its sides in order. Raises UsageError when it has no area or nothing of it is in the picture."""
    left, right = sorted((rect.left, rect.right))
    top, bottom = sorted((rect.top, rect.bottom))
    corners = (left, top, right, bottom)
    if not all(math.isfinite(value) for value in corners) or right - left < 1 or bottom - top < 1:
        raise UsageError(f"The rectangle {_words(corners)} has no area.", hint=RECT_HINT)
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        raise UsageError(f"The rectangle {_words(corners)} is outside the frame of {width}x{height}.", hint=RECT_HINT)
    if max(right - left, bottom - top) > LARGEST_RECT * max(width, height):
        raise UsageError(f"The rectangle {_words(corners)} is far larger than the frame.", hint=RECT_HINT)
    return Rect(left, top, right, bottom)


LARGEST_RECT = 4.0
"""Sides of rectangles are at most this many times the longer side of the frame."""

RECT_HINT = "A rectangle is left, top, right, bottom in pixels of the frame."


def _words(corners: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in corners)
