"""Faces that show the same twice: a frame that was held, a shot in which nothing moves, one file under two names.

    face → three evened grey patches (whole, eyes, mouth) → print → sharpest first: a face that is close to one that
    stays is its duplicate

Two faces are as different as the patch in which they differ most: a blink changes few pixels of a face, but half of the
eyes' patch. Patches are laid by the landmarks without turning or stretching the face, so that expression and pose
count; each is brought to one brightness and contrast, so that a flicker does not. Every duplicate is close to the face
that stays for it, not only to another duplicate: a slow movement keeps its stages.

Close ones are found by the patches' first principal directions, in which nothing is farther apart than it is: a product
of matrices leaves out all but a few pairs, which are then compared in full. Its work grows with faces times faces that
stay, but so slowly that decoding the pictures takes longer up to some hundred thousand.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from understudy.errors import UnreadableFace
from understudy.facesets import Face
from understudy.geometry import affine
from understudy.geometry.alignment import similarity
from understudy.records import Rect

Print = npt.NDArray[np.int8]

_ROUNDING = 1e-4  # of float32 products, as a part of the largest square

UNIT = 32
"""A standard deviation of a patch in the units of a print."""

LEAST_CONTRAST = 4.0
"""Patches whose standard deviation is lower, in 0..255, are not raised further: noise is no likeness."""

DIRECTIONS = 8
"""Principal directions of each patch by which most pairs are told apart."""

BLOCK, AT_ONCE = 4000, 256


@dataclass(frozen=True)
class Patch:
    """A part of the unit face square, and the size in pixels at which it is compared."""

    where: Rect
    width: int
    height: int


PATCHES = (
    Patch(Rect(-0.10, -0.10, 1.08, 1.12), 24, 24),
    Patch(Rect(0.04, 0.08, 0.94, 0.34), 32, 12),
    Patch(Rect(0.20, 0.66, 0.78, 1.04), 24, 16),
)
"""The whole, the eyes, the mouth."""

LENGTHS = [patch.width * patch.height for patch in PATCHES]
STARTS = [0, *itertools.accumulate(LENGTHS)]
DIMENSIONS = STARTS[-1]


@dataclass(frozen=True)
class Duplicates:
    """Faces that show the same, by their numbers. kept: the one that stays. dropped: (number, difference in %)."""

    kept: int
    dropped: tuple[tuple[int, float], ...]


def print_of(face: Face) -> Print:
    """What is compared of a face: (1344,) int8, each patch with mean 0 and a standard deviation of 32.

    Raises UnreadableFace for a face without 68 landmarks or with landmarks in one point.
    """
    unit_from_face = similarity(face.meta.landmarks) if face.meta.has_landmarks else np.full((2, 3), np.nan)
    scale = float(np.hypot(*unit_from_face[:, 0]))
    if not np.isfinite(unit_from_face).all() or scale < 1e-9:
        raise UnreadableFace("This face has no landmarks that span a face.", hint="Extract this face again.")
    grey, grey_from_face = _shrunk(np.asarray(cv2.cvtColor(face.rgb8, cv2.COLOR_RGB2GRAY), np.uint8), 1 / scale)
    unit_from_grey = affine.compose(unit_from_face, affine.invert(grey_from_face))
    return np.concatenate([_evened(_cut(grey, unit_from_grey, patch)) for patch in PATCHES])


def difference(a: Print, b: Print) -> float:
    """How much two faces differ in the patch where they differ most, in % of its contrast; about 0 to 200."""
    return float(_differences(a[None], b)[0])


def find_duplicates(prints: npt.NDArray[np.int8], worth: Sequence[float], threshold: float) -> list[Duplicates]:
    """Groups of faces that differ by at most `threshold` % from the one that stays, which is the worthiest of them.

    prints: (N, 1344) int8. worth: (N,), larger stays; ties go to the earlier. Faces without a duplicate are left out.
    """
    if len(prints) < 2:
        return []
    order = sorted(range(len(prints)), key=lambda number: (-worth[number], number))
    places = _places(prints, threshold)
    leaders: list[int] = []
    dropped: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for start in range(0, len(order), AT_ONCE):
        block = order[start : start + AT_ONCE]
        old = np.array(leaders, np.intp)
        of_old, of_block = _perhaps(places[block], places[old]), _perhaps(places[block], places[block])
        fresh = np.zeros(len(block), np.bool_)
        for row, number in enumerate(block):
            near = np.concatenate([old[of_old[row]], np.array(block, np.intp)[of_block[row] & fresh]])
            close = _close(places, near, number)
            differences = _differences(prints[close], prints[number])
            if len(close) and differences.min() <= threshold:
                best = int(differences.argmin())
                dropped[int(close[best])].append((number, float(differences[best])))
            else:
                fresh[row] = True
                leaders.append(number)
    return [Duplicates(kept, tuple(sorted(others))) for kept, others in sorted(dropped.items())]


def _places(prints: npt.NDArray[np.int8], threshold: float) -> npt.NDArray[np.float32]:
    """Where each print lies along the principal directions of each patch, (N, 24), in distances that the threshold
    allows: faces that differ no more lie within 1 of each other in each patch's eight directions."""
    sample = prints[:: max(1, len(prints) // BLOCK)].astype(np.float32)
    made = np.empty((len(prints), len(PATCHES) * DIRECTIONS), np.float32)
    for patch, (start, length) in enumerate(zip(STARTS[:-1], LENGTHS, strict=True)):
        part = slice(start, start + length)
        middle = sample[:, part].mean(axis=0)
        away = sample[:, part] - middle
        _, directions = np.linalg.eigh(away.T @ away)
        reach = max(threshold, 0.5) / 100 * UNIT * np.sqrt(length)
        chosen = directions[:, : -DIRECTIONS - 1 : -1] / reach
        for at in range(0, len(prints), BLOCK):
            block = prints[at : at + BLOCK, part].astype(np.float32) - middle
            made[at : at + BLOCK, patch * DIRECTIONS : (patch + 1) * DIRECTIONS] = block @ chosen
    return made


def _perhaps(places: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Whether pairs may be close, (N, M): the sum over all patches is no more than each patch may have."""
    apart = np.square(places).sum(axis=1)[:, None] + np.square(others).sum(axis=1) - 2 * (places @ others.T)
    return np.asarray(apart <= len(PATCHES) * 1.001 + _ROUNDING * np.abs(places).max(initial=0) ** 2, np.bool_)


def _close(places: npt.NDArray[np.float32], near: npt.NDArray[np.intp], number: int) -> npt.NDArray[np.intp]:
    """Those of `near` that are close in every patch's directions, and so perhaps altogether."""
    apart = (places[near] - places[number]).reshape(-1, len(PATCHES), DIRECTIONS)
    return np.asarray(near[(np.square(apart).sum(axis=2) <= 1.0001).all(axis=1)], np.intp)


def _differences(prints: npt.NDArray[np.int8], one: Print) -> npt.NDArray[np.float32]:
    """`difference` of every row from one print, (N,)."""
    if not len(prints):
        return np.zeros(0, np.float32)
    apart = prints.astype(np.float32) - one.astype(np.float32)
    squares = np.add.reduceat(apart * apart, STARTS[:-1], axis=1) / np.array(LENGTHS, np.float32)
    return np.asarray(np.sqrt(squares.max(axis=1)) * (100 / UNIT), np.float32)


def _shrunk(grey: npt.NDArray[np.uint8], unit_px: float) -> tuple[npt.NDArray[np.uint8], affine.Affine]:
    """The picture at about twice the fineness of the patches, and the matrix from the picture to it."""
    finest = max(patch.width / patch.where.width for patch in PATCHES)
    factor = min(int(unit_px / (1.5 * finest)), min(grey.shape) // 8)
    if factor < 2:
        return np.asarray(cv2.GaussianBlur(grey, (3, 3), 0), np.uint8), affine.scaling(1.0)
    rows, columns = grey.shape[0] // factor, grey.shape[1] // factor
    part = grey[: rows * factor, : columns * factor]
    small = np.asarray(cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
    shift = (1 / factor - 1) / 2
    return small, np.array([[1 / factor, 0, shift], [0, 1 / factor, shift]])


def _cut(grey: npt.NDArray[np.uint8], unit_from_grey: affine.Affine, patch: Patch) -> npt.NDArray[np.float32]:
    steps = np.array([patch.width / patch.where.width, patch.height / patch.where.height])
    shift = (unit_from_grey[:, 2] - (patch.where.left, patch.where.top)) * steps - 0.5
    matrix = np.column_stack([unit_from_grey[:, :2] * steps[:, None], shift])
    size = (patch.width, patch.height)
    cut = cv2.warpAffine(grey, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, np.float32)


def _evened(patch: npt.NDArray[np.float32]) -> Print:
    centred = patch - patch.mean()
    contrast = max(float(centred.std()), LEAST_CONTRAST)
    return np.asarray(np.clip(np.rint(centred * (UNIT / contrast)), -127, 127), np.int8).ravel()
