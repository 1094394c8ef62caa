"""How well faces were redrawn: structural similarity inside the face, and how far two masks agree.

Pictures are (B,3,H,W) RGB, masks (B,1,H,W); float tensors in 0..1 on any device. One number per face comes out, (B,).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
_LUMA = (0.299, 0.587, 0.114)


def ssim(first: Tensor, second: Tensor, mask: Tensor | None = None) -> Tensor:
    """Structural similarity of the brightness, −1 to 1 (equal): (B,).

    Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004: Gaussian window of 11
    pixels with σ 1.5, only where it fits whole. mask: the mean is weighted by it; None: all pixels count alike. Where
    the mask is empty, 1.
    """
    one, two = luma(first), luma(second)
    mean1, mean2, square1, square2, product = _blurred(
        torch.cat([one, two, one * one, two * two, one * two], dim=1)
    ).unbind(1)
    variance1, variance2 = square1 - mean1 * mean1, square2 - mean2 * mean2
    covariance = product - mean1 * mean2
    above = (2 * mean1 * mean2 + C1) * (2 * covariance + C2)
    below = (mean1 * mean1 + mean2 * mean2 + C1) * (variance1 + variance2 + C2)
    values = above / below
    if mask is None:
        return values.mean((1, 2))
    edge = WINDOW // 2
    weight = mask[:, 0, edge:-edge, edge:-edge].float()
    total = weight.sum((1, 2))
    return torch.where(total > 0, (values * weight).sum((1, 2)) / total.clamp(min=1e-9), torch.ones_like(total))


def mask_iou(first: Tensor, second: Tensor, *, threshold: float = 0.5) -> Tensor:
    """Intersection over union of two masks where they exceed a threshold, 0 to 1: (B,). Two empty masks agree: 1."""
    one, two = first > threshold, second > threshold
    both = (one & two).sum((1, 2, 3)).float()
    either = (one | two).sum((1, 2, 3)).float()
    return torch.where(either > 0, both / either.clamp(min=1), torch.ones_like(either))


def luma(pictures: Tensor) -> Tensor:
    """The brightness (B,1,H,W) of pictures (B,3,H,W), weights of BT.601, float32."""
    weights = torch.tensor(_LUMA, dtype=torch.float32, device=pictures.device)
    return (pictures.float() * weights.view(1, 3, 1, 1)).sum(1, keepdim=True)


def _blurred(maps: Tensor) -> Tensor:
    """(B,C,H,W) → (B,C,H−10,W−10)."""
    taps = torch.arange(WINDOW, dtype=torch.float32, device=maps.device) - WINDOW // 2
    window = torch.exp(-taps.square() / (2 * SIGMA**2))
    window = window / window.sum()
    batch, channels, height, width = maps.shape
    flat = maps.reshape(batch * channels, 1, height, width)
    flat = F.conv2d(F.conv2d(flat, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    return flat.reshape(batch, channels, *flat.shape[-2:])
