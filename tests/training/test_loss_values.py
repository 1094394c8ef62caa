"""The losses meet published values, and behave as a judge of faces should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from understudy.networks.blocks import Reconstruction
from understudy.training.losses import dssim, gaussian_blur, per_person, quick96_losses
from understudy.training.samples import Batch, Sample


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


def test_a_perfect_drawing_costs_nothing_and_the_background_hardly_counts() -> None:
    target = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 1, 96, 96)
    mask[..., 30:66, 30:66] = 1
    perfect = quick96_losses(Reconstruction(target, mask, target, mask), batch_of(target, mask))
    assert set(perfect) == {f"{who}_{what}" for who in ("src", "dst") for what in ("structure", "pixel", "mask")}
    assert all(value.shape == (2,) and value.abs().max() < 1e-6 for value in perfect.values())

    elsewhere = target.clone()
    elsewhere[..., :10, :10] = 0
    spoiled = quick96_losses(Reconstruction(elsewhere, mask, target, mask), batch_of(target, mask))
    assert spoiled["src_pixel"].max() < 1e-6

    inside = target.clone()
    inside[..., 40:50, 40:50] = 0
    spoiled = quick96_losses(Reconstruction(inside, mask, target, mask), batch_of(target, mask))
    assert spoiled["src_pixel"].min() > 1e-3
    assert spoiled["dst_pixel"].max() < 1e-6


def test_the_two_reported_numbers_are_weighted_sums() -> None:
    losses = {"src_structure": torch.tensor([1.0]), "src_mask": torch.tensor([2.0]), "dst_mask": torch.tensor([3.0])}
    people = per_person(losses, {"structure": 10.0, "mask": 0.5})
    assert people["src"].item() == 11
    assert people["dst"].item() == 1.5
