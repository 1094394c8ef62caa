"""What the mask network learns from: samples of labelled faces, as the published recipe makes them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.random import RandomState

from understudy.training.batches.warp import Ranges
from understudy.training.faces.bank import FaceBank
from understudy.training.masking import spoiling
from understudy.training.masking.batches import MaskBatches
from understudy.training.masking.samples import BEHIND, FACE, Labelled, bend, draw, sample, with_surroundings

S = 64


def face(seed: int = 0) -> Labelled:
    chance = np.random.default_rng(seed)
    coarse = chance.random((8, 8, 3), np.float32)
    picture = np.clip(cv2.resize(coarse, (S, S), interpolation=cv2.INTER_CUBIC), 0, 1)
    mask = np.zeros((S, S), np.float32)
    mask[16:52, 14:48] = 1
    return Labelled(picture, mask)


def bank(count: int, seed: int = 0) -> FaceBank:
    crops = np.empty((count, S, S, 4), np.uint8)
    for index in range(count):
        picture, mask = face(seed + index)
        crops[index] = np.rint(255 * np.dstack([picture, mask]))
    return FaceBank(crops, tuple(f"{seed + index:05d}.jpg" for index in range(count)))


def empty_bank() -> FaceBank:
    return FaceBank(np.empty((0, S, S, 4), np.uint8))


class Scripted(RandomState):
    """A chance that decides as it is told, as long as it is told anything."""

    def __new__(cls, *given: Any) -> Scripted:
        return super().__new__(cls)

    def __init__(self, *script: int) -> None:
        super().__init__(0)
        self.script = list(script)

    def randint(self, *given: Any, **more: Any) -> Any:
        return self.script.pop(0) if self.script else super().randint(*given, **more)


def test_bending_brings_no_black_into_a_picture_unless_the_reference_would() -> None:
    white = Labelled(np.ones((S, S, 3), np.float32), np.ones((S, S), np.float32))
    drawn = draw(S, Ranges().times(0), RandomState(1))
    assert bend(white, drawn).picture.min() > 0.999
    assert bend(white, drawn, faithful=True).picture.min() < 0.9


def test_samples_are_faces_in_range_with_masks_of_nought_and_one() -> None:
    chance = RandomState(3)
    for _ in range(40):
        picture, mask = sample(face(), face(1), chance)
        assert picture.shape == (S, S, 3)
        assert picture.dtype == mask.dtype == np.float32
        assert 0 <= picture.min() <= picture.max() <= 1
        assert set(np.unique(mask)) <= {0.0, 1.0}
        assert mask.any()


def test_a_mask_is_bent_with_its_picture() -> None:
    """Where a picture is its own mask, both stay the same to the edge."""
    _, mask = face()
    same = Labelled(np.dstack([mask] * 3), mask)
    for faithful in (False, True):
        bent = bend(same, draw(S, FACE, RandomState(5)), faithful=faithful)
        inner = np.s_[8:-8, 8:-8]  # beyond the edge a picture goes on and a mask does not
        np.testing.assert_allclose(bent.picture[inner][..., 0], bent.mask[inner], atol=1e-4)


def test_without_a_warp_nothing_moves() -> None:
    still = Ranges(rotation_degrees=0, scale=0, shift=0)
    drawn = draw(S, still, RandomState(0))
    drawn.noise[:] = 0
    bent = bend(face(), drawn)
    np.testing.assert_allclose(bent.picture[2:-2, 2:-2], face().picture[2:-2, 2:-2], atol=1e-3)
    np.testing.assert_array_equal(bent.mask >= 0.5, face().mask >= 0.5)


def test_other_surroundings_leave_the_face_itself_alone() -> None:
    inside, changes = face().mask == 1, []
    for seed in range(5):
        seen = with_surroundings(face(), face(9), RandomState(seed))
        np.testing.assert_allclose(seen.picture[inside], face().picture[inside], atol=1e-6)
        changes.append(np.abs(seen.picture[~inside] - face().picture[~inside]).mean())
    assert np.mean(changes) > 0.05
    assert BEHIND.rotation_degrees == 180


def test_soft_circles_are_full_inside_and_fall_to_nothing() -> None:
    circle = spoiling.soft_circle(S, Scripted(10, 20, 30, 40))  # full to 10 px, over 30 more, about (30, 40)
    rows, columns = np.mgrid[:S, :S]
    distance = np.hypot(rows - 30, columns - 40)
    np.testing.assert_allclose(circle, np.clip(1 - (distance - 10) / 30, 0, 1), atol=1e-6)
    assert spoiling.soft_circle(S, Scripted(0, 0, 5, 6))[5, 6] == 1  # no width counts as one pixel


def test_levels_follow_their_formula() -> None:
    found = spoiling.bend_levels(face().picture, RandomState(7))
    again = RandomState(7)
    black, white, gamma, low, high = (again.random_sample(3)[::-1] for _ in range(5))
    black, white, gamma, low, high = 0.25 * black, 1 - 0.25 * white, 0.5 + gamma, 0.25 * low, 1 - 0.25 * high
    light = np.clip((face().picture - black) / (white - black), 0, 1) ** (1 / gamma)
    np.testing.assert_allclose(found, np.clip(light * (high - low) + low, 0, 1), atol=1e-5)


def test_motion_is_the_published_kernel() -> None:
    """To a 32nd of a pixel, to which OpenCV rounded before its version 5."""
    kernel = spoiling.motion_kernel(5, 30)
    assert kernel.sum() == pytest.approx(1)
    np.testing.assert_allclose(kernel[2], (0, 0.099495, 0.198990, 0.099495, 0), atol=4e-3)
    np.testing.assert_allclose(kernel[1, 2:], (0.024874, 0.124368, 0.136028), atol=4e-3)
    assert kernel[0, 4] == pytest.approx(0.015740, abs=4e-3)


def test_sharpening_is_by_box_or_gaussian() -> None:
    picture = face().picture
    box = spoiling.sharpen(picture, Scripted(2, 0, 1, 4))  # 3 taps, there, by box, four times
    np.testing.assert_allclose(box, picture + 4 * (picture - cv2.blur(picture, (3, 3))), atol=1e-5)
    soft = spoiling.sharpen(picture, Scripted(2, 0, 0, 6))
    around = cv2.GaussianBlur(picture, (3, 3), 0)
    np.testing.assert_allclose(soft, picture * 4 - around * 3, atol=1e-4)
    assert spoiling.sharpen(picture, Scripted(2, 25)) is picture


def test_flares_come_from_inside_the_mask_alone() -> None:
    dark = np.zeros((S, S, 3), np.float32)
    dark[20:30, 20:30] = 1
    lit = spoiling.flare(dark, (dark[..., 0] == 0).astype(np.float32), Scripted(1, 20))
    np.testing.assert_array_equal(lit, dark)
    assert spoiling.flare(dark, dark[..., 0], Scripted(1, 20))[15, 15].min() > 0


@pytest.mark.parametrize("effect", [spoiling.compress, spoiling.blur])
def test_effects_are_seldom(effect: spoiling.Effect) -> None:
    chance, picture = RandomState(0), face().picture
    there = sum(effect(picture, chance) is not picture for _ in range(200))
    assert 30 <= there <= 70


def test_a_batch_is_a_function_of_the_seed_and_of_how_many_there_were() -> None:
    """Whatever the number of workers, and however many were made ahead."""
    whole = MaskBatches(bank(5), bank(3, 50), batch_size=3, seed=4, workers=1, ahead=0)
    ahead = MaskBatches(bank(5), bank(3, 50), batch_size=3, seed=4, workers=3, ahead=3)
    first = [whole.next() for _ in range(4)]
    for batch in first:
        for ours, theirs in zip(batch, ahead.next(), strict=True):
            assert torch.equal(ours, theirs)
    resumed = MaskBatches(bank(5), bank(3, 50), batch_size=3, seed=9)
    resumed.load_state_dict(ahead.state_dict())
    assert torch.equal(resumed.next().seen, whole.next().seen)


def test_every_face_comes_before_any_comes_again() -> None:
    """Faces of both sides in one order; a side may be empty."""
    both = MaskBatches(bank(3), bank(2, 50), batch_size=5)
    assert sorted(both._dealt(number)[0] for number in range(5)) == list(range(5))
    assert MaskBatches(bank(3), empty_bank(), batch_size=2).next().seen.shape == (2, 3, S, S)
    assert MaskBatches(empty_bank(), bank(3), batch_size=2).next().target.shape == (2, 1, S, S)


def test_other_faces_are_dealt_anew_and_a_resumed_run_deals_them_alike() -> None:
    batches = MaskBatches(bank(3), bank(2, 50), batch_size=2)
    batches.next()
    batches.replace_banks(bank(6), bank(2, 50))
    state, after = batches.state_dict(), batches.next()
    resumed = MaskBatches(bank(6), bank(2, 50), batch_size=2)
    resumed.load_state_dict(state)
    assert torch.equal(resumed.next().seen, after.seen)
    assert sorted(batches._dealt(number)[0] for number in range(2, 10)) == list(range(8))


def test_processes_of_a_team_make_the_parts_of_one_batch() -> None:
    whole = MaskBatches(bank(4), bank(4, 50), batch_size=4).next()
    part = MaskBatches(bank(4), bank(4, 50), batch_size=4)
    part.part = lambda count: slice(count // 2, count)
    assert torch.equal(part.next().seen, whole.seen[2:])


def test_pretraining_shows_a_face_and_wants_it_in_grey() -> None:
    faces = bank(3)
    batch = MaskBatches(faces, faces, batch_size=2, pretraining=True).next()
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    torch.testing.assert_close(batch.target, (batch.seen * weights).sum(1, keepdim=True))
