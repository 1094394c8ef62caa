"""Held-out faces: stretches of neighbouring frames that no training face lies next to, as long as the model lives."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from understudy.training.faces.hold_out import GUARD, LEAST, MOST, RUN, Split, Stretches, held_out_split, place_of


@dataclass(frozen=True)
class Named:
    name: str
    frame: str | None = None
    person: str | None = None


def clip(count: int, prefix: str = "", start: int = 1, person: str | None = None) -> list[Named]:
    return [Named(f"{prefix}{n:05d}_0.jpg", f"{prefix}{n:05d}", person) for n in range(start, start + count)]


def numbers(faces: list[Named]) -> list[int]:
    return sorted(place_of(face)[1].number for face in faces)


def distance(split: Split[Named]) -> int:
    """Frames between the nearest two faces of both sides."""
    training, held_out = (np.array(numbers(side)) for side in (split.training, split.held_out))
    after = np.searchsorted(training, held_out).clip(1, len(training) - 1)
    return int(np.minimum(abs(training[after] - held_out), abs(training[after - 1] - held_out)).min())


@pytest.mark.parametrize(("count", "share", "held"), [(5, 0.4, 2), (50, 0.2, 10), (200, 0.25, 50), (200, 0.05, LEAST)])
def test_short_clips_hold_out_their_end(count: int, share: float, held: int) -> None:
    split = held_out_split(clip(count), share)
    assert numbers(split.held_out) == list(range(count - held + 1, count + 1))
    assert len(split.training) + len(split.guarded) + held == count


@pytest.mark.parametrize(("count", "share"), [(39, 0.05), (500, 0.0), (1, 0.5), (0, 0.5)])
def test_too_few_faces_hold_none_out(count: int, share: float) -> None:
    split = held_out_split(clip(count), share)
    assert len(split.training) == count
    assert not split.held_out
    assert not split.stretches.stretches


@pytest.mark.parametrize(("count", "share"), [(128, 0.05), (2000, 0.05), (2000, 0.5), (12000, 0.05), (300, 0.1)])
def test_no_training_face_lies_next_to_a_held_out_one(count: int, share: float) -> None:
    split = held_out_split(clip(count), share)
    assert distance(split) > min(GUARD, len(split.held_out) // 4)
    assert len(split.held_out) <= MOST
    assert {*split.training, *split.held_out, *split.guarded} == set(clip(count))


def test_long_clips_hold_out_pieces_all_over_and_a_run_at_their_end() -> None:
    split = held_out_split(clip(4000), 0.05)
    assert len(split.held_out) == 200
    assert len(split.runs) > 4
    assert len(split.runs[-1]) == RUN
    assert numbers(split.runs[-1])[-1] == 4000
    middles = [numbers(run)[0] / 4000 for run in split.runs]
    assert all(0.05 < after - before < 0.3 for before, after in pairwise(middles))


def test_a_face_stays_on_its_side_when_others_come_and_go() -> None:
    before = held_out_split(clip(300), 0.1)
    known = Stretches.from_json(json.loads(json.dumps(before.stretches.as_json())))
    grown = [*clip(900), *clip(50, "take2_")]
    after = held_out_split(grown[7:], 0.1, known=known, iteration=500)
    assert set(before.held_out) - set(grown[:7]) <= set(after.held_out)
    assert not set(before.training) & set(after.held_out)
    assert not set(before.held_out) & set(after.training)
    assert after.stretches == before.stretches
    new_faces_among_held_out = [Named("new_1.jpg", "00299")]
    assert held_out_split([*grown, *new_faces_among_held_out], 0.1, known=known).held_out[-1].name == "new_1.jpg"


def test_another_share_is_decided_anew_and_remembers_that_the_model_knew_them() -> None:
    before = held_out_split(clip(300), 0.1)
    after = held_out_split(clip(300), 0.2, known=before.stretches, iteration=700)
    assert len(after.held_out) == 60
    assert after.stretches.since == 700
    assert before.stretches.since == 0


def test_a_faceset_that_was_too_small_holds_out_when_it_has_grown() -> None:
    before = held_out_split(clip(10), 0.05)
    after = held_out_split(clip(400), 0.05, known=before.stretches, iteration=90)
    assert len(after.held_out) == 20
    assert after.stretches.since == 90


def test_every_clip_and_person_gives_its_share() -> None:
    faces = [*clip(200, "a_"), *clip(400, "b_"), *clip(200, person="anna")]
    split = held_out_split(faces, 0.1)
    held = {key: sum(place_of(face)[0] == key for face in split.held_out) for key in ("/a_", "/b_", "anna/")}
    assert held == {"/a_": 20, "/b_": 40, "anna/": 20}


def test_photographs_without_an_order_are_held_out_whole() -> None:
    photos = [
        Named(f"{name}.jpg", name) for name in (f"photo-{chr(97 + k // 26)}{chr(97 + k % 26)}x" for k in range(100))
    ]
    split = held_out_split(photos, 0.1)
    assert len(split.held_out) == 10
    assert len(split.training) == 90


def test_several_faces_of_a_frame_are_on_one_side() -> None:
    faces = [Named(f"{n:05d}_{k}.jpg", f"{n:05d}") for n in range(1, 201) for k in range(2)]
    split = held_out_split(faces, 0.1)
    assert len(split.held_out) == 40
    assert not {face.frame for face in split.held_out} & {face.frame for face in split.training}


def test_faces_that_do_not_know_their_frame_go_by_their_names() -> None:
    faces = [Named(f"{n:05d}_0.jpg") for n in range(1, 101)]
    assert numbers(held_out_split(faces, 0.1).held_out) == list(range(91, 101))


@pytest.mark.parametrize("stored", [None, {}, {"share": 0.1}, {"share": 0.1, "since": 0, "stretches": [{"clip": "x"}]}])
def test_a_damaged_record_is_none(stored: object) -> None:
    assert Stretches.from_json(stored) is None
