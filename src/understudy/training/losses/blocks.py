"""What losses are made of: small functions of pictures, each with one number per sample (or channel).

Everything here is computed in float32, on (B,C,H,W) tensors with values in 0..1. Blurs are two matrix products with a
banded matrix, one for each axis: exact, the same on every device, and many times faster on a CPU than a depthwise
convolution and its gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def dssim(target: Tensor, drawn: Tensor, filter_size: int) -> Tensor:
    """Structural dissimilarity, 0 (equal) to 1, of (B,C,H,W) pictures in 0..1 → (B,C).

    Gaussian window of `filter_size` taps (even sizes too) with a deviation of 1.5 pixels, only where it fits whole.
    The gradient goes to both pictures.
    """
    return dssim_over(target, drawn, [filter_size])


def dssim_over(target: Tensor, drawn: Tensor, filter_sizes: Sequence[int]) -> Tensor:
    """The mean of `dssim` over several filter sizes: (B,C)."""
    values = [
        (1 - (luminance * contrast).mean((-2, -1))) / 2
        for luminance, contrast in _similarities(target, drawn, filter_sizes)
    ]
    return values[0] if len(values) == 1 else torch.stack(values).mean(0)


def similarity(target: Tensor, drawn: Tensor, filter_size: int) -> tuple[Tensor, Tensor]:
    """The two factors of SSIM, as maps over where the window fits: of brightness, and of contrast and structure.

    (B,C,H,W) pictures in 0..1 → (B,C,h,w) each, with h = H − filter_size + 1. The window is that of `dssim`.
    """
    (found,) = _similarities(target, drawn, [filter_size])
    return found


def _similarities(target: Tensor, drawn: Tensor, filter_sizes: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """`similarity` at several filter sizes. The target is filtered by itself, since it has no gradient as a rule."""
    moments = torch.stack([drawn, target * drawn, target * target + drawn * drawn])
    found = []
    for taps in filter_sizes:
        mean_target = _separable(target, max(1, taps), 1.5, padding=0)
        mean_drawn, product, squares = _separable(moments, max(1, taps), 1.5, padding=0)
        means, powers = 2 * mean_target * mean_drawn, mean_target.square() + mean_drawn.square()
        luminance = (means + 1e-4) / (powers + 1e-4)
        found.append((luminance, (2 * product - means + 9e-4) / (squares - powers + 9e-4)))
    return found


def mean_square(difference: Tensor) -> Tensor:
    """(B,C,H,W) → (B,)."""
    return difference.square().mean((1, 2, 3))


def soft_mask(mask: Tensor) -> Tensor:
    """A mask whose blurred edge lies outside: (B,1,S,S) → the same, 1 where the blurred mask is at least a half."""
    return 2 * gaussian_blur(mask, max(1, mask.shape[-1] // 32)).clamp(0, 0.5)


def blur_out(target: Tensor, mask: Tensor) -> Tensor:
    """Targets (B,3,S,S) whose surroundings, outside `mask` (B,1,S,S), are blurred without colour from inside."""
    sigma = target.shape[-1] / 128
    around = gaussian_blur(target * (1 - mask), sigma)
    weight = 1 - gaussian_blur(mask, sigma)
    weight = torch.where(weight == 0, torch.ones_like(weight), weight)
    return target * mask + around / weight * (1 - mask)


def style(drawn: Tensor, example: Tensor, sigma: float) -> Tensor:
    """How far apart the means and deviations of the channels are, after a blur, mean over the channels: (B,).

    sigma 0 does not blur.
    """
    first, second = (gaussian_blur(part, sigma) if sigma else part for part in (drawn, example))
    means = (first.mean((2, 3)) - second.mean((2, 3))).square()
    deviations = (_deviation(first) - _deviation(second)).square()
    return (means + deviations).mean(1)


def total_variation(image: Tensor, *, along_channels: bool = False) -> Tensor:
    """Sum of the squared differences of neighbours, (B,C,H,W) → (B,).

    along_channels: of channels and rows instead of rows and columns, which is what the reference's sum turns into where
    its tensors are channel-first (on graphics cards, and in AMP).
    """
    first, second = (1, 2) if along_channels else (2, 3)
    return sum(
        (image.diff(dim=axis).square().sum((1, 2, 3)) for axis in (first, second)), start=image.new_zeros(len(image))
    )


def cross_entropy(logits: Tensor, label: float) -> Tensor:
    """Sigmoid cross-entropy of a map of logits (B,1,h,w) with one label everywhere, in float32: (B,)."""
    wide = logits.float()
    return F.binary_cross_entropy_with_logits(wide, torch.full_like(wide, label), reduction="none").mean((1, 2, 3))


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Blur (B,C,H,W) with a Gaussian of `sigma` pixels; beyond the edge there is black, so masks fade at the border."""
    taps = max(3, int(4 * sigma))
    taps += 1 - taps % 2
    return _separable(image, taps, sigma, padding=taps // 2)


def _deviation(image: Tensor) -> Tensor:
    """(B,C,H,W) → (B,C)."""
    return (image.var((2, 3), correction=0) + 1e-5).sqrt()


def _separable(maps: Tensor, taps: int, sigma: float, *, padding: int) -> Tensor:
    """Filter the last two axes: rows from the left, columns from the right."""
    *batch, height, width = maps.shape
    columns = _band(width, taps, sigma, padding, maps.device)
    rows = columns if height == width else _band(height, taps, sigma, padding, maps.device)
    planes = maps.reshape(-1, height, width)
    filtered = rows.mT @ torch.bmm(planes, columns.expand(len(planes), -1, -1))  # one long product is a third slower
    return filtered.view(*batch, *filtered.shape[1:])


@lru_cache(maxsize=64)
def _band(size: int, taps: int, sigma: float, padding: int, device: torch.device) -> Tensor:
    """(size, size + 2·padding − taps + 1): column j holds the window that makes output j, of sum one."""
    centre = padding if padding else (taps - 1) / 2
    window = [math.exp(-((i - centre) ** 2) / (2 * sigma**2)) for i in range(taps)]
    weights = np.array([*window, 0.0]) / math.fsum(window)
    outputs = size + 2 * padding - taps + 1
    tap = np.arange(size)[:, None] + padding - np.arange(outputs)
    band = weights[np.where((tap >= 0) & (tap < taps), tap, taps)].astype(np.float32)
    return torch.from_numpy(band).to(device)
