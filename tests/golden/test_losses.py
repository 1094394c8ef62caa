"""Every building block of the losses gives the reference's numbers, and so do their gradients."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.training.losses import cross_entropy, dssim, gaussian_blur, style, total_variation

STYLE_WEIGHT = 1000
"""What the stored style losses are multiplied with."""

TESTED = r"[ab]_\d+|dssim(grad)?_.*|style(grad)?_.*|gblur_.*|tvmse_.*|bce_(logits|ones|zeros)"


@pytest.fixture(scope="module")
def stored(golden: Path) -> Mapping[str, NDArray[Any]]:
    return dict(np.load(golden / "losses" / "losses.npz"))


def keys(stored: Mapping[str, NDArray[Any]], pattern: str) -> list[tuple[str, ...]]:
    found = [match.groups() for key in stored if (match := re.fullmatch(pattern, key))]
    assert found, f"the golden data has nothing called {pattern}"
    return found


def picture(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array).permute(0, 3, 1, 2)


def test_dssim_and_its_gradient(stored: Mapping[str, NDArray[Any]]) -> None:
    for size, filter_size in keys(stored, r"dssim_(\d+)_fs(\d+)"):
        first, second = picture(stored[f"a_{size}"]), picture(stored[f"b_{size}"]).requires_grad_()
        values = dssim(first, second, int(filter_size))
        np.testing.assert_allclose(
            values.detach().numpy(), stored[f"dssim_{size}_fs{filter_size}"], rtol=1e-4, err_msg=size
        )
        gradient = stored.get(f"dssimgrad_{size}_fs{filter_size}")
        if gradient is not None:
            values.mean(1).sum().backward()
            assert second.grad is not None
            difference = np.abs(second.grad.permute(0, 2, 3, 1).numpy() - gradient).max()
            assert difference <= 1e-3 * np.linalg.norm(gradient)


def test_gaussian_blur(stored: Mapping[str, NDArray[Any]]) -> None:
    """To the rounding of a float32 sum over a window of up to 129 × 129 pixels."""
    for size, sigma in keys(stored, r"gblur_(\d+)_r([\d.]+)"):
        blurred = gaussian_blur(picture(stored[f"a_{size}"][..., :1]), float(sigma))
        expected = stored[f"gblur_{size}_r{sigma}"]
        np.testing.assert_allclose(blurred.permute(0, 2, 3, 1).numpy(), expected, atol=5e-6, err_msg=f"{size} {sigma}")


def test_style_and_its_gradient(stored: Mapping[str, NDArray[Any]]) -> None:
    """The reference adds up pixels one by one in float32, which shows where two pictures differ little (see below)."""
    for size, sigma in keys(stored, r"style_(\d+)_r([\d.]+)"):
        first, second = picture(stored[f"a_{size}"]).requires_grad_(), picture(stored[f"b_{size}"])
        values = STYLE_WEIGHT * style(first, second, float(sigma))
        if float(sigma):
            expected = stored[f"style_{size}_r{sigma}"]
            np.testing.assert_allclose(values.detach().numpy(), expected, rtol=2e-4, err_msg=f"{size} {sigma}")
        gradient = stored.get(f"stylegrad_{size}_r{sigma}")
        if gradient is not None:
            values.sum().backward()
            assert first.grad is not None
            difference = np.abs(first.grad.permute(0, 2, 3, 1).numpy() - gradient).max()
            assert difference <= 1e-4 * np.abs(gradient).max(), f"{size} {sigma}"


def test_style_without_a_blur_is_exact_where_the_reference_rounds(stored: Mapping[str, NDArray[Any]]) -> None:
    """Ours is the formula in float64; the stored number is the formula with one float32 sum after another."""
    for (size,) in keys(stored, r"style_(\d+)_r0\.0"):
        first, second = stored[f"a_{size}"], stored[f"b_{size}"]
        ours = STYLE_WEIGHT * style(picture(first), picture(second), 0)
        exact = style_formula(first.astype(np.float64), second.astype(np.float64))
        np.testing.assert_allclose(ours.numpy(), exact, rtol=1e-5, err_msg=size)
        np.testing.assert_allclose(style_formula(first, second), stored[f"style_{size}_r0.0"], rtol=1e-6, err_msg=size)


def style_formula(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Of (B,S,S,C) pictures, in their number type, pixels added up in the order they lie in."""

    def mean(picture: NDArray[Any]) -> NDArray[Any]:
        pixels = picture.reshape(len(picture), -1, picture.shape[-1])
        total: NDArray[Any] = np.add.accumulate(pixels, axis=1)[:, -1] / picture.dtype.type(pixels.shape[1])
        return total

    means = [mean(each) for each in (first, second)]
    spreads = [
        np.sqrt(mean((each - middle[:, None, None]) ** 2) + each.dtype.type(1e-5))
        for each, middle in zip((first, second), means, strict=True)
    ]
    apart = (means[0] - means[1]) ** 2 + (spreads[0] - spreads[1]) ** 2
    weighted: NDArray[Any] = STYLE_WEIGHT * apart.mean(1)
    return weighted


def test_total_variation(stored: Mapping[str, NDArray[Any]]) -> None:
    for (size,) in keys(stored, r"tvmse_(\d+)"):
        values = total_variation(picture(stored[f"a_{size}"]))
        np.testing.assert_allclose(values.numpy(), stored[f"tvmse_{size}"], rtol=1e-6, err_msg=size)


def test_judging_with_one_label_everywhere(stored: Mapping[str, NDArray[Any]]) -> None:
    logits = picture(stored["bce_logits"])
    np.testing.assert_allclose(cross_entropy(logits, 1.0).numpy(), stored["bce_ones"], rtol=1e-6)
    np.testing.assert_allclose(cross_entropy(logits, 0.0).numpy(), stored["bce_zeros"], rtol=1e-6)


def test_nothing_stored_is_left_out(stored: Mapping[str, NDArray[Any]]) -> None:
    assert [key for key in stored if not re.fullmatch(TESTED, key)] == []
