"""Where one shot ends and the next begins, decided frame by frame while footage is read.

Two frames belong to one shot when each part of the new picture is found again near its place in the old one. Parts are
compared after their brightness and contrast have been taken out, so that a flash, a fade or an exposure that jumps
changes nothing, and they may have moved, so that neither do fast motion and a shaking camera.

    frame → luma, 64 x 36 → local mean and contrast removed → 12 px blocks, best correlation within 9 px → mean, 0..1

Pictures without any structure (black, white, the middle of a fade) belong to what was before them; the first picture
after them is compared with the last one before them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

if TYPE_CHECKING:
    from understudy.media.frames import Frame

Array = np.ndarray[Any, Any]

GRID = (64, 36)
BLOCK = 12
REACH = 9  # px of the grid: a seventh of the width from one frame to the next

LOST = 0.66
"""Below this likeness it is a cut, whatever went before. Real cuts lie at 0.42 to 0.66, the hardest flashes at 0.68."""

SUDDEN = 0.85
SUDDEN_DROP = 0.12
"""Between pictures that share a background a cut is a fall to at most SUDDEN, by at least SUDDEN_DROP at once, unless
the blocks moved together: so it is when a camera begins to move."""

TOGETHER = 0.5

STEADY_LIGHT = 0.10  # of the whole range: by more than this, a fall may be a flash
FLAT = 1.6  # grey levels of mean local contrast; less shows nothing that could be found again
_MEMORY = 8


class ShotFinder:
    """Finds cuts online, about 0.8 ms per frame; frames must come in order.

    starts: indices of the frames that begin a shot, counted from the first frame fed; the first is always one.
    """

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.count = 0
        self._last: _Look | None = None
        self._recent: deque[float] = deque(maxlen=_MEMORY)

    def feed(self, picture: Frame | Array) -> bool:
        """Whether this frame begins a new shot; False for the first one.

        picture: a Frame or an (H, W, 3) uint8 RGB array, the same kind throughout.
        """
        look = _Look(picture if isinstance(picture, np.ndarray) else picture.rgb8)
        index, self.count = self.count, self.count + 1
        if self._last is None:
            self.starts.append(index)
            self._last = look
            return False
        if look.is_flat:
            return False
        is_cut = not self._last.is_flat and self._breaks(self._last, look)
        self._last = look
        if is_cut:
            self.starts.append(index)
            self._recent.clear()
        return is_cut

    def _breaks(self, before: _Look, after: _Look) -> bool:
        score, is_moving = likeness(before, after)
        usual = float(np.median(self._recent)) if self._recent else 0.0
        self._recent.append(score)
        if score < LOST:
            return True
        is_steady = not is_moving and abs(after.light - before.light) < STEADY_LIGHT
        return is_steady and score < SUDDEN and usual - score > SUDDEN_DROP


class _Look:
    """What is compared of a frame. pattern, contrast: (36, 64) float32; light: mean luma, 0..1."""

    def __init__(self, rgb8: Array) -> None:
        grey = _grey(rgb8)
        rest = grey - cv2.GaussianBlur(grey, (0, 0), 5)
        self.contrast = cast(Array, cv2.sqrt(cv2.GaussianBlur(rest * rest, (0, 0), 5)))
        self.pattern = rest / (self.contrast + np.float32(3))
        self.light = float(grey.mean()) / 255
        self.is_flat = float(self.contrast.mean()) < FLAT


def _grey(rgb8: Array) -> Array:
    """(36, 64) float32 luma in 0..255. Every n-th pixel first: averages of all of them would cost more than the rest.

    Leaves at least four pixels in each direction for one of the grid.
    """
    step = max(1, min(rgb8.shape[0] // (4 * GRID[1]), rgb8.shape[1] // (4 * GRID[0])))
    thinned = np.ascontiguousarray(rgb8[step // 2 :: step, step // 2 :: step])
    small = cv2.resize(thinned, GRID, interpolation=cv2.INTER_AREA)
    return cast(Array, cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32))


def likeness(before: _Look, after: _Look) -> tuple[float, bool]:
    """How much of the picture `after` is found again in `before`, 0 to 1, and whether most of it moved the same way.

    Blocks count by their contrast.
    """
    wide = cv2.copyMakeBorder(before.pattern, REACH, REACH, REACH, REACH, cv2.BORDER_REPLICATE)
    found = weights = 0.0
    shifts: list[tuple[int, int]] = []
    for top in range(0, GRID[1] - BLOCK + 1, BLOCK):
        for left in range(0, GRID[0] - BLOCK + 1, BLOCK + 1):
            rows, columns = slice(top, top + BLOCK), slice(left, left + BLOCK)
            block = after.pattern[rows, columns]
            weight = float(block.std()) * min(float(after.contrast[rows, columns].mean()), 12.0)
            around = wide[top : top + BLOCK + 2 * REACH, left : left + BLOCK + 2 * REACH]
            _, best, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(around, block, cv2.TM_CCOEFF_NORMED))
            found += weight * max(0.0, best)
            weights += weight
            shifts.append((x - REACH, y - REACH))
    return (found / weights if weights > 0 else 1.0), _together(np.array(shifts))


def _together(shifts: Array) -> bool:
    """Whether most of the shifts (N, 2) are one and the same, and not none."""
    common = np.median(shifts, axis=0)
    near = (np.abs(shifts - common).max(axis=1) <= 2).mean()
    return bool(np.abs(common).max() > 1 and near >= TOGETHER)
