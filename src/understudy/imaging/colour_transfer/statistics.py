"""Means, deviations and covariances of the pixels of a batch, everywhere or inside masks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Moments(NamedTuple):
    """mean and deviation (B,3,1,1) of each channel, the deviation that of all pixels (divided by their number)."""

    mean: Tensor
    deviation: Tensor


def moments(pictures: Tensor, inside: Tensor | None = None) -> Moments:
    """Of pictures (B,3,H,W), where `inside` (B,1,H,W) bool is true; 0 where it is nowhere."""
    if inside is None:
        variance, mean = torch.var_mean(pictures, (2, 3), correction=0, keepdim=True)
        return Moments(mean, variance.sqrt())
    weight = _weights(inside, pictures)
    mean = (pictures * weight).sum((2, 3), keepdim=True)
    variance = ((pictures - mean).square() * weight).sum((2, 3), keepdim=True)
    return Moments(mean, variance.sqrt())


def covariance(pictures: Tensor, inside: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (B,3,1), covariance (B,3,3) of all pixels, float64, and the number of pixels (B,1,1)."""
    flat = pictures.flatten(2)
    if inside is None:
        count = torch.full((len(pictures), 1, 1), flat.shape[2], dtype=torch.float64, device=flat.device)
        mean = flat.mean(2, keepdim=True)
        centred = (flat - mean).double()
        return mean, centred @ centred.mT / count, count
    weight = _weights(inside, pictures).flatten(2)
    mean = (flat * weight).sum(2, keepdim=True)
    centred = (flat - mean).double()
    count = inside.flatten(2).sum(2, keepdim=True).double()
    return mean, (centred * weight) @ centred.mT, count


def measurable(pictures: Tensor, *masks: Tensor | None) -> Tensor | None:
    """(B,1,1,1) bool: whether every mask given holds a pixel of its picture; None where no mask is given."""
    given = [mask.flatten(1).any(1) for mask in masks if mask is not None]
    if not given:
        return None
    return torch.stack(given).all(0)[:, None, None, None].to(pictures.device)


def kept_where_empty(changed: Tensor, pictures: Tensor, *masks: Tensor | None) -> Tensor:
    """`changed`, but the picture itself where one of its masks is empty: there is nothing to match then."""
    enough = measurable(pictures, *masks)
    return changed if enough is None else torch.where(enough, changed, pictures)


def _weights(inside: Tensor, pictures: Tensor) -> Tensor:
    """(B,1,H,W) that add up to 1 over the pixels inside."""
    weight = inside.to(pictures.dtype)
    return weight / weight.sum((2, 3), keepdim=True).clamp_min(1)
