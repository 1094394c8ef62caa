"""AdaBelief (Zhuang et al. 2020) as the reference runs it: without bias correction.

    m ← β₁·m + (1−β₁)·g        v ← β₂·v + (1−β₂)·(g − m)²        w ← w − lr·keep·m / (√v + ε)

m is `first` and v is `second`; v measures against the new m. With fresh moments the first update of every weight is
0.1 / (√0.001 · 0.9) = 3.5 times the learning rate.
"""

from __future__ import annotations

from typing import ClassVar

from understudy.training.optimisers import kernels
from understudy.training.optimisers.parts import Part
from understudy.training.optimisers.two_moments import TwoMoments


class AdaBelief(TwoMoments):
    """Follows the mean gradient, the further the better single gradients have agreed with it."""

    kind: ClassVar[str] = "adabelief"
    title: ClassVar[str] = "AdaBelief"
    moment_names: ClassVar[tuple[str, ...]] = ("first", "second")
    square_name: ClassVar[str | None] = "second"

    def _move(self, part: Part) -> None:
        first, second = part.moments
        kernels.follow(first, part.gradients, self.momentum, fused=self.in_pieces)
        kernels.descend(
            part.weights,
            first,
            part.gradients,
            second,
            memory=self.memory,
            lr=self.current_lr,
            eps=self.eps,
            fused=self.in_pieces,
        )
