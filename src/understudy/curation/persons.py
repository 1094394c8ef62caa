"""Who is who in a faceset: faces grouped by tracks and appearance, under what is certain of them.

    faces → runs (one face followed through frames) → looks of runs → merged while alike → groups

Certain is that two faces of one frame are two people, and that what the user named stays together. A run is a track of
the extraction, or where there is none, faces of following frames that overlap; it is cut where the look jumps, since a
track may change over to somebody who passes in front. Runs are merged by the likeness of their mean looks, the most
alike first (centroid linkage), as long as it is above the threshold and nobody would be twice in one frame. Runs that
were too short to be judged, mostly half-hidden faces, then join the group that the rest of their track is in, or the
most alike one.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from understudy.geometry.boxes import overlap
from understudy.records import Rect

Looks = npt.NDArray[np.float32]

THRESHOLD = 0.84
"""Two runs whose mean looks (`appearance.describe`) are at least so alike are one person.

Rather too high: two groups of one person are put together in a moment, two people in one group are not told apart so
quickly. What it gives on real footage is in docs/guide/persons.md.
"""

CUT_BELOW = 0.72
"""A run is cut where the mean looks before and after are less alike than this."""

CUT_WINDOW = 6
JUDGED_FROM = 5
"""Shorter runs do not found groups beside longer ones that they can join."""

JOINS_OWN_TRACK, JOINS_ANY = 0.25, 0.12
"""How far below the threshold a short run may be to join the rest of its track, or any group."""

LONGEST_GAP = 60
"""Frames after which a track number is taken for another track: numbers may repeat where clips were put together."""

OVERLAP = 0.4
"""Faces of following frames whose boxes share so much of their union are one run, where there are no tracks."""

LINK_GAP = 3
LINK_LIKENESS = 0.55
SAME_FACE_OVERLAP = 0.6
"""Two boxes in one frame that share more than this are one face found twice, and forbid nothing."""

MOST_RUNS, LARGEST_TABLE = 3000, 12_000
"""Where there are more runs, what is all but identical is put together first. Every pair of at most so many is then
compared, in 0.6 GB; beyond that, thousands of faces that nothing connects, the first pass has to do."""

DENSE_LIKENESS = 0.92
BLOCK = 512
LARGEST_WEIGHT = 200


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


def group_faces(sightings: Sequence[Sighting], looks: Looks, *, threshold: float = THRESHOLD) -> npt.NDArray[np.intp]:
    """The group of every face, (N,) numbers from 0, the largest group first.

    looks: (N, D) float32 unit vectors. 10,000 faces take seconds; faces with the same `given` share a group, faces with
    different ones never do.
    """
    if not len(sightings):
        return np.zeros(0, np.intp)
    runs = find_runs(sightings, looks)
    groups = _grouped(sightings, _normal(np.asarray(looks, np.float32)), runs, threshold)
    labels = np.zeros(len(sightings), np.intp)
    ordered = sorted(groups, key=lambda faces: (-len(faces), faces[0]))
    for label, faces in enumerate(ordered):
        labels[faces] = label
    return labels


# -- runs


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
    before = _normal(sums[places] - sums[np.maximum(places - CUT_WINDOW, 0)])
    after = _normal(sums[np.minimum(places + CUT_WINDOW, count)] - sums[places])
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


# -- groups


@dataclass
class _Cluster:
    """Runs taken for one person. sum: of the looks, long runs bounded. forbidden: clusters that are somebody else."""

    faces: list[int]
    sum: npt.NDArray[np.float32]
    given: str | None
    forbidden: set[int] = field(default_factory=set)


def _grouped(sightings: Sequence[Sighting], looks: Looks, runs: list[list[int]], threshold: float) -> list[list[int]]:
    merging = _Merging(sightings, looks, runs)
    merging.join_given()
    long = [number for number in merging.alive() if merging.is_judged(number)]
    short = [number for number in merging.alive() if not merging.is_judged(number)]
    merging.join_alike(long, threshold)
    merging.join_short(short, threshold)
    left = [number for number in short if number in merging.clusters]
    merging.join_alike(left, threshold)
    merging.join_short(left, threshold)
    return [sorted(cluster.faces) for cluster in merging.clusters.values()]


class _Merging:
    """Clusters on their way from runs to people."""

    def __init__(self, sightings: Sequence[Sighting], looks: Looks, runs: list[list[int]]) -> None:
        self.sightings, self.looks = sightings, looks
        self.clusters = {number: self._cluster(run) for number, run in enumerate(runs)}
        self._forbid_frames()

    def alive(self) -> list[int]:
        return list(self.clusters)

    def is_judged(self, number: int) -> bool:
        """Whether there is enough of a run to found a group: faces that stand alone in their frames' order count."""
        cluster = self.clusters[number]
        is_still = all(self.sightings[face].index is None for face in cluster.faces)
        return len(cluster.faces) >= JUDGED_FROM or cluster.given is not None or is_still

    def join_given(self) -> None:
        """Put together what the user named alike, and forbid what he named otherwise."""
        by_name: dict[str, list[int]] = defaultdict(list)
        for number, cluster in self.clusters.items():
            if cluster.given is not None:
                by_name[cluster.given].append(number)
        firsts = [self._join_all(numbers) for numbers in by_name.values()]
        for first in firsts:
            self.clusters[first].forbidden |= set(firsts) - {first}

    def join_alike(self, numbers: Sequence[int], threshold: float) -> None:
        """Merge these clusters, the most alike first, while any two are as alike as the threshold."""
        for enough in (DENSE_LIKENESS, threshold):
            if len(numbers) > MOST_RUNS:
                numbers = self._join_dense(numbers, max(enough, threshold))
        if not 2 <= len(numbers) <= LARGEST_TABLE:
            return
        table = _Likeness(np.array([self.clusters[number].sum for number in numbers]))
        places = {number: place for place, number in enumerate(numbers)}
        for number in numbers:
            table.forbid(
                places[number], (places[other] for other in self.clusters[number].forbidden if other in places)
            )
        while True:
            likeness, a, b = table.best()
            if likeness < threshold:
                return
            self._join(numbers[a], numbers[b])
            first = self.clusters[numbers[a]]
            table.merge(a, b, first.sum, [places[other] for other in first.forbidden if other in places])

    def join_short(self, numbers: Sequence[int], threshold: float) -> None:
        """Let short runs join the judged group they fit best: the rest of their track with less likeness."""
        waiting = set(numbers)
        others = [number for number in self.clusters if number not in waiting]
        if not others or not numbers:
            return
        means = _normal(np.array([self.clusters[number].sum for number in others]))
        tracks = [self._tracks(number) for number in others]
        for number in numbers:
            cluster = self.clusters.get(number)
            if cluster is None:
                continue
            own = self._tracks(number)
            likeness = means @ _normal(cluster.sum[None])[0]
            needed = np.array([threshold - (JOINS_OWN_TRACK if own & there else JOINS_ANY) for there in tracks])
            margin = likeness - needed
            margin[[other in cluster.forbidden or other not in self.clusters for other in others]] = -np.inf
            best = int(margin.argmax())
            if margin[best] >= 0:
                self._join(others[best], number)

    def _tracks(self, number: int) -> set[int]:
        return {track for face in self.clusters[number].faces if (track := self.sightings[face].track) is not None}

    def _join_dense(self, numbers: Sequence[int], likeness: float) -> list[int]:
        """Merge what is very alike in one pass: each joins the first of its kind. Gives those that are left."""
        leaders: list[int] = []
        means = np.zeros((len(numbers), self.looks.shape[1]), np.float32)
        for start in range(0, len(numbers), BLOCK):
            block = numbers[start : start + BLOCK]
            own = _normal(np.array([self.clusters[number].sum for number in block]))
            known = len(leaders)
            alike = np.full((len(block), known + len(block)), -1, np.float32)
            alike[:, :known] = own @ means[:known].T
            among = own @ own.T
            for row, number in enumerate(block):
                forbidden = self.clusters[number].forbidden
                place = _first_allowed(alike[row, : len(leaders)], likeness, leaders, forbidden)
                if place is not None:
                    self._join(leaders[place], number)
                    continue
                alike[:, len(leaders)] = among[:, row]
                means[len(leaders)] = own[row]
                leaders.append(number)
        return leaders

    def _cluster(self, run: list[int]) -> _Cluster:
        given = next((self.sightings[face].given for face in run if self.sightings[face].given is not None), None)
        total = self.looks[run].sum(axis=0)
        return _Cluster(list(run), total * min(1.0, LARGEST_WEIGHT / len(run)), given)

    def _forbid_frames(self) -> None:
        """Clusters that were seen in one frame are different people."""
        owner = {face: number for number, cluster in self.clusters.items() for face in cluster.faces}
        by_frame: dict[str, list[int]] = defaultdict(list)
        for number, sighting in enumerate(self.sightings):
            if sighting.frame is not None:
                by_frame[sighting.frame].append(number)
        for faces in by_frame.values():
            for a, b in itertools.combinations(faces, 2):
                if owner[a] != owner[b] and not self._is_found_twice(a, b):
                    self.clusters[owner[a]].forbidden.add(owner[b])
                    self.clusters[owner[b]].forbidden.add(owner[a])

    def _is_found_twice(self, a: int, b: int) -> bool:
        first, second = self.sightings[a].rect, self.sightings[b].rect
        return first is not None and second is not None and overlap(first, second) > SAME_FACE_OVERLAP

    def _join_all(self, numbers: Sequence[int]) -> int:
        first, *rest = numbers
        for number in rest:
            self._join(first, number)
        return first

    def _join(self, kept: int, gone: int) -> None:
        first, second = self.clusters[kept], self.clusters.pop(gone)
        first.faces += second.faces
        first.sum = first.sum + second.sum
        first.given = first.given or second.given
        first.forbidden = (first.forbidden | second.forbidden) - {kept, gone}
        for other in second.forbidden:
            if other in self.clusters and other != kept:
                self.clusters[other].forbidden.discard(gone)
                self.clusters[other].forbidden.add(kept)


def _first_allowed(
    likeness: npt.NDArray[np.float32], enough: float, leaders: Sequence[int], forbidden: set[int]
) -> int | None:
    """The place of the most alike leader that is alike enough and not forbidden."""
    places = np.flatnonzero(likeness >= enough)
    ordered = places[np.argsort(-likeness[places], kind="stable")].tolist()
    return next((place for place in ordered if leaders[place] not in forbidden), None)


class _Likeness:
    """The cosine of every pair of sums, and for each its most alike partner, kept up to date while pairs merge."""

    def __init__(self, sums: npt.NDArray[np.float32]) -> None:
        means = _normal(sums)
        self._values = means @ means.T
        np.fill_diagonal(self._values, -np.inf)
        self._means = means
        self._partner = self._values.argmax(axis=1)
        self._best = self._values.max(axis=1)

    def forbid(self, place: int, others: Iterable[int]) -> None:
        for other in others:
            self._values[place, other] = self._values[other, place] = -np.inf
        self._refresh([place])

    def best(self) -> tuple[float, int, int]:
        """(likeness, one, other) of the most alike pair."""
        place = int(self._best.argmax())
        return float(self._best[place]), place, int(self._partner[place])

    def merge(self, kept: int, gone: int, total: npt.NDArray[np.float32], forbidden: Sequence[int]) -> None:
        """`kept` becomes the sum of both; `gone` is taken out."""
        is_out = np.isneginf(self._values[kept]) & np.isneginf(self._values[gone])
        self._means[kept] = _normal(total[None])[0]
        row = self._means @ self._means[kept]
        row[is_out] = -np.inf
        row[[*forbidden, kept, gone]] = -np.inf
        self._values[kept] = self._values[:, kept] = row
        self._values[gone] = self._values[:, gone] = -np.inf
        stale = np.flatnonzero((self._partner == kept) | (self._partner == gone))
        better = row > self._best
        self._partner[better], self._best[better] = kept, row[better]
        self._refresh([kept, gone, *stale.tolist()])

    def _refresh(self, places: Sequence[int]) -> None:
        self._partner[places] = self._values[places].argmax(axis=1)
        self._best[places] = self._values[places].max(axis=1)


def _normal(rows: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-9), np.float32)


# -- names


def stable_names(
    labels: Sequence[int], before: Sequence[str | None], given: Sequence[str | None], *, prefix: str = "person-"
) -> list[str]:
    """The name of every group, by label: what the user gave, else the name most of its faces had, else a new number.

    before: the names faces have now. A name goes to the group that holds most of its faces; numbers that are free again
    are used first.
    """
    count = max(labels, default=-1) + 1
    names: list[str | None] = [None] * count
    _hand_out(names, Counter((label, name) for label, name in zip(labels, given, strict=True) if name is not None))
    _hand_out(names, Counter((label, name) for label, name in zip(labels, before, strict=True) if name is not None))
    taken = {name.casefold() for name in names if name is not None}
    free = (f"{prefix}{number}" for number in itertools.count(1) if f"{prefix}{number}".casefold() not in taken)
    return [name if name is not None else next(free) for name in names]


def _hand_out(names: list[str | None], shares: Counter[tuple[int, str]]) -> None:
    taken = {name.casefold() for name in names if name is not None}
    for (label, name), _ in sorted(shares.items(), key=lambda item: (-item[1], item[0])):
        if names[label] is None and name.casefold() not in taken:
            names[label] = name
            taken.add(name.casefold())


def representatives(looks: Looks, quality: npt.NDArray[np.float32], count: int) -> list[int]:
    """Up to `count` faces that show a group: the best, then each time the best of those least like the ones taken.

    looks: (N, D) unit vectors. quality: (N,) larger is better; only its order counts.
    """
    if not len(looks):
        return []
    rank = quality.argsort().argsort() / max(len(quality) - 1, 1)
    chosen = [int(rank.argmax())]
    nearest = looks @ looks[chosen[0]]
    while len(chosen) < min(count, len(looks)):
        worth = (1 - nearest) + 0.3 * rank
        worth[chosen] = -np.inf
        chosen.append(int(worth.argmax()))
        nearest = np.maximum(nearest, looks @ looks[chosen[-1]])
    return chosen
