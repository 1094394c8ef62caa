"""The work of a step cut into parts of a size that suits the device.

On a processor the work goes in pieces that stay in its cache; on a graphics card, which has no cache to spare and where
every call costs a launch, all tensors go at once. Moments may live on another device than the weights: then they visit
it, a few tensors at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

PIECE = 1 << 19
"""Numbers per piece: 2 MB of float32, which with its gradients and moments stays in the second and third cache."""

VISIT = 1 << 24
"""Numbers whose moments visit the device of the weights together, 64 MB for each moment; at least one tensor."""

Named = Mapping[str, Tensor]


class Row(NamedTuple):
    """One parameter and all that belongs to it, flat, in the order of its own memory; copy: None in float32."""

    name: str
    weight: Tensor
    gradient: Tensor
    copy: Tensor | None
    moments: list[Tensor]


@dataclass(frozen=True)
class Part:
    """Stretches of rows that are updated by one call of each kernel, entry by entry.

    places: name of the parameter and where in it the stretch begins. gradients: float32, free to be overwritten.
    moments: a list for each kind.
    """

    moments: list[list[Tensor]]
    places: list[tuple[str, int]] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)
    gradients: list[Tensor] = field(default_factory=list)
    copies: list[Tensor] = field(default_factory=list)

    def take(self, row: Row, stretch: slice, gradient: Tensor) -> None:
        """Add a stretch of a row, whose gradient is given in float32."""
        self.places.append((row.name, stretch.start))
        self.weights.append(row.weight[stretch])
        self.gradients.append(gradient)
        if row.copy is not None:
            self.copies.append(row.copy[stretch])
        for kind, moment in zip(self.moments, row.moments, strict=True):
            kind.append(moment[stretch])


class Cutter:
    """Cuts rows into parts. in_pieces: as a processor wants it. Holds the scratch memory that pieces use."""

    def __init__(self, *, in_pieces: bool) -> None:
        self.in_pieces = in_pieces
        self._scratch = torch.empty(0)

    def parts(self, rows: Iterator[Row], count: int) -> Iterator[Part]:
        """The rows, which have `count` numbers altogether, as parts; one part is to be done before the next is asked
        for, since pieces share their scratch memory."""
        size = PIECE if self.in_pieces else count
        part, filled = None, 0
        for row in rows:
            start, end = 0, row.weight.numel()
            while start < end:
                part = part or Part([[] for _ in row.moments])
                stretch = slice(start, min(start + size - filled, end))
                part.take(row, stretch, self._as_float(row.gradient[stretch], filled))
                filled += stretch.stop - start
                start = stretch.stop
                if filled == size:
                    yield part
                    part, filled = None, 0
        if part is not None:
            yield part

    def room(self, like: Sequence[Tensor], place: int) -> list[Tensor]:
        """Flat float32 memory for so many numbers as a part has; pieces have two such places, 1 and 2."""
        if not self.in_pieces:
            return [torch.empty_like(tensor) for tensor in like]
        counts = [tensor.numel() for tensor in like]
        start = place * PIECE
        return list(torch.split(self._memory()[start : start + sum(counts)], counts))

    def _as_float(self, gradient: Tensor, place: int) -> Tensor:
        """A stretch of gradient in float32: itself, or a copy, which on a processor lies in the scratch at `place`."""
        if gradient.dtype is torch.float32:
            return gradient
        if not self.in_pieces:
            return gradient.float()
        return self._memory()[place : place + gradient.numel()].copy_(gradient)

    def _memory(self) -> Tensor:
        if self._scratch.numel() != 3 * PIECE:
            self._scratch = torch.empty(3 * PIECE)
        return self._scratch


def groups(tensors: Named) -> Iterator[list[str]]:
    """Names in order, so many together that their tensors have `VISIT` numbers at most, or one by itself."""
    group: list[str] = []
    filled = 0
    for name, tensor in tensors.items():
        if group and filled + tensor.numel() > VISIT:
            yield group
            group, filled = [], 0
        group.append(name)
        filled += tensor.numel()
    if group:
        yield group


def zeros_like(weight: Tensor, where: torch.device) -> Tensor:
    """Zeros in the shape and memory layout of `weight`; beside a graphics card in memory that it can read itself."""
    pinned = where.type == "cpu" and weight.device.type == "cuda"
    return torch.empty_like(weight, device=where, requires_grad=False, pin_memory=pinned).zero_()


def flat(tensor: Tensor) -> Tensor:
    """The numbers of a dense tensor in the order they lie in memory."""
    return tensor.detach().as_strided((tensor.numel(),), (1,), tensor.storage_offset())


def laid_out_as(gradient: Tensor, weight: Tensor) -> Tensor:
    """`gradient` in the memory layout of `weight`."""
    if gradient.stride() == weight.stride():
        return gradient
    same = torch.empty_strided(weight.shape, weight.stride(), dtype=gradient.dtype, device=gradient.device)
    return same.copy_(gradient)
