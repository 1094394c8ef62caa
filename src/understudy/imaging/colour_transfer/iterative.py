"""idt: distributions matched along random axes, a twentieth of the way in each of 20 steps, which comes to two thirds.

After Pitié, Kokaram and Dahyot, "N-dimensional probability density function transfer and its application to colour
transfer", 2005.
"""

from __future__ import annotations

import torch
from torch import Tensor

from understudy.imaging.colour_transfer.histograms import counts, interpolated, looked_up, shares
from understudy.imaging.colour_transfer.statistics import EVERYWHERE, Where

BINS = 256
RELAXATION = 1 / 20


def idt(
    pictures: Tensor,
    references: Tensor,
    rotations: Tensor,
    where: Where = EVERYWHERE,
    *,
    faithful: bool = False,
) -> Tensor:
    """(B,3,H,W) and (B,3,h,w) RGB 0..1, rotations (B,steps,3,3) → (B,3,H,W) in 0..1.

    faithful: pixels in the lowest of the 256 bins of an axis go towards the value 0 of that axis, wherever that lies,
    as the reference's do. Otherwise they go where their bin belongs.
    """
    moved, theirs = pictures.flatten(2), references.flatten(2)
    inside, inside_theirs = where.flat
    for rotation in rotations.to(pictures).unbind(1):
        axes, axes_theirs = rotation @ moved, rotation @ theirs
        low = torch.minimum(axes.amin(2, keepdim=True), axes_theirs.amin(2, keepdim=True))
        high = torch.maximum(axes.amax(2, keepdim=True), axes_theirs.amax(2, keepdim=True))
        width = ((high - low) / BINS).clamp_min(1e-12)
        places = (axes - low) / width
        bins = places.to(torch.int32).clamp_max_(BINS - 1)
        bins_theirs = ((axes_theirs - low) / width).to(torch.int32).clamp_max_(BINS - 1)
        ours = counts(bins, BINS, inside)
        start, slope = _moves(ours, counts(bins_theirs, BINS, inside_theirs), -low / width, faithful=faithful)
        moves = looked_up(start, bins) + looked_up(slope, bins) * places
        moved = moved + RELAXATION * (rotation.mT @ (moves * width))
    return where.kept_where_empty(moved.view_as(pictures).clamp(0, 1), pictures)


def _moves(ours: Tensor, theirs: Tensor, zero: Tensor, *, faithful: bool) -> tuple[Tensor, Tensor]:
    """Where the values of each bin go, as a line: to `place + start + slope · place`, in bins.

    ours, theirs: (B,3,256) counts. zero: (B,3,1) the place of the value 0. Between the upper ends of two bins the line
    leads from one's target to the other's; only the lowest bin differs.
    """
    edges = torch.arange(1, BINS + 1, dtype=ours.dtype, device=ours.device).expand_as(ours)
    ends = interpolated(shares(ours), shares(theirs), edges)
    first = zero.to(ends) if faithful else interpolated(torch.zeros_like(zero, dtype=ends.dtype), shares(theirs), edges)
    begins = torch.cat([first, ends[..., :-1]], -1)
    slope = ends - begins
    start = begins - slope * (edges - 1)
    if faithful:
        slope[..., 0], start[..., 0] = 0, zero[..., 0]
    return start, slope - 1
