"""What a face engine gives back, and what every face engine can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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
