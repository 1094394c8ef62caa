"""Who is who in a faceset: faces grouped by tracks and appearance, under what is certain of them.

    faces → runs (one face followed through frames) → looks of runs → merged while alike → groups

Certain is that two faces of one frame are two people, and that what the user named stays together. Runs (`runs`) are
merged by the likeness of their mean looks, the most alike first (centroid linkage), as long as it is above the
threshold and nobody would be twice in one frame. Runs that were too short to be judged, mostly half-hidden faces, then
join the group that the rest of their track is in, or the most alike one.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from understudy.curation.runs import Looks, Sighting, find_runs, unit
from understudy.geometry.boxes import overlap

THRESHOLD = 0.84
"""Two runs whose mean looks (`appearance.describe`) are at least so alike are one person.

Rather too high: two groups of one person are put together in a moment, two people in one group are not told apart so
quickly. What it gives on real footage is in docs/guide/persons.md.
"""

JUDGED_FROM = 5
"""Shorter runs do not found groups beside longer ones that they can join."""

JOINS_OWN_TRACK, JOINS_ANY = 0.25, 0.12
"""How far below the threshold a short run may be to join the rest of its track, or any group."""

SAME_FACE_OVERLAP = 0.6
"""Two boxes in one frame that share more than this are one face found twice, and forbid nothing."""

MOST_RUNS, LARGEST_TABLE = 3000, 12_000
"""Where there are more runs, what is all but identical is put together first. Every pair of at most so many is then
compared, in 0.6 GB; beyond that, thousands of faces that nothing connects, the first pass has to do."""

DENSE_LIKENESS = 0.92
BLOCK = 512
LARGEST_WEIGHT = 200


def group_faces(sightings: Sequence[Sighting], looks: Looks, *, threshold: float = THRESHOLD) -> npt.NDArray[np.intp]:
    """The group of every face, (N,) numbers from 0, the largest group first.

    looks: (N, D) float32 unit vectors. 10,000 faces take seconds; faces with the same `given` share a group, faces with
    different ones never do.
    """
    if not len(sightings):
        return np.zeros(0, np.intp)
    runs = find_runs(sightings, looks)
    groups = _grouped(sightings, unit(np.asarray(looks, np.float32)), runs, threshold)
    labels = np.zeros(len(sightings), np.intp)
    ordered = sorted(groups, key=lambda faces: (-len(faces), faces[0]))
    for label, faces in enumerate(ordered):
        labels[faces] = label
    return labels


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
        means = unit(np.array([self.clusters[number].sum for number in others]))
        tracks = [self._tracks(number) for number in others]
        for number in numbers:
            cluster = self.clusters.get(number)
            if cluster is None:
                continue
            own = self._tracks(number)
            likeness = means @ unit(cluster.sum[None])[0]
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
            own = unit(np.array([self.clusters[number].sum for number in block]))
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
        means = unit(sums)
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
        self._means[kept] = unit(total[None])[0]
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
