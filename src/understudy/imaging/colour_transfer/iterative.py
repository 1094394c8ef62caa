"""idt: distributions matched along random axes, a twentieth of the way in each of 20 steps, which comes to two thirds.

After Pitié, Kokaram and Dahyot, "N-dimensional probability density function transfer and its application to colour
transfer", 2005.
"""

from __future__ import annotations

import torch
from torch import Tensor

from understudy.imaging.colour_transfer.histograms import (
    Axes,
    Box,
    Sampled,
    binned,
    counts,
    interpolated,
    looked_up,
    mean_moves,
    shares,
)
from understudy.imaging.colour_transfer.statistics import EVERYWHERE, Where

BINS = 256
RELAXATION = 1 / 20

SAMPLES = 4096
"""Pixels of a picture at which its colours are measured, unless it is done faithfully."""


def idt(
    pictures: Tensor, references: Tensor, rotations: Tensor, where: Where = EVERYWHERE, *, faithful: bool = False
) -> Tensor:
    """(B,3,H,W) and (B,3,h,w) RGB 0..1, rotations (B,steps,3,3) → (B,3,H,W) in 0..1.

    Measured at 4096 pixels; the pixels of a bin move alike, to where their share of the
    other picture is on average.

    faithful: the reference's form, measured everywhere and at all pixels, which move in proportion between the ends of
    their bins. Those in the lowest of the 256 bins of an axis go towards the value 0 of that axis, wherever that lies.
    """
    ours, theirs = pictures.flatten(2), references.flatten(2)
    turns = rotations.to(pictures).unbind(1)
    if faithful:
        for rotation in turns:
            ours = ours + RELAXATION * (rotation.mT @ _faithful_moves(rotation @ ours, rotation @ theirs))
        return ours.view_as(pictures).clamp(0, 1)
    places = Sampled.of(pictures, where.pictures, SAMPLES)
    places_theirs = Sampled.of(references, where.references, SAMPLES)
    theirs = places_theirs.pick(theirs)
    moved, box = ours.clone(), Box.around(ours, theirs)
    for rotation in turns:
        axes = Axes.within(box, rotation, bins=BINS)
        bins = axes.binned(moved)
        moves = mean_moves(counts(places.pick(bins), BINS), counts(axes.binned(theirs), BINS))
        moved.baddbmm_(RELAXATION * (rotation * axes.width).mT, looked_up(moves, bins))
    return where.kept_where_empty(moved.view_as(pictures).clamp_(0, 1), pictures)


def _faithful_moves(axes: Tensor, axes_theirs: Tensor) -> Tensor:
    """How far the values along each axis, (B,3,N), have to go to be distributed as the others. Overwrites both."""
    low = torch.minimum(axes.amin(2, keepdim=True), axes_theirs.amin(2, keepdim=True))
    high = torch.maximum(axes.amax(2, keepdim=True), axes_theirs.amax(2, keepdim=True))
    width = ((high - low) / BINS).clamp_min(1e-12)
    places, places_theirs = (values.sub_(low).div_(width) for values in (axes, axes_theirs))
    bins, bins_theirs = binned(places.clone(), BINS), binned(places_theirs, BINS)
    start, slope = _lines(counts(bins, BINS), counts(bins_theirs, BINS), -low / width)
    return looked_up(start, bins).addcmul_(looked_up(slope, bins), places).mul_(width)


def _lines(ours: Tensor, theirs: Tensor, zero: Tensor) -> tuple[Tensor, Tensor]:
    """By how many bins a value moves, as a line for each bin: start + slope · place.

    ours, theirs: (B,3,256) counts. zero: (B,3,1) the place of the value 0. Between the upper ends of two bins the line
    leads from one's target to the other's; from the lowest bin all goes to 0.
    """
    edges = torch.arange(1, BINS + 1, dtype=ours.dtype, device=ours.device).expand_as(ours)
    ends = interpolated(shares(ours), shares(theirs), edges)
    slope = ends.diff(dim=-1, prepend=ends[..., :1])
    start = ends - slope * edges
    start[..., :1] = zero
    return start, slope - 1
