"""Histograms of many rows at once, and tables that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.imaging.colour_transfer.statistics import in_float64


@dataclass(frozen=True)
class Sampled:
    """Which pixels of each picture are measured, spread evenly over it or over its mask. every: one out of so many;
    index: (B,n) which, where there are masks."""

    every: int
    index: Tensor | None = None

    @classmethod
    def of(cls, pictures: Tensor, inside: Tensor | None, most: int) -> Sampled:
        """At most so many of pictures (B,3,H,W), or of their masks (B,1,H,W) bool. A mask smaller than what is wanted
        counts its pixels more than once, an empty one any."""
        pixels = pictures.shape[2] * pictures.shape[3]
        if inside is None:
            return cls(1 if pixels <= most else pixels // most | 1)  # odd: not always of the same columns
        wanted = min(pixels, most)
        if inside.device.type == "cpu":
            return cls(1, torch.from_numpy(np.stack([_spread(mask, wanted) for mask in inside.flatten(1).numpy()])))
        ranks = inside.flatten(1).cumsum(1, dtype=torch.float32)
        places = (torch.arange(wanted, device=pictures.device) + 0.5) / wanted * ranks[:, -1:]
        return cls(1, torch.searchsorted(ranks, places, right=True).clamp_max_(pixels - 1))

    def pick(self, values: Tensor) -> Tensor:
        """(B,R,N) → (B,R,n)."""
        if self.index is None:
            return values[..., :: self.every]
        return values.gather(2, self.index[:, None].expand(-1, values.shape[1], -1))


def _spread(inside: NDArray[np.bool_], wanted: int) -> NDArray[np.int64]:
    """So many of the places where a mask (N) is true, evenly over them; the first of all where it is nowhere."""
    there = np.flatnonzero(inside)
    if not len(there):
        return np.zeros(wanted, np.int64)
    ranks = (np.arange(wanted, dtype=np.float32) + np.float32(0.5)) / np.float32(wanted) * np.float32(len(there))
    places: NDArray[np.int64] = there[ranks.astype(np.int64).clip(0, len(there) - 1)]
    return places


class Box(NamedTuple):
    """Least and greatest value of each channel, (B,3,1)."""

    low: Tensor
    high: Tensor

    @classmethod
    def around(cls, *colours: Tensor) -> Box:
        """All of `colours` (B,3,N)."""
        low = torch.stack([each.amin(2) for each in colours]).amin(0)[..., None]
        high = torch.stack([each.amax(2) for each in colours]).amax(0)[..., None]
        return cls(low, high)


class Axes(NamedTuple):
    """Axes through the colours and bins along them: matrix (B,R,3) and offset (B,R,1) give the place of a colour in
    bins; width (B,R,1) of a bin."""

    matrix: Tensor
    offset: Tensor
    width: Tensor
    bins: int

    @classmethod
    def within(cls, box: Box, axes: Tensor, *, bins: int) -> Axes:
        """Along `axes` (B,R,3) of length 1, so that the box lies within the bins."""
        forwards, backwards = axes.clamp_min(0), axes.clamp_max(0)
        least = forwards @ box.low + backwards @ box.high
        most = forwards @ box.high + backwards @ box.low
        width = ((most - least) / bins).clamp_min(1e-6)
        return cls(axes / width, -least / width, width, bins)

    def binned(self, colours: Tensor) -> Tensor:
        """The bins of `colours` (B,3,N) along each axis, see `binned`."""
        return binned(torch.baddbmm(self.offset, self.matrix, colours), self.bins)


def binned(places: Tensor, number: int) -> Tensor:
    """(B,R,N) int32: the bins of `places` (B,R,N), which are spoilt; beyond the ends the outermost of `number`.

    Every row has bins of its own: those of the first are 0..number−1, those of the next go on from there.
    """
    batch, rows, _ = places.shape
    firsts = number * torch.arange(batch * rows, dtype=torch.int32, device=places.device).view(batch, rows, 1)
    return places.clamp_(0, number - 1).to(torch.int32).add_(firsts)


def counts(bins: Tensor, number: int) -> Tensor:
    """(B,R,number) float64: how often each bin of a row occurs in it. bins: (B,R,N) as of `binned`."""
    batch, rows, _ = bins.shape
    found = torch.bincount(bins.flatten(), minlength=batch * rows * number)
    return in_float64(found.view(batch, rows, number))


def cumulated(amounts: Tensor) -> Tensor:
    """(…,n+1): the sums of the first 0, 1, … n of `amounts` (…,n)."""
    return torch.nn.functional.pad(amounts.cumsum(-1), (1, 0))


def shares(amounts: Tensor) -> Tensor:
    """Sums up to and with each of `amounts` (…,n), as shares of the whole; 0 where there is nothing."""
    summed = amounts.cumsum(-1)
    return summed / summed[..., -1:].clamp_min(1)


def interpolated(queries: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Piecewise linear through (xs, ys), each (…,n), xs not falling, at `queries` (…,k); the end values beyond them.

    Where xs stands still the last of its points counts, as with NumPy's `interp`.
    """
    if queries.device.type == "cpu":
        rows = (values.reshape(-1, values.shape[-1]).numpy() for values in (queries, xs, ys))
        return torch.from_numpy(np.stack([np.interp(*row) for row in zip(*rows, strict=True)])).view(queries.shape)
    return interpolated_by_search(queries, xs, ys)


def interpolated_by_search(queries: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """`interpolated` for every device; on a processor it takes ten times as long."""
    last = xs.shape[-1] - 1
    left = (torch.searchsorted(xs, queries.contiguous(), right=True) - 1).clamp(0, last - 1)
    x0, x1 = xs.gather(-1, left), xs.gather(-1, left + 1)
    y0, y1 = ys.gather(-1, left), ys.gather(-1, left + 1)
    width = x1 - x0
    share = torch.where(width > 0, (queries - x0) / torch.where(width > 0, width, 1), (queries >= x0).to(width))
    return y0 + share.clamp(0, 1) * (y1 - y0)


def mean_moves(ours: Tensor, theirs: Tensor) -> Tensor:
    """(B,R,n): by how many bins the pixels of each bin move, on average. ours, theirs: (B,R,n) counts.

    The pixels of a bin hold a range of ranks; they go to the mean of what the other picture has at those ranks.
    """
    middles = torch.arange(ours.shape[-1], dtype=ours.dtype, device=ours.device) + 0.5
    scale = ours.sum(-1, keepdim=True).clamp_min(1) / theirs.sum(-1, keepdim=True).clamp_min(1)
    summed = interpolated(cumulated(ours), cumulated(theirs) * scale, cumulated(theirs * middles) * scale)
    return torch.where(ours > 0, summed.diff(dim=-1) / ours.clamp_min(1) - middles, 0)


def looked_up(table: Tensor, bins: Tensor) -> Tensor:
    """The entries of `table` (B,R,n) at `bins` (B,R,N) as of `binned`, in float32."""
    return table.float().to(bins.device).flatten().index_select(0, bins.flatten()).view(bins.shape)
