"""How long gradients are, and how long they have been."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from understudy.training.optimisers.parts import flat

ROW = 4096
"""Numbers whose squares are added up together when the length of gradients is taken."""

PIECE = 1 << 17
"""Numbers of a smaller type that are brought to float32 together, in memory that stays in a processor's cache."""

REMEMBERED = 10_000
"""Lengths that a percentile is taken of. The publication keeps every length since the first; a window follows a model
that has moved on, and its memory is bounded."""


def length_of(gradients: Iterable[Tensor]) -> Tensor:
    """The length of all gradients together, float32 (), on their device; no finite number where one of theirs is none.

    One pass over them: on a processor a sixth of AdaBelief's update in float32, a quarter in bfloat16. What is of a
    smaller type is never there in float32 as a whole: fresh memory for it would cost ten times what the sum does.
    """
    gradients = list(gradients)
    if gradients[0].device.type == "cpu":
        norms = [norm for gradient in gradients for norm in _norms(flat(gradient))]
    else:
        norms = list(torch._foreach_norm(gradients, dtype=torch.float32))
    length: Tensor = torch.linalg.vector_norm(torch.cat([norm.reshape(-1) for norm in norms]))
    return length


class LengthHistory:
    """The lengths of the last gradients, for AutoClip (Seetharaman et al. 2020, "AutoClip: Adaptive Gradient Clipping
    for Source Separation Networks"): gradients are clipped to a percentile of the lengths so far, this one included.
    """

    def __init__(self, device: torch.device) -> None:
        self._lengths = torch.zeros(REMEMBERED, device=device)
        self._count = 0

    def note(self, length: Tensor) -> None:
        """Remember a length (); one that is no finite number counts as the one before it."""
        before = self._lengths[(self._count - 1) % REMEMBERED]
        self._lengths[self._count % REMEMBERED] = torch.where(length.isfinite(), length, before)
        self._count += 1

    def percentile(self, percent: float) -> Tensor:
        """The length that `percent` (0..100) of those remembered do not exceed, interpolated between two, ()."""
        known: Tensor = torch.quantile(self._lengths[: min(self._count, REMEMBERED)], percent / 100)
        return known

    def state(self) -> Tensor:
        """The lengths, oldest first, (n,) float32."""
        if self._count <= REMEMBERED:
            return self._lengths[: self._count].clone()
        return self._lengths.roll(-(self._count % REMEMBERED))

    def load(self, lengths: Tensor) -> None:
        """Take back what `state` gave."""
        self._count = len(lengths)
        self._lengths[: self._count].copy_(lengths)


def _norms(numbers: Tensor) -> Iterator[Tensor]:
    """Norms of parts of some thousand: in one sum over millions, a processor's float32 is wrong in the third digit."""
    if numbers.dtype is not torch.float32:
        room = torch.empty(min(PIECE, numbers.numel()))
        for piece in torch.split(numbers, PIECE):
            there = room[: piece.numel()].copy_(piece)
            yield torch.dot(there, there).sqrt()
        return
    whole = numbers.numel() - numbers.numel() % ROW
    for part in (numbers[:whole].view(-1, ROW), numbers[whole:].view(1, -1)):
        if part.numel():
            yield torch.linalg.vector_norm(part, dim=1)
