"""Adam without PyTorch's own, which loads its compiler on first use: that takes as long as 50 steps of a restorer."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Adam:
    """Adam (Kingma & Ba 2015) with its moments by parameter name, as a checkpoint holds them."""

    def __init__(self, net: nn.Module, *, momentum: float = 0.9, memory: float = 0.99) -> None:
        self.momentum, self.memory, self.steps = momentum, memory, 0
        self._names = [name for name, _ in net.named_parameters()]
        self._weights: list[Tensor] = list(net.parameters())
        self._first = [torch.zeros_like(weight) for weight in self._weights]
        self._second = [torch.zeros_like(weight) for weight in self._weights]

    @torch.no_grad()
    def step(self, rate: float, *, longest: float = 1.0) -> None:
        """Move the weights against their gradients, which are dropped. longest: length that gradients are cut to."""
        gradients = [weight.grad for weight in self._weights if weight.grad is not None]
        length = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        torch._foreach_mul_(gradients, (longest / (length + 1e-6)).clamp(max=1.0))
        self.steps += 1
        torch._foreach_lerp_(self._first, gradients, 1 - self.momentum)
        torch._foreach_mul_(self._second, self.memory)
        torch._foreach_addcmul_(self._second, gradients, gradients, 1 - self.memory)
        size = torch._foreach_sqrt(self._second)
        torch._foreach_div_(size, math.sqrt(1 - self.memory**self.steps))
        torch._foreach_add_(size, 1e-8)
        torch._foreach_addcdiv_(self._weights, self._first, size, -rate / (1 - self.momentum**self.steps))
        for weight in self._weights:
            weight.grad = None

    def place(self) -> None:
        """Put the moments where and how the weights are."""
        for moments in (self._first, self._second):
            for index, weight in enumerate(self._weights):
                moments[index] = torch.empty_like(weight).copy_(moments[index])

    def state(self) -> dict[str, Tensor]:
        """Everything of it, by name."""
        kept = {"steps": torch.tensor(float(self.steps))}
        for name, first, second in zip(self._names, self._first, self._second, strict=True):
            kept |= {f"first.{name}": first, f"second.{name}": second}
        return kept

    def load(self, kept: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        self.steps = int(kept["steps"].item())
        self._first = [kept[f"first.{name}"].clone() for name in self._names]
        self._second = [kept[f"second.{name}"].clone() for name in self._names]
