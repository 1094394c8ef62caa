"""What optimisers share that keep two moments of each weight: a mean of its gradients and a mean of their squares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from torch import nn

from understudy.training.optimisers.base import Optimiser
from understudy.training.optimisers.settings import Settings


class TwoMoments(Optimiser):
    """An optimiser with `momentum` and `memory`: the shares of its first and second moment that each step keeps."""

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        **settings: Unpack[Settings],
    ) -> None:
        """betas: shares of the two moments that each step keeps. The rest is in `Settings`."""
        super().__init__(parameters, **settings)
        self.momentum, self.memory = betas
