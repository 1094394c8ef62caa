"""One training step: forward, losses, backward, update."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from understudy.networks.quick96 import Reconstruction
from understudy.training.losses import QUICK96_WEIGHTS, per_person, quick96_losses
from understudy.training.optimisers import RMSprop
from understudy.training.precision import Precision
from understudy.training.samples import Batch

Losses = Callable[[Reconstruction, Batch], dict[str, Tensor]]


def prepare(net: nn.Module, precision: Precision, device: torch.device) -> None:
    """Put a network where and how `precision` computes: device, memory layout, threads. In place."""
    net.to(device)
    if precision.channels_last:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if device.type == "cpu" and precision.threads:
        torch.set_num_threads(precision.threads)


def train_step(
    net: nn.Module,
    optimiser: RMSprop,
    batch: Batch,
    precision: Precision,
    *,
    losses: Losses = quick96_losses,
    weights: Mapping[str, float] = QUICK96_WEIGHTS,
) -> dict[str, Tensor]:
    """Learn from one batch. Returns detached losses, means over the batch: `src` and `dst` weighted, the rest not.

    The gradient is that of the sum over the batch, as in the reference: with RMSprop only the size of ε beside it
    depends on that. Numbers stay on the device, so nothing waits until somebody reads them.
    """
    drawn = functional_call(net, optimiser.working(), (batch.src.warped, batch.dst.warped))
    parts = losses(drawn, batch)
    people = per_person(parts, weights)
    torch.stack([value.sum() for value in people.values()]).sum().backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return {name: value.detach().mean() for name, value in (people | parts).items()}
