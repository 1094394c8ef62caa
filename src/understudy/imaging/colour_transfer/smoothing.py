"""Smoothing as OpenCV's bilateral filter does it: a Gaussian inside a disc of 1.5 sigma, mirrored borders."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor


def windowed_gaussian(pictures: Tensor, sigma: float) -> Tensor:
    """(B,C,H,W) smoothed by a Gaussian of `sigma` pixels, cut off at the disc of round(1.5·sigma)."""
    radius = round(1.5 * sigma)
    height, width = pictures.shape[2:]
    rows, columns = (_mirrored(side, radius, pictures.device) for side in (height, width))
    padded = pictures.index_select(2, rows).index_select(3, columns)
    spectrum = torch.fft.rfft2(padded) * _transfer(len(rows), len(columns), sigma, pictures.device)
    smooth: Tensor = torch.fft.irfft2(spectrum, s=padded.shape[2:])
    return smooth[..., radius : radius + height, radius : radius + width]


def bilateral(pictures: Tensor, sigma: float, sigma_value: float) -> Tensor:
    """OpenCV's bilateral filter of each picture (B,3,H,W), of any range, on the processor.

    Weights: a Gaussian of the distance, and one of the sum over the channels of how far the values are apart.
    """
    rows = pictures.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    smooth = np.stack([cv2.bilateralFilter(picture, 0, sigma_value, sigma) for picture in rows])
    return torch.from_numpy(smooth).permute(0, 3, 1, 2).to(pictures.device)


@lru_cache(maxsize=16)
def _mirrored(side: int, radius: int, device: torch.device) -> Tensor:
    """Indexes of a row of `side` with `radius` mirrored ones on both sides; the outermost is not repeated."""
    period = max(2 * (side - 1), 1)
    place = torch.arange(-radius, side + radius, device=device).remainder(period)
    return torch.minimum(place, period - place).clamp_max(side - 1)


@lru_cache(maxsize=16)
def _transfer(height: int, width: int, sigma: float, device: torch.device) -> Tensor:
    """The kernel's spectrum on a grid of that size, real since the kernel is even."""
    radius = round(1.5 * sigma)
    axis = torch.arange(-radius, radius + 1, dtype=torch.float64)
    squared = axis[:, None].square() + axis.square()
    kernel = torch.where(squared <= radius**2, torch.exp(-squared / (2 * sigma**2)), 0)
    grid = torch.zeros(max(height, 2 * radius + 1), max(width, 2 * radius + 1), dtype=torch.float64)
    grid[: 2 * radius + 1, : 2 * radius + 1] = kernel / kernel.sum()
    spectrum: Tensor = torch.fft.rfft2(grid.roll((-radius, -radius), (0, 1)))
    return spectrum.real.float().to(device)
