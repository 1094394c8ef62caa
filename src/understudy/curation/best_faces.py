"""The best faces of a faceset: as many as asked for, spread over all directions a head looks in, sharp and unlike.

128 bins of yaw → the sharpest of each → bins of pitch → the one most unlike its cell first, cell by cell
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from understudy.curation.histograms import Counts, summed_distances

YAW_BINS = 128
FAR_YAW = 1.2  # radians; what is turned farther is in the outermost bins
SHARPEST = 10  # so many times a bin's share stay in the choice


@dataclass(frozen=True, eq=False)
class Candidate:
    """One face. sharpness: any measure, larger is better. pitch, yaw: radians. histogram: (256,) of its brightness."""

    sharpness: float
    pitch: float
    yaw: float
    histogram: Counts


def best_faces(faces: Sequence[Candidate], target: int) -> list[int]:
    """Which faces to keep, in order: from those turned to the picture's left to those turned right.

    About `target` are chosen: every bin of yaw gives its share, at least one face, and where bins are empty the others
    give more. Of equals the one named first wins.
    """
    bins = [_bin(-face.yaw, -FAR_YAW, FAR_YAW, YAW_BINS) for face in faces]
    by_yaw: list[list[int]] = [[] for _ in range(YAW_BINS)]
    for index, number in enumerate(bins):
        by_yaw[number].append(index)
    share = share_of(target, [len(members) for members in by_yaw])
    chosen: list[int] = []
    for members in by_yaw:
        sharpest = sorted(members, key=lambda index: -faces[index].sharpness)[: SHARPEST * share]
        chosen += _varied([faces[index] for index in sharpest], sharpest, share)
    return chosen


def share_of(target: int, counts: Sequence[int]) -> int:
    """How many faces each bin gives: what poor bins lack is asked of all. At least 1, whatever the target."""
    share = max(1, round(target / YAW_BINS))
    lack = sum(max(0, share - count) for count in counts)
    return share + lack // YAW_BINS


def _varied(faces: Sequence[Candidate], indices: Sequence[int], share: int) -> list[int]:
    """So many of one bin's faces, taken in turns from its bins of pitch, down first."""
    cells: list[list[int]] = [[] for _ in range(share)]
    for index, face in enumerate(faces):
        cells[_bin(face.pitch, -math.pi / 2, math.pi / 2, share)].append(index)
    queues = [_most_unlike_first(faces, cell) for cell in cells]
    taken: list[int] = []
    while len(taken) < share and any(queues):
        for queue in queues:
            if queue and len(taken) < share:
                taken.append(indices[queue.pop(0)])
    return taken


def _most_unlike_first(faces: Sequence[Candidate], cell: list[int]) -> list[int]:
    if len(cell) < 2:
        return cell
    sums = summed_distances(np.array([faces[index].histogram for index in cell]))
    return [cell[at] for at in np.argsort(-sums, kind="stable")]


def _bin(value: float, low: float, high: float, count: int) -> int:
    """Which of `count` evenly spaced values, ends included, is the last not above `value`; the first for all below."""
    if count == 1:
        return 0
    marks = np.linspace(low, high, count)
    return int(np.clip(np.searchsorted(marks, value, side="right") - 1, 0, count - 1))
