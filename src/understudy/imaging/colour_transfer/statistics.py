"""Means, deviations and covariances of the pixels of a batch, everywhere or inside masks."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor


class Where(NamedTuple):
    """Where colours are measured: (B,1,H,W) bool of the pictures and (B,1,h,w) of the references; None: everywhere.

    What is measured there changes all pixels. A picture whose mask, or whose reference's, is empty comes back as it is.
    """

    pictures: Tensor | None = None
    references: Tensor | None = None

    @property
    def flat(self) -> tuple[Tensor | None, Tensor | None]:
        """(B,1,N) each."""
        ours, theirs = self
        return None if ours is None else ours.flatten(2), None if theirs is None else theirs.flatten(2)

    def kept_where_empty(self, changed: Tensor, pictures: Tensor) -> Tensor:
        """`changed`, but the picture itself where there is nothing to match."""
        filled = [mask.flatten(1).any(1) for mask in self if mask is not None]
        if not filled:
            return changed
        there = torch.stack(filled).all(0)
        if there.device.type == "cpu" and bool(there.all()):  # elsewhere nobody waits for the answer
            return changed
        return torch.where(there[:, None, None, None], changed, pictures)


EVERYWHERE = Where()


class Moments(NamedTuple):
    """mean and deviation (B,3,1,1) of each channel, the deviation that of all pixels (divided by their number)."""

    mean: Tensor
    deviation: Tensor


def moments(pictures: Tensor, inside: Tensor | None = None) -> Moments:
    """Of pictures (B,3,H,W), where `inside` (B,1,H,W) bool is true; 0 where it is nowhere."""
    if pictures.device.type == "cpu":
        return _moments_of_rows(pictures, inside)
    return moments_by_formula(pictures, inside)


def moments_by_formula(pictures: Tensor, inside: Tensor | None = None) -> Moments:
    """`moments` in plain operations, for every device."""
    if inside is None:
        mean = pictures.mean((2, 3), keepdim=True)
        return Moments(mean, (pictures - mean).square().mean((2, 3), keepdim=True).sqrt())
    weight = _weights(inside, pictures)
    mean = (pictures * weight).sum((2, 3), keepdim=True)
    variance = ((pictures - mean).square() * weight).sum((2, 3), keepdim=True)
    return Moments(mean, variance.sqrt())


def _moments_of_rows(pictures: Tensor, inside: Tensor | None) -> Moments:
    """By OpenCV, in float64, of channels that lie side by side."""
    rows = pictures.permute(0, 2, 3, 1).contiguous().numpy()
    masks = [None] * len(rows) if inside is None else [mask.numpy() for mask in inside[:, 0].to(torch.uint8)]
    found = np.array([cv2.meanStdDev(row, mask=mask) for row, mask in zip(rows, masks, strict=True)], np.float32)
    mean, deviation = torch.from_numpy(found)[..., None].unbind(1)
    return Moments(mean, deviation)


def in_float64(values: Tensor) -> Tensor:
    """In float64, where the device has it, else on the processor."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def covariance(pictures: Tensor, inside: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (B,3,1), covariance (B,3,3) of all pixels, float64, and the number of pixels (B,1,1)."""
    flat = pictures.flatten(2)
    if inside is None:
        mean = flat.mean(2, keepdim=True)
        centred = in_float64(flat - mean)
        count = torch.full_like(centred[:, :1, :1], flat.shape[2])
        return mean, centred @ centred.mT / count, count
    weight = _weights(inside, pictures).flatten(2)
    mean = (flat * weight).sum(2, keepdim=True)
    centred = in_float64(flat - mean)
    count = in_float64(inside.flatten(2).sum(2, keepdim=True))
    return mean, (centred * weight.to(centred.device)) @ centred.mT, count


def _weights(inside: Tensor, pictures: Tensor) -> Tensor:
    """(B,1,H,W) that add up to 1 over the pixels inside."""
    weight = inside.to(pictures.dtype)
    return weight / weight.sum((2, 3), keepdim=True).clamp_min(1)
