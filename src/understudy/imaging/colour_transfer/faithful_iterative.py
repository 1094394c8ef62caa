"""idt as the reference program has it: measured everywhere and at all pixels, which move in proportion between the ends
of their bins. Those in the lowest of the 256 bins of an axis go towards the value 0 of that axis, wherever that lies.

On a processor OpenCV counts and looks up, in bytes, which is quicker than the plain operations of other devices.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.imaging.colour_transfer.histograms import binned, counts, interpolated, looked_up, shares

BINS = 256
RELAXATION = 1 / 20
NARROWEST = 1e-12
"""Of a bin, where all values of an axis are one."""

Values = NDArray[np.float32]
Bins = NDArray[np.uint8]


def faithful_idt(pictures: Tensor, references: Tensor, rotations: Tensor) -> Tensor:
    """(B,3,H,W) and (B,3,h,w) RGB 0..1, rotations (B,steps,3,3) → (B,3,H,W), not clipped."""
    if pictures.device.type == "cpu":
        moved = _moved_in_bytes(*(part.float().numpy() for part in (pictures, references, rotations)))
        return torch.from_numpy(moved).to(pictures)
    return faithful_idt_by_formula(pictures, references, rotations)


def faithful_idt_by_formula(pictures: Tensor, references: Tensor, rotations: Tensor) -> Tensor:
    """`faithful_idt` in plain operations, for every device."""
    ours, theirs = pictures.flatten(2), references.flatten(2)
    for rotation in rotations.to(pictures).unbind(1):
        ours = ours + RELAXATION * (rotation.mT @ _moves(rotation @ ours, rotation @ theirs))
    return ours.view_as(pictures)


def _moves(axes: Tensor, axes_theirs: Tensor) -> Tensor:
    """How far the values along each axis, (B,3,N), have to go to be distributed as the others. Overwrites both."""
    low = torch.minimum(axes.amin(2, keepdim=True), axes_theirs.amin(2, keepdim=True))
    high = torch.maximum(axes.amax(2, keepdim=True), axes_theirs.amax(2, keepdim=True))
    width = ((high - low) / BINS).clamp_min(NARROWEST)
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


def _moved_in_bytes(pictures: Values, references: Values, rotations: Values) -> Values:
    """`faithful_idt_by_formula` of arrays, (B,3,H,W), (B,3,h,w) and (B,steps,3,3)."""
    moved = np.array(pictures, order="C")
    bins, entries = np.empty(moved.shape, np.uint8), np.empty_like(moved)
    bins_theirs, room = np.empty(references.shape, np.uint8), np.empty_like(references)
    for rotation in rotations.swapaxes(0, 1):
        places, places_theirs = _turned(rotation, moved), _turned(rotation, references)
        low = np.minimum(_ends(np.min, places), _ends(np.min, places_theirs))
        high = np.maximum(_ends(np.max, places), _ends(np.max, places_theirs))
        width = np.maximum((high - low) / BINS, np.float32(NARROWEST))
        _find_bins(places, low, width, entries, bins)
        _find_bins(places_theirs, low, width, room, bins_theirs)
        start, slope = _lines(_counts(bins), _counts(bins_theirs), torch.from_numpy(-low / width)[..., 0])
        places *= _looked_up(slope, bins, entries)
        places += _looked_up(start, bins, entries)
        back = np.float32(RELAXATION) * width[..., 0] * rotation
        moved += _turned(back.swapaxes(1, 2), places)
    return moved


def _turned(matrices: Values, values: Values) -> Values:
    """Every pixel of (B,3,H,W) multiplied by the matrix (3,3) of its picture."""
    turned: Values = (matrices @ values.reshape(*values.shape[:2], -1)).reshape(values.shape)
    return turned


def _ends(end: Callable[..., Values], values: Values) -> Values:
    """(B,3,1,1): the least or greatest value of each plane."""
    return end(values.reshape(*values.shape[:2], -1), axis=2)[..., None, None]


def _find_bins(values: Values, low: Values, width: Values, room: Values, bins: Bins) -> None:
    """Turn values into places in bins, and write into `bins` which those are; the upper end belongs to the last.

    room: of the shape of the values, for what lies between."""
    values -= low
    values /= width
    np.copyto(bins, np.minimum(values, np.float32(BINS - 1), out=room), casting="unsafe")


def _counts(bins: Bins) -> Tensor:
    """(B,3,256) float64: how often each bin of a plane occurs in it."""
    found = [cv2.calcHist([plane], [0], None, [BINS], [0, BINS]) for picture in bins for plane in picture]
    return torch.from_numpy(np.array(found, np.float64).reshape(*bins.shape[:2], BINS))


def _looked_up(tables: Tensor, bins: Bins, out: Values) -> Values:
    """The entries of each plane's table, (B,3,256), at its bins, in `out`; both (B,3,H,W)."""
    for table, picture, entries in zip(tables.float().numpy(), bins, out, strict=True):
        for row, plane, into in zip(table, picture, entries, strict=True):
            cv2.LUT(plane, row, into)
    return out
