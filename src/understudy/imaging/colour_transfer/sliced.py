"""sot: distributions matched along random directions, and the change smoothed, so that detail stays as it was.

After Rabin, Peyré, Delon and Bernot, "Wasserstein barycenter and its application to texture mixing", 2011. The exact
form sorts the pixels along each direction. The usual one counts them in 512 bins, whose mean moves are looked up:
along one direction a pixel lands within a bin of where it should; over 50 directions, smoothed, that comes to less
than a level of 255.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.imaging.colour_transfer.histograms import Axes, Box, Sampled, counts, looked_up, mean_moves
from understudy.imaging.colour_transfer.smoothing import bilateral, windowed_gaussian
from understudy.imaging.colour_transfer.statistics import EVERYWHERE, Where

Pixels = NDArray[np.float32]

BINS = 512
SAMPLES = 8192
"""Pixels inside a mask at which colours are measured. Without masks all are."""

SIGMA_SPACE, SIGMA_VALUE = 16.0, 5.0
"""Of the smoothing, in pixels and in units of the values."""


def sot(
    pictures: Tensor,
    references: Tensor,
    directions: Tensor,
    where: Where = EVERYWHERE,
    *,
    smoothed: bool = True,
) -> Tensor:
    """(B,3,H,W) and (B,3,h,w) RGB 0..1, directions (B,steps,batch,3) of length 1 → (B,3,H,W), not clipped.

    All directions of a step see the same picture, whose pixels then make the mean of their moves. smoothed: with a
    Gaussian of 16 pixels over the change.
    """
    ours, theirs = pictures.flatten(2), references.flatten(2)
    places, places_theirs = _measured(pictures, where.pictures), _measured(references, where.references)
    theirs = places_theirs.pick(theirs)
    moved, box = ours.clone(), Box.around(ours, theirs)
    for step in directions.to(pictures).unbind(1):
        axes = Axes.within(box, step, bins=BINS)
        bins = axes.binned(moved)
        moves = mean_moves(counts(places.pick(bins), BINS), counts(axes.binned(theirs), BINS))
        moved.baddbmm_((step * axes.width).mT / step.shape[1], looked_up(moves, bins))
    change = moved.view_as(pictures) - pictures
    if smoothed:
        change = windowed_gaussian(change, SIGMA_SPACE)
    return where.kept_where_empty(pictures + change, pictures)


def _measured(pictures: Tensor, inside: Tensor | None) -> Sampled:
    """Which pixels are counted."""
    return Sampled.of(pictures, inside, SAMPLES if inside is not None else pictures[0, 0].numel())


def sorted_sot(
    pictures: Tensor, references: Tensor, directions: Tensor, *, smoothed: bool = True, sigma_value: float = SIGMA_VALUE
) -> Tensor:
    """The exact form of `sot`, as the reference has it, on the processor: both pictures of one size, of any range, and
    everywhere. smoothed: by a bilateral filter.

    Equal values move as NumPy's sort happens to order them: with vector instructions otherwise than without.
    """
    if pictures.shape != references.shape:
        raise ValueError(f"sorted_sot needs pictures of one size, not {pictures.shape} and {references.shape}")
    flat, flat_references = (images.flatten(2).mT.cpu().numpy() for images in (pictures, references))
    moved = np.stack([_sorted(*one) for one in zip(flat, flat_references, directions.numpy(), strict=True)])
    change = torch.from_numpy(moved).mT.to(pictures).view_as(pictures) - pictures
    return pictures + (bilateral(change, SIGMA_SPACE, sigma_value) if smoothed else change)


def _sorted(picture: Pixels, reference: Pixels, directions: Pixels) -> Pixels:
    """One picture (N,3) by `directions` (steps,batch,3)."""
    moved = np.ascontiguousarray(picture)
    for step in directions:
        moves = np.zeros_like(moved)
        for direction in step:
            along, along_reference = moved @ direction, reference @ direction
            order = np.argsort(along)
            distance = np.sort(along_reference) - along[order]
            moves[order] += distance[:, None] * direction
        moved = moved + moves / np.float32(len(step))
    return moved
