"""Who is who from frame to frame: faces of one shot linked to tracks while the footage is read.

    tracks of the last frames → where each should be now → cost of every pair → cheapest assignment → ids

A track that is hidden is waited for, at most WAIT frames; a shot change ends all. Whatever the tracker decides follows
from the last MEMORY frames alone, so a run that was stopped decides the same when they are given back to it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.geometry.alignment import ALIGNED_BY, TEMPLATE_33, transform
from understudy.records import FaceType

WAIT = 50
"""Frames that a hidden face is waited for: two seconds of most footage."""

MOTION_FRAMES = 6
"""Speed is that of so many last frames."""

COMPARED, COMPARED_EACH = 24, 2
"""After a gap a face may be like any of so many last frames of a track, of which every second is looked at: the very
last ones are often half hidden."""

MEMORY = WAIT + COMPARED

STEP, STEP_GROWTH, LARGEST_STEP = 0.55, 0.05, 1.6
"""How far a face may be from where it should be, in unit face squares: after one frame, more for each further one."""

GROWTH, GROWTH_GROWTH, LARGEST_GROWTH = 0.3, 0.02, 0.8
"""The same for the natural logarithm of its size."""

SHAPE, SHAPE_GROWTH, LARGEST_SHAPE = 0.18, 0.02, 0.4
"""The same for the mean distance of its landmarks in the unit square, which turning and speaking change."""

LOOK, LOOK_AFTER_GAP, LOOK_IN_PLACE = 0.4, 0.085, 0.125
"""The same for its colours, 0..1: from frame to frame light may change at once; after a gap people must look alike, and
half so when they are just where they should be. One person differs by 0.01, by 0.07 when half hidden; others by 0.1."""

IN_PLACE = (0.5, 0.2, 0.05)
"""Place, size and shape up to which a face is just where it should be."""

IMPOSSIBLE = 1e6
LOOK_SIDE = 6
SAMPLED = 24
"""Side of the crop that the colours are averaged from; even and larger than LOOK_SIDE."""

Points = NDArray[np.float64]
Look = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Sight:
    """One face in one frame, as the tracker sees it.

    landmarks: (68, 2) float64 in frame pixels, as found. look: (6, 6, 3) uint8 from `look_of`, None where unknown.
    """

    landmarks: Points
    look: Look | None = None


@dataclass(frozen=True, eq=False)
class _Seen:
    """A sight that belongs to a track. centre: complex, frame pixels; side: of the unit face square in pixels."""

    index: int
    centre: complex
    side: float
    shape: NDArray[np.complex128]
    look: Look | None


class Tracker:
    """Gives faces their track ids, frame after frame. Ids count up from `next_id` and are never used again."""

    def __init__(self, *, next_id: int = 1) -> None:
        self.next_id = next_id
        self._tracks: dict[int, deque[_Seen]] = {}

    def follow(self, index: int, faces: Sequence[Sight], *, new_shot: bool = False) -> list[int]:
        """The track id of each face of frame `index`; indices must ascend. new_shot: this frame begins a shot."""
        self._forget(index, everything=new_shot)
        now = [_seen(index, face) for face in faces]
        ids = self._linked(now)
        for track, seen in zip(ids, now, strict=True):
            self._tracks.setdefault(track, deque()).append(seen)
        return ids

    def remember(self, index: int, faces: Iterable[tuple[int, Sight]], *, new_shot: bool = False) -> None:
        """Take a frame whose ids are known already, such as those of an earlier run."""
        self._forget(index, everything=new_shot)
        for track, face in faces:
            self._tracks.setdefault(track, deque()).append(_seen(index, face))
            self.next_id = max(self.next_id, track + 1)

    def last_seen(self) -> dict[int, int]:
        """The last frame of each track that is still waited for."""
        return {track: seen[-1].index for track, seen in self._tracks.items()}

    def _forget(self, index: int, *, everything: bool) -> None:
        if everything:
            self._tracks.clear()
        for track, seen in list(self._tracks.items()):
            while seen and index - seen[0].index > MEMORY:
                seen.popleft()
            if not seen or index - seen[-1].index > WAIT:
                del self._tracks[track]

    def _linked(self, now: Sequence[_Seen]) -> list[int]:
        tracks = list(self._tracks)
        ids: dict[int, int] = {}
        if tracks and now:
            from scipy import optimize  # takes half a second to load, and most who need this module need no assignment

            costs = _costs([self._tracks[track] for track in tracks], now)
            for row, column in zip(*optimize.linear_sum_assignment(costs), strict=True):  # type: ignore[attr-defined]
                if costs[row, column] < IMPOSSIBLE:
                    ids[int(row)] = tracks[int(column)]
        return [ids[number] if number in ids else self._new() for number in range(len(now))]

    def _new(self) -> int:
        self.next_id += 1
        return self.next_id - 1


def look_of(rgb8: NDArray[np.uint8], landmarks: Points) -> Look | None:
    """The colours of an upright face, coarsely: (6, 6, 3) uint8, from the frame (H, W, 3). 0.1 ms.

    None when the landmarks span no face.
    """
    try:
        matrix = transform(landmarks, SAMPLED, FaceType.HALF)
    except ValueError:
        return None
    small = cv2.warpAffine(rgb8, matrix, (SAMPLED, SAMPLED), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(small, (LOOK_SIDE, LOOK_SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def is_same_face(one: Points, other: Points) -> bool:
    """Whether two sets of landmarks (68, 2) of one frame lie on one face."""
    first, second = _seen(0, Sight(one)), _seen(0, Sight(other))
    side = math.sqrt(first.side * second.side)
    return float(np.linalg.norm(one[ALIGNED_BY] - other[ALIGNED_BY], axis=1).mean()) < SAME_FACE * side


SAME_FACE = 0.25
"""Mean distance of landmarks on one face found twice, in unit face squares; eyes are 0.45 apart."""


def _seen(index: int, face: Sight) -> _Seen:
    points = face.landmarks[:, 0] + 1j * face.landmarks[:, 1]
    used = points[ALIGNED_BY]
    mean = used.mean()
    scale = ((used - mean) @ np.conj(_TEMPLATE)) / _SPREAD
    side = max(1e-3, abs(scale))
    return _Seen(index, complex(mean), side, (used - mean) / (scale if abs(scale) > 1e-3 else 1e-3), face.look)


def _costs(tracks: Sequence[Sequence[_Seen]], faces: Sequence[_Seen]) -> NDArray[np.float64]:
    """How unlikely it is that each face (row) continues each track (column); looks closer only where one is near."""
    index = faces[0].index
    expected = np.array([_expected(track, index) for track in tracks])
    reach = np.array([_limit(index - track[-1].index, STEP, STEP_GROWTH, LARGEST_STEP) for track in tracks])
    usual = np.sqrt(np.outer([face.side for face in faces], [track[-1].side for track in tracks]))
    apart = np.abs(np.array([face.centre for face in faces])[:, None] - expected) / usual
    costs = np.full(apart.shape, IMPOSSIBLE)
    for row, column in zip(*np.nonzero(apart <= reach), strict=True):
        costs[row, column] = _cost(tracks[column], faces[row], float(apart[row, column]))
    return costs


def _cost(track: Sequence[_Seen], face: _Seen, apart: float) -> float:
    """How unlikely it is that `face`, `apart` sides from where it should be, continues a track: IMPOSSIBLE beyond any
    limit, below 1 for a usual step.
    """
    last = track[-1]
    waited = face.index - last.index
    known = [last] if waited == 1 else list(track)[-COMPARED::COMPARED_EACH]
    place = (
        apart,
        min(_growth(seen, face) for seen in known),
        min(_reshaping(seen, face) for seen in known),
    )
    limits = (
        _limit(waited, STEP, STEP_GROWTH, LARGEST_STEP),
        _limit(waited, GROWTH, GROWTH_GROWTH, LARGEST_GROWTH),
        _limit(waited, SHAPE, SHAPE_GROWTH, LARGEST_SHAPE),
    )
    if any(value > limit for value, limit in zip(place, limits, strict=True)):
        return IMPOSSIBLE
    look = min(_difference(seen.look, face.look) for seen in known)
    is_in_place = all(value <= limit for value, limit in zip(place, IN_PLACE, strict=True))
    look_limit = LOOK if waited == 1 else LOOK_IN_PLACE if is_in_place else LOOK_AFTER_GAP
    if look > look_limit:
        return IMPOSSIBLE
    # what was seen just now is more likely than what was waited for
    return 0.01 * waited + sum(value / limit for value, limit in zip(place, limits, strict=True)) + look / look_limit


def _limit(waited: int, first: float, growth: float, largest: float) -> float:
    return min(largest, first + growth * (waited - 1))


def _growth(one: _Seen, other: _Seen) -> float:
    return abs(math.log(other.side / one.side))


def _reshaping(one: _Seen, other: _Seen) -> float:
    return float(np.abs(other.shape - one.shape).mean())


def _expected(track: Sequence[_Seen], index: int) -> complex:
    """Where a track should be in frame `index` when it goes on as in its last frames; waiting slows it down."""
    last = track[-1]
    recent = [seen for seen in track if last.index - seen.index < MOTION_FRAMES]
    if len(recent) < 2:
        return last.centre
    times = np.array([seen.index - last.index for seen in recent], np.float64)
    centred = times - times.mean()
    places = np.array([seen.centre for seen in recent])
    speed = complex(centred @ places / (centred @ centred))
    waited = index - last.index
    return last.centre + speed * _SLOWED * (1 - math.exp(-waited / _SLOWED))


_SLOWED = 25.0
_TEMPLATE = TEMPLATE_33[:, 0].astype(np.float64) + 1j * TEMPLATE_33[:, 1].astype(np.float64)
_TEMPLATE -= _TEMPLATE.mean()
_SPREAD = float(np.square(np.abs(_TEMPLATE)).sum())


def _difference(one: Look | None, other: Look | None) -> float:
    """How much two looks differ, 0..1: in colour in the more alike half of their parts, and half as much in light."""
    if one is None or other is None:
        return 0.0
    apart = (one.astype(np.float64) - other) / 255
    light = float(np.median(apart))
    parts = np.sort(np.abs(apart - light).mean(axis=2), axis=None)
    return float(parts[: parts.size // 2].mean() * 2 + abs(light) / 2)
