"""Losses that a person can add to those of every class: each looks at the same pictures in its own way.

    multiscale   structure at several sizes at once        Wang, Simoncelli and Bovik 2003
    frequency    waves that are missing, the worst first   Jiang, Dai, Wu and Loy 2021
    gradient     edges: their place and strength           Sobel's derivatives
    laplacian    detail of every size, each by itself      Burt and Adelson 1983, Bojanowski and others 2018

Pictures are (B,C,S,S) float32 in 0..1; each function gives one number per sample, 0 for equal pictures.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.training.losses.blocks import similarity

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""What the sizes count in MS-SSIM, the full size first, as measured with people by its authors."""

WINDOW = 11
"""Taps of MS-SSIM's window, with a deviation of 1.5 pixels."""

LEAST_SIMILARITY = 1e-4
"""Means below this count as this: a root of something negative is no number, and the root's slope at 0 is endless."""

LEAST_SIDE = 8
"""Pixels below which a picture is not halved for the Laplacian pyramid."""

PYRAMID = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def multiscale(target: Tensor, drawn: Tensor) -> Tensor:
    """1 − MS-SSIM, mean over the channels: (B,).

    At every size but the smallest only contrast and structure count, at the smallest brightness too. Sizes in which the
    window does not fit are left out and the others count so much more: 64 px has three sizes, 176 px all five.
    """
    count = scales_of(target.shape[-1])
    weights = torch.tensor(SCALE_WEIGHTS[:count])
    product = target.new_ones(target.shape[:2])
    for index, weight in enumerate((weights / weights.sum()).tolist()):
        if index:
            target, drawn = (F.avg_pool2d(part, 2) for part in (target, drawn))
        luminance, contrast = similarity(target, drawn, WINDOW)
        maps = luminance * contrast if index == count - 1 else contrast
        product = product * maps.mean((-2, -1)).clamp(min=LEAST_SIMILARITY) ** weight
    return 1 - product.mean(1)


def frequency(target: Tensor, drawn: Tensor) -> Tensor:
    """Focal frequency loss, mean over channels and waves: (B,).

    The squared difference of each wave's amplitude (orthonormal Fourier transform), counted by how large it is beside
    the largest difference of its channel. That weight has no gradient: it says where to look.
    """
    waves = torch.fft.rfft2(drawn - target, norm="ortho")
    power = waves.real.square() + waves.imag.square()
    amplitude = power.detach().sqrt()
    largest = amplitude.amax((-2, -1), keepdim=True)
    focus = amplitude / torch.where(largest > 0, largest, torch.ones_like(largest))
    counted: Tensor = (focus * power * _twins(target.shape[-1], target.device)).sum((-2, -1)).mean(1)
    return counted / target[0, 0].numel()


def gradient(target: Tensor, drawn: Tensor) -> Tensor:
    """Mean distance of the changes from pixel to pixel, across and down, by Sobel's kernels: (B,)."""
    difference = target - drawn
    down, across = (_smooth(_slope(difference, axis), 5 - axis) for axis in (2, 3))
    return (down.abs().mean((1, 2, 3)) + across.abs().mean((1, 2, 3))) / 2


def laplacian(target: Tensor, drawn: Tensor) -> Tensor:
    """Mean distance in each band of the Laplacian pyramid, and in what remains below it, added up: (B,)."""
    left = target - drawn
    total = left.new_zeros(len(left))
    while left.shape[-1] % 2 == 0 and left.shape[-1] // 2 >= LEAST_SIDE:
        shrink, grow = _halving(left.shape[-1], left.device)
        smaller = shrink.mT @ (left @ shrink)
        total = total + (left - grow.mT @ (smaller @ grow)).abs().mean((1, 2, 3))
        left = smaller
    return total + left.abs().mean((1, 2, 3))


def scales_of(size: int) -> int:
    """How many sizes MS-SSIM compares pictures of `size` pixels at: one to five."""
    fitting = [count for count in range(len(SCALE_WEIGHTS)) if size >> count >= WINDOW]
    return max(1, len(fitting))


def _slope(image: Tensor, axis: int) -> Tensor:
    """Half the difference of the two neighbours."""
    size = image.shape[axis]
    return (image.narrow(axis, 2, size - 2) - image.narrow(axis, 0, size - 2)) / 2


def _smooth(image: Tensor, axis: int) -> Tensor:
    """A quarter, a half and a quarter."""
    size = image.shape[axis]
    ends = image.narrow(axis, 2, size - 2) + image.narrow(axis, 0, size - 2)
    return ends / 4 + image.narrow(axis, 1, size - 2) / 2


@lru_cache(maxsize=16)
def _twins(size: int, device: torch.device) -> Tensor:
    """(size//2+1,): how often each column of half a spectrum is in the whole one."""
    counts = np.full(size // 2 + 1, 2.0, np.float32)
    counts[0] = 1
    if size % 2 == 0:
        counts[-1] = 1
    return torch.from_numpy(counts).to(device)


@lru_cache(maxsize=32)
def _halving(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(size, size/2) and (size/2, size): blur and take every other pixel; zeros between the pixels and twice the blur.

    The blur is the pyramid's, with the border mirrored.
    """
    at = np.abs(np.arange(size)[:, None] + np.arange(-2, 3))
    at = np.where(at > size - 1, 2 * (size - 1) - at, at)
    blur = np.zeros((size, size), np.float32)
    np.add.at(blur, (at, np.arange(size)[:, None]), np.array(PYRAMID, np.float32))
    return torch.from_numpy(blur[:, ::2].copy()).to(device), torch.from_numpy(2 * blur[::2]).to(device)
