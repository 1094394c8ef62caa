"""Histograms of many rows at once, and tables that follow from them."""

from __future__ import annotations

import torch
from torch import Tensor


def counts(bins: Tensor, number: int, inside: Tensor | None = None) -> Tensor:
    """(B,R,number) float64: how often each bin occurs in the rows of `bins` (B,R,N) int32, all within 0..number−1.

    inside: (B,1,N) bool, the entries that count; None: all.
    """
    batch, rows, _ = bins.shape
    places = number if inside is None else number + 1  # what does not count goes into a bin of its own
    if inside is not None:
        bins = torch.where(inside, bins, number)
    first = places * torch.arange(batch * rows, dtype=torch.int32, device=bins.device).view(batch, rows, 1)
    found = torch.bincount((bins + first).flatten(), minlength=batch * rows * places)
    return found.view(batch, rows, places)[..., :number].double()


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
    last = xs.shape[-1] - 1
    left = (torch.searchsorted(xs, queries.contiguous(), right=True) - 1).clamp(0, last - 1)
    x0, x1 = xs.gather(-1, left), xs.gather(-1, left + 1)
    y0, y1 = ys.gather(-1, left), ys.gather(-1, left + 1)
    width = x1 - x0
    share = torch.where(width > 0, (queries - x0) / torch.where(width > 0, width, 1), (queries >= x0).to(width))
    return y0 + share.clamp(0, 1) * (y1 - y0)


def looked_up(table: Tensor, bins: Tensor) -> Tensor:
    """The entries of `table` (B,R,n) at `bins` (B,R,N) int32, in float32."""
    batch, rows, number = table.shape
    first = number * torch.arange(batch * rows, dtype=torch.int32, device=bins.device).view(batch, rows, 1)
    return table.float().flatten().index_select(0, (bins + first).flatten()).view(bins.shape)
