"""The losses meet published values, and behave as a judge of faces should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from understudy.networks.blocks import Prediction, Reconstruction
from understudy.training.batches.samples import Batch, Sample
from understudy.training.losses import (
    Losses,
    Objective,
    background_style_loss,
    blur_out,
    drawing_losses,
    drawn_inside,
    dssim,
    dssim_over,
    gaussian_blur,
    soft_mask,
    structure_filters,
    style,
    targets_of,
    total_variation,
    weighted_sums,
)

PLAIN = Objective(structure_filters(96, both=False))


def published_pictures() -> tuple[Tensor, Tensor]:
    """Two 32 × 32 pictures made by a formula, for which values are known."""
    y, x, c = np.mgrid[0:32, 0:32, 0:3]
    first = 0.6 * ((7 * x + 13 * y + 29 * c) % 101) / 100 + 0.1
    second = 0.5 * ((11 * x + 5 * y + 17 * c + 3) % 97) / 96 + 0.3
    second[..., 0] *= 0.7
    return tuple(torch.from_numpy(p.astype(np.float32)).permute(2, 0, 1)[None] for p in (first, second))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("taps", "expected"),
    [
        (2, [0.284066, 0.285341, 0.275211]),
        (5, [0.440763, 0.484231, 0.447917]),
        (11, [0.455929, 0.508826, 0.463693]),
    ],
)
def test_dssim_of_known_pictures(taps: int, expected: list[float]) -> None:
    torch.testing.assert_close(dssim(*published_pictures(), taps)[0], torch.tensor(expected), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("sigma", "means", "pixel"),
    [
        (0.5, [0.393685, 0.394179, 0.395209], [0.262000, 0.436000, 0.603126]),
        (2, [0.363545, 0.363763, 0.364085], [0.352773, 0.410306, 0.440431]),
        (4, [0.329507, 0.329698, 0.329940], [0.372312, 0.367739, 0.375062]),
    ],
)
def test_blur_of_a_known_picture(sigma: float, means: list[float], pixel: list[float]) -> None:
    blurred = gaussian_blur(published_pictures()[0], sigma)[0]
    torch.testing.assert_close(blurred.mean((1, 2)), torch.tensor(means), rtol=0, atol=2e-6)
    torch.testing.assert_close(blurred[:, 5, 9], torch.tensor(pixel), rtol=0, atol=2e-6)


def test_a_picture_is_not_dissimilar_to_itself() -> None:
    first, second = published_pictures()
    assert dssim(first, first, 8).abs().max() < 1e-6
    torch.testing.assert_close(dssim(first, second, 8), dssim(second, first, 8))


def batch_of(target: Tensor, mask: Tensor) -> Batch:
    return Batch(Sample(target, target, mask), Sample(target, target, mask))


def judged(drawn: Reconstruction, batch: Batch, objective: Objective) -> Losses:
    targets = targets_of(batch, objective)
    return drawing_losses(drawn, drawn_inside(drawn, targets, objective), targets, objective)


def test_a_perfect_drawing_costs_nothing_and_the_background_hardly_counts() -> None:
    target = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 1, 96, 96)
    mask[..., 30:66, 30:66] = 1
    perfect = judged(Reconstruction(target, mask, target, mask), batch_of(target, mask), PLAIN)
    assert set(perfect) == {f"{who}_{what}" for who in ("src", "dst") for what in ("structure", "pixel", "mask")}
    assert all(value.shape == (2,) and value.abs().max() < 1e-6 for value in perfect.values())

    elsewhere = target.clone()
    elsewhere[..., :10, :10] = 0
    spoiled = judged(Reconstruction(elsewhere, mask, target, mask), batch_of(target, mask), PLAIN)
    assert spoiled["src_pixel"].max() < 1e-6

    inside = target.clone()
    inside[..., 40:50, 40:50] = 0
    spoiled = judged(Reconstruction(inside, mask, target, mask), batch_of(target, mask), PLAIN)
    assert spoiled["src_pixel"].min() > 1e-3
    assert spoiled["dst_pixel"].max() < 1e-6


def test_the_two_reported_numbers_are_weighted_sums() -> None:
    losses = {"src_structure": torch.tensor([1.0]), "src_mask": torch.tensor([2.0]), "dst_mask": torch.tensor([3.0])}
    people = weighted_sums(losses, {"structure": 10.0, "mask": 0.5})
    assert people["src"].item() == 11
    assert people["dst"].item() == 1.5


def test_filters_follow_the_size_of_the_face() -> None:
    assert {size: structure_filters(size, both=True) for size in (64, 128, 256, 640)} == {
        64: (5, 2),
        128: (11, 5),
        256: (22, 11),
        640: (55, 27),
    }
    assert structure_filters(96, both=False) == (8,)


def test_two_filters_count_half_each() -> None:
    pictures = published_pictures()
    torch.testing.assert_close(dssim_over(*pictures, [5, 2]), (dssim(*pictures, 5) + dssim(*pictures, 2)) / 2)


def test_style_and_roughness_of_known_pictures() -> None:
    first, second = published_pictures()
    assert style(first, second, 4).item() == pytest.approx(0.010813, abs=2e-6)
    assert total_variation(first).item() == pytest.approx(193.2806, rel=1e-5)
    assert total_variation(first, along_channels=True).item() == pytest.approx(276.0189, rel=1e-5)


def disc(size: int = 64) -> tuple[Tensor, Tensor]:
    """A picture (1,3,S,S) of noise and a round mask (1,1,S,S) in the middle of it."""
    axis = torch.arange(size) - size / 2 + 0.5
    mask = (axis.square() + axis[:, None].square() < (size / 4) ** 2).float()[None, None]
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(2)), mask


def test_the_soft_mask_is_whole_on_the_face_and_fades_outside() -> None:
    _, mask = disc()
    soft = soft_mask(mask)
    assert soft[mask == 1].min() > 0.85
    assert 0 < float(soft[0, 0, 32, 14:16].min()) < 1
    assert soft[0, 0, 0].max() == 0


def test_blurring_out_leaves_the_face_and_smooths_what_is_around_it() -> None:
    target, mask = disc()
    calm = blur_out(target, mask)
    inside = mask.expand_as(target) == 1
    assert torch.equal(calm[inside], target[inside])
    assert calm[~inside].std() < 0.9 * target[~inside].std()
    assert calm.mean() == pytest.approx(float(target.mean()), rel=0.02)


def test_without_masked_training_the_whole_square_counts() -> None:
    target, mask = disc()
    elsewhere = target.clone()
    elsewhere[..., :10, :10] = 0
    drawn = Reconstruction(elsewhere, mask, target, mask)
    sizes = structure_filters(64, both=False)
    assert judged(drawn, batch_of(target, mask), Objective(sizes))["src_pixel"] < 1e-6
    assert judged(drawn, batch_of(target, mask), Objective(sizes, masked=False))["src_pixel"] > 1e-3


def test_eyes_and_mouth_count_where_they_are() -> None:
    target, mask = disc()
    eyes = torch.zeros_like(mask)
    eyes[..., 20:24, 20:24] = 1
    sample = Sample(target, target, mask, eyes)
    objective = Objective(structure_filters(64, both=False), eyes_mouth=True)
    for where, counts in ((slice(20, 24), True), (slice(40, 44), False)):
        drawn = target.clone()
        drawn[..., where, where] = 0
        losses = judged(Reconstruction(drawn, mask, target, mask), Batch(sample, sample), objective)
        assert bool(losses["src_eyes_mouth"] > 1e-4) is counts
        assert losses["dst_eyes_mouth"] == 0


def test_background_style_looks_outside_of_dst_and_faithfully_outside_of_src() -> None:
    """The reference takes the wrong person's mask, which is kept for those who want its results."""
    target, mask = disc()
    nothing = torch.zeros_like(mask)
    batch = Batch(Sample(target, target, nothing), Sample(target, target, mask))
    swapped = target.clone()
    swapped[..., 30:34, 30:34] = 0  # in the middle of dst's face
    for faithful in (False, True):
        objective = Objective(structure_filters(64, both=False), background_outside_src=faithful)
        loss = background_style_loss(Prediction(swapped, mask, mask), targets_of(batch, objective), objective)
        assert bool(loss["src_background_style"] > 1e-4) is faithful
