"""Lion (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", algorithm 2): all weights move equally far.

    w ← w − lr·keep·(sign(β₁·m + (1−β₁)·g) + λ·w)        m ← β₂·m + (1−β₂)·g        λ: weight_decay

m is `momentum`, one number for each weight, half of what Adam keeps. Since every update is of full size, it wants a
learning rate three to ten times smaller than Adam's (section 5 of the paper).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Unpack

from torch import nn

from understudy.training.optimisers import kernels
from understudy.training.optimisers.base import Optimiser
from understudy.training.optimisers.parts import Part
from understudy.training.optimisers.settings import Settings


class Lion(Optimiser):
    """Moves each weight by the learning rate, whichever way most of its gradients point."""

    kind: ClassVar[str] = "lion"
    title: ClassVar[str] = "Lion"
    default_lr: ClassVar[float] = 1e-5
    lr_share: ClassVar[float] = 0.2
    moment_names: ClassVar[tuple[str, ...]] = ("momentum",)

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        betas: tuple[float, float] = (0.9, 0.99),
        **settings: Unpack[Settings],
    ) -> None:
        """betas: how far an update leans on the momentum, and what share of it each step keeps."""
        super().__init__(parameters, **settings)
        self.lean, self.memory = betas

    def _move(self, part: Part) -> None:
        kernels.lion(
            part.weights,
            part.gradients,
            part.moments[0],
            lean=self.lean,
            memory=self.memory,
            lr=self.current_lr,
            decay=self.weight_decay,
        )
