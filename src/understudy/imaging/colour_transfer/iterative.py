"""idt: distributions matched along random axes, a twentieth of the way in each of 20 steps, which comes to two thirds.

After Pitié, Kokaram and Dahyot, "N-dimensional probability density function transfer and its application to colour
transfer", 2005.
"""

from __future__ import annotations

from torch import Tensor

from understudy.imaging.colour_transfer.faithful_iterative import BINS, RELAXATION, faithful_idt
from understudy.imaging.colour_transfer.histograms import Axes, Box, Sampled, counts, looked_up, mean_moves
from understudy.imaging.colour_transfer.statistics import EVERYWHERE, Where

SAMPLES = 4096
"""Pixels of a picture at which its colours are measured, unless it is done faithfully."""


def idt(
    pictures: Tensor, references: Tensor, rotations: Tensor, where: Where = EVERYWHERE, *, faithful: bool = False
) -> Tensor:
    """(B,3,H,W) and (B,3,h,w) RGB 0..1, rotations (B,steps,3,3) → (B,3,H,W) in 0..1.

    Measured at 4096 pixels; the pixels of a bin move alike, to where their share of the other picture is on average.

    faithful: the reference's form, see `faithful_iterative`, measured everywhere whatever the masks.
    """
    if faithful:
        return faithful_idt(pictures, references, rotations).clamp(0, 1)
    ours, theirs = pictures.flatten(2), references.flatten(2)
    places = Sampled.of(pictures, where.pictures, SAMPLES)
    places_theirs = Sampled.of(references, where.references, SAMPLES)
    theirs = places_theirs.pick(theirs)
    moved, box = ours.clone(), Box.around(ours, theirs)
    for rotation in rotations.to(pictures).unbind(1):
        axes = Axes.within(box, rotation, bins=BINS)
        bins = axes.binned(moved)
        moves = mean_moves(counts(places.pick(bins), BINS), counts(axes.binned(theirs), BINS))
        moved.baddbmm_(RELAXATION * (rotation * axes.width).mT, looked_up(moves, bins))
    return where.kept_where_empty(moved.view_as(pictures).clamp_(0, 1), pictures)
