"""Adam (Kingma & Ba 2015), and AdamW (Loshchilov & Hutter 2019), which shortens the weights a little in every step.

    m ← β₁·m + (1−β₁)·g        v ← β₂·v + (1−β₂)·g²        m̂ = m/(1−β₁ᵗ)        v̂ = v/(1−β₂ᵗ)

    w ← w − lr·keep·(m̂ / (√v̂ + ε) + λ·w)                   λ: weight_decay, 0 for Adam

m is `mean`, v is `square`, t counts the updates of each parameter since its moments were fresh.
"""

from __future__ import annotations

from typing import ClassVar

from understudy.training.optimisers import kernels
from understudy.training.optimisers.parts import Part
from understudy.training.optimisers.two_moments import TwoMoments


class Adam(TwoMoments):
    """Divides the mean gradient by the root of the mean square of single ones."""

    kind: ClassVar[str] = "adam"
    title: ClassVar[str] = "Adam"
    default_eps: ClassVar[float] = 1e-8
    moment_names: ClassVar[tuple[str, ...]] = ("mean", "square")
    square_name: ClassVar[str | None] = "square"
    decays: ClassVar[bool] = False

    def _move(self, part: Part) -> None:
        mean, square = part.moments
        kernels.adam(
            part.weights,
            part.gradients,
            mean,
            square,
            [self.ages[name] for name, _ in part.places],
            momentum=self.momentum,
            memory=self.memory,
            lr=self.current_lr,
            eps=self.eps,
            decay=self.weight_decay if self.decays else 0.0,
            fused=self.in_pieces,
        )


class AdamW(Adam):
    """Adam that keeps weights short: what no gradient asks for fades."""

    kind: ClassVar[str] = "adamw"
    title: ClassVar[str] = "AdamW"
    decays: ClassVar[bool] = True
