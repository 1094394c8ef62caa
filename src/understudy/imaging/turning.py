"""Quarter turns and mirror images, as cameras and phones store them: exact, no sample is computed anew."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Turn(NamedTuple):
    """How a stored picture becomes upright: first exchange rows and columns, then flip left-right, then top-bottom."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def degrees(self) -> int:
        """Counter-clockwise turn from stored to upright; of a mirrored picture, before the left-right mirror."""
        straight = (self.transpose, self.flip_x ^ self.mirrored, self.flip_y)
        return {(False, False, False): 0, (True, False, True): 90, (False, True, True): 180}.get(straight, 270)

    @property
    def mirrored(self) -> bool:
        return self.transpose ^ self.flip_x ^ self.flip_y

    def apply(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The upright view of an (H, W, ...) array; shares its memory."""
        if self.transpose:
            array = array.swapaxes(0, 1)
        if self.flip_x:
            array = array[:, ::-1]
        if self.flip_y:
            array = array[::-1]
        return array


UPRIGHT = Turn()

_EXIF = {
    1: UPRIGHT, 2: Turn(flip_x=True), 3: Turn(flip_x=True, flip_y=True), 4: Turn(flip_y=True), 5: Turn(transpose=True),
    6: Turn(transpose=True, flip_x=True), 7: Turn(True, True, True), 8: Turn(transpose=True, flip_y=True),
}  # fmt: skip


def from_exif(orientation: int) -> Turn:
    """The turn that EXIF orientation 1 to 8 asks for; any other number means upright."""
    return _EXIF.get(orientation, UPRIGHT)


def from_display_matrix(matrix: bytes) -> Turn:
    """The turn of a container's display matrix: nine 32-bit integers, of which the first two of rows 1 and 2 count.

    A matrix that is no quarter turn (a free rotation, or too short) means upright.
    """
    if len(matrix) < 36:
        return UPRIGHT
    a, b, _, c, d = np.frombuffer(matrix[:20], "<i4").tolist()
    if b == 0 and c == 0 and a and d:
        return Turn(False, a < 0, d < 0)
    if a == 0 and d == 0 and b and c:
        return Turn(True, c < 0, b < 0)
    return UPRIGHT
