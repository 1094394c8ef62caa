"""Who is who, from looks, tracks and frames alone: made vectors whose people are known."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest

from understudy.curation.person_names import stable_names
from understudy.curation.persons import group_faces, representatives
from understudy.curation.runs import Sighting, find_runs
from understudy.records import Rect

DIMENSIONS = 64


class Cast:
    """People with looks, seen in frames."""

    def __init__(self, people: int, *, seed: int = 0, likeness: float = 0.0) -> None:
        self.random = np.random.default_rng(seed)
        shared = self.random.normal(size=DIMENSIONS) * likeness
        self.people = self.random.normal(size=(people, DIMENSIONS)) + shared
        self.sightings: list[Sighting] = []
        self.looks: list[np.ndarray] = []
        self.truth: list[int] = []

    def seen(self, who: int, frame: int, *, noise: float = 0.25, **known: object) -> None:
        """One face of a person in a frame."""
        look = self.people[who] + self.random.normal(size=DIMENSIONS) * noise
        self.looks.append(look / np.linalg.norm(look))
        self.sightings.append(Sighting(f"{frame:05d}", frame, **known))  # type: ignore[arg-type]
        self.truth.append(who)

    def grouped(self, **options: float) -> list[int]:
        return group_faces(self.sightings, np.array(self.looks, np.float32), **options).tolist()

    def purity(self, labels: list[int]) -> float:
        return sum(Counter(pairs).most_common(1)[0][1] for pairs in self._by(labels, self.truth)) / len(labels)

    def completeness(self, labels: list[int]) -> float:
        return sum(Counter(pairs).most_common(1)[0][1] for pairs in self._by(self.truth, labels)) / len(labels)

    def _by(self, first: list[int], second: list[int]) -> list[list[int]]:
        return [[b for a, b in zip(first, second, strict=True) if a == value] for value in sorted(set(first))]


def box(x: float) -> Rect:
    return Rect(x, 100, x + 100, 200)


def test_three_people_through_tracks_make_three_groups_the_largest_first() -> None:
    cast = Cast(3)
    for track, (who, start, count) in enumerate([(0, 0, 30), (1, 0, 50), (0, 100, 40), (2, 60, 20), (1, 200, 40)]):
        for frame in range(start, start + count):
            cast.seen(who, frame, track=track)
    labels = cast.grouped()
    assert (cast.purity(labels), cast.completeness(labels)) == (1, 1)
    assert [labels[cast.truth.index(who)] for who in (1, 0, 2)] == [0, 1, 2]


def test_without_tracks_overlapping_boxes_make_runs() -> None:
    cast = Cast(2)
    for frame in range(40):
        cast.seen(0, frame, rect=box(100 + frame))
        cast.seen(1, frame, rect=box(600 - frame))
    runs = find_runs(cast.sightings, np.array(cast.looks, np.float32))
    assert sorted(len(run) for run in runs) == [40, 40]
    assert cast.purity(cast.grouped()) == 1


def test_two_in_one_frame_are_two_people_however_alike_they_look() -> None:
    cast = Cast(1)
    for frame in range(20):
        cast.seen(0, frame, track=1, noise=0.02)
        cast.seen(0, frame, track=2, noise=0.02)
    labels = cast.grouped()
    assert sorted(Counter(labels).values()) == [20, 20]
    assert all(labels[number] != labels[number + 1] for number in range(0, 40, 2))


def test_one_face_found_twice_in_a_frame_forbids_nothing() -> None:
    cast = Cast(1)
    for frame in range(12):
        cast.seen(0, frame, track=1, rect=box(100))
        cast.seen(0, frame, track=2, rect=box(108))
    assert set(cast.grouped()) == {0}


def test_a_track_that_changes_over_to_another_person_is_cut_there() -> None:
    cast = Cast(2)
    for frame in range(60):
        cast.seen(0 if frame < 33 else 1, frame, track=7)
    labels = cast.grouped()
    assert (cast.purity(labels), cast.completeness(labels)) == (1, 1)


def test_a_track_number_used_again_much_later_is_another_track() -> None:
    cast = Cast(2)
    for frame in range(10):
        cast.seen(0, frame, track=1)
        cast.seen(1, 5000 + frame, track=1)
    runs = find_runs(cast.sightings, np.array(cast.looks, np.float32))
    assert sorted(len(run) for run in runs) == [10, 10]


def test_a_few_half_hidden_faces_join_the_rest_of_their_track() -> None:
    cast = Cast(2, likeness=1.2)
    for frame in range(40):
        hidden = 20 <= frame < 23
        cast.seen(0, frame, track=1, noise=1.1 if hidden else 0.2)
    for frame in range(40):
        cast.seen(1, 100 + frame, track=2, noise=0.2)
    labels = cast.grouped()
    assert set(labels[:40]) == {labels[0]}
    assert cast.purity(labels) == 1


def test_what_the_user_said_outweighs_looks() -> None:
    cast = Cast(1)
    for frame in range(20):
        cast.seen(0, frame, track=1, given="Anna" if frame < 10 else None)
        cast.seen(0, 100 + frame, track=2, given="Berta" if frame < 10 else None)
    labels = cast.grouped()
    assert len(set(labels)) == 2
    assert set(labels[::2]) != set(labels[1::2])


def test_faces_named_alike_share_a_group_however_different_they_look() -> None:
    cast = Cast(4)
    for track in range(4):
        for frame in range(10):
            cast.seen(track, 100 * track + frame, track=track, given="Anna")
    assert set(cast.grouped()) == {0}


def test_stills_are_people_of_their_own() -> None:
    cast = Cast(6)
    for who in range(6):
        for _ in range(2):
            cast.seen(who, 0)
            cast.sightings[-1] = Sighting(f"still-{len(cast.looks)}")
    labels = cast.grouped()
    assert (cast.purity(labels), cast.completeness(labels)) == (1, 1)


def test_nobody_makes_no_group() -> None:
    assert len(group_faces([], np.zeros((0, DIMENSIONS), np.float32))) == 0


def test_order_of_the_faces_does_not_matter() -> None:
    cast = Cast(4, seed=3)
    for track in range(12):
        for frame in range(15):
            cast.seen(track % 4, 50 * track + frame, track=track)
    labels = cast.grouped()
    order = np.random.default_rng(1).permutation(len(labels))
    again = group_faces([cast.sightings[i] for i in order], np.array(cast.looks, np.float32)[order])
    pairs = {(labels[i], int(label)) for i, label in zip(order, again, strict=True)}
    assert len(pairs) == len(set(labels))


@pytest.mark.parametrize(("run", "tracks"), [(100, True), (1, False)])
def test_ten_thousand_faces_take_seconds(run: int, tracks: bool) -> None:
    cast = Cast(30)
    for number in range(10_000):
        cast.seen(number // run % 30, number, track=number // run if tracks else None)
        if not tracks:
            cast.sightings[-1] = Sighting(f"still-{number}")
    started = time.process_time()
    labels = cast.grouped()
    assert time.process_time() - started < 20
    assert cast.purity(labels) > 0.99
    assert len(set(labels)) < 60


def test_names_stay_with_most_of_their_faces() -> None:
    labels = [0, 0, 0, 1, 1, 2, 2]
    before = ["person-2", "person-2", "Anna", "person-1", None, None, None]
    assert stable_names(labels, before, [None] * 7) == ["person-2", "person-1", "person-3"]


def test_given_names_come_first() -> None:
    labels = [0, 0, 0, 1, 1]
    before = ["Anna", "Anna", "Anna", "Anna", None]
    given = [None, None, None, "Anna", None]
    assert stable_names(labels, before, given) == ["person-1", "Anna"]


def test_names_that_differ_in_case_only_are_not_used_twice() -> None:
    assert stable_names([0, 1], ["Person-1", None], [None, None]) == ["Person-1", "person-2"]


def test_representatives_are_good_and_different() -> None:
    random = np.random.default_rng(0)
    poses = np.repeat(np.eye(4, 16), 25, axis=0) + random.normal(0, 0.01, (100, 16))
    looks = (poses / np.linalg.norm(poses, axis=1, keepdims=True)).astype(np.float32)
    quality = random.random(100).astype(np.float32)
    chosen = representatives(looks, quality, 4)
    assert chosen[0] == int(quality.argmax())
    assert sorted(number // 25 for number in chosen) == [0, 1, 2, 3]
    assert representatives(looks[:0], quality[:0], 4) == []
