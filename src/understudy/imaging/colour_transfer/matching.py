"""Histogram matching: each channel gets the distribution of another picture's, exactly."""

from __future__ import annotations

import torch
from torch import Tensor

from understudy.imaging.colour_transfer.histograms import interpolated


def match_histograms(pictures: Tensor, references: Tensor, *, threshold: float = 255.0) -> Tensor:
    """(B,C,H,W) and (B,C,h,w) → (B,C,H,W): every value goes to what lies at its share of the ranks in the reference.

    threshold: 0..255, the share of the reference's range that is used, from the dark end; 255: all of it.
    """
    matched = torch.empty_like(pictures)
    for picture, reference, result in zip(pictures, references, matched, strict=True):
        for ours, theirs, out in zip(picture, reference, result, strict=True):
            out.copy_(_matched(ours, theirs, threshold))
    return matched


def _matched(ours: Tensor, theirs: Tensor, threshold: float) -> Tensor:
    """One channel (H,W)."""
    _, place, count = torch.unique(ours, return_inverse=True, return_counts=True)
    levels, count_theirs = torch.unique(theirs, return_counts=True)
    ranks = threshold * count.cumsum(0).double() / ours.numel()
    ranks_theirs = 255 * count_theirs.cumsum(0).double() / theirs.numel()
    if len(levels) == 1:
        return theirs.flatten()[:1].expand_as(ours)
    targets = interpolated(ranks, ranks_theirs, levels.double()).to(ours.dtype)
    matched: Tensor = targets.index_select(0, place.flatten()).reshape(ours.shape)
    return matched
