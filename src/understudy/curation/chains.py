"""Orders in which each face is the nearest to the one before it among all that are left.

A plain search looks at every remaining face in every step. Here each face keeps a short list of its nearest, from
bounds that are computed for many faces at once as products of matrices; the list answers most steps, and is made anew
when too few of those on it are left. Bounds only say where to look: what is compared in the end are exact distances,
so the order is that of the plain search, ties included.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from understudy.facesets.reading import each_item
from understudy.report import Pace, Report, Stop, never, silent

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

LISTED = 24
"""Nearest faces kept for each."""

_ROWS = 256  # faces whose bounds are computed at once
_TRIED = 6  # of the most promising, at first
_SEARCHES_PER_LISTING = 16  # making lists for n faces costs about as much as n / 16 searches among them


class Distances(Protocol):
    """How far faces are from each other, of n faces numbered from 0."""

    def __len__(self) -> int: ...

    def only(self, faces: Indices) -> Distances:
        """The same for some of the faces, numbered anew, kept in one piece."""

    def bounds(self, rows: Indices) -> Floats:
        """(len(rows), n): what each distance is at least, float32."""

    def exact(self, face: int, others: Indices) -> Doubles:
        """The distances of one face to others, float64. The same picture twice gives the same number twice."""


def nearest_chain(distances: Distances, *, report: Report = silent, stop: Stop = never) -> list[int]:
    """All faces, from face 0 on always the nearest of those that are left.

    Of equals the first in the present order is taken; it trades places with the face whose turn it would have been.
    Ends early, with fewer faces, when `stop` turns true.
    """
    count, pace = len(distances), Pace("Chaining", len(distances), report, unit="faces")
    with threadpool_limits(1, "blas"):  # the threads are ours; those of both would wait for each other
        search = _Search(distances, stop)
        for step in range(count - 1):
            if stop():
                return [int(face) for face in search.order[:step]]
            search.take(step + 1, search.nearest(step))
            pace.advance()
    pace.advance()
    return [int(face) for face in search.order]


class _Search:
    """The state of a chain: which faces are left, in which order, and which are each other's nearest."""

    def __init__(self, distances: Distances, stop: Stop) -> None:
        count = len(distances)
        self.order: Indices = np.arange(count)
        self._place: Indices = np.arange(count)
        self._all, self._stop = distances, stop
        self._list(self.order, taken=0)

    def take(self, place: int, face: int) -> None:
        """Put a face at a place of the order; what was there goes where the face was."""
        was, other = self._place[face], self.order[place]
        self.order[place], self.order[was] = face, other
        self._place[face], self._place[other] = place, was

    def nearest(self, taken: int) -> int:
        """The nearest face to the one at place `taken`, of those behind it."""
        face = int(self.order[taken])
        number = self._number[face]
        listed = self._faces[self._near[number]]
        left = self._place[listed] > taken
        found = self._best(face, listed[left], self._near_bounds[number][left])
        if found is not None and found[1] < self._reach[number]:
            return found[0]
        self._searches += 1
        if self._searches > max(32, len(self._faces) // _SEARCHES_PER_LISTING):
            self._list(self.order[taken:], taken=taken)
            return self.nearest(taken)
        left = self._place[self._faces] > taken
        found = self._best(face, self._faces[left], self._here.bounds(np.array([number]))[0][left])
        assert found is not None
        return found[0]

    def _best(self, face: int, others: Indices, bounds: Floats) -> tuple[int, float] | None:
        """The nearest of some faces and its exact distance; None of none."""
        if not len(others):
            return None
        first = np.argpartition(bounds, _TRIED)[:_TRIED] if len(others) > _TRIED else np.arange(len(others))
        exact = self._all.exact(face, others[first])
        promising = bounds <= exact.min()
        promising[first] = False
        rest = np.flatnonzero(promising)
        if len(rest):
            first = np.concatenate([first, rest])
            exact = np.concatenate([exact, self._all.exact(face, others[rest])])
        equals = others[first[exact == exact.min()]]
        return int(equals[np.argmin(self._place[equals])]), float(exact.min())

    def _list(self, left: Indices, *, taken: int) -> None:
        """Find the nearest of every face that is left."""
        self._searches = 0
        self._faces = np.sort(left)
        self._here = self._all if len(left) == len(self._all) else self._all.only(self._faces)
        self._number = {int(face): number for number, face in enumerate(self._faces)}
        count, kept = len(left), min(LISTED, len(left) - 1)
        self._near = np.zeros((count, kept), np.int64)
        self._near_bounds = np.zeros((count, kept), np.float32)
        self._reach = np.full(count, np.inf, np.float32)
        blocks = [np.arange(start, min(start + _ROWS, count)) for start in range(0, count, _ROWS)]
        if len(blocks) == 1:
            self._list_rows(blocks[0])
            return
        for _ in each_item(blocks, self._list_rows, stop=self._stop):
            pass

    def _list_rows(self, rows: Indices) -> None:
        """Find the nearest of some of the faces that are left; `rows` count them."""
        count, kept = len(self._faces), self._near.shape[1]
        bounds = self._here.bounds(rows)
        bounds[np.arange(len(rows)), rows] = np.inf
        is_cut = kept < count - 1
        near = np.argpartition(bounds, kept, axis=1)[:, : kept + 1] if is_cut else np.argsort(bounds, axis=1)
        there = np.take_along_axis(bounds, near, axis=1)
        self._near[rows], self._near_bounds[rows] = near[:, :kept], there[:, :kept]
        if is_cut:
            self._reach[rows] = there[:, kept]
