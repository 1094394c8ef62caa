"""Losses of detail: their published formulas, written here another way, and what each of them looks at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, gaussian_filter, sobel
from torch import Tensor

from understudy.networks.blocks import Reconstruction
from understudy.networks.families import FAMILIES
from understudy.training.batches.samples import Batch, Sample
from understudy.training.learning.swapping import Swapping
from understudy.training.losses import (
    DETAIL,
    Losses,
    Objective,
    drawing_losses,
    drawn_inside,
    frequency,
    gradient,
    laplacian,
    multiscale,
    scales_of,
    targets_of,
    weighted_sums,
)
from understudy.training.options import TrainOptions
from understudy.training.recipes import RECIPES

Plane = NDArray[np.float64]
PUBLISHED_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def pictures(size: int) -> tuple[Tensor, Tensor]:
    """Two faces' worth of soft shapes (2,3,S,S), and the same drawn too softly, shifted and with a little noise."""
    draw = np.random.default_rng(size)
    clean = gaussian_filter(draw.random((2, 3, size, size)), (0, 0, size / 40, size / 40))
    clean = (clean - clean.min()) / np.ptp(clean)
    poor = gaussian_filter(np.roll(clean, 1, 3), (0, 0, 1, 1)) + 0.02 * draw.standard_normal(clean.shape)
    return tuple(torch.from_numpy(p.clip(0, 1).astype(np.float32)) for p in (clean, poor))  # type: ignore[return-value]


def by_plane(one: Tensor, other: Tensor, measure: Callable[[Plane, Plane], float]) -> Tensor:
    """A measure of single planes, mean over the channels, for each sample."""
    values = [
        [measure(a, b) for a, b in zip(*sample, strict=True)]
        for sample in zip(one.double().numpy(), other.double().numpy(), strict=True)
    ]
    return torch.tensor(values, dtype=torch.float64).mean(1)


def ms_ssim_of(a: Plane, b: Plane) -> float:
    count = min(5, 1 + int(np.log2(a.shape[0] / 11)))
    weights = np.array(PUBLISHED_WEIGHTS[:count]) / sum(PUBLISHED_WEIGHTS[:count])
    product = 1.0
    for scale, weight in enumerate(weights):
        if scale:
            a, b = ((p[::2, ::2] + p[1::2, ::2] + p[::2, 1::2] + p[1::2, 1::2]) / 4 for p in (a, b))
        mean_a, mean_b, aa, bb, ab = (
            gaussian_filter(p, 1.5, truncate=3.5)[5:-5, 5:-5] for p in (a, b, a * a, b * b, a * b)
        )
        factor = (2 * (ab - mean_a * mean_b) + 0.03**2) / (aa - mean_a**2 + bb - mean_b**2 + 0.03**2)
        if scale == count - 1:
            factor = factor * (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
        product *= factor.mean() ** weight
    return 1 - float(product)


def focal_frequency_of(a: Plane, b: Plane) -> float:
    amplitude = np.abs(np.fft.fft2(b - a) / a.shape[0])
    return float((amplitude / amplitude.max() * amplitude**2).mean())


def sobel_of(a: Plane, b: Plane) -> float:
    slopes = [sobel(a - b, axis)[1:-1, 1:-1] / 8 for axis in (0, 1)]
    return float(np.abs(slopes).mean())


def laplacian_of(a: Plane, b: Plane) -> float:
    kernel = np.array([1, 4, 6, 4, 1]) / 16

    def blur(plane: Plane) -> Plane:
        for axis in (0, 1):
            plane = correlate1d(plane, kernel, axis, mode="mirror")
        return plane

    total, left = 0.0, a - b
    while left.shape[0] % 2 == 0 and left.shape[0] >= 16:
        smaller = blur(left)[::2, ::2]
        spread = np.zeros_like(left)
        spread[::2, ::2] = smaller
        total += np.abs(left - 4 * blur(spread)).mean()
        left = smaller
    return total + float(np.abs(left).mean())


OTHERWISE = {
    "ms_ssim": (multiscale, ms_ssim_of),
    "frequency": (frequency, focal_frequency_of),
    "gradient": (gradient, sobel_of),
    "laplacian": (laplacian, laplacian_of),
}


@pytest.mark.parametrize("size", [64, 96, 176])
@pytest.mark.parametrize("kind", OTHERWISE)
def test_each_is_its_published_formula(kind: str, size: int) -> None:
    ours, theirs = OTHERWISE[kind]
    target, drawn = pictures(size)
    torch.testing.assert_close(ours(target, drawn).double(), by_plane(target, drawn, theirs), rtol=2e-4, atol=1e-7)


def test_ms_ssim_uses_the_sizes_in_which_its_window_fits() -> None:
    assert [scales_of(size) for size in (32, 64, 96, 128, 176, 640)] == [2, 3, 4, 4, 5, 5]


@pytest.mark.parametrize("kind", DETAIL)
def test_equal_pictures_cost_nothing_and_every_gradient_is_finite(kind: str) -> None:
    target, poor = pictures(64)
    assert DETAIL[kind](target, target).abs().max() < 1e-5
    upside_down = 1 - target  # in which structure is the opposite: the mean that MS-SSIM takes a root of is below 0
    for drawn in (target, poor, upside_down, torch.zeros_like(target)):
        leaf = drawn.clone().requires_grad_()
        DETAIL[kind](target, leaf).sum().backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()


def test_each_looks_at_something_of_its_own() -> None:
    """A tint is no edge; stripes cost structure and bands more than a tint of the same square; a lone wave counts
    more than noise of the same power.
    """
    target = pictures(64)[0] * 0.8
    tint = target + 0.05
    stripes = target + 0.05 * (-1.0) ** (torch.arange(64) // 2)
    assert gradient(target, tint).max() < 1e-6
    assert gradient(target, stripes).min() > 0.02
    assert laplacian(target, stripes).min() > 1.1 * laplacian(target, tint).max()
    assert multiscale(target, stripes).min() > 3 * multiscale(target, tint).max()
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    assert frequency(target, stripes).min() > 1.5 * frequency(target, target + 0.05 * noise).max()


def judged(drawn: Reconstruction, batch: Batch, objective: Objective) -> Losses:
    targets = targets_of(batch, objective)
    return drawing_losses(drawn, drawn_inside(drawn, targets, objective), targets, objective)


@pytest.mark.parametrize("kind", DETAIL)
def test_they_look_inside_the_mask_and_count_by_their_power(kind: str) -> None:
    target, _ = pictures(64)
    mask = torch.zeros(2, 1, 64, 64)
    mask[..., 20:44, 20:44] = 1
    elsewhere, inside = target.clone(), target.clone()
    elsewhere[..., :6] = 0
    inside[..., 30:34] = 0
    batch = Batch(Sample(target, target, mask), Sample(target, target, mask))
    objective = Objective((5,), **{kind: 0.5})  # type: ignore[arg-type]
    without = judged(Reconstruction(inside, mask, target, mask), batch, Objective((5,)))
    spoiled = judged(Reconstruction(inside, mask, elsewhere, mask), batch, objective)
    assert set(spoiled) - set(without) == {f"src_{kind}", f"dst_{kind}"}
    assert spoiled[f"dst_{kind}"].max() < 1e-5 < 1e-4 < spoiled[f"src_{kind}"].min()
    counted = weighted_sums(spoiled, objective.weights)["src"] - weighted_sums(without, objective.weights)["src"]
    half = objective.weights[kind] * spoiled[f"src_{kind}"]
    torch.testing.assert_close(counted, half, rtol=1e-3, atol=1e-6)
    assert objective.weights[kind] == Objective((5,), **{kind: 1.0}).weights[kind] / 2  # type: ignore[arg-type]


@pytest.mark.parametrize("model_class", [name for name, recipe in RECIPES.items() if isinstance(recipe.task, Swapping)])
def test_every_class_that_swaps_has_them_by_options(model_class: str) -> None:
    config = FAMILIES[model_class].config()
    options = TrainOptions(ms_ssim_power=0.1, frequency_power=0.2, gradient_power=0.3, laplacian_power=0.4)
    found = RECIPES[model_class].objective(config, options, False)
    assert [getattr(found, kind) for kind in DETAIL] == [0.1, 0.2, 0.3, 0.4]
    plain = RECIPES[model_class].objective(config, TrainOptions(), False)
    assert not any(getattr(plain, kind) for kind in DETAIL)
