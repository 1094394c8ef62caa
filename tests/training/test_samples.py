"""Batches: every face before any repetition, every third batch again unwarped, and exact resumption."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from understudy.training.batches.colours import ColourDraw, shift_colours
from understudy.training.batches.samplers import Sampler, YawSampler
from understudy.training.batches.samples import Augmentation, Batch, BatchSource, FaceBank, draw_batch


def bank(count: int = 7, size: int = 32, seed: int = 0) -> FaceBank:
    """Smooth random faces, since neighbouring random pixels say nothing about a warp."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, 4, 4, 4), dtype=np.uint8).repeat(size // 4, 1).repeat(size // 4, 2)
    return FaceBank(pixels, tuple(f"{number:05d}_0.jpg" for number in range(count)))


def source(seed: int = 3, **options: object) -> BatchSource:
    return BatchSource(bank(), bank(5, seed=1), batch_size=2, seed=seed, **options)  # type: ignore[arg-type]


def same(first: Batch, second: Batch) -> bool:
    pairs = zip((*first.src[:3], *first.dst[:3]), (*second.src[:3], *second.dst[:3]), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def test_every_face_comes_once_a_round_in_a_new_order_each_time() -> None:
    sampler = Sampler(11, seed=1)
    rounds = [sampler.take(11 * turn, 11).tolist() for turn in range(4)]
    assert all(sorted(order) == list(range(11)) for order in rounds)
    assert len({tuple(order) for order in rounds}) == 4
    assert Sampler(11, seed=1).take(8, 6).tolist() == rounds[0][8:] + rounds[1][:3]


def test_a_batch_is_pictures_and_masks_in_range() -> None:
    for sample in source().next():
        assert sample.warped.shape == sample.target.shape == (2, 3, 32, 32)
        assert sample.mask.shape == (2, 1, 32, 32)
        assert sample.eyes_mouth is None
        for tensor in sample[:3]:
            assert tensor.dtype is torch.float32
            assert tensor.min() >= 0
            assert tensor.max() <= 1
        assert (sample.warped - sample.target).abs().max() > 0.05


def test_every_third_batch_is_the_one_before_with_its_targets_as_inputs() -> None:
    batches = [source_next for source_next, _ in zip(source(), range(7), strict=False)]
    for number, batch in enumerate(batches):
        repeats = number in (3, 6)
        assert torch.equal(batch.src.warped, batch.src.target) is repeats
        if number:
            assert torch.equal(batch.src.target, batches[number - 1].src.target) is repeats
            assert torch.equal(batch.dst.mask, batches[number - 1].dst.mask) is repeats


@pytest.mark.parametrize("consumed", [0, 1, 2, 3, 5])
def test_a_resumed_source_draws_what_the_other_would_have(consumed: int) -> None:
    one, other = source(), source(seed=99)
    for _ in range(consumed):
        one.next()
    other.load_state_dict(one.state_dict())
    assert all(same(one.next(), other.next()) for _ in range(5))


def test_other_seeds_draw_other_batches() -> None:
    assert same(source(seed=1).next(), source(seed=1).next())
    assert not same(source(seed=1).next(), source(seed=2).next())


def test_without_random_warp_inputs_are_targets() -> None:
    batch = source(augmentation=Augmentation(random_warp=False)).next()
    assert torch.equal(batch.src.warped, batch.src.target)


def test_faithful_and_joined_resampling_agree_on_where_things_are() -> None:
    """Both bend the same way in the mean; the faithful one is shifted by half a pixel and softer."""
    face = bank(1)
    faithful, ours = (
        BatchSource(face, face, batch_size=4, augmentation=Augmentation(faithful=faithful)).next()
        for faithful in (True, False)
    )
    assert (faithful.src.target - ours.src.target).abs().mean() < 0.01  # places rounded to 32nds of a pixel
    assert (faithful.src.warped - ours.src.warped).abs().mean() < 0.15


def test_draw_batch_gives_the_first_batch_of_a_run() -> None:
    assert same(draw_batch(bank(), bank(5, seed=1), batch_size=2, seed=3), source().next())


def test_flips_are_of_one_side_and_of_four_faces_in_ten() -> None:
    batches = source(augmentation=Augmentation(flip_dst=True, random_warp=False), repeat_every=0)
    plain = source(augmentation=Augmentation(random_warp=False), repeat_every=0)
    pairs = [(batches.next(), plain.next()) for _ in range(40)]
    assert all(torch.equal(one.src.target, other.src.target) for one, other in pairs)
    flipped = [
        not torch.equal(face, still) and torch.equal(face, still.flip(2))
        for one, other in pairs
        for face, still in zip(one.dst.target, other.dst.target, strict=True)
    ]
    assert 0.25 < np.mean(flipped) < 0.55


def test_eyes_and_mouth_come_with_the_face_and_have_a_peak_of_one() -> None:
    pixels = np.zeros((1, 32, 32, 5), np.uint8)
    pixels[..., 3] = 255
    pixels[:, 10:14, 8:14, 4] = 120
    sample = BatchSource(FaceBank(pixels), FaceBank(pixels), batch_size=3).next().src
    assert sample.eyes_mouth is not None
    assert sample.eyes_mouth.shape == (3, 1, 32, 32)
    assert sample.mask.shape == (3, 1, 32, 32)
    torch.testing.assert_close(sample.eyes_mouth.amax((1, 2, 3)), torch.ones(3))
    assert float(sample.eyes_mouth.mean()) < 0.1


def test_with_uniform_yaw_every_direction_comes_equally_often() -> None:
    """Nine faces look ahead and one to each side; each way makes a third of the draws, and all faces come."""
    yaws = np.array([0.01] * 9 + [-0.9, 0.9])
    taken = YawSampler(yaws, seed=4).take(0, 27)
    assert [int(np.sum(np.isin(taken, group))) for group in (range(9), [9], [10])] == [9, 9, 9]
    assert set(taken.tolist()) == set(range(11))
    assert YawSampler(yaws, seed=4).take(10, 9).tolist() == taken[10:19].tolist()
    beyond = YawSampler(np.array([-3.0, -1.2, -1.19, 1.2, 3.0]), seed=0).take(0, 6)
    assert int(np.sum(beyond < 3)) == 3  # what lies beyond the bins is in the outermost


def test_random_colours_are_seen_and_not_drawn() -> None:
    plain = source(augmentation=Augmentation(random_warp=False), repeat_every=0).next()
    shifted = source(augmentation=Augmentation(random_warp=False, hsv_power=0.3), repeat_every=0).next()
    assert torch.equal(shifted.src.target, plain.src.target)
    assert torch.equal(shifted.dst.warped, plain.dst.warped)
    assert (shifted.src.warped - plain.src.warped).abs().mean() > 0.02


def test_shifting_colours_is_what_opencv_would_do() -> None:
    rng = np.random.default_rng(0)
    picture = rng.random((16, 16, 3)).astype(np.float32)
    picture[:4] = picture[:4, :, :1]  # grey has no hue
    draws = ColourDraw(37.0, 0.1, -0.05)
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + draws.hue_degrees) % 360
    hsv[..., 1:] = np.clip(hsv[..., 1:] + (draws.saturation, draws.value), 0, 1)
    expected = cv2.cvtColor(hsv.astype(np.float32), cv2.COLOR_HSV2RGB)
    ours = shift_colours(torch.from_numpy(picture).permute(2, 0, 1)[None], [draws])
    np.testing.assert_allclose(ours[0].permute(1, 2, 0).numpy(), expected, atol=2e-5)
