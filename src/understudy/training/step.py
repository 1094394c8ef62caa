"""One training step: forward, losses, backward, update."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from understudy.devices import keep_freed_memory
from understudy.networks.blocks import Reconstruction
from understudy.training.losses import QUICK96_WEIGHTS, per_person, quick96_losses
from understudy.training.optimisers import RMSprop
from understudy.training.precision import Precision
from understudy.training.samples import Batch

Losses = Callable[[Reconstruction, Batch], dict[str, Tensor]]


def prepare(net: nn.Module, precision: Precision, device: torch.device) -> None:
    """Put a network where and how `precision` computes: device, memory layout, threads. In place."""
    net.to(device)
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True  # the same seed gives the same bits
    if precision.channels_last:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if device.type == "cpu":
        keep_freed_memory()
        if precision.threads:
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
    total, values = forward(net, optimiser.working(), batch, losses=losses, weights=weights)
    (total * optimiser.loss_scale).backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return values


def forward(
    net: nn.Module,
    working: Mapping[str, Tensor],
    batch: Batch,
    *,
    losses: Losses = quick96_losses,
    weights: Mapping[str, float] = QUICK96_WEIGHTS,
) -> tuple[Tensor, dict[str, Tensor]]:
    """What is minimised, with a gradient, and the values that `train_step` gives back."""
    drawn = functional_call(net, dict(working), (batch.src.warped, batch.dst.warped))
    parts = losses(drawn, batch)
    people = per_person(parts, weights)
    total = torch.stack(list(people.values())).sum()
    return total, {name: value.detach().mean() for name, value in (people | parts).items()}
