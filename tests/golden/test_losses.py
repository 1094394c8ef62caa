"""Blur and structural dissimilarity give the reference's numbers, and so do their gradients."""

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

from understudy.training.losses import dssim, gaussian_blur


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
