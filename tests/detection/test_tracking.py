"""Tracks: who is who through a shot, also where people pass each other, and the same after a stop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.detection.tracking import (
    LOOK_SIDE,
    MEMORY,
    SAMPLED,
    WAIT,
    Look,
    Sight,
    Tracker,
    is_same_face,
    look_of,
)
from understudy.geometry.alignment import TEMPLATE_51

Points = NDArray[np.float64]

FACE = np.concatenate([np.zeros((17, 2)), TEMPLATE_51.astype(np.float64) - 0.5])


def person(seed: int) -> Look:
    """The colours of one face."""
    return np.random.default_rng(seed).integers(60, 200, (LOOK_SIDE, LOOK_SIDE, 3)).astype(np.uint8)


ANNA, BEN = person(1), person(2)


def sight(x: float, y: float = 200, *, side: float = 100, look: Look | None = None, seed: int | None = None) -> Sight:
    """A face; with a seed its landmarks tremble."""
    noise = 0 if seed is None else np.random.default_rng(seed).normal(0, 0.01 * side, (68, 2))
    return Sight(FACE * side + (x, y) + noise, look)


def followed(tracker: Tracker, frames: Sequence[Sequence[Sight]]) -> list[list[int]]:
    return [tracker.follow(index, faces) for index, faces in enumerate(frames)]


def test_people_keep_their_ids_whatever_the_order_in_which_they_are_found() -> None:
    frames = []
    for index in range(40):
        faces = [sight(100 + 2 * index, seed=index), sight(600, side=80, seed=100 + index)]
        frames.append(faces if index % 3 else faces[::-1])
    ids = followed(Tracker(), frames)
    assert all(found == ([1, 2] if index % 3 else [2, 1]) for index, found in enumerate(ids)) or all(
        found == ([2, 1] if index % 3 else [1, 2]) for index, found in enumerate(ids)
    )


@pytest.mark.parametrize("hidden", [0, 5, 20])
@pytest.mark.parametrize("speed", [4, 12])
def test_people_who_cross_do_not_swap(speed: int, hidden: int) -> None:
    """One behind the other: the one behind is not seen while they overlap, and `hidden` frames more."""
    tracker, seen = Tracker(), {"anna": set(), "ben": set()}  # type: ignore[var-annotated]
    for index in range(900 // speed):
        anna, ben = 100 + speed * index, 1000 - speed * index
        behind = abs(anna - ben) > 100 + speed * hidden
        faces = [sight(anna, look=ANNA), *([sight(ben, side=90, look=BEN)] if behind else [])]
        ids = tracker.follow(index, faces)
        seen["anna"].add(ids[0])
        seen["ben"] |= set(ids[1:])
    assert seen == {"anna": {1}, "ben": {2}}


@pytest.mark.parametrize(("gap", "is_same"), [(1, True), (20, True), (WAIT - 1, True), (WAIT + 1, False)])
def test_a_hidden_face_is_waited_for_but_not_forever(gap: int, is_same: bool) -> None:
    tracker = Tracker()
    for index in range(10):
        assert tracker.follow(index, [sight(300, look=ANNA)]) == [1]
    for index in range(10, 10 + gap):
        assert tracker.follow(index, []) == []
    assert tracker.follow(10 + gap, [sight(310, look=ANNA)]) == [1 if is_same else 2]


def test_somebody_else_who_comes_after_a_gap_is_somebody_else() -> None:
    tracker = Tracker()
    for index in range(10):
        tracker.follow(index, [sight(300, look=ANNA)])
    assert tracker.follow(20, [sight(330, side=110, look=BEN)]) == [2]
    assert tracker.follow(21, [sight(330, side=110, look=BEN), sight(300, look=ANNA)])[0] == 2


def test_light_that_changes_at_once_is_no_change_of_person() -> None:
    tracker = Tracker()
    bright = np.clip(ANNA.astype(int) + 50, 0, 255).astype(np.uint8)
    ids = [tracker.follow(index, [sight(300, look=bright if index % 2 else ANNA)]) for index in range(10)]
    assert ids == [[1]] * 10


@pytest.mark.parametrize(("x", "side"), [(420, 100), (300, 150)])
def test_a_jump_that_no_person_makes_begins_a_new_track(x: float, side: float) -> None:
    tracker = Tracker()
    for index in range(5):
        tracker.follow(index, [sight(300)])
    assert tracker.follow(5, [sight(x, side=side)]) == [2]


def test_a_cut_ends_every_track_and_ids_are_never_used_again() -> None:
    tracker = Tracker(next_id=7)
    assert tracker.follow(0, [sight(300), sight(700)]) == [7, 8]
    assert tracker.follow(1, [sight(300), sight(700)], new_shot=True) == [9, 10]
    assert tracker.follow(2, [], new_shot=True) == []
    assert tracker.follow(3, [sight(300)]) == [11]


def performance(frames: int) -> list[list[Sight]]:
    """Two people who move, vanish and come back, and passers-by."""
    random = np.random.default_rng(4)
    made = []
    for index in range(frames):
        faces = []
        if index % 60 < 45:
            faces.append(sight(300 + 80 * np.sin(index / 20), look=ANNA, seed=index))
        if index % 35 > 6:
            faces.append(sight(700 + 3 * (index % 35), side=80, look=BEN, seed=1000 + index))
        if random.random() < 0.1:
            faces.append(sight(1200 + 300 * random.random(), side=40, seed=2000 + index))
        made.append(faces)
    return made


@pytest.mark.parametrize("stop", [1, 40, 90, 130, 199])
def test_a_tracker_that_is_given_the_last_frames_decides_as_one_that_saw_all(stop: int) -> None:
    frames = performance(200)
    whole = Tracker()
    ids = [whole.follow(index, faces, new_shot=index == 101) for index, faces in enumerate(frames)]
    used = [track for found in ids[:stop] for track in found]
    resumed = Tracker(next_id=1 + max(used, default=0))
    for index in range(max(0, stop - MEMORY), stop):
        resumed.remember(index, zip(ids[index], frames[index], strict=True), new_shot=index == 101)
    rest = [resumed.follow(index, frames[index], new_shot=index == 101) for index in range(stop, 200)]
    assert rest == ids[stop:]
    assert resumed.next_id == whole.next_id


def test_memory_does_not_grow() -> None:
    tracker = Tracker()
    for index in range(600):
        tracker.follow(index, [sight(300, seed=index), sight(900 + 150 * (index % 7))])
    assert len(tracker._tracks) <= 2 * WAIT
    assert all(len(seen) <= MEMORY + 1 for seen in tracker._tracks.values())


def test_faces_without_extent_or_colours_do_no_harm() -> None:
    tracker = Tracker()
    for index in range(3):
        assert len(tracker.follow(index, [Sight(np.zeros((68, 2))), sight(300)])) == 2


def test_the_look_of_a_face_does_not_depend_on_where_and_how_large_it_is() -> None:
    random = np.random.default_rng(2)
    small = random.integers(0, 255, (6, 6, 3)).astype(np.uint8)
    looks = []
    for side, x, y in ((120, 0, 0), (240, 90, 40)):
        frame = np.full((400, 500, 3), 90, np.uint8)
        frame[y : y + side, x : x + side] = small.repeat(side // 6, axis=0).repeat(side // 6, axis=1)
        look = look_of(frame, (FACE + 0.5) * side + (x, y))
        assert look is not None
        looks.append(look.astype(int))
    assert looks[0].shape == (LOOK_SIDE, LOOK_SIDE, 3)
    assert np.abs(looks[0] - looks[1]).mean() < 6
    assert SAMPLED % LOOK_SIDE == 0


def test_landmarks_in_one_point_have_no_look() -> None:
    assert look_of(np.zeros((50, 50, 3), np.uint8), np.zeros((68, 2))) is None


def test_landmarks_on_one_face_are_told_from_those_of_neighbours() -> None:
    one = sight(300).landmarks
    assert is_same_face(one, sight(310, side=110).landmarks)
    assert not is_same_face(one, sight(380).landmarks)
    assert not is_same_face(one, sight(300, side=30).landmarks)
