"""BlazeFace: boxes and six points of the faces in a square picture, in one pass of a small network.

The network answers for a fixed grid of anchors, whose centres follow from the published options of the models: short
range (128 px, strides 8 and three times 16, two anchors each) and full range (192 px, stride 4, one anchor). Anchors
have the size of the whole picture, so a box is its offset from the anchor's centre and its size, both in input pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.detection.engines import FULL_RANGE, SHORT_RANGE, Network
from understudy.detection.pictures import Picture, Points, Square

GRIDS = {SHORT_RANGE: ((8, 2), (16, 6)), FULL_RANGE: ((4, 1),)}
"""Per model: (stride in input pixels, anchors in each cell), in the order of the network's answers."""

SAME_FACE = 0.3
"""Boxes of one pass that overlap more than this (intersection over union) are averaged into one."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """Where a face may be, in frame pixels: the box as a square turned with the face, six points, score 0..1.

    points: (6, 2): right eye, left eye, nose tip, mouth, right ear, left ear (right is the person's).
    """

    square: Square
    points: Points
    score: float


class BlazeFace:
    """One of the two detectors. Not thread-safe."""

    def __init__(self, name: str, *, threads: int = 1) -> None:
        self._network = Network(name, threads=threads)
        self._anchors = anchors(self._network.size, GRIDS[name])

    def find(self, picture: Picture, square: Square, *, threshold: float) -> list[Candidate]:
        """Faces inside one square of the frame, best first."""
        size = self._network.size
        cut = picture.cut(square, size)
        boxes, logits = self._network.run(cut.astype(np.float32) * np.float32(1 / 127.5) - np.float32(1))
        limit = np.log(threshold / (1 - threshold))
        chosen = np.flatnonzero(logits[0, :, 0] > limit)
        if chosen.size == 0:
            return []
        scores = 1 / (1 + np.exp(-np.clip(logits[0, chosen, 0].astype(np.float64), -100, 100)))
        decoded = decode(boxes[0, chosen].astype(np.float64) / size, self._anchors[chosen])
        return [_candidate(box, score, square) for box, score in blend(decoded, scores)]


def anchors(size: int, grid: tuple[tuple[int, int], ...]) -> Points:
    """Centres (n, 2) of the anchors in units of the picture, x first, row by row."""
    centres = []
    for stride, count in grid:
        cells = -(-size // stride)
        line = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(line, line, indexing="ij")
        centres.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), count, axis=0))
    return np.concatenate(centres)


def decode(raw: NDArray[np.float64], centres: Points) -> NDArray[np.float64]:
    """Answers (n, 16) relative to their anchors → (n, 8, 2): centre, size, six points, in units of the picture."""
    out = raw.reshape(-1, 8, 2).copy()
    out[:, 0] += centres
    out[:, 2:] += centres[:, None]
    return out


def blend(boxes: NDArray[np.float64], scores: NDArray[np.float64]) -> list[tuple[NDArray[np.float64], float]]:
    """Average overlapping boxes (n, 8, 2), weighted by score; each result has the score of its best member."""
    left = list(np.argsort(-scores, kind="stable"))
    merged = []
    while left:
        overlap = overlaps(boxes[left[0], :2], boxes[left, :2])
        together = [index for index, value in zip(left, overlap, strict=True) if value > SAME_FACE] or [left[0]]
        weights = scores[together]
        merged.append((np.tensordot(weights, boxes[together], 1) / weights.sum(), float(scores[left[0]])))
        left = [index for index in left if index not in together]
    return merged


def overlaps(one: NDArray[np.float64], many: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of a box ((centre), (size)) with boxes (n, 2, 2)."""
    low = np.maximum(one[0] - one[1] / 2, many[:, 0] - many[:, 1] / 2)
    high = np.minimum(one[0] + one[1] / 2, many[:, 0] + many[:, 1] / 2)
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    union = np.prod(one[1]) + np.prod(many[:, 1], axis=1) - common
    result: NDArray[np.float64] = common / np.maximum(union, 1e-12)
    return result


def _candidate(box: NDArray[np.float64], score: float, square: Square) -> Candidate:
    points = square.to_frame(box[2:])
    x, y = square.to_frame(box[:1])[0]
    across = points[1] - points[0]
    angle = float(np.arctan2(across[1], across[0]))
    return Candidate(Square(float(x), float(y), float(box[1].max() * square.side), angle), points, score)
