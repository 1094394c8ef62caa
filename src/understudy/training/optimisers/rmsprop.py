"""RMSprop as the reference runs it.

a ← ρ·a + (1−ρ)·g²        w ← w − lr·keep·g / (√a + ε)        a: `moment`
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Unpack

from torch import nn

from understudy.training.optimisers import kernels
from understudy.training.optimisers.base import Optimiser
from understudy.training.optimisers.parts import Part
from understudy.training.optimisers.settings import Settings


class RMSprop(Optimiser):
    """Divides each gradient by the root of the mean of its squares, which forgets with ρ."""

    kind: ClassVar[str] = "rmsprop"
    title: ClassVar[str] = "RMSprop"
    default_lr: ClassVar[float] = 2e-4
    moment_names: ClassVar[tuple[str, ...]] = ("moment",)
    square_name: ClassVar[str | None] = "moment"

    def __init__(
        self, parameters: Iterable[tuple[str, nn.Parameter]], *, rho: float = 0.9, **settings: Unpack[Settings]
    ) -> None:
        """rho: share of the mean that each step keeps. The rest is in `Settings`."""
        super().__init__(parameters, **settings)
        self.memory = rho

    def _move(self, part: Part) -> None:
        (moment,) = part.moments
        kernels.descend(
            part.weights,
            part.gradients,
            part.gradients,
            moment,
            memory=self.memory,
            lr=self.current_lr,
            eps=self.eps,
            fused=self.in_pieces,
        )
