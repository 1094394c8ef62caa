"""Runs: one face followed through the frames of a faceset.

A run is a track of the extraction, or where there is none, faces of following frames that overlap; it is cut where the
look jumps, since a track may change over to somebody who passes in front.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from understudy.geometry.boxes import overlap
from understudy.records import Rect

Looks = npt.NDArray[np.float32]

CUT_BELOW = 0.72
"""A run is cut where the mean looks before and after are less alike than this."""

CUT_WINDOW = 6

LONGEST_GAP = 60
"""Frames after which a track number is taken for another track: numbers may repeat where clips were put together."""

OVERLAP = 0.4
"""Faces of following frames whose boxes share so much of their union are one run, where there are no tracks."""

LINK_GAP = 3
LINK_LIKENESS = 0.55


@dataclass(frozen=True, eq=False)
class Sighting:
    """One face as grouping sees it.

    frame: the frame it was seen in, None where unknown. index: the frame's number in the footage, None where names say
    none. track: from the extraction. rect: in frame pixels. given: the name of the person that the user is sure of.
    """

    frame: str | None = None
    index: int | None = None
    track: int | None = None
    rect: Rect | None = None
    given: str | None = None


def find_runs(sightings: Sequence[Sighting], looks: Looks) -> list[list[int]]:
    """The faces of each run in order of frames; every face is in one. A run holds a single `given` at most."""
    linked = _tracks_of(sightings) + _overlapping(sightings, looks)
    return [piece for run in linked for piece in _cut(run, sightings, looks)]


def _tracks_of(sightings: Sequence[Sighting]) -> list[list[int]]:
    """Faces of each track; a new one where a frame comes twice or too many frames are missing."""
    tracks: dict[int, list[int]] = defaultdict(list)
    for number, face in enumerate(sightings):
        if face.track is not None:
            tracks[face.track].append(number)
    return [run for faces in tracks.values() for run in _sequences(faces, sightings)]


def _sequences(faces: list[int], sightings: Sequence[Sighting]) -> list[list[int]]:
    """The faces in order of frames, as runs without gaps and without two faces of one frame."""
    runs: list[list[int]] = []
    twice: list[list[int]] = []
    for number in sorted(faces, key=lambda number: (sightings[number].index or 0, sightings[number].frame or "")):
        face, last = sightings[number], sightings[runs[-1][-1]] if runs else None
        if last is not None and face.frame is not None and face.frame == last.frame:
            twice.append([number])
        elif last is None or _gap(last, face) > LONGEST_GAP:
            runs.append([number])
        else:
            runs[-1].append(number)
    return runs + twice


def _gap(before: Sighting, after: Sighting) -> int:
    return 0 if before.index is None or after.index is None else abs(after.index - before.index)


def _overlapping(sightings: Sequence[Sighting], looks: Looks) -> list[list[int]]:
    """Runs of the faces without a track: each continues the run whose last face its box overlaps most."""
    free = [number for number, face in enumerate(sightings) if face.track is None]
    placed = sorted(
        (number for number in free if sightings[number].index is not None and sightings[number].rect is not None),
        key=lambda number: sightings[number].index or 0,
    )
    runs = [[number] for number in sorted(set(free) - set(placed))]
    open_runs: list[list[int]] = []
    for index, group in itertools.groupby(placed, key=lambda number: sightings[number].index):
        assert index is not None
        open_runs = [run for run in open_runs if index - (sightings[run[-1]].index or 0) <= LINK_GAP]
        now = list(group)
        new = [[number] for number in _continue(open_runs, now, sightings, looks)]
        open_runs += new
        runs += new
    return runs


def _continue(open_runs: list[list[int]], now: list[int], sightings: Sequence[Sighting], looks: Looks) -> list[int]:
    """Append the faces of one frame to the runs they overlap most, each to one; gives the faces that are left over."""
    ends = [run[-1] for run in open_runs]
    shares = [(_likely(sightings, looks, end, face), place, face) for place, end in enumerate(ends) for face in now]
    left, waiting = set(now), set(range(len(ends)))
    for share, place, face in sorted(shares, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if share >= OVERLAP and place in waiting and face in left:
            open_runs[place].append(face)
            waiting.discard(place)
            left.discard(face)
    return sorted(left)


def _likely(sightings: Sequence[Sighting], looks: Looks, before: int, after: int) -> float:
    """The overlap of two boxes; 0 for faces that do not look alike."""
    first, second = sightings[before].rect, sightings[after].rect
    if first is None or second is None or float(looks[before] @ looks[after]) < LINK_LIKENESS:
        return 0.0
    return overlap(first, second)


def _cut(run: list[int], sightings: Sequence[Sighting], looks: Looks) -> list[list[int]]:
    """The run in pieces: cut where the look jumps, then divided where the user named two people in one piece."""
    pieces = []
    start = 0
    for end in [*_jumps(looks[run]), len(run)]:
        pieces.append(run[start:end])
        start = end
    return [part for piece in pieces for part in _by_given(piece, sightings)]


def _jumps(looks: Looks) -> list[int]:
    """Places before which and after which a run looks different: local minima of the likeness of both sides."""
    count = len(looks)
    if count < 2:
        return []
    sums = np.vstack([np.zeros((1, looks.shape[1]), np.float64), np.cumsum(looks, axis=0, dtype=np.float64)])
    places = np.arange(1, count)
    before = unit(sums[places] - sums[np.maximum(places - CUT_WINDOW, 0)])
    after = unit(sums[np.minimum(places + CUT_WINDOW, count)] - sums[places])
    likeness = np.einsum("nd,nd->n", before, after)
    found = []
    for place in np.flatnonzero(likeness < CUT_BELOW):
        around = likeness[max(0, place - CUT_WINDOW + 1) : place + CUT_WINDOW]
        if likeness[place] <= around.min():
            found.append(int(places[place]))
    return found


def _by_given(piece: list[int], sightings: Sequence[Sighting]) -> list[list[int]]:
    names = Counter(given for number in piece if (given := sightings[number].given) is not None)
    if len(names) < 2:
        return [piece]
    most = names.most_common(1)[0][0]
    parts: dict[str, list[int]] = defaultdict(list)
    for number in piece:
        parts[sightings[number].given or most].append(number)
    return list(parts.values())


def unit(rows: npt.NDArray[np.floating]) -> Looks:
    """The rows, each of length 1; rows of zeros stay zeros."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-9), np.float32)
