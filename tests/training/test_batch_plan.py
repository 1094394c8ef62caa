"""Which faces a batch shows: persons, hard faces, facesets that change, and batches that are fetched ahead."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from understudy.training.batches.batch_plan import READ_EVERY, Drawing, Planner
from understudy.training.batches.replay import LEAST, MOST, HardFaces
from understudy.training.batches.samplers import sampler_for
from understudy.training.batches.samples import BatchSource
from understudy.training.faces.bank import FaceBank
from understudy.training.saved.plain_values import from_plain, to_plain


def bank(count: int = 100, *, first: int = 0) -> FaceBank:
    """Faces whose red is their number."""
    pixels = np.zeros((count, 8, 8, 4), np.uint8)
    pixels[..., 0] = np.arange(first, first + count)[:, None, None]
    return FaceBank(pixels, tuple(f"{number:05d}_0.jpg" for number in range(first, first + count)))


def planner(drawing: Drawing, *, seed: int = 1) -> Planner:
    return Planner((bank(), bank(60)), drawing, seed)


def run(plans: Planner, count: int) -> list[list[int]]:
    """The src faces of the next batches; the loss of a face is its number."""
    shown = []
    for _ in range(count):
        plan = plans.plan()
        plans.consume(plan)
        plans.note(plan, [torch.as_tensor(faces).float() for faces in plan.faces])
        shown.append(plan.faces[0].tolist())
    return shown


def resumed(plans: Planner, drawing: Drawing) -> Planner:
    other = planner(drawing, seed=77)
    other.load_state_dict(from_plain(to_plain(plans.state_dict())))
    return other


def test_each_person_comes_equally_often_however_many_faces_they_have() -> None:
    persons = np.array([0] * 90 + [1] * 9 + [2], np.int32)
    taken = sampler_for(100, 3, persons=persons).take(0, 300)
    assert Counter(persons[taken].tolist()) == {0: 100, 1: 100, 2: 100}
    assert len(set(taken[persons[taken] == 0].tolist())) == 90  # and all faces of each come
    plain = sampler_for(100, 3).take(0, 100)
    assert sorted(plain.tolist()) == list(range(100))


def test_persons_and_directions_come_equally_often_together() -> None:
    persons = np.array([0] * 10 + [1] * 10, np.int32)
    yaws = np.array([0.0] * 9 + [0.9] + [-0.5] * 5 + [0.5] * 5)
    taken = sampler_for(20, 3, persons=persons, yaws=yaws).take(0, 40)
    counts = Counter(zip(persons[taken].tolist(), yaws[taken].tolist(), strict=True))
    assert counts == {(0, 0.0): 10, (0, 0.9): 10, (1, -0.5): 10, (1, 0.5): 10}


def test_uniform_yaw_holds_for_both_sides_each_in_an_order_of_its_own() -> None:
    """In pretraining both sides are the same bank."""
    yaws = np.array([0.0] * 58 + [-1.0, 1.0])
    crowd = FaceBank(np.zeros((60, 8, 8, 4), np.uint8), tuple(map(str, range(60))), yaws)
    plans = Planner((crowd, crowd), Drawing(6, repeat_every=0, uniform_yaw=True), 1)
    shown = []
    for _ in range(50):
        plan = plans.plan()
        plans.consume(plan)
        shown.append(plan.faces)
    src, dst = (np.concatenate([faces[side] for faces in shown]) for side in (0, 1))
    for faces in (src, dst):
        assert Counter(yaws[faces].tolist()) == {0.0: 100, -1.0: 100, 1.0: 100}
    assert src.tolist() != dst.tolist()


def test_the_hardest_faces_come_more_often_and_the_others_still_all_come() -> None:
    drawing = Drawing(8, repeat_every=0, replay=0.25)
    shown = run(planner(drawing), 200)
    late = Counter(face for batch in shown[100:] for face in batch)
    hard = sum(late[face] for face in range(85, 100)) / 15
    easy = sum(late[face] for face in range(85)) / 85
    assert hard > 2.5 * easy
    assert len(late) == 100


def test_without_replay_no_loss_is_looked_at() -> None:
    plans = planner(Drawing(8))
    run(plans, 2 * READ_EVERY)
    assert "hard" not in plans.state_dict()


@pytest.mark.parametrize("consumed", [1, READ_EVERY - 1, READ_EVERY, 3 * READ_EVERY + 5])
def test_hard_faces_are_the_same_after_a_resume(consumed: int) -> None:
    drawing = Drawing(8, repeat_every=3, replay=0.4)
    plans = planner(drawing)
    run(plans, consumed)
    assert run(resumed(plans, drawing), 40) == run(plans, 40)


def test_hard_faces_of_a_million_take_little_room() -> None:
    hard = HardFaces(1_000_000)
    rng = np.random.default_rng(0)
    for start in range(0, 200_000, 10_000):
        hard.note(np.arange(start, start + 10_000), rng.random(10_000).astype(np.float32))
    assert len(str(to_plain(hard.state_dict()))) < 16 * MOST
    drawn = hard.draw(2000, rng)
    assert len(set(drawn.tolist())) > MOST // 4


def test_too_few_faces_are_not_shown_again() -> None:
    hard = HardFaces(1000)
    hard.note(np.arange(10), np.ones(10, np.float32))
    assert not hard.ready
    hard.note(np.arange(10, 10 * LEAST), np.ones(10 * LEAST - 10, np.float32))
    assert hard.ready


def test_other_faces_are_dealt_anew_in_a_run_that_goes_on_as_in_one_that_resumes() -> None:
    drawing = Drawing(8, repeat_every=3, replay=0.25)
    plans = planner(drawing)
    run(plans, 20)
    saved = from_plain(to_plain(plans.state_dict()))
    others = (bank(50, first=100), bank(60))
    plans.change(others, drawing)
    again = Planner(others, drawing, 0)
    again.load_state_dict(saved)
    first = run(plans, 40)
    assert first == run(again, 40)
    fresh = [batch for batch, before in zip(first, [[], *first], strict=False) if batch != before]
    assert len({face for batch in fresh[:6] for face in batch}) == 48  # a round of its own
    later = Planner(others, drawing, 0)
    later.load_state_dict(from_plain(to_plain(plans.state_dict())))
    assert run(later, 10) == run(plans, 10)


def test_a_state_of_before_goes_on_as_it_would_have() -> None:
    """Saved states of earlier versions hold four numbers."""
    plans = planner(Drawing(4))
    run(plans, 10)
    state = {key: plans.state_dict()[key] for key in ("seed", "iteration", "fresh", "position")}
    other = planner(Drawing(4), seed=77)
    other.load_state_dict(state)
    assert run(other, 10) == run(plans, 10)


def test_batches_fetched_ahead_are_the_same_batches() -> None:
    """Also when options and faces change meanwhile, and after a resume."""

    def batches(ahead: bool) -> list[torch.Tensor]:
        source = BatchSource(bank(), bank(60), batch_size=4, ahead=ahead, replay=0.25)
        shown = []
        for number in range(60):
            batch = source.next()
            shown.append(batch.src.warped)
            source.note({side: getattr(batch, side).warped.mean((1, 2, 3)) for side in ("src", "dst")})
            if number == 30:
                source.replace_banks(bank(50, first=20), bank(60))
            if number == 40:
                source.load_state_dict(source.state_dict())
        return shown

    assert all(torch.equal(one, other) for one, other in zip(batches(False), batches(True), strict=True))


@pytest.mark.parametrize("size", [1, 3, 12])
def test_with_hard_faces_the_batch_may_be_of_another_size_at_any_moment(size: int) -> None:
    """Losses of batches of both sizes wait to be read, and a batch that repeats may be smaller than what was hard."""
    for count in range(3 * READ_EVERY, 4 * READ_EVERY):
        plans, otherwise = planner(Drawing(8, replay=0.9)), Drawing(size, replay=0.9)
        run(plans, count)
        went_on = resumed(plans, otherwise)
        plans.change((bank(), bank(60)), otherwise)
        shown = run(plans, 2 * READ_EVERY)
        assert {len(faces) for faces in shown} == {size}
        assert run(went_on, 2 * READ_EVERY) == shown
