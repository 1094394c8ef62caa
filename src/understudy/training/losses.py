"""What a network is judged by: small functions from pictures to one number per sample.

Every loss here is computed in float32, on (B,C,H,W) tensors with values in 0..1. Blurs are two matrix products with a
banded matrix, one for each axis: exact, the same on every device, and many times faster on a CPU than a depthwise
convolution and its gradient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from understudy.networks.quick96 import Reconstruction
    from understudy.training.samples import Batch

QUICK96_WEIGHTS: Mapping[str, float] = {"structure": 10.0, "pixel": 10.0, "mask": 10.0}
"""What each unweighted loss of `quick96_losses` counts, whoever it is about."""


def quick96_losses(drawn: Reconstruction, batch: Batch) -> dict[str, Tensor]:
    """The losses of Quick96, unweighted, each (B,): `src_structure`, `src_pixel`, `src_mask` and the same for dst.

    structure: dissimilarity (DSSIM) inside the soft mask, 0..1; pixel: mean square error inside it; mask: mean square
    error of the mask itself. The soft mask is the blurred target mask, so its surroundings count a little.
    """
    target = torch.cat([batch.src.target, batch.dst.target]).float()
    mask = torch.cat([batch.src.mask, batch.dst.mask]).float()
    face = torch.cat([drawn.src_src, drawn.dst_dst])
    drawn_mask = torch.cat([drawn.src_mask, drawn.dst_mask])
    size = target.shape[-1]
    soft = gaussian_blur(mask, max(1, size // 32))
    wanted, got = target * soft, face * soft
    both = {
        "structure": dssim(wanted, got, int(size / 11.6)).mean(1),
        "pixel": (wanted - got).square().mean((1, 2, 3)),
        "mask": (mask - drawn_mask).square().mean((1, 2, 3)),
    }
    count = len(batch.src.target)
    return {f"src_{name}": value[:count] for name, value in both.items()} | {
        f"dst_{name}": value[count:] for name, value in both.items()
    }


def per_person(losses: Mapping[str, Tensor], weights: Mapping[str, float] = QUICK96_WEIGHTS) -> dict[str, Tensor]:
    """Weighted sums of `quick96_losses` for each person: {"src": (B,), "dst": (B,)}.

    These are the two numbers that the reference reports, and their sum over everything is what is minimised.
    """
    sums: dict[str, Tensor] = {}
    for name, value in losses.items():
        person, _, kind = name.partition("_")
        term = weights[kind] * value
        sums[person] = sums[person] + term if person in sums else term
    return sums


def dssim(target: Tensor, drawn: Tensor, filter_size: int) -> Tensor:
    """Structural dissimilarity, 0 (equal) to 1, of (B,C,H,W) pictures in 0..1 → (B,C).

    Gaussian window of `filter_size` taps (even sizes too) with a deviation of 1.5 pixels, only where it fits whole.
    The gradient goes to both pictures.
    """
    taps = max(1, filter_size)
    maps = torch.stack([target, drawn, target * drawn, target * target + drawn * drawn])
    mean_target, mean_drawn, product, squares = _separable(maps, taps, 1.5, padding=0).unbind(0)
    means, powers = 2 * mean_target * mean_drawn, mean_target.square() + mean_drawn.square()
    luminance = (means + 1e-4) / (powers + 1e-4)
    contrast = (2 * product - means + 9e-4) / (squares - powers + 9e-4)
    return (1 - (luminance * contrast).mean((-2, -1))) / 2


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Blur (B,C,H,W) with a Gaussian of `sigma` pixels; beyond the edge there is black, so masks fade at the border."""
    taps = max(3, int(4 * sigma))
    taps += 1 - taps % 2
    return _separable(image, taps, sigma, padding=taps // 2)


def _separable(maps: Tensor, taps: int, sigma: float, *, padding: int) -> Tensor:
    """Filter the last two axes: rows from the left, columns from the right."""
    height, width = maps.shape[-2:]
    columns = _band(width, taps, sigma, padding, maps.device)
    rows = columns if height == width else _band(height, taps, sigma, padding, maps.device)
    return torch.matmul(rows.mT, torch.matmul(maps, columns))


@lru_cache(maxsize=64)
def _band(size: int, taps: int, sigma: float, padding: int, device: torch.device) -> Tensor:
    """(size, size + 2·padding − taps + 1): column j holds the window that makes output j, of sum one."""
    centre = padding if padding else (taps - 1) / 2
    window = [math.exp(-((i - centre) ** 2) / (2 * sigma**2)) for i in range(taps)]
    total = math.fsum(window)
    outputs = size + 2 * padding - taps + 1
    band = torch.zeros(size, outputs, dtype=torch.float32)
    for j in range(outputs):
        for i, weight in enumerate(window):
            if 0 <= j + i - padding < size:
                band[j + i - padding, j] = weight / total
    return band.to(device)
